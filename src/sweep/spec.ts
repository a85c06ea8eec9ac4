/** What a sweep is: a workload or an experiment, and a grid of values, read from YAML. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { LineCounter, parseDocument } from "yaml";
import { z } from "zod";
import { EXPERIMENTS } from "../experiments/index.ts";
import { ParameterReader } from "../experiments/parameters.ts";
import { toInputError } from "../files/byte-chunks.ts";
import { UsageError } from "../input/errors.ts";
import { parseParameters } from "../input/parameters.ts";
import { suggestion } from "../input/suggestion.ts";
import { memorySize } from "../input/values.ts";
import { type MachineSettings, readSettings, type SettingName } from "../settings/machine-settings.ts";
import { findPreset } from "../settings/presets.ts";
import { findWorkload } from "../workloads/index.ts";

/** A value of a grid. */
export type GridValue = number | string | boolean;

/** A sweep, checked. */
export interface SweepSpec {
  readonly kind: "workload" | "experiment";
  readonly name: string;
  /** Values by parameter, in the order of the file; the last varies fastest. */
  readonly grid: readonly { readonly name: string; readonly values: readonly GridValue[] }[];
  readonly seeds: readonly number[];
  /** Identifies the sweep: the same for the same grid. */
  readonly key: string;
}

/** One point of a grid. */
export interface SweepPoint {
  /** Its place in the whole grid, from 0. */
  readonly index: number;
  readonly values: Readonly<Record<string, GridValue>>;
  readonly seed: number;
}

const POINTS_MAX = 1_000_000;
const SEED_MAX = 2 ** 32 - 1;
const VALUE = z.union([z.number(), z.string(), z.boolean()]);
const SPEC = z.strictObject({
  workload: z.string().optional(),
  experiment: z.string().optional(),
  seeds: z
    .union([z.number().int().min(1).max(10_000), z.array(z.number().int().min(0).max(SEED_MAX)).min(1)])
    .optional(),
  grid: z.record(z.string(), z.union([VALUE, z.array(VALUE).min(1)])).optional(),
});

/** Parameters of a grid that concern the machine, for workloads: how each value is checked. */
const MACHINE_PARAMETERS: Readonly<Record<string, (value: GridValue) => unknown>> = {
  cpus: wholeFrom(1, 1024),
  memory: (value) => memorySize(2 ** 26, 2 ** 44)(String(value)),
  preset: (value) => findPreset(String(value)),
  operations: wholeFrom(1, 1e9),
};

/** Columns of a grid that are settings of the machine, as options of the command line are. */
export const SETTING_COLUMNS: Readonly<Record<string, SettingName>> = {
  topology: "topology",
  policy: "policy",
  isolated: "isolated",
  pti: "pti",
  flush_ceiling_pages: "flush-ceiling",
  lazy_max_pages: "lazy-max",
  vmap_nodes: "vmap-nodes",
  nr_cpus: "nr-cpus",
  ipi_mode: "ipi-mode",
};

/**
 * The settings of the machine among the values of a point.
 * @throws UsageError, InvalidArgumentError for one that is not possible
 */
export function settingsOf(values: Readonly<Record<string, GridValue>>): MachineSettings {
  const given = Object.entries(values).flatMap(([column, value]): [SettingName, string][] =>
    column in SETTING_COLUMNS ? [[SETTING_COLUMNS[column], String(value)]] : [],
  );
  return readSettings(Object.fromEntries(given));
}

/**
 * Reads a sweep from a YAML file.
 * @param firstSeed the first seed of a sweep that says how many it wants
 * @throws RecordingError when it cannot be read, UsageError for what is wrong in it, with its line where that is known
 */
export function readSweepSpec(file: string, firstSeed = 1): SweepSpec {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw toInputError(file, 0, error);
  }
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const [problem] = document.errors;
  if (problem !== undefined) {
    const { line, col } = lines.linePos(problem.pos[0]);
    throw new UsageError(`${file}:${line}:${col}: ${problem.message.split(" at line")[0].split("\n")[0]}`);
  }
  const value: unknown = document.toJS();
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new UsageError(`${file}: is no sweep: expected a mapping with workload or experiment, and grid`);
  }
  const parsed = SPEC.safeParse(value);
  if (!parsed.success) throw new UsageError(`${file}: ${describeIssue(parsed.error.issues[0])}`);
  return checked(file, parsed.data, firstSeed);
}

/** All points of a sweep, in order. */
export function sweepPoints(spec: SweepSpec): SweepPoint[] {
  const points: SweepPoint[] = [];
  const count = spec.grid.reduce((product, { values }) => product * values.length, spec.seeds.length);
  for (let index = 0; index < count; index++) {
    let rest = index;
    const seed = spec.seeds[rest % spec.seeds.length];
    rest = Math.floor(rest / spec.seeds.length);
    const values: Record<string, GridValue> = {};
    for (const { name, values: choices } of [...spec.grid].reverse()) {
      values[name] = choices[rest % choices.length];
      rest = Math.floor(rest / choices.length);
    }
    const ordered = Object.fromEntries(spec.grid.map(({ name }) => [name, values[name]]));
    points.push({ index, values: ordered, seed });
  }
  return points;
}

function checked(file: string, data: z.infer<typeof SPEC>, firstSeed: number): SweepSpec {
  const { workload, experiment } = data;
  if ((workload === undefined) === (experiment === undefined)) {
    throw new UsageError(`${file}: expected either workload or experiment`);
  }
  const grid = Object.entries(data.grid ?? {}).map(([name, value]) => ({
    name,
    values: Array.isArray(value) ? value : [value],
  }));
  const { seeds = 1 } = data;
  const kind = workload === undefined ? "experiment" : "workload";
  const spec = {
    kind,
    name: workload ?? experiment ?? "",
    grid,
    seeds: typeof seeds === "number" ? Array.from({ length: seeds }, (_, i) => firstSeed + i) : seeds,
  } as const;
  const points = grid.reduce((product, { values }) => product * values.length, spec.seeds.length);
  if (points > POINTS_MAX) throw new UsageError(`${file}: the grid has ${points} points; the most is ${POINTS_MAX}`);
  const check = kind === "workload" ? workloadChecker(spec.name) : experimentChecker(spec.name);
  for (const { name, values } of grid) {
    for (const value of values) {
      try {
        check(name, value);
      } catch (error) {
        throw new UsageError(`${file}: ${describe(name, value, error)}`);
      }
    }
  }
  const key = createHash("sha256").update(JSON.stringify(spec)).digest("hex").slice(0, 16);
  return { ...spec, key };
}

type Checker = (name: string, value: GridValue) => void;

function workloadChecker(name: string): Checker {
  const workload = findWorkload(name);
  const specs = workload.parameters ?? [];
  const names = [
    ...Object.keys(MACHINE_PARAMETERS),
    ...Object.keys(SETTING_COLUMNS),
    ...specs.map((spec) => spec.name),
  ];
  return (parameter, value) => {
    const check = MACHINE_PARAMETERS[parameter];
    if (check !== undefined) check(value);
    else if (parameter in SETTING_COLUMNS) settingsOf({ [parameter]: value });
    else if (specs.some((spec) => spec.name === parameter)) parseParameters(name, specs, [`${parameter}=${value}`]);
    else throw new UsageError(unknown(name, parameter, names));
  };
}

function experimentChecker(name: string): Checker {
  const found = EXPERIMENTS.find((experiment) => experiment.name === name);
  if (found === undefined) {
    const names = EXPERIMENTS.map((experiment) => experiment.name);
    throw new UsageError(`unknown experiment '${name}'${suggestion(name, names)}; there are ${names.join(", ")}`);
  }
  const settings = Object.keys(SETTING_COLUMNS).filter((column) => found.settings.includes(SETTING_COLUMNS[column]));
  const names = ["preset", ...settings, ...found.parameters.map((parameter) => parameter.name)];
  return (parameter, value) => {
    if (parameter === "preset") findPreset(String(value));
    else if (settings.includes(parameter)) settingsOf({ [parameter]: value });
    else if (!names.includes(parameter)) throw new UsageError(unknown(name, parameter, names));
    else new ParameterReader(found.parameters, { [parameter]: String(value) }).all();
  };
}

function unknown(owner: string, name: string, names: readonly string[]): string {
  return `${owner} has no parameter '${name}'${suggestion(name, names)}; it has ${names.join(", ")}`;
}

function describe(name: string, value: GridValue, error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.includes(name) ? text : `${name} ${value}: ${text}`;
}

function describeIssue(issue: z.core.$ZodIssue): string {
  const where = issue.path.length === 0 ? "" : `${issue.path.join(".")}: `;
  return `${where}${issue.message}`;
}

function wholeFrom(low: number, high: number): (value: GridValue) => void {
  return (value) => {
    if (typeof value === "number" && Number.isInteger(value) && value >= low && value <= high) return;
    throw new UsageError(`expected a whole number from ${low} to ${high}`);
  };
}
