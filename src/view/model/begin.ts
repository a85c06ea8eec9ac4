/** Boots the machine of a scenario, and says how it goes on. */
import { PRESETS } from "../../../arch/index.ts";
import { DEFAULT_KERNEL_COSTS } from "../../../mm/index.ts";
import { unknownName, ValueError } from "../../input/errors.ts";
import { parseParameters } from "../../input/parameters.ts";
import { bootKernel, type Kernel } from "../../machine/kernel.ts";
import type { FigureChoice } from "../../settings/figure-choice.ts";
import { kernelSettings, readSettings } from "../../settings/machine-settings.ts";
import { SETTING_NAMES } from "../../settings/setting-names.ts";
import type { Workload } from "../../workloads/base/workload.ts";
import { STEPPED_WORKLOADS } from "../../workloads/stepped-workloads.ts";
import {
  CPUS_MAX,
  OPERATIONS_MAX,
  type SourceScenario,
  type StoryScenario,
  type WorkloadScenario,
} from "./scenario.ts";
import { STORIES } from "./stories/index.ts";
import { nameCalls } from "./stories/name-calls.ts";
import { type Look, openStory, type Story } from "./stories/story.ts";

const MIB = 2 ** 20;
/** Operations of a run in which refills are attributed to flushes at the most: it makes a run three times as slow. */
const REFILLS_OPERATIONS_MAX = 20_000;

/** The names of workloads that can be run step by step. */
export function steppedWorkloads(): string[] {
  return STEPPED_WORKLOADS.map(({ name }) => name);
}

/** A scenario that has begun: a booted machine, and how it goes on. */
export interface Begun {
  readonly kernel: Kernel;
  /** Steps in all, where that is known before they were made. */
  readonly length: number | null;
  /** Makes the next step; false when there is none. */
  step(): boolean;
  /** What the last step was, for those that tell a story. */
  told(): Told | null;
}

/** A step of a story that was made. */
export interface Told {
  readonly title: string;
  readonly text: string;
  /** What the machine did in it. */
  readonly found: string;
  /** What the machine did line by line, where one line does not say it; mostly none. */
  readonly lines: readonly string[];
  readonly look: Look;
}

/**
 * Boots the machine of a story or of a workload that comes with the program; nothing has happened on it yet.
 * @param figures of a workload's machine, where they are not just those of a preset by name
 * @throws MmulabError for a name or a setting that is not possible
 */
export function begin(scenario: StoryScenario | WorkloadScenario, figures?: FigureChoice): Begun {
  if (scenario.kind === "story") return beginStory(findStory(scenario.name));
  const workload = STEPPED_WORKLOADS.find(({ name }) => name === scenario.name);
  if (workload === undefined) throw unknownName("workload", scenario.name, steppedWorkloads());
  return beginWorkload(scenario, workload, scenario.parameters, figures);
}

/** The story called `name`. @throws UnknownNameError */
function findStory(name: string): Story {
  const found = STORIES.find((story) => story.name === name);
  if (found !== undefined) return found;
  throw unknownName(
    "story",
    name,
    STORIES.map((story) => story.name),
  );
}

function beginStory(story: Story): Begun {
  const { kernel, steps } = openStory(story);
  nameCalls(kernel);
  kernel.vm.flushing.keepAccounts();
  let told: Told | null = null;
  let next = 0;
  return {
    kernel,
    length: steps.length,
    step: () => {
      if (next >= steps.length) return false;
      const { title, text, act } = steps[next++];
      const { found, lines = [], ...look } = act();
      told = { title, text, found, lines, look };
      return true;
    },
    told: () => told,
  };
}

/**
 * Boots a machine and starts a workload on it, which has run nothing yet.
 * @param words its parameters, as `NAME=VALUE`
 * @param figures of the machine, where they are not just those of a preset by name
 * @throws MmulabError for a setting that is not possible
 */
export function beginWorkload(
  scenario: WorkloadScenario | SourceScenario,
  workload: Workload,
  words: readonly string[] = [],
  figures: FigureChoice = plainFigures(scenario),
): Begun {
  const { cpus, memoryMib, operations, seed } = scenario;
  checkWhole("cpus", cpus, 1, CPUS_MAX);
  checkWhole("memory", memoryMib, 64, 2 ** 20);
  checkWhole("ops", operations, 1, OPERATIONS_MAX);
  checkWhole("seed", seed, 0, 2 ** 32 - 1);
  const strange = Object.keys(scenario.settings).find((name) => !(SETTING_NAMES as readonly string[]).includes(name));
  if (strange !== undefined) throw unknownName("setting", strange, SETTING_NAMES);
  const settings = kernelSettings({ ...readSettings(scenario.settings), figures }, cpus);
  const parameters = parseParameters(workload.name, workload.parameters ?? [], words);
  const kernel = bootKernel({ ...settings, memoryBytes: memoryMib * MIB });
  kernel.namesCalls = true;
  kernel.vm.flushing.keepAccounts({ refills: operations <= REFILLS_OPERATIONS_MAX });
  let finish: (() => unknown) | null = workload.start?.(kernel, { operations, seed, parameters }) ?? null;
  // The last step is what the workload does when its threads have ended.
  const step = (): boolean => {
    if (stepLoop(kernel)) return true;
    if (finish === null) return false;
    finish();
    finish = null;
    return true;
  };
  return { kernel, length: null, step, told: () => null };
}

/** The figures of a scenario that names a preset and changes nothing in it; `figures.ts` has those of all others. @throws UnknownNameError */
export function plainFigures({ preset: name, set = [] }: Pick<WorkloadScenario, "preset" | "set">): FigureChoice {
  if (set.length > 0) throw new Error(`figures of ${name} are changed by whoever begins the scenario`);
  const preset = PRESETS.find((each) => each.name === name);
  if (preset !== undefined) return { preset, costs: DEFAULT_KERNEL_COSTS };
  throw unknownName(
    "preset",
    name,
    PRESETS.map((each) => each.name),
  );
}

/** Lets the CPU that can act first act once: to its next pause, or through the interrupts that have come. */
function stepLoop(kernel: Kernel): boolean {
  let steps = 0;
  kernel.machine.loop.run(() => steps++ === 1);
  return steps === 2;
}

function checkWhole(name: string, value: unknown, low: number, high: number): void {
  if (typeof value === "number" && Number.isInteger(value) && value >= low && value <= high) return;
  throw new ValueError(name, value, `a whole number from ${low} to ${high}`);
}
