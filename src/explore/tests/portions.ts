/** Unmapping more than is collected at once, as there is no memory for another batch: it is flushed and given back in portions. */
import { doAnonymousPage, mmapPopulate, munmap } from "../../../mm/index.ts";
import type { Kernel } from "../../machine/kernel.ts";
import { expect, tryLoad32, turn } from "../base/accesses.ts";
import type { ExploreTest } from "../base/explore-test.ts";
import { END, PAGE, type Processes, processes, START } from "./processes.ts";

/** Where there are more pages than a gather holds without memory for a batch. */
const MANY = 0x80_0000;
const LARGE = 2 ** 21;

/** A process with pages at `addresses`, which all CPUs have used, when memory has run out. */
function withPages(kernel: Kernel, addresses: readonly number[]): Processes {
  const situation = processes(kernel, 1);
  for (const address of addresses) {
    kernel.run(() => mmapPopulate(situation.spaces, situation.mms[0], address, 1));
    for (const cpu of kernel.machine.cpus) cpu.load(address, 4);
  }
  kernel.run(() => situation.spaces.lru.lruAddDrain());
  kernel.faults.failAt(0, "frame", Number.POSITIVE_INFINITY);
  return situation;
}

const manyPages = Array.from({ length: 9 }, (_, page) => MANY + page * PAGE);

const inPortions: ExploreTest<Processes> = {
  name: "munmap-in-portions",
  summary:
    "munmap of more pages than are collected at once, while a thread of the process reads the first and the last of them",
  setup: (kernel) => withPages(kernel, manyPages),
  threads: [
    function* (_kernel, situation) {
      yield* munmap(situation.spaces, situation.mms[0], MANY, MANY + 9 * PAGE);
      situation.isDone = true;
    },
    function* (kernel, situation) {
      for (const at of [manyPages[0], manyPages[8]]) {
        yield* turn(kernel, "load");
        const { isDone } = situation;
        const value = yield* tryLoad32(kernel, at);
        expect(value === null || !isDone, "no page can be read once munmap has returned");
      }
    },
  ],
};

/** A page in each of so many page tables. */
const tables = Array.from({ length: 5 }, (_, table) => MANY + table * LARGE);

const tablesInPortions: ExploreTest<Processes & { readonly tablePages: number }> = {
  name: "munmap-of-tables-in-portions",
  summary: "munmap of more page tables than are collected at once, while a thread of the process faults elsewhere",
  setup(kernel) {
    const situation = withPages(kernel, tables);
    return { ...situation, tablePages: situation.mms[0].tables.tablePages };
  },
  threads: [
    function* (_kernel, { spaces, mms }) {
      yield* munmap(spaces, mms[0], MANY, MANY + 5 * LARGE);
    },
    function* (_kernel, { spaces, mms }) {
      // Nothing is mapped: memory has run out. But the page tables are looked through.
      yield* doAnonymousPage(spaces, mms[0], END);
      yield* doAnonymousPage(spaces, mms[0], START);
    },
  ],
  check: (_kernel, { mms, tablePages }) =>
    expect(mms[0].tables.tablePages === tablePages - 5, "the page tables of what was unmapped are given back"),
};

/** Tests of unmapping in portions. */
export const PORTION_TESTS = [inPortions, tablesInPortions];
