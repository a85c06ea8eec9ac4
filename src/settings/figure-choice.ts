/** Which figures a machine has: a preset by name or from a file, and single figures that were given another value (`--set`). */
import {
  allFiguresOf,
  assumed,
  checkPreset,
  type FigureValue,
  MachineUsageError,
  type Preset,
  withFigure,
} from "../../arch/index.ts";
import {
  ConfigError,
  checkKernelCosts,
  DEFAULT_KERNEL_COSTS,
  type KernelCosts,
  kernelFiguresOf,
  withKernelCost,
} from "../../mm/index.ts";
import {
  HYPERVISOR,
  HYPERVISOR_COSTS,
  type HypervisorCosts,
  hypervisorFigures,
  withHypervisorCost,
} from "../guests/hypervisor-costs.ts";
import { UnknownNameError, ValueError } from "../input/errors.ts";
import { suggestion } from "../input/suggestion.ts";
import { isPresetFile } from "./presets.ts";

/** The figures of a machine and its kernel. */
export interface FigureChoice {
  /** With what was given. */
  readonly preset: Preset;
  readonly costs: KernelCosts;
  /** What the hypervisor below a guest costs; absent: as always. */
  readonly hypervisorCosts?: HypervisorCosts;
  /** The file that the preset was read from; absent when it is one of mmulab's own. */
  readonly presetFile?: string;
  /** Values that were given, as they were written, by the figure's name; absent when there are none. */
  readonly set?: Readonly<Record<string, string>>;
}

/** The option that gives figures other values. */
const SET = "--set";

/** How the names of the kernel's costs begin. */
export const KERNEL = "kernel.";
/** A number as people and programs write it. */
const NUMBER = /^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i;
/** Names that a message lists; of more it gives the beginnings. */
const LISTED_MAX = 16;

/**
 * The figures of a preset that was found under `word`, with `words`.
 * @param option what the words were given by, for errors
 * @throws UnknownNameError, ValueError
 */
export function choiceOf(word: string, preset: Preset, words: readonly string[], option = SET): FigureChoice {
  const file = isPresetFile(word) ? { presetFile: word } : {};
  if (words.length === 0) return { preset, costs: DEFAULT_KERNEL_COSTS, ...file };
  const given = new Map<string, string>();
  for (const each of words) {
    const at = each.indexOf("=");
    if (at <= 0) throw new ValueError(option, each, "NAME=VALUE, such as costs.walk=30");
    const name = each.slice(0, at);
    if (given.has(name)) throw new ValueError(option, each, "each name once");
    given.set(name, each.slice(at + 1));
  }
  const set = Object.fromEntries(given);
  return { ...withSet({ word, preset, option }, set), ...file, set };
}

/**
 * A choice with another value for one figure that is a number.
 * @throws ValueError when no machine can have it
 */
export function changeFigure(choice: FigureChoice, name: string, value: number): FigureChoice {
  return {
    ...choice,
    ...withSet(
      { word: choice.preset.name, preset: choice.preset, option: SET },
      { [name]: String(value) },
      choice.costs,
      choice.hypervisorCosts,
    ),
  };
}

/** What figures are changed of: the preset, the word it is known by, and the option that changes them. */
interface Subject {
  readonly word: string;
  readonly preset: Preset;
  readonly option: string;
}

function withSet(
  { word, preset, option }: Subject,
  set: Readonly<Record<string, string>>,
  oldCosts: KernelCosts = DEFAULT_KERNEL_COSTS,
  oldHypervisorCosts: HypervisorCosts = HYPERVISOR_COSTS,
): Pick<FigureChoice, "preset" | "costs" | "hypervisorCosts"> {
  const current = currentValues(preset);
  let costs = oldCosts;
  let hypervisorCosts = oldHypervisorCosts;
  let changed = preset;
  for (const [name, text] of Object.entries(set)) {
    const old = current.get(name);
    if (old === undefined) throw unknownFigure(option, word, name, [...current.keys()]);
    const value = valueLike(old, `${option} ${name}`, text);
    if (name.startsWith(KERNEL)) costs = withKernelCost(costs, name, value as number | string);
    else if (name.startsWith(HYPERVISOR))
      hypervisorCosts = hypervisorCost(hypervisorCosts, name, value as number, option);
    else changed = withFigure(changed, name, value, assumed(`given; ${String(old)} in the preset ${preset.name}`));
  }
  check(changed, costs, set, option);
  return { preset: changed, costs, ...(hypervisorCosts === HYPERVISOR_COSTS ? {} : { hypervisorCosts }) };
}

/** @throws ValueError for a value that is not possible */
function hypervisorCost(costs: HypervisorCosts, name: string, value: number, option: string): HypervisorCosts {
  try {
    return withHypervisorCost(costs, name, value);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    throw new ValueError(`${option} ${name}`, String(value), String(error.expected));
  }
}

/** The value of everything that can be set. */
function currentValues(preset: Preset): Map<string, FigureValue> {
  const figures = [...allFiguresOf(preset), ...kernelFiguresOf(DEFAULT_KERNEL_COSTS), ...hypervisorFigures()];
  return new Map<string, FigureValue>([
    ...figures.map(({ name, value }): [string, FigureValue] => [
      name,
      name.endsWith(".pageSizes") ? String(value).split("+") : value,
    ]),
    ...Object.entries(preset.features).map(([name, on]): [string, FigureValue] => [`features.${name}`, on]),
  ]);
}

/** The names that can be set: figures of a preset, of the kernel and of a hypervisor, and features. */
export function settableNames(preset: Preset): string[] {
  return [...currentValues(preset).keys()];
}

/** A text read as a value of the kind of another. @param subject what it is for @throws ValueError */
function valueLike(old: FigureValue, subject: string, text: string): FigureValue {
  if (typeof old === "string") return text;
  if (Array.isArray(old)) return text.split("+");
  if (typeof old === "boolean") {
    if (text === "true" || text === "false") return text === "true";
    throw new ValueError(subject, text, "true or false");
  }
  // Adding 0 makes 0 of -0. What range a figure has, its own check says.
  const value = NUMBER.test(text) ? Number(text) + 0 : Number.NaN;
  if (Number.isFinite(value)) return value;
  throw new ValueError(subject, text, "a number, such as 30, 0.5 or 1e6");
}

/** @throws ValueError naming what was set, when it or what follows from it is not possible */
function check(preset: Preset, costs: KernelCosts, set: Readonly<Record<string, string>>, option: string): void {
  try {
    checkPreset(preset);
    checkKernelCosts(costs);
  } catch (error) {
    if (!(error instanceof MachineUsageError || error instanceof ConfigError)) throw error;
    const path = (error.subject ?? "")
      .replace(/^preset: /, "")
      .replace(/^costs\./, error instanceof ConfigError ? KERNEL : "costs.");
    const name = Object.keys(set).find((each) => path === each || path === `${each}.value`);
    const all = Object.entries(set).map(([each, value]) => `${each}=${value}`);
    const expected = String(error.expected);
    if (name !== undefined) throw new ValueError(`${option} ${name}`, set[name], expected);
    throw new ValueError(
      option,
      all.join(" "),
      expected,
      `${option} ${all.join(" ")}: ${path} ${String(error.value)}: expected ${expected}`,
    );
  }
}

/** How the names of figures begin that are beside each other: `kernel.lock`, `kernel.ipi`; of all figures when there are none. */
function beginnings(siblings: readonly string[], known: readonly string[]): string[] {
  const names = siblings.length === 0 ? known : siblings;
  const parts = siblings.length === 0 ? 1 : commonParts(siblings) + 1;
  return [...new Set(names.map((each) => each.split(".").slice(0, parts).join(".")))];
}

/** How many parts, between dots, all names begin with alike. */
function commonParts(names: readonly string[]): number {
  const [first, ...others] = names.map((name) => name.split("."));
  let count = 0;
  while (count < first.length && others.every((other) => other[count] === first[count])) count++;
  return count;
}

/** @param preset the word that `mmulab presets` shows it by */
function unknownFigure(option: string, preset: string, name: string, known: readonly string[]): UnknownNameError {
  // The figures beside it, when part of the name is right.
  let siblings: readonly string[] = [];
  for (let path = name; siblings.length === 0 && path.includes("."); ) {
    path = path.slice(0, path.lastIndexOf("."));
    siblings = known.filter((each) => each.startsWith(`${path}.`));
  }
  const list = (siblings.length === 0 || siblings.length > LISTED_MAX ? beginnings(siblings, known) : siblings).join(
    ", ",
  );
  const where = `mmulab presets ${preset}, presets kernel and presets hypervisor show all`;
  const line = `${option}: unknown figure '${name}'${suggestion(name, known)}; there are ${list}; ${where}`;
  return new UnknownNameError(line, name, known);
}
