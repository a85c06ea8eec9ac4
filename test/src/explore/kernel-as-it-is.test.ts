/** The shipped tests: none finds anything in the kernel as it is; each former bug of Linux is found by the tests that are about it. */
import { describe, expect, it } from "vitest";
import { BUG_NAMES, type BugName, HISTORICAL_BUGS } from "../../../mm/index.ts";
import type { ExploreTest } from "../../../src/explore/base/explore-test.ts";
import { Explorer } from "../../../src/explore/base/explorer.ts";
import { type ExplorePlan, runShare, type ShareResult } from "../../../src/explore/base/plan.ts";
import { endEndlessSchedules } from "../../../src/explore/host-limit.ts";
import { EXPLORE_TESTS, exploreTestByName } from "../../../src/explore/tests/index.ts";

endEndlessSchedules();

const EXHAUSTIVE: ExplorePlan = { strategy: "exhaustive", preemptions: 2, sleepSets: true, depth: 0, seed: 0 };
const SEED = Number(process.env.MMULAB_SEED ?? Math.floor(Math.random() * 2 ** 32));
/** Schedules of each strategy; more of them where somebody asks for a longer search. */
const SCHEDULES = Number(process.env.MMULAB_SCHEDULES ?? 1000);
const DRAWN = Math.ceil(SCHEDULES / 10);

function run(test: ExploreTest, plan: ExplorePlan, count: number, explorer = new Explorer(test)): ShareResult {
  return runShare(explorer, plan, { root: [], first: 0, count });
}

/** Which test finds which bug, and in how many schedules of an exhaustive search with at most two preemptions. */
const FOUND_BY: Readonly<Record<BugName, readonly (readonly [test: string, schedules: number])[]>> = {
  vmUnmapRamClearsFlags: [["double-vm-unmap-ram", 1]],
  removeVmAreaFindsTwice: [["double-vfree", 19]],
  noVmUninitialized: [["vmallocinfo-during-vmalloc", 2]],
  aliasesSkipFullBlocks: [["aliases-of-full-block", 1]],
  shrinkerWithoutPurgeLock: [["shrinker-against-purge", 81]],
  wrongQueueLock: [["block-purge-against-vb-alloc", 18]],
  flushSkipsSwitchingCpus: [
    ["switch-against-munmap", 35],
    ["switch-with-isolation", 35],
  ],
  lazySwitchWithoutGeneration: [["lazy-against-munmap", 1]],
  munmapFreesBeforeFlush: [["munmap-against-loads", 1]],
  tablesFreedBeforeFlush: [["munmap-of-tables", 1]],
  lazyCpusKeepFreedTables: [["lazy-against-freed-tables", 1]],
  lazyListBeforeUnmap: [["vfree-against-purge", 3]],
  earlyAcknowledgement: [
    ["munmap-of-tables", 14],
    ["two-purges", 2],
  ],
  mremapReleasesBeforeFlush: [["mremap-against-truncate", 282]],
  freedTablesLeaveOtherPcids: [["large-leaf-and-other-pcid", 5]],
  entryForgetsFlush: [["kvm-munmap", 221]],
  nestedFlushMissed: [
    ["two-madvises-of-one-page", 1],
    ["mprotect-against-truncate", 1],
  ],
  cpumaskAfterGeneration: [["switch-against-munmap", 35]],
};

describe("the kernel as it is", () => {
  it.each(EXPLORE_TESTS.map((test) => [test.name, test] as const))(
    "passes %s in every schedule tried",
    (_name, test) => {
      // One machine for all: booting it takes as long as hundreds of schedules.
      const explorer = new Explorer(test);
      const found = run(test, EXHAUSTIVE, SCHEDULES, explorer);
      expect(found.failure).toBeNull();
      for (const strategy of ["random", "pct"] as const) {
        const plan = { strategy, preemptions: 0, sleepSets: false, depth: 4, seed: SEED };
        const drawn = run(test, plan, DRAWN, explorer);
        expect(drawn.failure, `seed ${SEED}`).toBeNull();
      }
    },
  );

  it("has at least twenty tests, each with a name of its own", () => {
    expect(EXPLORE_TESTS.length).toBeGreaterThanOrEqual(20);
    expect(new Set(EXPLORE_TESTS.map(({ name }) => name)).size).toBe(EXPLORE_TESTS.length);
  });
});

describe("a bug that Linux has had", () => {
  it("is one of at least twelve, and says where it was mended and what it does", () => {
    expect(BUG_NAMES.length).toBeGreaterThanOrEqual(12);
    for (const name of BUG_NAMES) {
      expect(HISTORICAL_BUGS[name].source.length, name).toBeGreaterThan(20);
      expect(HISTORICAL_BUGS[name].effect.length, name).toBeGreaterThan(20);
    }
  });

  it("may be harmless in part: a second vfree meets an area without a vm_struct, is warned, and that is all", () => {
    const test = exploreTestByName("double-vfree");
    const found = run({ ...test, kernel: { ...test.kernel, bugs: ["vmUnmapRamClearsFlags"] } }, EXHAUSTIVE, SCHEDULES);
    expect(found.failure).toBeNull();
    expect(found.isComplete).toBe(true);
  });

  const cases = BUG_NAMES.flatMap((bug) => FOUND_BY[bug].map(([test, schedules]) => [bug, test, schedules] as const));
  it.each(cases)("%s is found by %s within %i schedules", (bug, name, schedules) => {
    const test = exploreTestByName(name);
    const found = run({ ...test, kernel: { ...test.kernel, bugs: [bug] } }, EXHAUSTIVE, SCHEDULES);
    expect(found.failure).not.toBeNull();
    expect(found.failure?.schedules).toBeLessThanOrEqual(schedules);
  });
});
