/** The experiments that `mmulab experiment` knows. */
import { unknownName } from "../input/errors.ts";
import { OwnCode } from "../input/own-code.ts";
import type { Experiment } from "./base/experiment.ts";
import { kernelDiff } from "./kernel-diff/kernel-diff.ts";
import { KERNEL_EXPERIMENTS } from "./kernel-experiments.ts";

export { runExperiment } from "./run-experiment.ts";

/** All experiments, in the order in which they are listed. */
export const EXPERIMENTS: readonly Experiment[] = [...KERNEL_EXPERIMENTS, kernelDiff];

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
