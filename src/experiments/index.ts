/** The experiments that `mmulab experiment` knows. */
import type { Preset } from "../../arch/index.ts";
import type { Experiment, ExperimentObserver, ExperimentResult } from "./experiment.ts";
import { flushCeiling } from "./flush-ceiling.ts";
import { flushCost } from "./flush-cost.ts";
import { inputsOf } from "./inputs.ts";
import { lazyThreshold } from "./lazy-threshold.ts";
import { pageTables } from "./page-tables.ts";
import { ParameterReader } from "./parameters.ts";
import { vmapContention } from "./vmap-contention.ts";

/** All experiments, in the order in which they are listed. */
export const EXPERIMENTS: readonly Experiment[] = [flushCost, flushCeiling, lazyThreshold, vmapContention, pageTables];

/**
 * Runs an experiment.
 * @param given parameters by name, as text; the rest are defaults
 * @throws UsageError for a parameter that is not possible
 */
export function runExperiment(
  experiment: Experiment,
  preset: Preset,
  seed: number,
  given: Readonly<Record<string, string | undefined>>,
  observer: ExperimentObserver = { onProgress: () => {}, onKernel: () => {} },
): ExperimentResult {
  const parameters = new ParameterReader(experiment.parameters, given);
  const values = parameters.all();
  const outcome = experiment.run({ preset, seed, parameters, ...observer });
  const { name } = experiment;
  return { name, preset: preset.name, seed, parameters: values, ...outcome, inputs: inputsOf(preset) };
}
