/** Bugs of concurrency planted in what other versions of Linux than 6.12 do: vrealloc that shrinks, work items, one lazy tree. */
import type { PlantedRace } from "./planted-race.ts";

/** All of them. */
export const PLANTED_VERSION_RACES: readonly PlantedRace[] = [
  {
    name: "vrealloc gives the pages of a tail back before it unmaps and flushes them",
    file: "mm/vmalloc/vrealloc.ts",
    search:
      "  yield* vunmapRange(state.mm, start + keepPages * PAGE_SIZE, start + had * PAGE_SIZE);\n  const tail = vms.pages[2 * vm] + keepPages;\n  state.loop.point(POINT_FREES_FRAMES, pageArrays.frames.subarray(tail, tail + had - keepPages));\n  pages.freeAreaFrames(state.loop.currentCpu, pageArrays.frames, tail, had - keepPages, vms.isOfOneZone(vm));\n",
    replacement:
      "  const tail = vms.pages[2 * vm] + keepPages;\n  state.loop.point(POINT_FREES_FRAMES, pageArrays.frames.subarray(tail, tail + had - keepPages));\n  pages.freeAreaFrames(state.loop.currentCpu, pageArrays.frames, tail, had - keepPages, vms.isOfOneZone(vm));\n  yield* vunmapRange(state.mm, start + keepPages * PAGE_SIZE, start + had * PAGE_SIZE);\n",
  },
  {
    name: "vrealloc does not flush what it unmaps",
    file: "mm/vmalloc/vrealloc.ts",
    search: "  yield* vunmapRange(state.mm, start + keepPages * PAGE_SIZE, start + had * PAGE_SIZE);\n",
    replacement:
      "  state.tables.owed.waive(\n    state.tables.vunmapRangeNoflush(start + keepPages * PAGE_SIZE, start + had * PAGE_SIZE),\n  );\n",
  },
  {
    name: "vrealloc unmaps and flushes all of a tail but its last page",
    file: "mm/vmalloc/vrealloc.ts",
    search: "start + keepPages * PAGE_SIZE, start + had * PAGE_SIZE);\n",
    replacement: "start + keepPages * PAGE_SIZE, start + (had - 1) * PAGE_SIZE);\n",
  },
  {
    name: "the work item that frees failed areas forgets those that come while it runs",
    file: "mm/vmalloc/vm-area-cleanup.ts",
    search:
      "state.failedAreas.splice(0).reverse()) {\n    if (vms.pages[2 * vm] === 0) yield* freeVmArea(state, vm);\n    else yield* wait(vfree(state, vms.addr[vm]));\n  }\n",
    replacement:
      "[...state.failedAreas].reverse()) {\n    if (vms.pages[2 * vm] === 0) yield* freeVmArea(state, vm);\n    else yield* wait(vfree(state, vms.addr[vm]));\n  }\n  state.failedAreas.length = 0;\n",
  },
  {
    name: "the work item that frees failed areas takes only the last",
    file: "mm/vmalloc/vm-area-cleanup.ts",
    search: "state.failedAreas.splice(0).reverse()",
    replacement: "state.failedAreas.splice(-1).reverse()",
  },
  {
    name: "a purge of one lazy tree gives areas back before the flush",
    file: "mm/vmalloc/purge.ts",
    search: "  if (taken.length > 0) {\n    yield* flushTlbKernelRange(",
    replacement:
      "  if (taken.length > 0) {\n    if (state.version.mergesLazyAreas) yield* giveBackMerged(state, taken[0]);\n    yield* flushTlbKernelRange(",
  },
  {
    name: "a purge of one lazy tree gives free_vmap_area_lock back after its first area",
    file: "mm/vmalloc/purge.ts",
    search:
      "    state.addLazyNr(-pages);\n    node.nrPurged++;\n    state.loop.spend(costs.treeStepCycles * state.freeTree.depth + costs.pages.slabCycles);\n  }\n  state.freeTreeLock.release();",
    replacement:
      "    state.addLazyNr(-pages);\n    node.nrPurged++;\n    if (node.nrPurged === 1) state.freeTreeLock.release();\n  }\n",
  },
];
