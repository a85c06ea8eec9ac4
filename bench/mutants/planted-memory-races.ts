/** Bugs of concurrency planted in lists of pages, rights of kernel pages, executable memory and what 7.3 does otherwise. */
import type { PlantedRace } from "./planted-race.ts";

/** All of them. */
export const PLANTED_MEMORY_RACES: readonly PlantedRace[] = [
  {
    name: "rmqueue_bulk reads how many blocks are free before zone->lock",
    file: "mm/frames/page-allocator.ts",
    search: "        this.beforeZone(i);",
    replacement:
      "        { const free = this.zones[i].freeBlocks.slice(); this.beforeZone(i); this.zones[i].freeBlocks.set(free); }",
  },
  {
    name: "free_pcppages_bulk does not look again how many pages the list has once it has zone->lock",
    file: "mm/frames/page-allocator.ts",
    search: "    if (list.count <= PCP_HIGH) return;\n",
    replacement: "",
  },
  {
    name: "free_pcppages_bulk writes back a count that it read before zone->lock",
    file: "mm/frames/page-allocator.ts",
    search: "    this.beforeZone?.(index);\n    // Somebody",
    replacement: "    const { count } = list;\n    this.beforeZone?.(index);\n    list.count = count;\n    // Somebody",
  },
  {
    name: "joined pages' tables are given back before the flush",
    file: "mm/vmalloc/change-page-attr.ts",
    search:
      '  yield* taken.freeAfter(function* flushAll(debt) {\n    tables.owed.settle(debt, 0, ADDRESS_MAX);\n    yield* flushTlbAll(kernel.flushing, "pages joined");\n  });',
    replacement:
      '  yield* taken.freeAfter(function* () {});\n  tables.owed.settle(owed, 0, ADDRESS_MAX);\n  yield* flushTlbAll(kernel.flushing, "pages joined");',
  },
  {
    name: "joined pages are not flushed",
    file: "mm/vmalloc/change-page-attr.ts",
    search: '    yield* flushTlbAll(kernel.flushing, "pages joined");',
    replacement: "",
  },
  {
    name: "pages are joined whose rights differ",
    file: "mm/vmalloc/change-page-attr.ts",
    search: " || smallAttributes(cursor) !== low) return false;",
    replacement: ") return false;",
  },
  {
    name: "one table that joined pages leave behind is lost",
    file: "mm/vmalloc/change-page-attr.ts",
    search: "  if (taken.count === 0) {\n    tables.owed.waive(owed);\n    return;\n  }\n  yield* taken",
    replacement:
      "  if (taken.count === 0 || taken.count === 1) {\n    tables.owed.waive(owed);\n    return;\n  }\n  yield* taken",
  },
  {
    name: "cpa_lock is kept where a change of rights fails",
    file: "mm/vmalloc/change-page-attr.ts",
    search: "    lock.release();\n    if (changed < 0) return changed;",
    replacement: "    if (changed < 0) return changed;\n    lock.release();",
  },
  {
    name: "cpa_lock is not taken again where a page cannot be split",
    file: "mm/vmalloc/change-page-attr.ts",
    search: "  if (!cpaLock.tryTake()) yield* cpaLock.take();\n  if (table === 0) return -ENOMEM;",
    replacement: "  if (table === 0) return -ENOMEM;\n  if (!cpaLock.tryTake()) yield* cpaLock.take();",
  },
  {
    name: "a page is split without a table",
    file: "mm/vmalloc/change-page-attr.ts",
    search: "  if (table === 0) return -ENOMEM;\n",
    replacement: "",
  },
  {
    name: "a page that could not be split is tried for ever",
    file: "mm/vmalloc/change-page-attr.ts",
    search: "    const result = yield* splitLargePage(kernel, la, level);\n    if (result < 0) return result;",
    replacement: "    yield* splitLargePage(kernel, la, level);",
  },
  {
    name: "set_memory that fails half way does not flush what it has changed",
    file: "mm/vmalloc/set-memory.ts",
    search: "  if (!cpa.isChanged) tables.owed.waive(owed);",
    replacement: "  if (!cpa.isChanged || result < 0) tables.owed.waive(owed);",
  },
  {
    name: "execmem_cache_free finds the piece before it has the mutex",
    file: "mm/vmalloc/execmem-cache.ts",
    search:
      "  if (!mutex.tryTake()) yield* mutex.take();\n  const { busy } = cache;\n  const index = busy.indexOf(address);",
    replacement:
      "  const { busy } = cache;\n  const index = busy.indexOf(address);\n  if (!mutex.tryTake()) yield* mutex.take();",
  },
  {
    name: "execmem_cache_populate_alloc adds its region before it has the mutex",
    file: "mm/vmalloc/execmem-cache.ts",
    search:
      "  if (!cache.mutex.tryTake()) yield* cache.mutex.take();\n  cache.free.insertMerged(region, region + regionBytes);",
    replacement:
      "  cache.free.insertMerged(region, region + regionBytes);\n  if (!cache.mutex.tryTake()) yield* cache.mutex.take();",
  },
  {
    name: "execmem_cache_populate_alloc gives the mutex back between adding its region and taking a piece",
    file: "mm/vmalloc/execmem-cache.ts",
    search: "  cache.free.insertMerged(region, region + regionBytes);\n",
    replacement:
      "  cache.free.insertMerged(region, region + regionBytes);\n  cache.mutex.release();\n  if (!cache.mutex.tryTake()) yield* cache.mutex.take();\n",
  },
  {
    name: "execmem_cache_clean does not take the mutex",
    file: "mm/vmalloc/execmem-cache.ts",
    search: "  const { mutex } = cache;\n  if (!mutex.tryTake()) yield* mutex.take();\n  const { free } = cache;",
    replacement: "  const { mutex } = cache;\n  void mutex.tryTake();\n  const { free } = cache;",
  },
  {
    name: "execmem_cache_clean leaves a region's frames read-only in the direct map",
    file: "mm/vmalloc/execmem-cache.ts",
    search: "    yield* execmemSetDirectMapValid(state, yield* findVmArea(state, start));\n",
    replacement: "",
  },
  {
    name: "a free piece of executable memory stays writable",
    file: "mm/vmalloc/execmem-cache.ts",
    search: "  yield* execmemRestoreRox(state, start, end - start);\n",
    replacement: "",
  },
  {
    name: "a region that is wholly free is not given back",
    file: "mm/vmalloc/execmem-cache.ts",
    search: "    } else cache.cleanWork.schedule();\n  }\n  mutex.release();\n  return",
    replacement: "    }\n  }\n  mutex.release();\n  return",
  },
  {
    name: "vrealloc frees the old area before it copies",
    file: "mm/vmalloc/vrealloc.ts",
    search: "    copyBytes(state, address, grown, oldBytes);\n    yield* wait(vfree(state, address));",
    replacement: "    yield* wait(vfree(state, address));\n    copyBytes(state, address, grown, oldBytes);",
  },
  {
    name: "vrealloc gives pages of a tail back before they are unmapped",
    file: "mm/vmalloc/vrealloc.ts",
    search:
      "  yield* vunmapRange(state.mm, start + keepPages * PAGE_SIZE, start + had * PAGE_SIZE);\n  const tail = vms.pages[2 * vm] + keepPages;",
    replacement:
      "  const tail = vms.pages[2 * vm] + keepPages;\n  vms.nrPages[2 * vm] = keepPages;\n  pages.freeAreaFrames(state.loop.currentCpu, pageArrays.frames, tail, had - keepPages, vms.isOfOneZone(vm));\n  yield* vunmapRange(state.mm, start + keepPages * PAGE_SIZE, start + had * PAGE_SIZE);\n  if (had > 0) return;",
  },
  {
    name: "vrealloc does not count the pages of a tail that go back",
    file: "mm/vmalloc/vrealloc.ts",
    search: "  state.addNrVmallocPages(keepPages - had);\n",
    replacement: "",
  },
  {
    name: "GFP_NOWAIT purges, and nothing else does",
    file: "mm/vmalloc/alloc-vmap-area.ts",
    search: "const skipsOverflow = state.version.nowaitSkipsOverflow && !gfpflagsAllowBlocking(request.gfp);",
    replacement: "const skipsOverflow = state.version.nowaitSkipsOverflow && gfpflagsAllowBlocking(request.gfp);",
  },
  {
    name: "free_vmap_area_lock is kept where there is no room",
    file: "mm/vmalloc/alloc-vmap-area.ts",
    search: "  state.freeTreeLock.release();\n  const isFound = address !== range.end;",
    replacement:
      "  const isFound = address !== range.end;\n  if (isFound || state.placement !== null) state.freeTreeLock.release();",
  },
  {
    name: "lru_lock is not given back",
    file: "mm/user/lru.ts",
    search: "    this.lock.release();\n    loop.enableInterrupts();",
    replacement: "    loop.enableInterrupts();",
  },
  {
    name: "interrupts stay off once lru_lock has been given back",
    file: "mm/user/lru.ts",
    search: "    this.lock.release();\n    loop.enableInterrupts();",
    replacement: "    this.lock.release();",
  },
  {
    name: "folio_add_lru never puts a full batch on the lists",
    file: "mm/user/lru.ts",
    search: "    if (this.batches[loop.currentCpu].push(frame) >= version.lruAddPages) yield* this.lruAddDrain();",
    replacement: "    void version;\n    this.batches[loop.currentCpu].push(frame);",
  },
  {
    name: "a page waits for the LRU lists without a reference",
    file: "mm/user/lru.ts",
    search: "    this.kernel.pages.references.get(frame);\n    yield* this.batchAdd(frame);",
    replacement: "    yield* this.batchAdd(frame);",
  },
];
