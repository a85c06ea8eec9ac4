/** What a version of the kernel decides: the shape of an entry of `kernel-versions.ts`. */

/** How much of a pool a purge takes, and what the kernel's hook shows of it. */
export interface PoolDecay {
  /** Areas that go back to the free tree, from the pool's head on. */
  readonly areas: number;
  /** The length and the number that are shown. */
  readonly shownLength: number;
  readonly shownDecay: number;
}

/** Fragmented vmap blocks: which may be purged, and how `vm_unmap_aliases` finds dirty ones. */
export interface BlockRules {
  /** Only blocks with few free pages left are purged (`VMAP_PURGE_THRESHOLD`); without: all whose used pages have come back. */
  readonly hasPurgeThreshold: boolean;
  /** Blocks are filed by the CPU of their address's hash; without: all in one index. */
  readonly filedByCpu: boolean;
  /**
   * What `vm_unmap_aliases` looks at. `all`: every block. `free lists`: blocks with room, queue by queue, before fragmented ones are
   * purged; dirty ranges are not reset, and a block that is used up is not seen: its stale translations stay.
   */
  readonly aliasesScan: "all" | "free lists";
}

/** Which variables of `mm/vmalloc.c` share a cache line (`mm/vmalloc/areas/vmalloc-lines.ts`). */
export type VariablesLayout = "locks together" | "locks apart";

/** What differs from one version of the kernel to the other. Everything else is the same in all of them. */
export interface KernelVersion {
  /** As `--kernel` names it. */
  readonly name: string;
  /** The first series whose vmalloc it is, as far as the sources that were read say: what a trace of another kernel is replayed as. */
  readonly since: string;
  /** The release that was recorded, or of which the sources were read. */
  readonly release: string;
  /** Whether recordings of such a kernel prove the emulation. */
  readonly isRecorded: boolean;

  /** Busy trees, lazy lists and pools by vmap node; without: one tree each, one lock each, and no pools. */
  readonly hasVmapNodes: boolean;
  /**
   * What of an area's flags `struct vmap_area` has: all (-1), or none (0). Without flags the kernel cannot tell `vm_map_ram` areas
   * from others without a vm_struct; here they are known all the same, and not shown.
   */
  readonly areaFlagsMask: number;
  /** `struct vm_struct` has the size that was asked for. */
  readonly hasRequestedSize: boolean;
  /** An area is tied to its vm_struct in a critical section of its own, after it is in the busy tree (`setup_vmalloc_vm`, until 6.9). */
  readonly tiesVmUnderLock: boolean;
  /**
   * Who frees an area finds it in one critical section of the busy areas, and takes it out of its tree in another, after its pages are unmapped
   * (`free_vmap_area_noflush`, until 6.2): `vm_unmap_ram`, and `vfree` (`__vunmap`), which takes its vm_struct away in one between the two. Later ones find
   * it and take it out in one.
   */
  readonly vfreeFindsFirst: boolean;
  /** The cache lines of vmalloc's variables: with one tree of areas all its locks are in one. */
  readonly variablesLayout: VariablesLayout;
  /** A lazily freed area merges with its neighbours as soon as it is freed. */
  readonly mergesLazyAreas: boolean;
  /** From which end of its list a purge gives areas back: the free space is the same, the shape of the tree is not. */
  readonly reclaimsLastFirst: boolean;
  /** The drain work purges again as long as the lazy count is above its maximum. */
  readonly drainRepeats: boolean;
  /** What a purge takes of a pool of `length` areas. */
  readonly decayOf: (length: number, full: boolean) => PoolDecay;
  /** The node in which `find_vmap_area` looks after `node`. */
  readonly nextNodeToSearch: (node: number, nodes: number) => number;
  readonly blocks: BlockRules;

  /** A search that fails under GFP_NOWAIT or GFP_ATOMIC ends there: no purge, no notifiers. */
  readonly nowaitSkipsOverflow: boolean;
  /** Frames of small pages are asked for in the largest orders that fit, which are then split. */
  readonly asksLargeOrdersFirst: boolean;
  /** The size that decides whether huge pages are worth it, for a request of `sizeBytes` from any NUMA node. */
  readonly hugeSizeOf: (sizeBytes: number, numaNodes: number) => number;
  /** An area whose allocation failed half way is freed by a work item. */
  readonly failedAreasFreedByWork: boolean;
  /** `VmallocUsed` of `/proc/meminfo` is kept by CPU and added up later, so that it lags behind by up to some 100 kB. */
  readonly vmallocUsedLags: boolean;
  /** `vrealloc` that shrinks gives the pages of the tail back, and grows in place only within the pages that are left. */
  readonly vreallocFreesTail: boolean;
  /**
   * Taking user pages out first puts the CPU's batch of new pages on the LRU lists (`lru_add_drain`, until 6.13; 6.14: "mm: remove unnecessary calls to
   * lru_add_drain").
   */
  readonly zapDrainsLru: boolean;
  /** User pages that a CPU collects before it puts them on the LRU lists (`PAGEVEC_SIZE`: 31 since 6.10). */
  readonly lruAddPages: number;
  /** Pages that are taken off the lists at a time when they are freed (`release_pages`: 32; `folios_put_refs` since 6.9: a batch). */
  readonly lruReleasePages: number;
  /** Entries that each batch of a gather keeps free, since pages can come with a count of their neighbours (1 since 6.9). */
  readonly gatherEntriesKept: number;
  /** Freed user page tables wait in the batches of freed pages (`native_tlb_remove_table`, until 6.14); else in batches of their own. */
  readonly gathersTablesWithPages: boolean;
  /** A page fault locks the mapping that it is in, not the whole address space (since 6.4). */
  readonly hasPerVmaLock: boolean;
  /**
   * A fault in an anonymous mapping that has no `anon_vma` yet gives the mapping's lock back and takes `mmap_lock`, one that only reads too
   * (`lock_vma_under_rcu`, until 6.9). Later only one that needs a page of its own takes it, for as long as it makes one, and keeps the mapping's lock unless
   * it cannot have the other at once (`vmf_anon_prepare`; 6.10: commits "mm: delay the check for a NULL anon_vma" and "mm: optimise vmf_anon_prepare() for
   * VMAs without an anon_vma").
   */
  readonly vmaLockNeedsAnonVma: boolean;
  /**
   * `MADV_DONTNEED` locks the mapping that it is in, not the whole address space (since 6.17: commit a6fde7add78d, "mm: use per_vma lock for
   * MADV_DONTNEED"; `try_vma_read_lock` of `mm/madvise.c`).
   */
  readonly madviseLocksVma: boolean;
  /** The lock of a mapping is a count of readers, for whom a writer sleeps (since 6.15); else a semaphore. */
  readonly hasVmaRefcount: boolean;
  /** Kernel addresses are flushed by INVLPGB where the CPU has it. */
  readonly usesInvlpgb: boolean;
  /** `set_memory_rox` changes both rights at once (since 6.2); else `set_memory_ro`, then `set_memory_x`. */
  readonly hasSetMemoryRox: boolean;
  /** `set_memory_rox` puts small pages together to large ones again where all are alike (`CPA_COLLAPSE`, since 6.15). */
  readonly joinsRoxPages: boolean;
  /** Text of modules is carved out of a cache of large executable pages (`ARCH_HAS_EXECMEM_ROX`). */
  readonly hasExecmemCache: boolean;
}
