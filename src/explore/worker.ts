/** What each thread of the worker pool runs: one share of a test's schedules at a time. */
import type { BugName } from "../../mm/index.ts";
import { isModuleFile } from "../files/own-module.ts";
import { loadPreset } from "../settings/presets.ts";
import { shrunk } from "./base/explored-kernel.ts";
import { Explorer } from "./base/explorer.ts";
import { type ExplorePlan, runShare, type Share, type ShareResult } from "./base/plan.ts";
import { endEndlessSchedules } from "./host-limit.ts";
import { loadTestFile } from "./own-test.ts";
import { exploreTestByName } from "./tests/index.ts";
import { isOver } from "./time-limit.ts";

/** Which test, on which kernel. */
export interface TestChoice {
  /** The name of a test, or a file. */
  readonly name: string;
  readonly bugs: readonly BugName[];
  /** The version of Linux (`7.3`). Default: the test's own, or the one that kernels have by default. */
  readonly kernel?: string;
  /** The microarchitecture, or a file with one, of tests that do not ask for one themselves. Default: `EXPLORED_KERNEL`'s. */
  readonly preset?: string;
}

/** A task of the pool. */
export interface ExploreTask {
  readonly test: TestChoice;
  readonly plan: ExplorePlan;
  readonly share: Share;
  /** When to stop, in milliseconds since 1970; 0: never. */
  readonly stopAtMs: number;
  /** One number that all threads share: not 0 when nobody waits for the result any more. */
  readonly stop: Int32Array;
}

/** A test on its machine. @throws UnknownNameError or WorkloadError when there is no such test */
export async function prepare({ name, bugs, kernel, preset }: TestChoice): Promise<Explorer<unknown>> {
  endEndlessSchedules();
  const test = isModuleFile(name) ? await loadTestFile(name) : exploreTestByName(name);
  const hasOwn = preset === undefined || test.kernel?.preset !== undefined;
  const chosen = {
    ...(bugs.length === 0 ? {} : { bugs }),
    ...(kernel === undefined ? {} : { kernel }),
    ...(hasOwn ? {} : { preset: shrunk(await loadPreset(preset)) }),
  };
  return new Explorer({ ...test, kernel: { ...test.kernel, ...chosen } });
}

const prepared = new Map<string, Explorer<unknown>>();
/** Schedules between two looks at the clock. */
const SCHEDULES_A_LOOK = 16;

/** Runs a task. */
export default async function run({ test, plan, share, stopAtMs, stop }: ExploreTask): Promise<ShareResult> {
  const mustStop = (): boolean => Atomics.load(stop, 0) !== 0 || isOver(stopAtMs);
  if (mustStop()) return { schedules: 0, redundant: 0, isComplete: false, failure: null, choicesMax: 0 };
  const key = JSON.stringify(test);
  let explorer = prepared.get(key);
  if (explorer === undefined) {
    explorer = await prepare(test);
    prepared.set(key, explorer);
  }
  const goesOn = (done: number): boolean => done % SCHEDULES_A_LOOK > 0 || !mustStop();
  return runShare(explorer, plan, share, goesOn);
}
