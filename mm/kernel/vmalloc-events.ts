/** What flushes of kernel addresses tell their observer. */
export interface FlushEvents {
  /** `flush_tlb_kernel_range`; `full` when it flushes the whole TLB. */
  flushRange(start: number, end: number, full: boolean): void;
  /** `flush_tlb_all`. */
  flushAll(): void;
}

/** What changes of the kernel's page tables tell their observer. */
export interface PageTableEvents {
  /** Pages are about to be mapped (`vmap_pages_range`); `prot` as two 32-bit words. */
  mapPages(start: number, end: number, pageShift: number, protLow: number, protHigh: number, firstFrame: number): void;
  /** A physical range is about to be mapped (`vmap_page_range`). */
  mapRange(start: number, end: number, phys: number, protLow: number, protHigh: number, maxPageShift: number): void;
  /** A range is about to be unmapped (`vunmap_range_noflush`). */
  vunmap(start: number, end: number): void;
  /** A page table was allocated: level 1 a PTE table, 2 a PMD table, 3 a PUD table; physical addresses. */
  ptAlloc(level: number, table: number, entry: number): void;
  /** An empty page table gave way to a huge leaf at `addr`. */
  ptFree(level: number, table: number, entry: number, addr: number): void;
}

/**
 * What happens inside vmalloc, step by step: the hooks behind tracepoints, recordings and replay. Observers only look.
 * An observer that is absent costs one null check at each step.
 *
 * Addresses are 48-bit linear addresses; the kernel's ULONG_MAX (start of an empty range) is 2^48 - 1. Sizes are bytes,
 * lazy counts pages. Which CPU and which thread act is in the event loop (`currentCpu`, `currentThread`).
 */
export interface VmallocEvents extends FlushEvents, PageTableEvents {
  /** Room was looked for (`trace_alloc_vmap_area`); on failure `addr` is `vend`. */
  alloc(
    addr: number,
    sizeBytes: number,
    align: number,
    vstart: number,
    vend: number,
    vaFlags: number,
    failed: boolean,
  ): void;
  /** An area went to a lazy list (`trace_free_vmap_area_noflush`). `node` is the node whose list it is. */
  free(start: number, end: number, lazyNr: number, lazyMax: number, vaFlags: number, node: number): void;
  /** `__purge_vmap_area_lazy` starts with the flush range it was given. */
  purgeBegin(start: number, end: number, fullDecay: boolean, lazyNr: number): void;
  /** `__purge_vmap_area_lazy` ended (`trace_purge_vmap_area_lazy`). `nodes` had lazily freed areas. */
  purge(start: number, end: number, areas: number, fullDecay: boolean, nodes: number, lazyNr: number): void;
  /** `purge_vmap_node` starts on a node. */
  purgeNode(node: number, skipPopulate: boolean): void;
  /** A range is given back to the free tree. */
  merge(start: number, end: number): void;
  /** An area went to the head of a pool, which now holds `length`. */
  poolAdd(node: number, start: number, end: number, length: number): void;
  /** An area was taken from the head of a pool, which now holds `length`. */
  poolDel(node: number, start: number, end: number, length: number): void;
  /** The head of a pool did not fit `align` and went to the tail. */
  poolRot(node: number, start: number, end: number, align: number): void;
  /** A pool (areas of `index + 1` pages) of `length` areas returns `nDecay` of them to the free tree; 0 means all, as the countdown wraps. */
  decay(node: number, index: number, length: number, full: boolean, nDecay: number): void;
  /** A decayed range is given back to the free tree. */
  decayVa(node: number, start: number, end: number): void;
  /** A vmap block was made for `cpu`, its first allocation of 2^order pages included. */
  newBlock(start: number, end: number, cpu: number, order: number): void;
  /** A vmap block is unlinked and freed. */
  freeBlock(start: number, end: number, cpu: number): void;
  /** A fragmented vmap block is taken out of use. */
  purgeFrag(start: number, free: number, dirty: number, force: boolean, cpu: number): void;
  /** Pages were taken from a block, which then has `free` and `dirty` pages. */
  vbAlloc(addr: number, order: number, block: number, free: number, dirty: number, cpu: number): void;
  /** Pages were given back to a block, which then has `free` and `dirty` pages. */
  vbFree(addr: number, order: number, block: number, free: number, dirty: number, cpu: number): void;
  /** The lazy count is above its maximum: drain work was queued, or (`queued` false) already pending. */
  drainSched(lazyNr: number, lazyMax: number, queued: boolean): void;
  /** The drain work starts. */
  drain(lazyNr: number): void;
  /** `_vm_unmap_aliases` has scanned the blocks; the dirty range it found, and whether there was one. */
  aliases(start: number, end: number, flush: boolean): void;
}
