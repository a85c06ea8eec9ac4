/** Runs an experiment; the page does it too. */
import { figuresOf, type Preset } from "../../arch/index.ts";
import { ParameterReader } from "../input/parameter-reader.ts";
import { bootKernel, type Kernel, type KernelConfig } from "../machine/kernel.ts";
import { figuresOfMachine, figuresUsed } from "../report/figures.ts";
import { describeSettings, kernelCosts, kernelSettings, type MachineSettings } from "../settings/machine-settings.ts";
import type { Experiment, ExperimentObserver, ExperimentResult } from "./base/experiment.ts";
import { Points } from "./base/points.ts";
import { UsedFigures } from "./base/used-figures.ts";

/** Memory of an experiment's machines. */
const MEMORY_BYTES = 2 ** 36;

/**
 * Runs an experiment.
 * @param given parameters by name, as text; the rest are defaults
 * @param settings of the machines; those that the experiment does not take must be absent
 * @param notesUse whether its result says which figures it used (`used-figures.ts`); the same otherwise, and it takes somewhat longer
 * @throws ValueError for a parameter that is not possible
 */
export function runExperiment(
  experiment: Experiment,
  preset: Preset,
  seed: number,
  given: Readonly<Record<string, string | undefined>>,
  observer: ExperimentObserver = { onProgress: () => {}, onKernel: () => {} },
  settings: MachineSettings = {},
  notesUse = false,
): ExperimentResult {
  const parameters = new ParameterReader(experiment.parameters, given);
  const stated = Object.entries(parameters.all()).filter(([, value]) => value !== "");
  const values = { ...Object.fromEntries(stated), ...describeSettings(settings) };
  const noted = notesUse ? new UsedFigures(preset) : null;
  const ofNoted = noted === null ? {} : { preset: noted.preset };
  const bootAlone = (config: Partial<KernelConfig>): Kernel => noted?.boot(config) ?? bootKernel(config);
  const boot = (cpus: number, label: string, config: Partial<KernelConfig> = {}): Kernel => {
    const set = kernelSettings(settings, cpus);
    const vmalloc = { ...set.vmalloc, ...config.vmalloc };
    const kernel = bootAlone({ memoryBytes: MEMORY_BYTES, preset, ...set, ...config, ...ofNoted, vmalloc });
    observer.onKernel(kernel, label);
    return kernel;
  };
  const points = new Points(observer.onPoint ?? null, () => noted?.settle());
  const outcome = experiment.run({
    preset: noted?.preset ?? preset,
    seed,
    parameters,
    settings,
    boot,
    bootAlone,
    build: (make) => (noted === null ? make() : noted.build(make)),
    points,
    onProgress: (done, total, text) => observer.onProgress(done, total, text),
    onKernel: (kernel, label) => observer.onKernel(kernel, label),
  });
  const { name } = experiment;
  const used = {
    ...figuresUsed(settings, experiment.runsGuests === true || settings.guest === true),
    overlap: experiment.overlaps === true,
  };
  const figures =
    experiment.hasKernel === false
      ? figuresOf(preset, used)
      : figuresOfMachine(preset, kernelCosts(settings), used, settings.figures?.hypervisorCosts);
  const usedOnes = noted?.among(figures);
  const inputs = usedOnes ? figures.map((figure) => ({ ...figure, used: usedOnes.has(figure) })) : figures;
  return { name, preset: preset.name, seed, parameters: values, ...outcome, inputs };
}
