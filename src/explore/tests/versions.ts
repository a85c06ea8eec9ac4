/** What other versions of Linux than 6.12 do at the same time as others: vrealloc that shrinks, areas that a work item frees, one tree. */
import type { KernelCode } from "../../../arch/index.ts";
import {
  __GFP_NOWARN,
  __vmallocNodeRange,
  type AddressRange,
  GFP_NOWAIT,
  newSpinLock,
  type SpinLock,
  VMALLOC_REQUEST,
  VMALLOC_START,
  vfree,
  vmalloc,
  vmallocinfo,
  vmUnmapAliases,
  vrealloc,
  wait,
} from "../../../mm/index.ts";
import type { Kernel } from "../../machine/kernel.ts";
import { expect, load32, store32, tryLoad32, turn } from "../base/accesses.ts";
import type { ExploreTest } from "../base/explore-test.ts";

const PAGE = 4096;

/** An area of some pages that all CPUs have used, and whether what is done to it has been done. */
interface UsedArea {
  readonly address: number;
  isDone: boolean;
}

function usedArea(kernel: Kernel, pages: number): UsedArea {
  const address = kernel.vmalloc(pages * PAGE);
  for (const cpu of kernel.machine.cpus) for (let i = 0; i < pages; i++) cpu.store(address + i * PAGE, 4, 1);
  return { address, isDone: false };
}

const shrink: ExploreTest<UsedArea> = {
  name: "vrealloc-shrinks",
  summary:
    "vrealloc gives the pages of a tail back (7.3) while the other CPU reads there and allocates: once it returns, reads fault",
  kernel: { kernel: "7.3" },
  setup: (kernel) => usedArea(kernel, 3),
  threads: [
    function* (kernel, situation) {
      expect((yield* vrealloc(kernel.vm, situation.address, PAGE)) === situation.address, "an area shrinks in place");
      situation.isDone = true;
    },
    function* (kernel, situation) {
      yield* turn(kernel, "load");
      const { isDone } = situation;
      const value = yield* tryLoad32(kernel, situation.address + 2 * PAGE);
      expect(value === null || !isDone, "no page of the tail can be read once vrealloc has returned");
      // Where the freed pages are used next.
      const other = yield* wait(vmalloc(kernel.vm, 2 * PAGE));
      yield* store32(kernel, other, 2);
    },
  ],
};

/** Areas that are in a busy tree, also those that are not shown yet. */
function busyAreas({ vm }: Kernel): number {
  return vm.nodes.reduce((sum, { busy }) => sum + busy.count, 0);
}

/** No frame is left: the area that was reserved is freed by the work item. */
function* failToAllocate(kernel: Kernel): KernelCode<void> {
  expect((yield* wait(vmalloc(kernel.vm, 2 * PAGE))) === 0, "vmalloc fails without a frame");
}

const failedAreas: ExploreTest<{ readonly areas: number }> = {
  name: "failed-areas-freed-by-work",
  summary:
    "both CPUs cannot populate an area (7.3): the work item frees both, and readers of /proc/vmallocinfo may come in between",
  kernel: { kernel: "7.3" },
  setup(kernel) {
    const areas = busyAreas(kernel);
    kernel.faults.failAt(0, "frame", Number.POSITIVE_INFINITY);
    return { areas };
  },
  threads: [
    failToAllocate,
    function* (kernel) {
      yield* failToAllocate(kernel);
      yield* turn(kernel, "vmallocinfo");
      vmallocinfo(kernel.vm);
    },
  ],
  check(kernel, { areas }) {
    expect(kernel.vm.failedAreas.length === 0, "the work item has freed what was left to it");
    expect(busyAreas(kernel) === areas, "no area is left of what failed");
  },
  expectedWarnings: /vmalloc error/,
};

const oneTree: ExploreTest<UsedArea & { readonly second: number }> = {
  name: "vmalloc-reuse-in-one-tree",
  summary:
    "vfree of two areas and a purge of the one lazy tree of 6.1, while the other CPU allocates, uses and frees memory and reads what was freed",
  kernel: { kernel: "6.1" },
  setup(kernel) {
    const first = usedArea(kernel, 1);
    // Between the two: they do not merge.
    kernel.vmalloc(PAGE);
    return { ...first, second: usedArea(kernel, 1).address };
  },
  threads: [
    function* (kernel, situation) {
      for (const address of [situation.address, situation.second]) yield* wait(vfree(kernel.vm, address));
      yield* vmUnmapAliases(kernel.vm);
      situation.isDone = true;
    },
    function* (kernel, situation) {
      const other = yield* wait(vmalloc(kernel.vm, PAGE));
      yield* store32(kernel, other, 2);
      const { isDone } = situation;
      const value = yield* tryLoad32(kernel, situation.second);
      expect(value === null || !isDone || other === situation.second, "no page can be read once it was purged");
      yield* wait(vfree(kernel.vm, other));
    },
  ],
};

const drainRepeats: ExploreTest<{ readonly addresses: readonly number[] }> = {
  name: "drain-work-repeats",
  summary: "the drain work of 6.1 purges again as long as too much is lazily freed, while both CPUs free",
  kernel: { kernel: "6.1", vmalloc: { lazyMaxPages: 1 } },
  setup: (kernel) => ({ addresses: [usedArea(kernel, 1).address, usedArea(kernel, 1).address] }),
  threads: [0, 1].map(
    (cpu) =>
      function* (kernel, { addresses }) {
        yield* wait(vfree(kernel.vm, addresses[cpu]));
      },
  ),
  check: (kernel) => expect(kernel.vm.lazyNr <= 1, "the drain work goes on until little enough is lazily freed"),
};

const grow: ExploreTest<{ readonly address: number; readonly pages: number }> = {
  name: "vrealloc-grows",
  summary:
    "vrealloc moves an area that grows (7.3) while the other CPU frees, purges and allocates: what it held is in the new one",
  kernel: { kernel: "7.3" },
  setup(kernel) {
    const { address } = usedArea(kernel, 2);
    return { address, pages: usedArea(kernel, 1).address };
  },
  threads: [
    function* (kernel, { address }) {
      const grown = yield* vrealloc(kernel.vm, address, 3 * PAGE);
      expect(grown !== 0 && grown !== address, "an area that grows beyond its pages is moved");
      expect((yield* load32(kernel, grown + PAGE)) === 1, "what an area held is in the one that took its place");
      yield* store32(kernel, grown + 2 * PAGE, 3);
    },
    function* (kernel, { pages }) {
      yield* wait(vfree(kernel.vm, pages));
      yield* vmUnmapAliases(kernel.vm);
      const other = yield* wait(vmalloc(kernel.vm, 3 * PAGE));
      yield* store32(kernel, other + PAGE, 9);
    },
  ],
};

/** A range with room for one page and its guard, which was used and is lazily freed; and a lock of the caller's. */
interface FullRange {
  readonly range: AddressRange;
  readonly lock: SpinLock;
  isPurged: boolean;
}

const nowait: ExploreTest<FullRange> = {
  name: "vmalloc-nowait-under-spinlock",
  summary:
    "memory is asked for with GFP_NOWAIT under a spinlock where room is only lazily freed (7.3): nothing sleeps, whatever the other CPU purges",
  kernel: { kernel: "7.3" },
  setup(kernel) {
    const range = { start: VMALLOC_START, end: VMALLOC_START + 2 * PAGE };
    const address = kernel.vmallocRange(PAGE, range);
    for (const cpu of kernel.machine.cpus) cpu.store(address, 4, 1);
    kernel.vfree(address);
    const { loop } = kernel.machine;
    return { range, lock: newSpinLock("caller's lock", loop, kernel.mm.costs.lock), isPurged: false };
  },
  threads: [
    function* (kernel, situation) {
      const { lock, range } = situation;
      if (!lock.tryTake()) yield* lock.take();
      const { isPurged } = situation;
      const request = { ...VMALLOC_REQUEST, range, gfp: GFP_NOWAIT | __GFP_NOWARN };
      const address = yield* wait(__vmallocNodeRange(kernel.vm, PAGE, request, "nowait"));
      lock.release();
      expect(address !== 0 || !isPurged, "there is room once a purge has returned");
      if (address !== 0) yield* store32(kernel, address, 2);
    },
    function* (kernel, situation) {
      yield* vmUnmapAliases(kernel.vm);
      situation.isPurged = true;
    },
  ],
};

/** Tests of other versions. */
export const VERSION_TESTS = [shrink, failedAreas, oneTree, drainRepeats, grow, nowait];
