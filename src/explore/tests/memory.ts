/** Lists of free pages and LRU lists: each CPU's own, and those behind a lock that all share. */
import {
  doAnonymousPage,
  FRAME_CALLER,
  GFP_KERNEL,
  madviseDontneed,
  mmapPopulate,
  vfree,
  vmalloc,
  wait,
} from "../../../mm/index.ts";
import type { Kernel } from "../../machine/kernel.ts";
import { expect, load32, store32, turn } from "../base/accesses.ts";
import type { ExploreTest, ThreadOf } from "../base/explore-test.ts";
import { PAGE, type Processes, processes, START } from "./processes.ts";

/** Pages of a batch that moves between a list and its zone, and one more: two batches are needed. */
const MORE_THAN_A_BATCH = 64;
/** Pages that a CPU's list keeps at most (`PCP_HIGH`). */
const LIST_PAGES = 1024;
/** Where the pages are that wait for the LRU lists. */
const BATCHED = START + 2 ** 30;
/** Of a block as large as a page of 2 MiB. */
const LARGE_ORDER = 9;

const refilled: ExploreTest<object> = {
  name: "page-lists-filled-by-two",
  summary: "two CPUs whose lists of free pages are empty fill them from the zone: no page is given out twice",
  setup: () => ({}),
  threads: [0, 1].map(
    (cpu): ThreadOf<object> =>
      function* (kernel) {
        const pages = MORE_THAN_A_BATCH + cpu;
        const address = yield* wait(vmalloc(kernel.vm, pages * PAGE));
        const last = address + (pages - 1) * PAGE;
        yield* store32(kernel, last, cpu);
        expect((yield* load32(kernel, last)) === cpu, "memory holds what was stored in it");
      },
  ),
};

const givenBack: ExploreTest<{ readonly address: number }> = {
  name: "page-list-gives-back-against-fill",
  summary: "a CPU's list has more free pages than it keeps and gives a batch back, while the other CPU fills its own",
  setup(kernel) {
    const [many, address] = [LIST_PAGES - 8, MORE_THAN_A_BATCH].map((pages) => kernel.vmalloc(pages * PAGE));
    kernel.vfree(many);
    return { address };
  },
  threads: [
    function* (kernel, { address }) {
      yield* wait(vfree(kernel.vm, address));
    },
    function* (kernel) {
      const address = yield* wait(vmalloc(kernel.vm, 2 * PAGE));
      yield* store32(kernel, address, 1);
    },
  ],
};

const drained: ExploreTest<{ readonly address: number }> = {
  ...givenBack,
  name: "page-list-drained-while-it-gives-back",
  summary:
    "a CPU's list gives a batch back while the other CPU finds no large page and has all lists drained: no page is given back twice",
  setup(kernel) {
    const situation = givenBack.setup(kernel);
    // Lists of CPUs are not drained for who may not wait.
    while (kernel.pages.allocPages(0, LARGE_ORDER, FRAME_CALLER, 0) !== 0);
    return situation;
  },
  threads: [
    givenBack.threads[0],
    function* (kernel) {
      yield* turn(kernel, "alloc_pages");
      kernel.pages.allocPages(1, LARGE_ORDER, FRAME_CALLER, GFP_KERNEL);
    },
  ],
};

/** A process of which two pages are gone, and on each CPU a batch of others that lacks one to be put on the LRU lists. */
function fullBatches(kernel: Kernel): Processes {
  const situation = processes(kernel, 1);
  const { spaces, mms } = situation;
  kernel.run(() => madviseDontneed(spaces, mms[0], START, START + 2 * PAGE));
  kernel.run(() => spaces.lru.lruAddDrainAll());
  const pages = kernel.vm.version.lruAddPages - 1;
  for (const { id } of kernel.machine.cpus)
    kernel.run(() => mmapPopulate(spaces, mms[0], BATCHED + id * pages * PAGE, pages), id);
  return situation;
}

const lruBatches: ExploreTest<Processes> = {
  name: "lru-batches-of-two",
  summary:
    "two threads fault in a page each, which fills their CPUs' batches, and one gives its page back: all end, and no batch is over-full",
  setup: fullBatches,
  threads: [0, 1].map(
    (cpu): ThreadOf<Processes> =>
      function* (_kernel, { spaces, mms }) {
        const at = START + cpu * PAGE;
        yield* doAnonymousPage(spaces, mms[0], at);
        if (cpu === 0) yield* madviseDontneed(spaces, mms[0], at, at + PAGE);
      },
  ),
  check(kernel, { spaces }) {
    const { lruAddPages } = kernel.vm.version;
    for (const { length } of spaces.lru.batches) expect(length < lruAddPages, `no batch has ${length} pages`);
    expect(!spaces.lru.lock.isHeld, "lru_lock is free once nobody uses the lists");
  },
};

/** Tests of memory that CPUs share. */
export const MEMORY_TESTS = [refilled, givenBack, drained, lruBatches];
