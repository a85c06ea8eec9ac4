/**
 * Runs the explorer's tests up to the first schedule that fails, and prints what was found as a line of JSON. Run from a copy of what was
 * built, in which a bug was planted: `find-race.js SCHEDULES [TESTS [ALL]]`. Each test gets some schedules first, and then, as nothing was
 * found, so many at most; only those count whose names begin with one of TESTS, which commas separate. ALL is how many all may have together.
 */
import { Explorer } from "../../src/explore/base/explorer.ts";
import { type ExplorePlan, runShare } from "../../src/explore/base/plan.ts";
import { endEndlessSchedules } from "../../src/explore/host-limit.ts";
import { EXPLORE_TESTS } from "../../src/explore/tests/index.ts";

/** What found a planted bug. */
export interface FoundRace {
  readonly test: string;
  /** Schedules of that test up to the one that fails. */
  readonly schedules: number;
  /** Schedules that were run before and found nothing. */
  readonly before: number;
  readonly kind: string;
  readonly message: string;
}

const EXHAUSTIVE: ExplorePlan = { strategy: "exhaustive", preemptions: 2, sleepSets: true, depth: 0, seed: 0 };
/** Schedules that each test gets at first: most bugs are found by some test in few. */
const FIRST_SCHEDULES = 30;

function findRace(schedulesMax: number, names: readonly string[], all: number): FoundRace | null {
  const tests = EXPLORE_TESTS.filter(({ name }) => names.some((beginning) => name.startsWith(beginning)));
  const explorers = tests.map((test) => new Explorer(test));
  let before = 0;
  const each = Math.max(FIRST_SCHEDULES, Math.min(schedulesMax, Math.ceil(all / tests.length)));
  for (const count of [Math.min(FIRST_SCHEDULES, each), each]) {
    for (const explorer of explorers) {
      const found = runShare(explorer, EXHAUSTIVE, { root: [], first: 0, count });
      if (found.failure === null) {
        before += found.schedules;
        continue;
      }
      const { schedules, result } = found.failure;
      const [message] = (result.failure?.message ?? "").split("\n");
      return { test: explorer.test.name, schedules, before, kind: result.failure?.kind ?? "", message };
    }
  }
  return null;
}

endEndlessSchedules();
const [, , schedules, names = "", all = "Infinity"] = process.argv;
process.stdout.write(`${JSON.stringify(findRace(Number(schedules), names.split(","), Number(all)))}\n`);
