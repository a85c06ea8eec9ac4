/** Bugs of concurrency planted in vmalloc, its purges and vmap blocks. */
import type { PlantedRace } from "./planted-race.ts";

/** All of them. */
export const PLANTED_VMALLOC_RACES: readonly PlantedRace[] = [
  {
    name: "free_vmap_area_noflush gives vn->lazy.lock back before it adds the area",
    file: "mm/vmalloc/free-vmap-area.ts",
    search: "  insertLazy(state, node, area);\n  node.lazyLock.release();",
    replacement: "  node.lazyLock.release();\n  insertLazy(state, node, area);",
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
    search:
      "  areas.listAddAfter(area, node.guardedPool(pool));\n  state.writeArea(area);\n  const length = node.addToPoolLength(pool, 1);\n",
    replacement:
      "  node.poolLock.release();\n  areas.listAddAfter(area, node.guardedPool(pool));\n  state.writeArea(area);\n  const length = node.addToPoolLength(pool, 1);\n  void node.poolLock.tryTake();\n",
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
      '    yield* takePurgeLock(state);\n    const hasPurged = yield* __purgeVmapAreaLazy(state, ADDRESS_MAX, 0, false, "drain");\n    state.purgeLock.release();',
    replacement: '    const hasPurged = yield* __purgeVmapAreaLazy(state, ADDRESS_MAX, 0, false, "drain");',
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
    search: "  const { blocks, areas, config } = state;\n  yield* takePurgeLock(state);\n  let start = rangeStart;",
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
    name: "a large leaf's page table is given back before the flush",
    file: "mm/page-tables/huge-map.ts",
    search: "  yield* taken.freeAfter(flush);\n",
    replacement:
      "  yield* taken.freeAfter(function* () {});\n  yield* flush(tables.owed.owe(la, la + PAGE_SIZE - 1));\n",
  },
  {
    name: "free_vmap_block gives vn->busy.lock back before it unlinks the area",
    file: "mm/vmalloc/vmap-block-purge.ts",
    search: "  node.busy.unlinkVa(area);\n  node.busyLock.release();",
    replacement: "  node.busyLock.release();\n  node.busy.unlinkVa(area);",
  },
  {
    name: "vb_free does not look whether the pages are in use",
    file: "mm/vmalloc/vmap-block.ts",
    search: "  if (!isMapping) {\n",
    replacement: "  if (!isMapping && (false as boolean)) {\n",
  },
  {
    name: "__purge_vmap_area_lazy takes the end of the range to flush from the last node only",
    file: "mm/vmalloc/purge.ts",
    search: "    flushEnd = Math.max(flushEnd, areas.end[areas.previousOf(node.purgeList)]);",
    replacement: "    flushEnd = areas.end[areas.previousOf(node.purgeList)];",
  },
  {
    name: "_vm_unmap_aliases does not flush dirty ranges unless it has purged",
    file: "mm/vmalloc/vm-unmap-aliases.ts",
    search:
      '  yield* freePurgedBlocks(state, purged);\n  state.events?.aliases(start, end, dirtySeen);\n  const anyPurged = yield* __purgeVmapAreaLazy(state, start, end, false, "aliases");\n  if (!anyPurged && dirtySeen)',
    replacement:
      '  yield* freePurgedBlocks(state, purged);\n  state.events?.aliases(start, end, dirtySeen);\n  const anyPurged = yield* __purgeVmapAreaLazy(state, start, end, false, "aliases");\n  if (anyPurged && dirtySeen)',
  },
  {
    name: "the lazy count is read before vn->lazy.lock, and written after it",
    file: "mm/vmalloc/free-vmap-area.ts",
    search: "  const lazyNr = state.addLazyNr(pagesIn(areas.sizeBytes(area)));\n",
    replacement:
      '  const before = state.lazyNr;\n  state.loop.point("early");\n  const lazyNr = state.addLazyNr(before + pagesIn(areas.sizeBytes(area)) - state.lazyNr);\n',
  },
  {
    name: "__purge_vmap_area_lazy flushes its areas only, not what _vm_unmap_aliases asks for",
    file: "mm/vmalloc/purge.ts",
    search: "  let flushStart = start;\n  let flushEnd = end;",
    replacement: "  let flushStart = ADDRESS_MAX;\n  let flushEnd = 0;",
  },
  {
    name: "_vm_unmap_aliases gives vmap_purge_lock back before it flushes dirty ranges",
    file: "mm/vmalloc/vm-unmap-aliases.ts",
    search:
      '  if (!anyPurged && dirtySeen) yield* flushTlbKernelRange(state.flushing, start, end, "aliases");\n  state.purgeLock.release();\n}\n\n/**',
    replacement:
      '  state.purgeLock.release();\n  if (!anyPurged && dirtySeen) yield* flushTlbKernelRange(state.flushing, start, end, "aliases");\n}\n\n/**',
  },
  {
    name: "VM_UNINITIALIZED is cleared before the pages are mapped",
    file: "mm/vmalloc/vmalloc.ts",
    search: '    state.loop.point("__vmalloc_area_node: pages are allocated");',
    replacement:
      '    clearVmUninitializedFlag(state, vm);\n    state.loop.point("__vmalloc_area_node: pages are allocated");',
  },
  {
    name: "set_memory does not flush",
    file: "mm/vmalloc/set-memory.ts",
    search: '    yield* flushTlbAll(flushing, "set_memory");',
    replacement: "",
  },
  {
    name: "a large page is split after cpa_lock was given back",
    file: "mm/vmalloc/change-page-attr.ts",
    search: "  if (!cpaLock.tryTake()) yield* cpaLock.take();\n  if (table === 0) return -ENOMEM;\n",
    replacement: "  if (table === 0) return -ENOMEM;\n",
  },
  {
    name: "execmem_cache_alloc takes a piece after it has given the mutex back",
    file: "mm/vmalloc/execmem-cache.ts",
    search:
      "  const address = execmemCacheAllocLocked(state, cache, MODULES_RANGE, sizeBytes);\n  cache.mutex.release();\n  return address !== 0",
    replacement:
      "  cache.mutex.release();\n  const address = execmemCacheAllocLocked(state, cache, MODULES_RANGE, sizeBytes);\n  return address !== 0",
  },
  {
    name: "set_memory does not purge what is lazily freed",
    file: "mm/vmalloc/set-memory.ts",
    search: "  yield* vmUnmapAliases(state);\n",
    replacement: "",
  },
  {
    name: "a large page is split without a second look whether it has been meanwhile",
    file: "mm/vmalloc/change-page-attr.ts",
    search:
      "  if (tables.cursor.seek(la) !== level) {\n    // Somebody else has split it meanwhile.\n    tables.freeTable(table, level - 1);\n    return 0;\n  }\n",
    replacement: "  tables.cursor.seek(la);\n",
  },
];
