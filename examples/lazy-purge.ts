/**
 * Lazy purging: vfree unmaps but does not flush. Only when more than lazy_max_pages are lazily freed, the drain work flushes
 * once for all of them and gives their addresses back.
 *
 *     $ npx jiti examples/lazy-purge.ts
 *     vfree 59: 1003 pages lazily freed, at most 1000; work queued: true
 *     vfree 60: 1020 pages lazily freed, at most 1000; work queued: false
 *     one flush of 1020 pages, of whole TLBs
 *     60 areas purged, 0 pages are left
 *     0 pages are lazily freed after the last vfree
 */
import { bootKernel } from "mmulab";
import { NO_EVENTS } from "mmulab/mm";

const kernel = bootKernel({ cpus: 4, memoryBytes: 2 ** 30, vmalloc: { lazyMaxPages: 1000 } });

let frees = 0;
kernel.vm.events = {
  ...NO_EVENTS,
  free: () => void frees++,
  drainSched: (lazyPages, lazyMax, queued) =>
    console.log(`vfree ${frees}: ${lazyPages} pages lazily freed, at most ${lazyMax}; work queued: ${queued}`),
  flushRange: (start, end, full) =>
    console.log(`one flush of ${(end - start) / 4096} pages, ${full ? "of whole TLBs" : "page by page"}`),
  purge: (_start, _end, areas, _fullDecay, _nodes, lazyPages) =>
    console.log(`${areas} areas purged, ${lazyPages} pages are left`),
};

// 16 pages and the guard page: 17 pages of addresses each.
const addresses = Array.from({ length: 60 }, () => kernel.vmalloc(16 * 4096));
for (const address of addresses) kernel.vfree(address);
kernel.runUntilIdle();
console.log(`${kernel.vm.lazyNr} pages are lazily freed after the last vfree`);
