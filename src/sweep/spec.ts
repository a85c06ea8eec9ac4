/** What a sweep is: a workload, an experiment or a trace to replay, and a grid of values, read from YAML. */
import { createHash } from "node:crypto";
import { findExperiment } from "../experiments/index.ts";
import { readSmallText } from "../files/whole-file.ts";
import { type FilePlace, InputFileError, inputErrorAt, UnknownNameError, ValueError } from "../input/errors.ts";
import { ParameterReader } from "../input/parameter-reader.ts";
import { integersOf, parseParameters } from "../input/parameters.ts";
import { versionText } from "../provenance/program-version.ts";
import { COMMAND_CPUS_MAX, parseMemorySize } from "../settings/machine-limits.ts";
import type { SettingName } from "../settings/setting-names.ts";
import { findWorkload } from "../workloads/index.ts";
import {
  type CodeRun,
  checkCodeFigures,
  checkFigures,
  fileContents,
  isFigureColumn,
  presetNamed,
  unknownColumn,
} from "./figure-columns.ts";
import { loadOwnCode, ownCodeContents } from "./own-code.ts";
import { checkGuestColumns, SETTING_COLUMNS, settingsOf } from "./setting-columns.ts";
import {
  type GridText,
  type GridValue,
  type Located,
  readSpecText,
  SPEC_BYTES_MAX,
  type SpecText,
} from "./spec-text.ts";
import { checkTraceColumn, isTraceKind, type TraceKind, traceContents, traceProblem } from "./trace-columns.ts";

/** What a sweep can be of. */
export type SweepKind = "workload" | "experiment" | TraceKind;

/** A sweep, checked. */
export interface SweepSpec {
  readonly kind: SweepKind;
  /** Name of the workload or experiment; the trace's file. */
  readonly name: string;
  /** Values by parameter, in the order of the file; the last varies fastest. */
  readonly grid: readonly { readonly name: string; readonly values: readonly GridValue[] }[];
  readonly seeds: readonly number[];
  /** The program that ran its points, with its version. */
  readonly program: string;
  /** Identifies the sweep: the same for the same grid, run by the same version of the program. */
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
const EXPECTED = "workload, experiment, references, ftrace";

/** Parameters of a grid that concern the machine, for workloads: how each value is checked. */
const MACHINE_PARAMETERS: Readonly<Record<string, (value: GridValue) => unknown>> = {
  cpus: wholeFrom(1, COMMAND_CPUS_MAX),
  memory: (value) => parseMemorySize(String(value)),
  preset: (value) => presetNamed(String(value)),
  operations: wholeFrom(1, 1e9),
};

/**
 * Reads a sweep from a YAML file.
 * @param firstSeed the first seed of a sweep that says how many it wants
 * @throws InputFileError when it cannot be read or something in it is wrong, with its line where that is known
 */
export function readSweepSpec(file: string, firstSeed = 1): SweepSpec {
  return parseSweepSpec(file, readSmallText(file, SPEC_BYTES_MAX), firstSeed);
}

/**
 * A sweep from its text.
 * @param file its name, for messages
 * @param program the version of the program that runs it, or that has run it
 * @throws InputFileError when something in it is wrong, with its line where that is known
 */
export function parseSweepSpec(file: string, text: string, firstSeed: number, program = versionText()): SweepSpec {
  return checked(file, readSpecText(file, text), firstSeed, program);
}

/**
 * Loads the files of one's own that a specification names; to be called before it is read.
 * @throws InputFileError, OwnCodeError, WorkloadError when one cannot be loaded
 */
export async function loadOwnCodeOfSpec(file: string, text = readSmallText(file, SPEC_BYTES_MAX)): Promise<void> {
  await loadOwnCode(readSpecText(file, text));
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

function checked(file: string, text: SpecText, firstSeed: number, program: string): SweepSpec {
  const { subjects, seeds } = text;
  const [subject, other] = subjects;
  if (subject === undefined) throw new InputFileError(file, 1, `expected one of ${EXPECTED}`, 1);
  if (other !== undefined) {
    throw inputErrorAt(other.at, `expected either ${subject.kind} or ${other.kind}, not both`);
  }
  const check = located(subject.at, () => checkerOf(subject));
  if (isTraceKind(subject.kind) && seeds !== undefined) {
    throw inputErrorAt(seeds.at, "seeds: a replay makes no random choices, and has none");
  }
  const grid = text.grid.map((column) => withRanges(column, check));
  const spec = {
    kind: subject.kind,
    name: subject.value,
    grid: grid.map(({ name, values }) => ({ name, values: values.map(({ value }) => value) })),
    seeds: seedsOf(seeds, firstSeed),
    program,
  } as const;
  const points = spec.grid.reduce((product, { values }) => product * values.length, spec.seeds.length);
  if (points > POINTS_MAX) {
    const at = text.grid[0]?.at ?? subject.at;
    throw inputErrorAt(at, `the grid has ${points} points; the most is ${POINTS_MAX}`);
  }
  checkFigures(grid);
  checkCodeFigures(grid, codeRunBy(subject));
  for (const column of grid) checkColumn(column, check);
  checkGuestColumns(grid, settingsTakenBy(subject));
  const key = createHash("sha256")
    .update(JSON.stringify(spec))
    .update(fileContents(spec.grid))
    .update(ownCodeContents(spec.kind, spec.name, spec.grid))
    .update(isTraceKind(spec.kind) ? traceContents(spec.kind, spec.name) : "")
    .digest("hex")
    .slice(0, 16);
  return { ...spec, key };
}

function codeRunBy({ kind, value }: SpecText["subjects"][number]): CodeRun {
  if (kind !== "experiment") return { kernel: kind !== "references", hypervisor: false };
  const { hasKernel = true, runsGuests = false } = findExperiment(value);
  return { kernel: hasKernel, hypervisor: hasKernel && runsGuests };
}

/** Which settings of the machine are columns of such a sweep; an experiment may have parameters of the same names. */
function settingsTakenBy({ kind, value }: SpecText["subjects"][number]): (name: SettingName) => boolean {
  if (kind !== "experiment") return () => true;
  const { settings } = findExperiment(value);
  return (name) => settings.includes(name);
}

/** Checks the values of a column that is no figure. @throws InputFileError with the place of what is wrong */
function checkColumn({ name, at, values }: GridText, check: Checker): void {
  if (isFigureColumn(name)) return;
  for (const value of values) {
    try {
      check(name, value.value);
    } catch (error) {
      if (error instanceof UnknownNameError && error.value === name) throw inputErrorAt(at, `${error.message}`);
      throw inputErrorAt(value.at, `${describe(name, value.value, error)}`);
    }
  }
}

/** A column with all numbers of a range such as `1-4` in its place, where the column takes these numbers and no such text. */
function withRanges(column: GridText, check: Checker): GridText {
  const { name, values } = column;
  const takes = (value: GridValue): boolean => {
    try {
      check(name, value);
      return true;
    } catch {
      return false;
    }
  };
  const numbersFor = (value: GridValue): number[] | null => {
    const numbers = typeof value === "string" && value.includes("-") ? integersOf(value) : null;
    if (numbers === null || isFigureColumn(name)) return numbers;
    return !takes(value) && numbers.every(takes) ? numbers : null;
  };
  const expanded = values.flatMap((each) => numbersFor(each.value)?.map((value) => ({ value, at: each.at })) ?? [each]);
  const seen = new Set<GridValue>();
  for (const { value, at } of expanded) {
    if (seen.has(value)) throw inputErrorAt(at, `${name} ${value} is given twice`);
    seen.add(value);
  }
  return { ...column, values: expanded };
}

function seedsOf(seeds: Located<number | readonly number[]> | undefined, firstSeed: number): readonly number[] {
  const { value } = seeds ?? { value: 1 };
  return typeof value === "number" ? Array.from({ length: value }, (_, i) => firstSeed + i) : value;
}

/** Runs `action`; what is wrong with its subject is told with the place where that stands. */
function located<T>(at: FilePlace, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw inputErrorAt(at, `${(error as Error).message}`);
  }
}

type Checker = (name: string, value: GridValue) => void;

/** What checks the columns of a sweep. @throws UnknownNameError, ValueError for a subject that there is not */
function checkerOf({ kind, value }: SpecText["subjects"][number]): Checker {
  if (kind === "workload") return workloadChecker(value);
  if (kind === "experiment") return experimentChecker(value);
  const problem = traceProblem(kind, value);
  if (problem !== null) throw new ValueError(kind, value, problem);
  return (parameter, each) => checkTraceColumn(kind, parameter, each);
}

function workloadChecker(name: string): Checker {
  const workload = findWorkload(name);
  const specs = workload.parameters ?? [];
  const names = [
    ...Object.keys(MACHINE_PARAMETERS),
    ...Object.keys(SETTING_COLUMNS),
    ...specs.map((spec) => spec.name),
  ];
  return (parameter, value) => {
    if (Object.hasOwn(MACHINE_PARAMETERS, parameter)) MACHINE_PARAMETERS[parameter](value);
    else if (Object.hasOwn(SETTING_COLUMNS, parameter)) settingsOf({ [parameter]: value });
    else if (specs.some((spec) => spec.name === parameter)) parseParameters(name, specs, [`${parameter}=${value}`]);
    else throw unknownColumn(name, parameter, names);
  };
}

function experimentChecker(name: string): Checker {
  const found = findExperiment(name);
  const settings = Object.keys(SETTING_COLUMNS).filter((column) => found.settings.includes(SETTING_COLUMNS[column]));
  const names = ["preset", ...settings, ...found.parameters.map((parameter) => parameter.name)];
  return (parameter, value) => {
    if (parameter === "preset") presetNamed(String(value));
    else if (settings.includes(parameter)) settingsOf({ [parameter]: value });
    else if (!names.includes(parameter)) throw unknownColumn(name, parameter, names);
    else new ParameterReader(found.parameters, { [parameter]: String(value) }).all();
  };
}

function describe(name: string, value: GridValue, error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.includes(name) ? text : `${name} ${value}: ${text}`;
}

function wholeFrom(low: number, high: number): (value: GridValue) => void {
  return (value) => {
    if (typeof value === "number" && Number.isInteger(value) && value >= low && value <= high) return;
    throw new ValueError("", value, `a whole number from ${low} to ${high}`);
  };
}
