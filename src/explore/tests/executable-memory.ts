/** Pages that are put together to large ones (7.3), the cache of executable memory, and changes of rights that fail half way. */
import type { KernelCode } from "../../../arch/index.ts";
import {
  directMapAddress,
  execmemAlloc,
  execmemFree,
  findVmArea,
  setMemoryRo,
  setMemoryRox,
  setMemoryRw,
  vfree,
  vmUnmapAliases,
  wait,
} from "../../../mm/index.ts";
import type { Kernel } from "../../machine/kernel.ts";
import { expect, load32, tryStore32, turn } from "../base/accesses.ts";
import type { ExploreTest, ThreadOf } from "../base/explore-test.ts";

const PAGE = 4096;
const LARGE = 2 ** 21;
const LARGE_PAGES = LARGE / PAGE;
const KERNEL = { kernel: "7.3", memoryBytes: 32 * 2 ** 20 } as const;

/** An area of one large page that was split, as one of its pages was read-only for a time. */
interface SplitArea {
  readonly address: number;
  isDone: boolean;
}

function splitArea(kernel: Kernel): SplitArea {
  const address = kernel.vmallocHuge(LARGE);
  kernel.run(() => setMemoryRo(kernel.vm, address, 1));
  kernel.run(() => setMemoryRw(kernel.vm, address, 1));
  for (const cpu of kernel.machine.cpus) for (const page of [0, 1]) cpu.store(address + page * PAGE, 4, page);
  return { address, isDone: false };
}

/** Makes the whole area read-only and executable, whose pages are then alike and become one. */
function* join(kernel: Kernel, situation: SplitArea): KernelCode<void> {
  const { address } = situation;
  expect((yield* setMemoryRox(kernel.vm, address, LARGE_PAGES)) === 0, "pages can be made read-only and executable");
  situation.isDone = true;
}

const joined: ExploreTest<SplitArea> = {
  name: "pages-joined-against-loads",
  summary:
    "512 pages become one large one (7.3) while the other CPU uses them, and may walk through their page table: it is given back after the flush",
  kernel: KERNEL,
  setup: splitArea,
  watched: ({ address }) => [address + 5 * PAGE],
  threads: [
    join,
    function* (kernel, situation) {
      expect((yield* load32(kernel, situation.address + PAGE)) === 1, "memory holds what was stored in it");
      yield* turn(kernel, "store");
      const { isDone } = situation;
      const stored = yield* tryStore32(kernel, situation.address, 7);
      expect(!stored || !isDone, "no page can be written once set_memory_rox has returned");
    },
  ],
  check(kernel, { address }) {
    expect(kernel.machine.cpus[0].probe(address).pageSize === "2M", "pages that are alike are one");
  },
};

const joinedAndSplit: ExploreTest<SplitArea> = {
  name: "pages-joined-against-split",
  summary: "512 pages become one large one (7.3) while the other CPU makes one of them writable",
  kernel: KERNEL,
  setup: splitArea,
  threads: [
    join,
    function* (kernel, situation) {
      const { address } = situation;
      yield* turn(kernel, "set_memory_rw");
      const { isDone } = situation;
      expect((yield* setMemoryRw(kernel.vm, address, 1)) === 0, "a page can be made writable");
      // What joins may make it read-only after that.
      expect((yield* tryStore32(kernel, address, 7)) || !isDone, "a page can be written that was made writable last");
    },
  ],
  check(kernel, { address }) {
    kernel.vm.tables.cursor.seek(address + PAGE);
    expect(!kernel.vm.tables.cursor.isWritable, "the other pages stay read-only");
  },
  // It may be executable already.
  expectedWarnings: /CPA detected W\^X violation/,
};

/** Calls that fail half way, on both CPUs. */
function* failAndTryAgain(kernel: Kernel, address: number, pages: number, own: number): KernelCode<void> {
  expect((yield* setMemoryRo(kernel.vm, address, pages)) < 0, "a change of what cannot be changed fails");
  const isChanged = pages > 1;
  expect(!isChanged || !(yield* tryStore32(kernel, address, 7)), "what was changed before it failed was flushed");
  expect((yield* setMemoryRo(kernel.vm, own, 1)) === 0, "a page can be made read-only after another change has failed");
  expect(!(yield* tryStore32(kernel, own, 7)), "no page can be written once set_memory_ro has returned");
}

/** Has the direct map's pages split, so that no split flushes later, and stores to each page on every CPU. */
function storeToSmallPages(kernel: Kernel, addresses: readonly number[]): void {
  for (const each of addresses) {
    kernel.run(() => setMemoryRo(kernel.vm, each, 1));
    kernel.run(() => setMemoryRw(kernel.vm, each, 1));
  }
  for (const cpu of kernel.machine.cpus) for (const each of addresses) cpu.store(each, 4, 1);
}

interface Failing {
  /** By CPU. Nobody else may change the rights of these: who finds nothing to change returns before the other's flush. */
  readonly failing: readonly number[];
  readonly own: readonly number[];
}

const unmapped: ExploreTest<Failing> = {
  name: "set-memory-of-unmapped-page",
  summary: "both CPUs change the rights of pages of which one is not mapped: the calls fail, and what follows goes on",
  setup(kernel) {
    const all = [1, 1, 1, 1].map(() => kernel.vmalloc(PAGE));
    storeToSmallPages(kernel, all);
    return { failing: all.slice(0, 2), own: all.slice(2) };
  },
  threads: [0, 1].map(
    (cpu): ThreadOf<Failing> =>
      (kernel, { failing, own }) =>
        // Behind the page is its guard page.
        failAndTryAgain(kernel, failing[cpu], 2, own[cpu]),
  ),
  expectedWarnings: /CPA: called for zero pte/,
};

const splitWithoutMemory: ExploreTest<Failing> = {
  ...unmapped,
  name: "large-page-split-without-memory",
  summary:
    "no page table can be had to split a large page: the call fails on one CPU while the other changes a small page",
  kernel: { memoryBytes: 32 * 2 ** 20 },
  setup(kernel) {
    const address = kernel.vmallocHuge(LARGE);
    const own = [1, 1].map(() => kernel.vmalloc(PAGE));
    storeToSmallPages(kernel, own);
    kernel.faults.failAt(0, "frame", Number.POSITIVE_INFINITY);
    return { failing: [address, address + PAGE], own };
  },
  threads: [0, 1].map(
    (cpu): ThreadOf<Failing> =>
      (kernel, { failing, own }) =>
        failAndTryAgain(kernel, failing[cpu], 1, own[cpu]),
  ),
};

/** Pieces of the cache of executable memory; they lie one behind the other. */
interface Pieces {
  readonly pieces: readonly number[];
  readonly taken: number[];
}

function pieces(kernel: Kernel, count: number): Pieces {
  const all = Array.from({ length: count }, () => kernel.run(() => execmemAlloc(kernel.vm, "module text", PAGE)));
  return { pieces: all, taken: [] };
}

/** Frees pieces. */
function free(numbers: readonly number[]): ThreadOf<Pieces> {
  return function* (kernel, situation) {
    for (const number of numbers) yield* execmemFree(kernel.vm, situation.pieces[number]);
  };
}

/** Asks for a piece, which must be nobody else's and not to be written. */
function takePiece(sizeBytes: number): ThreadOf<Pieces> {
  return function* (kernel, { taken }) {
    yield* turn(kernel, "execmem_alloc");
    const piece = yield* wait(execmemAlloc(kernel.vm, "module text", sizeBytes));
    expect(piece !== 0, "there is room in the cache");
    expect(!taken.includes(piece), "no piece is given out twice");
    taken.push(piece);
    expect(!(yield* tryStore32(kernel, piece, 7)), "memory of the cache cannot be written");
  };
}

const twoFrees: ExploreTest<Pieces> = {
  name: "two-execmem-frees",
  summary: "both CPUs give pieces of the cache of executable memory back (7.3), and the last empties its region",
  kernel: KERNEL,
  setup: (kernel) => pieces(kernel, 2),
  threads: [free([0]), free([1])],
  check(kernel) {
    const { execmem } = kernel.vm;
    expect(execmem?.busy.count === 0, "no piece is in use");
    expect(execmem?.free.count === 0, "a region that is wholly free goes back");
  },
};

const firstPieces: ExploreTest<Pieces> = {
  name: "two-first-execmem-allocs",
  summary: "both CPUs ask for a whole region of executable memory, of which there is none yet (7.3): each gets one",
  kernel: KERNEL,
  setup: (kernel) => pieces(kernel, 0),
  threads: [takePiece(LARGE), takePiece(LARGE)],
};

const cleanedWhileTaken: ExploreTest<Pieces> = {
  name: "execmem-clean-against-alloc",
  summary:
    "the last piece of a region is given back (7.3), whose work item frees the region, while the other CPU asks for a piece",
  kernel: KERNEL,
  setup: (kernel) => pieces(kernel, 1),
  threads: [free([0]), takePiece(PAGE)],
};

const writableAgain: ExploreTest<Pieces & { readonly frames: readonly number[] }> = {
  name: "execmem-clean-against-vmalloc",
  summary:
    "a region of executable memory goes back to vmalloc (7.3) while the other CPU frees and purges: its frames can be written through the direct map",
  kernel: KERNEL,
  setup(kernel) {
    const situation = pieces(kernel, 1);
    const { vms, pageArrays } = kernel.vm;
    const vm = kernel.run(() => findVmArea(kernel.vm, situation.pieces[0]));
    const frames = pageArrays.frames.slice(vms.pages[2 * vm], vms.pages[2 * vm] + 2);
    return { ...situation, frames: [...frames], taken: [kernel.vmalloc(PAGE)] };
  },
  threads: [
    free([0]),
    function* (kernel, { taken }) {
      yield* wait(vfree(kernel.vm, taken[0]));
      yield* vmUnmapAliases(kernel.vm);
    },
  ],
  check(kernel, { frames }) {
    const { cursor } = kernel.vm.tables;
    for (const frame of frames) {
      cursor.seek(directMapAddress(frame * PAGE));
      expect(cursor.isLeaf && cursor.isWritable, `frame 0x${frame.toString(16)} can be written through the direct map`);
    }
  },
};

/** Tests of large pages that are made, and of executable memory. */
export const EXECUTABLE_MEMORY_TESTS = [
  joined,
  joinedAndSplit,
  unmapped,
  splitWithoutMemory,
  twoFrees,
  firstPieces,
  cleanedWhileTaken,
  writableAgain,
];
