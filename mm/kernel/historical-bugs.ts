/**
 * Bugs that Linux has had, to be put back: one registry. Where a bug is on, the code that it concerns does what the kernel did before
 * it was mended, restated in this emulator's terms. With none on (the default) each costs one look at a constant field, on paths where
 * that cannot be measured. `mmulab explore --bug NAME` finds what each does.
 */

/** What is known of one bug. */
export interface HistoricalBug {
  /** The commit that mended it, or where it was proposed and refused. */
  readonly source: string;
  /** What was wrong and what it let happen, in one sentence. */
  readonly effect: string;
}

/** The bugs by name. */
export const HISTORICAL_BUGS = {
  vmUnmapRamClearsFlags: {
    source:
      "the patch 'mm/vmalloc.c: add flags to mark vm_map_ram area' as first posted (v2, December 2022); the kernel took v3 and later 6.3",
    effect:
      "vm_unmap_ram clears VMAP_RAM under the lock and unlinks the area only after it was unmapped, so that a second call meets an area without flags and stops with the lock held (BUG_ON), and readers meet one that says nothing of itself; remove_vm_area clears va->vm in one critical section and unlinks in a second one, so that between the two readers meet an area with neither flags nor a vm_struct",
  },
  removeVmAreaFindsTwice: {
    source: "edd898181e2f (6.3): mm: vmalloc: avoid calling __find_vmap_area() twice in __vunmap()",
    effect: "two vfree of one address both find the area before either has taken it out, and both give its pages back",
  },
  noVmUninitialized: {
    source:
      "f5252e00 (2011): mm: avoid null pointer access in vm_struct via /proc/vmallocinfo; later VM_UNLIST, VM_UNINITIALIZED",
    effect: "readers see an area whose page array is not there yet",
  },
  aliasesSkipFullBlocks: {
    source: "fc1e0d980037 (6.6): mm/vmalloc: prevent stale TLBs in fully utilized blocks",
    effect: "vm_unmap_aliases passes over blocks without free room, whose unmapped pages then stay in TLBs",
  },
  wrongQueueLock: {
    source: "8c61291fd850 (6.10): mm: fix incorrect vbq reference in purge_fragmented_block",
    effect: "a fragmented block leaves its CPU's queue under the lock of the queue of the CPU that purges",
  },
  shrinkerWithoutPurgeLock: {
    source:
      "ec05f51f1e65: mm/vmalloc: take vmap_purge_lock in shrinker (decay_va_pool_node is not safe on two CPUs at once)",
    effect: "two CPUs take pools of one node apart at the same time, and areas are lost or given back twice",
  },
  flushSkipsSwitchingCpus: {
    source: "fea4e317f9e7 (6.15): x86/mm: Eliminate window where TLB flushes may be inadvertently skipped",
    effect:
      "a CPU in the middle of switching to an address space is not told of a flush, having read its generation before",
  },
  lazySwitchWithoutGeneration: {
    source:
      "94b1b03b519b (4.14): x86/mm: Rework lazy TLB mode and TLB freshness tracking, without the comparison that it made",
    effect: "a CPU that comes back from lazy mode does not look whether it has missed a flush",
  },
  munmapFreesBeforeFlush: {
    source: "the rule of mm/mmu_gather.c (2.4.0 and later); broken last for hugetlb until a4a118f2eead (5.16)",
    effect: "pages are given back while other CPUs still translate to them",
  },
  tablesFreedBeforeFlush: {
    source: "9e52fc2b50de (4.14) and d86564a2f085 (4.19): page tables must not be freed before the flush",
    effect: "page tables are given back while paging-structure caches still lead to them",
  },
  lazyCpusKeepFreedTables: {
    source:
      "b956575bed91 (4.14): x86/mm: Flush more aggressively in lazy TLB mode; 2ff6ddf19c0e (4.19): Leave lazy TLB mode at page table free time",
    effect: "CPUs in lazy mode are not told that page tables are freed, and speculation walks through them",
  },
  lazyListBeforeUnmap: {
    source: "the order of free_unmap_vmap_area (db64fe02258f, 2.6.28, and later): entries first, then the lazy list",
    effect: "a purge gives the range to somebody else, whose entries are then cleared",
  },
  earlyAcknowledgement: {
    source:
      "the early acknowledgement of 'x86/tlb: Concurrent TLB flushes' (2019 to 2021), if it were used when page tables are freed",
    effect: "the sender of a flush goes on before the receiver has flushed",
  },
  mremapReleasesBeforeFlush: {
    source: "eb66ae030829 (4.19): mremap: properly flush TLB before releasing the page",
    effect:
      "move_ptes gives the page tables' lock back before its flush, so that the page can be given back (ftruncate) while TLBs still translate its old address",
  },
  freedTablesLeaveOtherPcids: {
    source:
      "5e0fb5df2ee8 (4.18): x86/mm: Add TLB purge to free pmd/pte page interfaces; so still in 6.12. The kernel that is compared with flushes all PCIDs (the setting flushFreedTables)",
    effect:
      "a kernel page table is given back after INVLPG of one page, which leaves what other PCIDs' paging-structure caches hold of it",
  },
  entryForgetsFlush: {
    source: "b043138246a4 (5.6, CVE-2019-3016): x86/KVM: Make sure KVM_VCPU_FLUSH_TLB flag is not missed",
    effect:
      "the hypervisor reads the flags of a vCPU that is about to run and clears them later, so that a flush which the guest asks for in between is forgotten",
  },
  nestedFlushMissed: {
    source: "99baac21e458 (4.13): mm: fix MADV_[FREE|DONTNEED] TLB flush miss problem",
    effect:
      "two threads give back the same page under mmap_lock to read: the second finds nothing mapped, does not flush, and returns before the first has flushed",
  },
  cpumaskAfterGeneration: {
    source: "71b3c126e611 (4.5): x86/mm: Add barriers and document switch_mm()-vs-flush synchronization",
    effect:
      "a CPU that switches reads the generation before it is in mm_cpumask, and is not told of a flush in between",
  },
} as const satisfies Record<string, HistoricalBug>;

/** The name of a bug. */
export type BugName = keyof typeof HISTORICAL_BUGS;
/** Which bugs are on. */
export type Bugs = Readonly<Record<BugName, boolean>>;

/** All names. */
export const BUG_NAMES = Object.keys(HISTORICAL_BUGS) as readonly BugName[];

/** Those named are on, all others off. */
export function bugsOn(names: readonly BugName[]): Bugs {
  return Object.fromEntries(BUG_NAMES.map((name) => [name, names.includes(name)])) as Record<BugName, boolean>;
}
