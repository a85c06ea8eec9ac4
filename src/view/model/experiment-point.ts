/** Points of experiments, as links name them. Loaded when the first is opened. */
import { KERNEL_EXPERIMENTS } from "../../experiments/kernel-experiments.ts";
import { runExperiment } from "../../experiments/run-experiment.ts";
import { unknownName, ValueError } from "../../input/errors.ts";
import { readSettings } from "../../settings/machine-settings.ts";
import { figuresOf } from "./figures.ts";
import { PointCourse, type PointWatch } from "./point-course.ts";
import { CPUS_MAX, type PointScenario } from "./scenario.ts";

/**
 * Reads what a link says of a point.
 * @returns what begins its run
 * @throws MmulabError for a name, a parameter or a setting that is not possible, or when the experiment has no such point
 */
export function openPoint(scenario: PointScenario): () => PointCourse {
  const { name, point, seed } = scenario;
  const experiment = KERNEL_EXPERIMENTS.find((each) => each.name === name);
  if (experiment === undefined) {
    const names = KERNEL_EXPERIMENTS.map((each) => each.name);
    throw unknownName("experiment", name, names);
  }
  const figures = figuresOf(scenario, null);
  const { preset } = figures;
  const given = parametersOf(scenario);
  for (const parameter of Object.keys(given)) {
    const names = experiment.parameters.map((spec) => spec.name);
    if (!names.includes(parameter)) throw unknownName("parameter", parameter, names);
  }
  const settings = { ...readSettings(scenario.settings), figures };
  const run = (watch: PointWatch): void => {
    const observer = new PointFinder(point, watch);
    runExperiment(experiment, preset, seed, given, observer, settings);
    throw new ValueError("point", point, `a point of ${name} that has a machine with a kernel`);
  };
  const text = `Point ${point} of the experiment ${name}: ${experiment.summary}. Seed ${seed}, preset ${preset.name}.`;
  return () => new PointCourse(run, text);
}

function parametersOf({ parameters }: PointScenario): Record<string, string> {
  return Object.fromEntries(
    parameters.map((word): [string, string] => {
      const equals = word.indexOf("=");
      if (equals < 0) throw new ValueError("p", word, "NAME=VALUE");
      return [word.slice(0, equals), word.slice(equals + 1)];
    }),
  );
}

/** Leaves out all points but one, and tells when that one begins and ends. */
class PointFinder {
  readonly onPoint = this;
  private readonly path: string;
  private readonly watch: PointWatch;
  /** Whether the point, or for a mark the point that it is in, is under way; whether its machine is there; whether it has begun. */
  private isWithin = false;
  private hasMachine = false;
  private hasBegun = false;
  private label = "";

  constructor(path: string, watch: PointWatch) {
    this.path = path;
    this.watch = watch;
  }

  onProgress(): void {}

  onKernel(kernel: Parameters<PointWatch["machine"]>[0]): void {
    if (!this.isWithin || this.hasBegun) return;
    const { length } = kernel.machine.cpus;
    if (length > CPUS_MAX) throw new ValueError("cpus", length, `a point of at most ${CPUS_MAX} CPUs`);
    this.watch.machine(kernel);
    this.hasMachine = true;
    // A point without a mark begins with its first machine.
    if (!this.path.includes(".")) this.begin(this.label);
  }

  wants(point: string): boolean {
    return point === this.path.split(".")[0];
  }

  begins(path: string, label: string): void {
    if (!path.includes(".")) {
      this.isWithin = true;
      this.label = label;
    } else if (this.hasBegun && this.path.includes(".")) this.watch.end();
    else if (path === this.path && this.hasMachine) this.begin(`${this.label}, ${label}`);
  }

  ends(): void {
    if (this.hasBegun) this.watch.end();
    this.isWithin = false;
  }

  private begin(label: string): void {
    this.hasBegun = true;
    this.watch.start(label);
  }
}
