/**
 * Bugs of concurrency that are planted in copies of the code, one at a time, to see whether the explorer's tests find them: none is
 * in the registry of former bugs. Most are of four kinds: an unlock that moved, a check that was dropped, a flush one line later, a
 * mask or a count that is read too early.
 */

/** One changed place of a file. */
export interface PlantedRace {
  /** What the changed code gets wrong. */
  readonly name: string;
  readonly file: string;
  /** A text that the file has once. */
  readonly search: string;
  readonly replacement: string;
}

/** All of them. */
export const PLANTED_RACES: readonly PlantedRace[] = [
  {
    name: "free_vmap_area_noflush gives vn->lazy.lock back before it adds the area",
    file: "mm/vmalloc/free-vmap-area.ts",
    search: "  node.lazy.insertVmapArea(area);\n  node.lazyLock.release();",
    replacement: "  node.lazyLock.release();\n  node.lazy.insertVmapArea(area);",
  },
  {
    name: "alloc_vmap_area gives vn->busy.lock back before it inserts the area",
    file: "mm/vmalloc/alloc-vmap-area.ts",
    search: "  busy.insertVmapArea(area);\n  node.busyLock.release();",
    replacement: "  node.busyLock.release();\n  busy.insertVmapArea(area);",
  },
  {
    name: "find_unlink_vmap_area gives vn->busy.lock back between finding and unlinking",
    file: "mm/vmalloc/free-vmap-area.ts",
    search: "  if (meant) {\n    busyLines.change(address, busy.count);",
    replacement:
      "  node.busyLock.release();\n  if (!node.busyLock.tryTake()) return NOT_HERE;\n  if (meant) {\n    busyLines.change(address, busy.count);",
  },
  {
    name: "find_unlink_vmap_area does not look whether the area has a vm_struct",
    file: "mm/vmalloc/vm-area.ts",
    search: "const hasVmStruct: AreaTest = (state, area) => state.areas.vmOf(area) !== 0;",
    replacement: "const hasVmStruct: AreaTest = () => true;",
  },
  {
    name: "alloc_vmap_area searches the free tree after its lock was given back",
    file: "mm/vmalloc/alloc-vmap-area.ts",
    search:
      "  const address = placed < 0 ? state.freeTree.__allocVmapArea(sizeBytes, align, range.start, range.end) : placed;\n",
    replacement:
      "  state.freeTreeLock.release();\n  const address = placed < 0 ? state.freeTree.__allocVmapArea(sizeBytes, align, range.start, range.end) : placed;\n  void state.freeTreeLock.tryTake();\n",
  },
  {
    name: "node_alloc does not look again whether the pool is empty",
    file: "mm/vmalloc/alloc-vmap-area.ts",
    search: "  if (areas.listIsEmpty(head)) return 0;\n",
    replacement: "",
  },
  {
    name: "node_pool_add_va gives vn->pool_lock back before it adds the area",
    file: "mm/vmalloc/purge.ts",
    search: "  areas.listAddAfter(area, node.guardedPool(pool));\n  node.poolLengths[pool]++;\n",
    replacement:
      "  node.poolLock.release();\n  areas.listAddAfter(area, node.guardedPool(pool));\n  node.poolLengths[pool]++;\n  void node.poolLock.tryTake();\n",
  },
  {
    name: "decay_va_pool_node puts back what stays without vn->pool_lock",
    file: "mm/vmalloc/purge.ts",
    search:
      "    if (!node.poolLock.tryTake()) yield* node.poolLock.take();\n    movePool(state, node, detached, node.guardedPool(pool));",
    replacement: "    areas.listMoveAll(detached, node.guardedPool(pool));",
  },
  {
    name: "__purge_vmap_area_lazy takes a lazy list without its lock",
    file: "mm/vmalloc/purge.ts",
    search:
      "    if (!node.lazyLock.tryTake()) yield* node.lazyLock.take();\n    node.lazy.detachAll(node.purgeList);\n    node.lazyLock.release();",
    replacement: "    node.lazy.detachAll(node.purgeList);",
  },
  {
    name: "__purge_vmap_area_lazy flushes one line later, after its last node was given back",
    file: "mm/vmalloc/purge.ts",
    search: "  if (taken.length > 0) {\n    yield* flushTlbKernelRange(",
    replacement:
      "  if (taken.length > 0) {\n    yield* purgeVmapNode(state, taken[taken.length - 1]);\n    yield* flushTlbKernelRange(",
  },
  {
    name: "__purge_vmap_area_lazy computes the range to flush from the last node only",
    file: "mm/vmalloc/purge.ts",
    search: "    flushStart = Math.min(flushStart, areas.start[areas.nextOf(node.purgeList)]);",
    replacement: "    flushStart = areas.start[areas.nextOf(node.purgeList)];",
  },
  {
    name: "__purge_vmap_area_lazy does not wait for its helpers",
    file: "mm/vmalloc/purge.ts",
    search: "      if (node.purgeWork !== null) yield* node.purgeWork.flush();\n",
    replacement: "",
  },
  {
    name: "the drain work purges without vmap_purge_lock",
    file: "mm/vmalloc/purge.ts",
    search:
      '    if (!state.purgeLock.tryTake()) yield* state.purgeLock.take();\n    yield* __purgeVmapAreaLazy(state, ADDRESS_MAX, 0, false, "drain");\n    state.purgeLock.release();',
    replacement: '    yield* __purgeVmapAreaLazy(state, ADDRESS_MAX, 0, false, "drain");',
  },
  {
    name: "reclaim_list_global gives free_vmap_area_lock back before it merges",
    file: "mm/vmalloc/purge.ts",
    search: "  let gap = 0;\n  while (!areas.listIsEmpty(head)) {",
    replacement: "  let gap = 0;\n  state.freeTreeLock.release();\n  while (!areas.listIsEmpty(head)) {",
  },
  {
    name: "_vm_unmap_aliases gives vmap_purge_lock back before its own flush",
    file: "mm/vmalloc/vm-unmap-aliases.ts",
    search:
      '  yield* freePurgedBlocks(state, purged);\n  state.events?.aliases(start, end, dirtySeen);\n  const anyPurged = yield* __purgeVmapAreaLazy(state, start, end, false, "aliases");\n',
    replacement:
      '  yield* freePurgedBlocks(state, purged);\n  state.events?.aliases(start, end, dirtySeen);\n  const anyPurged = yield* __purgeVmapAreaLazy(state, start, end, false, "aliases");\n  state.purgeLock.release();\n  if (!state.purgeLock.tryTake()) return;\n',
  },
  {
    name: "_vm_unmap_aliases flushes only when areas were purged too",
    file: "mm/vmalloc/vm-unmap-aliases.ts",
    search: "        blocks.dirtyMax[block] = 0;\n        dirtySeen = true;\n",
    replacement: "        blocks.dirtyMax[block] = 0;\n",
  },
  {
    name: "_vm_unmap_aliases forgets the dirty ranges before vmap_purge_lock is held",
    file: "mm/vmalloc/vm-unmap-aliases.ts",
    search:
      "  const { blocks, areas, config } = state;\n  if (!state.purgeLock.tryTake()) yield* state.purgeLock.take();\n  let start = rangeStart;",
    replacement: "  const { blocks, areas, config } = state;\n  let start = rangeStart;",
  },
  {
    name: "vb_free widens the dirty range at its lower end only",
    file: "mm/vmalloc/vmap-block.ts",
    search: "  if (first + count > blocks.dirtyMax[block]) blocks.dirtyMax[block] = first + count;\n",
    replacement: "  if (blocks.dirtyMax[block] === 0) blocks.dirtyMax[block] = first + count;\n",
  },
  {
    name: "vb_free frees a block before its pages are all dirty",
    file: "mm/vmalloc/vmap-block.ts",
    search: "  return dirty === config.blockPages ? freeVmapBlock(state, block) : DONE;",
    replacement: "  return blocks.free[block] === 0 ? freeVmapBlock(state, block) : DONE;",
  },
  {
    name: "vb_alloc does not look again whether the block is still its CPU's",
    file: "mm/vmalloc/vmap-block.ts",
    search: "  if (blocks.cpu[block] !== cpu || !blocks.isQueued(block) || blocks.free[block] < 1 << order) {",
    replacement: "  if (false as boolean) {",
  },
  {
    name: "vb_alloc takes a full block off its queue without the queue's lock",
    file: "mm/vmalloc/vmap-block.ts",
    search: "  if (left === 0) return afterLock(blocks.queueLocks[cpu], dequeueFull, state, block, address);\n",
    replacement: "  if (left === 0) blocks.dequeue(block);\n",
  },
  {
    name: "purge_fragmented_block takes a block off its queue without the queue's lock",
    file: "mm/vmalloc/vmap-block-purge.ts",
    search: "  if (!queueLock.tryTake()) yield* queueLock.take();\n  blocks.dequeue(block);\n  queueLock.release();",
    replacement: "  void queueLock;\n  blocks.dequeue(block);",
  },
  {
    name: "purge_fragmented_block does not look whether pages are still mapped",
    file: "mm/vmalloc/vmap-block-purge.ts",
    search: "  if (free + dirty !== config.blockPages || dirty === config.blockPages) return false;",
    replacement: "  if (dirty === config.blockPages || dirty === 0) return false;",
  },
  {
    name: "vm_unmap_ram frees an area before its entries are cleared",
    file: "mm/vmalloc/free-vmap-area.ts",
    search: "  if (state.mm.bugs.lazyListBeforeUnmap) return freeAndUnmap(state, area);",
    replacement: "  if (state.areas.vmOf(area) === 0) return freeAndUnmap(state, area);",
  },
  {
    name: "vread lets go of the area before it reads",
    file: "mm/vmalloc/vread.ts",
    search: "    const isReady = vm !== 0 ?",
    replacement:
      "    lock.release();\n    yield 0;\n    if (!lock.tryTake()) yield* lock.take();\n    const isReady = vm !== 0 ?",
  },
  {
    name: "the sender of a call does not wait when it has one target only",
    file: "mm/kernel/smp.ts",
    search: "    if (request === null) return;\n",
    replacement: "    if (request === null || request.targets.length === 1) return;\n",
  },
  {
    name: "an interrupt handler runs only the first call on its queue",
    file: "mm/kernel/smp.ts",
    search: "    const requests = this.queues[cpu].splice(0);",
    replacement: "    const requests = this.queues[cpu].splice(0, 1);",
  },
  {
    name: "on_each_cpu_mask leaves out the CPU that calls",
    file: "mm/kernel/smp.ts",
    search: "handler, mask.includes(this.loop.currentCpu), bill);",
    replacement: "handler, false, bill);",
  },
  {
    name: "a call counts as done when one target has run it",
    file: "mm/kernel/smp.ts",
    search: "if (--request.outstanding === 0) loop.wake(",
    replacement: "if (--request.outstanding >= 0) loop.wake(",
  },
  {
    name: "flush_tlb_mm_range reads mm_cpumask before it counts tlb_gen up",
    file: "mm/user/user-flush.ts",
    search: '  mm.tlbGen++;\n  spaces.kernel.loop.point("flush_tlb_mm_range: tlb_gen is counted up");',
    replacement:
      '  const early = mm.cpus();\n  mm.cpus = () => early;\n  mm.tlbGen++;\n  spaces.kernel.loop.point("flush_tlb_mm_range: tlb_gen is counted up");',
  },
  {
    name: "flush_tlb_mm_range counts tlb_gen up only after the flush was sent",
    file: "mm/user/user-flush.ts",
    search: '  mm.tlbGen++;\n  spaces.kernel.loop.point("flush_tlb_mm_range: tlb_gen is counted up");',
    replacement: '  spaces.kernel.loop.point("flush_tlb_mm_range: tlb_gen is counted up");',
  },
  {
    name: "CPUs in lazy mode are passed over although an ASID is in transition or tables are freed",
    file: "mm/user/user-flush.ts",
    search: "    return tellsAll ? cpus : cpus.filter((cpu) => !spaces.tlbStates[cpu].isLazy);",
    replacement: "    return tellsAll && false ? cpus : cpus.filter((cpu) => !spaces.tlbStates[cpu].isLazy);",
  },
  {
    name: "flush_tlb_func flushes a range although it has missed other flushes",
    file: "mm/user/user-spaces.ts",
    search: "flush.end !== TLB_FLUSH_ALL && flush.tlbGen === have + 1 && flush.tlbGen === upTo;",
    replacement: "flush.end !== TLB_FLUSH_ALL;",
  },
  {
    name: "flush_tlb_func notes a generation that it reads after the flush",
    file: "mm/user/user-spaces.ts",
    search: "    tlb.tlbGen[asid] = upTo;",
    replacement: "    tlb.tlbGen[asid] = flush.mm.tlbGen;",
  },
  {
    name: "flush_tlb_func takes a flush of its own generation for done",
    file: "mm/user/user-spaces.ts",
    search: "    if (have === upTo || flush.tlbGen <= have) return;",
    replacement: "    if (have === upTo || flush.tlbGen <= have + 1) return;",
  },
  {
    name: "flush_tlb_func notes the generation although a lazy CPU has not flushed",
    file: "mm/user/user-spaces.ts",
    search:
      "      this.switchMmIrqsOff(cpu, this.initMm, flush.record);\n      return;\n    }\n    const asid = tlb.loadedAsid;",
    replacement:
      "      tlb.tlbGen[tlb.loadedAsid] = flush.mm.tlbGen;\n      return;\n    }\n    const asid = tlb.loadedAsid;",
  },
  {
    name: "switch_mm_irqs_off reads tlb_gen while the CPU is still lazy",
    file: "mm/user/user-spaces.ts",
    search: "    tlb.isLazy = false;\n    let asid = tlb.loadedAsid;",
    replacement:
      '    const early = next.tlbGen;\n    loop.pointIrqsOff("early");\n    tlb.isLazy = false;\n    if (wasLazy && previous === next && tlb.tlbGen[tlb.loadedAsid] === early) return;\n    let asid = tlb.loadedAsid;',
  },
  {
    name: "choose_new_asid takes an ASID that is behind for current",
    file: "mm/user/tlb-state.ts",
    search: "return { asid, needFlush: this.tlbGen[asid] < tlbGen };",
    replacement: "return { asid, needFlush: this.tlbGen[asid] < tlbGen - 1 };",
  },
  {
    name: "munmap gives mmap_lock back before it frees",
    file: "mm/user/user-map.ts",
    search: "  yield* freePgtables(gather, start, end);\n  yield* gather.tlbFinishMmu();\n  mm.mmapLock.release();",
    replacement:
      "  yield* freePgtables(gather, start, end);\n  mm.mmapLock.release();\n  yield* gather.tlbFinishMmu();",
  },
  {
    name: "munmap frees pages one line before the flush",
    file: "mm/user/mmu-gather.ts",
    search: "    if (tables === null) yield* this.tlbFlush(owed);\n",
    replacement:
      '    if (this.cause === "munmap") this.freeFrames(this.frames.splice(0));\n    if (tables === null) yield* this.tlbFlush(owed);\n',
  },
  {
    name: "munmap tells no lazy CPU that it frees page tables",
    file: "mm/user/mmu-gather.ts",
    search: "    const freedTables = this.fullmm || tables !== null;",
    replacement: "    const freedTables = this.fullmm;",
  },
  {
    name: "mprotect gives mmap_lock back before its flush",
    file: "mm/user/user-map.ts",
    search:
      '  if (changed > 0) yield* flushOwedOfMm(spaces, mm, owed, false, "mprotect");\n  else debts.waive(owed);\n  mm.mmapLock.release();',
    replacement:
      '  mm.mmapLock.release();\n  if (changed > 0) yield* flushOwedOfMm(spaces, mm, owed, false, "mprotect");\n  else debts.waive(owed);',
  },
  {
    name: "mprotect does not flush",
    file: "mm/user/user-map.ts",
    search: '  if (changed > 0) yield* flushOwedOfMm(spaces, mm, owed, false, "mprotect");\n  else debts.waive(owed);',
    replacement: "  debts.waive(owed);",
  },
  {
    name: "mremap gives the page tables' lock back before it moves",
    file: "mm/user/mremap.ts",
    search: "  const moved = movePtes(mm, start, end, newStart, owed);",
    replacement:
      "  mm.pageTableLock.release();\n  const moved = movePtes(mm, start, end, newStart, owed);\n  if (!mm.pageTableLock.tryTake()) yield* mm.pageTableLock.take();",
  },
  {
    name: "mremap gives both locks back before its flush",
    file: "mm/user/mremap.ts",
    search: "  const { mremapReleasesBeforeFlush } = kernel.bugs;",
    replacement: "  const mremapReleasesBeforeFlush = true;",
  },
  {
    name: "mmdrop does not look whether a CPU still borrows the address space",
    file: "mm/user/lazy-tlb.ts",
    search: "  if (!mm.hasEnded || spaces.loaded.includes(mm)) return;",
    replacement: "  if (!mm.hasEnded) return;",
  },
  {
    name: "the policy invlpgb does not wait for its broadcasts",
    file: "mm/flush/broadcast-flush.ts",
    search: "  invalidations.tlbsync();\n",
    replacement: "",
  },
  {
    name: "the policy invlpgb forgets global entries",
    file: "mm/flush/flush-policy.ts",
    search: "    broadcastFlush(context, record, [{ start, end, full, includeGlobals: true }]);",
    replacement: "    broadcastFlush(context, record, [{ start, end, full, includeGlobals: false }]);",
  },
  {
    name: "the policy invlpgb does not interrupt CPUs that have not gone over to the global ASID",
    file: "mm/flush/flush-policy.ts",
    search: "    broadcastFlush(context, record, broadcasts);\n    yield* request.finishAsidTransition();\n",
    replacement: "    broadcastFlush(context, record, broadcasts);\n",
  },
  {
    name: "the policy eager gives vmlist_lock back before it flushes",
    file: "mm/flush/flush-policy.ts",
    search: "    yield* smp.onEachCpu(invalidate, record);\n    vmlistLock.release();",
    replacement: "    vmlistLock.release();\n    smp.onEachCpu(invalidate, record);",
  },
  {
    name: "the policy deferred puts flushes off for CPUs that are in the kernel",
    file: "mm/flush/user-mode.ts",
    search: "return this.inUser[cpu] !== 0 && this.isolated[cpu] !== 0;",
    replacement: "return this.isolated[cpu] !== 0;",
  },
  {
    name: "a large leaf's page table is given back before the flush",
    file: "mm/page-tables/huge-map.ts",
    search: "  yield* taken.freeAfter(flush);\n",
    replacement:
      "  yield* taken.freeAfter(function* () {});\n  yield* flush(tables.owed.owe(la, la + PAGE_SIZE - 1));\n",
  },
];
