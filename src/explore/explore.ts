/** Exploring a test on all cores. */
import { programModule } from "../files/program-files.ts";
import { type ExplorePlan, inOrder, type Share, type ShareResult, sharesOf } from "./base/plan.ts";
import { deadlineMs } from "./time-limit.ts";
import runTask, { type ExploreTask, prepare, type TestChoice } from "./worker.ts";

/** How much is tried. */
export interface ExploreBudget {
  /** Schedules at most. */
  readonly schedules: number;
  /** Seconds at most; 0: no limit. What is found then depends on how fast the computer is. */
  readonly seconds: number;
  /** Threads of the computer. */
  readonly jobs: number;
}

/**
 * Runs a plan's schedules up to the first that fails. The result does not depend on the number of jobs, unless seconds are limited.
 * @param onProgress told how many schedules have been run
 */
export async function explore(
  test: TestChoice,
  plan: ExplorePlan,
  budget: ExploreBudget,
  onProgress: (schedules: number) => void = () => {},
): Promise<ShareResult> {
  const shares = sharesOf(await prepare(test), plan, budget.schedules);
  const stopAtMs = deadlineMs(budget.seconds);
  const stop = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  const task = (share: Share): ExploreTask => ({ test, plan, share, stopAtMs, stop });
  const results: ShareResult[] = [];
  if (budget.jobs === 1) {
    for (const share of shares) {
      results.push(await runTask(task(share)));
      const so = inOrder(results, shares.length, budget.schedules);
      onProgress(so.schedules);
      if (so.failure !== null || so.schedules >= budget.schedules) return so;
    }
  } else {
    await inPool(shares.map(task), stop, budget, results, onProgress);
  }
  return inOrder(results, shares.length, budget.schedules);
}

/** Runs tasks on a pool; `results` gets theirs in order, up to the first that fails; `stop` then tells the others to end. */
async function inPool(
  tasks: readonly ExploreTask[],
  stop: Int32Array,
  { jobs, schedules }: ExploreBudget,
  results: ShareResult[],
  onProgress: (schedules: number) => void,
): Promise<void> {
  const { Piscina } = await import("piscina");
  const worker = programModule("src/explore/worker");
  const threads = Math.min(jobs, tasks.length);
  const pool = new Piscina({ filename: worker.href, minThreads: threads, maxThreads: threads });
  let done = 0;
  const running = tasks.map(async (each): Promise<ShareResult> => {
    const result = (await pool.run(each)) as ShareResult;
    done += result.schedules;
    onProgress(Math.min(done, schedules));
    return result;
  });
  // Of one that fails, and nobody waits for yet, nothing is lost: all are waited for below.
  for (const each of running) each.catch(() => {});
  try {
    for (const each of running) {
      results.push(await each);
      const so = inOrder(results, tasks.length, schedules);
      if (so.failure !== null || so.schedules >= schedules) break;
    }
  } finally {
    // A pool must not be destroyed while its threads answer.
    Atomics.store(stop, 0, 1);
    await Promise.allSettled(running);
    await pool.destroy();
  }
}
