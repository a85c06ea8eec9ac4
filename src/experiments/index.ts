/** The experiments that `mmulab experiment` knows. */
import type { Preset } from "../../arch/index.ts";
import { unknownName } from "../input/errors.ts";
import { OwnCode } from "../input/own-code.ts";
import { ParameterReader } from "../input/parameter-reader.ts";
import { bootKernel, type Kernel, type KernelConfig } from "../machine/kernel.ts";
import { figuresOfMachine, figuresUsed } from "../report/figures.ts";
import { describeSettings, kernelSettings, type MachineSettings } from "../settings/machine-settings.ts";
import type { Experiment, ExperimentObserver, ExperimentResult } from "./base/experiment.ts";
import { flushCeiling } from "./flush-ceiling/flush-ceiling.ts";
import { flushCost } from "./flush-cost/flush-cost.ts";
import { fracture } from "./fracture.ts";
import { guestShootdown } from "./guest-shootdown.ts";
import { kernelDiff } from "./kernel-diff/kernel-diff.ts";
import { lazyThreshold } from "./lazy-threshold/lazy-threshold.ts";
import { nestedWalk } from "./nested-walk.ts";
import { pageTables } from "./page-tables.ts";
import { pcidPingPong } from "./pcid-ping-pong.ts";
import { tlbCurves } from "./tlb-curves.ts";
import { concurrentFlush } from "./user-flush/concurrent-flush.ts";
import { fork } from "./user-flush/fork.ts";
import { madviseLoop } from "./user-flush/madvise-loop.ts";
import { pageFault } from "./user-flush/page-fault.ts";
import { userFlush } from "./user-flush/user-flush.ts";
import { vmallocPages } from "./vmalloc-pages.ts";
import { vmapContention } from "./vmap-contention.ts";
import { walkOverlap } from "./walk-overlap.ts";

/** Memory of an experiment's machines. */
const MEMORY_BYTES = 2 ** 36;

/** All experiments, in the order in which they are listed. */
export const EXPERIMENTS: readonly Experiment[] = [
  flushCost,
  flushCeiling,
  lazyThreshold,
  vmapContention,
  pageTables,
  walkOverlap,
  tlbCurves,
  userFlush,
  madviseLoop,
  pageFault,
  concurrentFlush,
  pcidPingPong,
  fork,
  vmallocPages,
  nestedWalk,
  fracture,
  guestShootdown,
  kernelDiff,
];

/** Experiments in files of one's own, once they are loaded (own-experiment.ts). */
export const OWN_EXPERIMENTS = new OwnCode<Experiment>();

/**
 * The experiment of that name, or in the file of that name, which was loaded.
 * @throws UnknownNameError when there is none
 */
export function findExperiment(name: string): Experiment {
  const found = EXPERIMENTS.find((experiment) => experiment.name === name) ?? OWN_EXPERIMENTS.find(name);
  if (found !== undefined) return found;
  throw unknownName(
    "experiment",
    name,
    EXPERIMENTS.map((experiment) => experiment.name),
  );
}

/**
 * Runs an experiment.
 * @param given parameters by name, as text; the rest are defaults
 * @param settings of the machines; those that the experiment does not take must be absent
 * @throws ValueError for a parameter that is not possible
 */
export function runExperiment(
  experiment: Experiment,
  preset: Preset,
  seed: number,
  given: Readonly<Record<string, string | undefined>>,
  observer: ExperimentObserver = { onProgress: () => {}, onKernel: () => {} },
  settings: MachineSettings = {},
): ExperimentResult {
  const parameters = new ParameterReader(experiment.parameters, given);
  const stated = Object.entries(parameters.all()).filter(([, value]) => value !== "");
  const values = { ...Object.fromEntries(stated), ...describeSettings(settings) };
  const boot = (cpus: number, label: string, config: Partial<KernelConfig> = {}): Kernel => {
    const set = kernelSettings(settings, cpus);
    const vmalloc = { ...set.vmalloc, ...config.vmalloc };
    const kernel = bootKernel({ memoryBytes: MEMORY_BYTES, preset, ...set, ...config, vmalloc });
    observer.onKernel(kernel, label);
    return kernel;
  };
  const outcome = experiment.run({ preset, seed, parameters, settings, boot, ...observer });
  const { name } = experiment;
  return {
    name,
    preset: preset.name,
    seed,
    parameters: values,
    ...outcome,
    inputs: figuresOfMachine(preset, kernelSettings(settings, 1).costs, {
      ...figuresUsed(settings, experiment.runsGuests === true || settings.guest === true),
      overlap: experiment.overlaps === true,
    }),
  };
}
