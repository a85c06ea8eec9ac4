/** What each thread of the worker pool runs: one share of a test's schedules at a time. */
import { presetByName } from "../../arch/index.ts";
import type { BugName } from "../../mm/index.ts";
import { isModuleFile } from "../files/own-module.ts";
import type { KernelConfig } from "../machine/kernel.ts";
import { choiceOf } from "../settings/figure-choice.ts";
import { loadPreset } from "../settings/load-figures.ts";
import { EXPLORED_PRESET, nameBeforeShrunk, shrunk } from "./base/explored-kernel.ts";
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
  /** Other values for figures of the microarchitecture and of the kernel, `NAME=VALUE`; absent: none. */
  readonly set?: readonly string[];
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
export async function prepare({ name, bugs, kernel, preset, set = [] }: TestChoice): Promise<Explorer<unknown>> {
  endEndlessSchedules();
  const test = isModuleFile(name) ? await loadTestFile(name) : exploreTestByName(name);
  const chosen = {
    ...(bugs.length === 0 ? {} : { bugs }),
    ...(kernel === undefined ? {} : { kernel }),
    ...(await figuresFor(test.kernel?.preset, preset, set)),
  };
  return new Explorer({ ...test, kernel: { ...test.kernel, ...chosen } });
}

/**
 * The figures of a test's machine.
 * @param own the preset that the test asks for itself
 * @throws UnknownNameError, InputFileError, ValueError for what is wrong with `preset` or `set`
 */
async function figuresFor(
  own: KernelConfig["preset"] | undefined,
  preset: string | undefined,
  set: readonly string[],
): Promise<Partial<Pick<KernelConfig, "preset" | "costs">>> {
  // A wrong name is wrong for every test.
  const given = preset === undefined ? undefined : shrunk(await loadPreset(preset));
  const found = own ?? given ?? EXPLORED_PRESET;
  const base = typeof found === "string" ? presetByName(found) : found;
  if (set.length === 0) return { preset: base };
  const { preset: changed, costs } = choiceOf(nameBeforeShrunk(base), base, set);
  return { preset: changed, costs };
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
