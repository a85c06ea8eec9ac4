/** Pages that are moved while others use them. */
import { madviseDontneed, mremap, unmapMappingRange } from "../../../mm/index.ts";
import { expect, tryLoad32, tryStore32, turn } from "../base/accesses.ts";
import type { ExploreTest } from "../base/explore-test.ts";
import { END, PAGE, type Processes, processes, START } from "./processes.ts";

/** Where `mremap` moves a page. */
const MOVED = 0x800000;

const mremapAgainstTruncate: ExploreTest<Processes> = {
  name: "mremap-against-truncate",
  summary: "a page is moved, and given back at its new place by the other CPU, which has used it at the old one",
  setup: (kernel) => processes(kernel, 1),
  threads: [
    function* (_kernel, { spaces, mms }) {
      yield* mremap(spaces, mms[0], START, START + PAGE, MOVED);
    },
    function* (kernel, { spaces, mms }) {
      yield* unmapMappingRange(spaces, mms[0], MOVED, MOVED + PAGE);
      yield* tryStore32(kernel, START, 5);
    },
  ],
};

const mremapAgainstMadvise: ExploreTest<Processes> = {
  ...mremapAgainstTruncate,
  name: "mremap-against-madvise",
  summary:
    "a page is moved, and given back at its new place by a thread that has used it at the old one and takes mmap_lock to read",
  threads: [
    mremapAgainstTruncate.threads[0],
    function* (kernel, { spaces, mms }) {
      yield* madviseDontneed(spaces, mms[0], MOVED, MOVED + PAGE);
      yield* tryStore32(kernel, START, 5);
    },
  ],
};

const mremapAgainstMadviseOfMapping: ExploreTest<Processes> = {
  ...mremapAgainstMadvise,
  name: "mremap-against-madvise-of-mapping",
  summary: "the same where the thread takes the lock of the mapping (7.3), which whoever moves the page holds to write",
  kernel: { kernel: "7.3" },
};

const mremapAgainstLoads: ExploreTest<Processes> = {
  ...mremapAgainstTruncate,
  name: "mremap-against-loads",
  summary:
    "pages are moved while a thread of the process reads: once mremap returns, the old place faults and the new one does not",
  threads: [
    function* (_kernel, situation) {
      yield* mremap(situation.spaces, situation.mms[0], START, END, MOVED);
      situation.isDone = true;
    },
    function* (kernel, situation) {
      yield* turn(kernel, "load");
      const { isDone } = situation;
      const before = yield* tryLoad32(kernel, START + PAGE);
      expect(before === null || !isDone, "the old place cannot be read once mremap has returned");
      const isDoneNow = situation.isDone;
      const after = yield* tryLoad32(kernel, MOVED + PAGE);
      expect(after !== null || !isDoneNow, "the new place can be read once mremap has returned");
    },
  ],
};

/** Tests of moved pages. */
export const MREMAP_TESTS = [
  mremapAgainstTruncate,
  mremapAgainstMadvise,
  mremapAgainstMadviseOfMapping,
  mremapAgainstLoads,
];
