/**
 * Runs the explorer's tests one after the other up to the first schedule that fails, and prints what was found as a line of JSON. Run from a
 * copy of what was built, in which a bug was planted: `find-race.js SCHEDULES [TEST]`, where each test gets so many schedules at most, and only those count whose names begin so.
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
  /** Schedules of the tests before it that found nothing. */
  readonly before: number;
  readonly kind: string;
  readonly message: string;
}

const EXHAUSTIVE: ExplorePlan = { strategy: "exhaustive", preemptions: 2, sleepSets: true, depth: 0, seed: 0 };

function findRace(schedulesMax: number, names: string): FoundRace | null {
  let before = 0;
  for (const test of EXPLORE_TESTS.filter(({ name }) => name.startsWith(names))) {
    const found = runShare(new Explorer(test), EXHAUSTIVE, { root: [], first: 0, count: schedulesMax });
    if (found.failure === null) {
      before += found.schedules;
      continue;
    }
    const { schedules, result } = found.failure;
    const [message] = (result.failure?.message ?? "").split("\n");
    return { test: test.name, schedules, before, kind: result.failure?.kind ?? "", message };
  }
  return null;
}

endEndlessSchedules();
process.stdout.write(`${JSON.stringify(findRace(Number(process.argv[2]), process.argv[3] ?? ""))}\n`);
