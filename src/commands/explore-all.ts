/** `mmulab explore --all`: every test that comes with the explorer, on the kernel as it is or with bugs. */
import { startProgress } from "../command-line/progress.ts";
import { minimise } from "../explore/base/minimise.ts";
import type { ExplorePlan } from "../explore/base/plan.ts";
import { formatSchedule } from "../explore/base/schedule-text.ts";
import { type ExploreBudget, explore } from "../explore/explore.ts";
import { EXPLORE_TESTS } from "../explore/tests/index.ts";
import { prepare, type TestChoice } from "../explore/worker.ts";
import { counted } from "../report/counted.ts";

/** What came of one test. */
export interface TestVerdict {
  readonly test: string;
  /** Schedules that were run. */
  readonly schedules: number;
  /** Schedules that were left out because others come to the same. */
  readonly redundant: number;
  /** Whether there are no others within the bound. */
  readonly isComplete: boolean;
  /** What fails, and under which schedule, as short as it gets; null when nothing does. */
  readonly failure: { readonly kind: string; readonly message: string; readonly schedule: string } | null;
}

/**
 * Explores all tests on the kernel that `choice` names, one after the other; `budget` is each test's.
 * @param told gets each verdict as soon as it is known
 */
export async function exploreAll(
  choice: Omit<TestChoice, "name">,
  plan: ExplorePlan,
  budget: ExploreBudget,
  quiet: boolean,
  told: (verdict: TestVerdict) => void,
): Promise<TestVerdict[]> {
  const verdicts: TestVerdict[] = [];
  const progress = startProgress(EXPLORE_TESTS.length, quiet);
  for (const { name } of EXPLORE_TESTS) {
    progress.update(verdicts.length, "tests");
    const test: TestChoice = { name, ...choice };
    const { schedules, redundant, isComplete, failure } = await explore(test, plan, budget);
    let shown: TestVerdict["failure"] = null;
    if (failure !== null) {
      const shorter = minimise(await prepare(test), failure.result);
      const { kind, message } = shorter.failure ?? { kind: "", message: "" };
      shown = { kind, message, schedule: formatSchedule(shorter.deviations) };
    }
    const verdict = { test: name, schedules, redundant, isComplete, failure: shown };
    verdicts.push(verdict);
    progress.clear();
    told(verdict);
  }
  progress.clear();
  return verdicts;
}

/** A verdict in one line. */
export function describeVerdict({ test, schedules, isComplete, failure }: TestVerdict): string {
  const count = `${String(schedules).padStart(9)} ${isComplete ? "(all)" : "     "}`;
  const verdict =
    failure === null
      ? "nothing found"
      : `${failure.kind}: ${failure.message.split("\n")[0]}; schedule ${failure.schedule}`;
  return `${test.padEnd(32)} ${count} ${verdict}\n`;
}

/** What came of all tests, in one line. @param machine what was chosen of the machine: `; preset zen4` */
export function summarize(verdicts: readonly TestVerdict[], machine: string): string {
  const failed = verdicts.filter(({ failure }) => failure !== null).length;
  const schedules = verdicts.reduce((sum, each) => sum + each.schedules, 0);
  const complete = verdicts.filter(({ isComplete }) => isComplete).length;
  const tests = [counted(verdicts.length, "test"), counted(schedules, "schedule")];
  return `${tests.join(", ")}, ${counted(complete, "test")} searched to the end; ${failed} failed${machine}\n`;
}
