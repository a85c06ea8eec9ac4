/** Columns of a sweep's grid that choose figures: the preset, figures by name (`tlbs.0.ways`), and several at once (`set`), as `--preset` and `--set` do. */
import type { Preset } from "../../arch/index.ts";
import { HYPERVISOR } from "../guests/hypervisor-costs.ts";
import { inputErrorAt, UnknownNameError, unknownParameter } from "../input/errors.ts";
import { choiceOf, type FigureChoice, KERNEL } from "../settings/figure-choice.ts";
import { readPresetFile } from "../settings/preset-file.ts";
import { findPreset, isPresetFile } from "../settings/presets.ts";
import { hasGuests } from "./setting-columns.ts";
import type { GridValue, SpecText } from "./spec-text.ts";

/** The preset of a grid that names none. */
const DEFAULT_PRESET = "skylake";
/** Figures whose names have no dot. A column `memory` is the machine's. */
const PLAIN_FIGURES = ["frequencyGhz", "maxPhyAddr"];
/** A column whose values are `NAME=VALUE` of several figures, with spaces between; or that: the preset's own. */
const SET_COLUMN = "set";
const NOTHING_SET = "none";
/** Combinations of figures that are looked at before anything runs; what is wrong with others is told in their rows. */
const CHECKED_MAX = 1000;

type Grid = SpecText["grid"];
type Values = Readonly<Record<string, GridValue>>;

/** Whether a column gives values to figures of the preset, of the kernel or of a hypervisor. */
export function isFigureColumn(column: string): boolean {
  return column.includes(".") || PLAIN_FIGURES.includes(column) || column === SET_COLUMN;
}

/** A preset by name or from a file. @throws UnknownNameError, InputFileError */
export function presetNamed(word: string): Preset {
  return isPresetFile(word) ? readPresetFile(word) : findPreset(word);
}

/**
 * The figures of a point: its preset, and those that the grid gives other values.
 * @throws UnknownNameError, InputFileError, ValueError for what is not possible
 */
export function figuresOfPoint(values: Values): FigureChoice {
  const word = String(values.preset ?? DEFAULT_PRESET);
  const words = Object.entries(values).flatMap(([column, value]) => wordsOf(column, value));
  return choiceOf(word, presetNamed(word), words);
}

/** What `--set` would be given for a value of a column: nothing for a column that is no figure. */
function wordsOf(column: string, value: GridValue): string[] {
  if (!isFigureColumn(column)) return [];
  if (column !== SET_COLUMN) return [`${column}=${value}`];
  return value === NOTHING_SET ? [] : String(value).split(/\s+/).filter(Boolean);
}

/** What code a sweep runs beside that of its workload. */
export interface CodeRun {
  readonly kernel: boolean;
  /** A hypervisor's, whatever the grid says of guests. */
  readonly hypervisor: boolean;
}

/** Refuses figures of code that does not run: a hypervisor's without guests, a kernel's where there is none. @throws InputFileError with the place */
export function checkCodeFigures(grid: Grid, runs: CodeRun): void {
  const refused = [
    ...(runs.kernel ? [] : [[KERNEL, "nothing here runs a kernel's code"]]),
    ...(runs.hypervisor || hasGuests(grid) ? [] : [[HYPERVISOR, "only guests have a hypervisor (guest: true)"]]),
  ];
  for (const { name, values } of grid) {
    for (const { value, at } of values) {
      for (const [owner, why] of refused) {
        const word = wordsOf(name, value).find((each) => each.startsWith(owner));
        if (word !== undefined) throw inputErrorAt(at, `${word}: ${why}`);
      }
    }
  }
}

/** Refuses figures that no preset of the grid has, and values that are not possible. @throws InputFileError with its place */
export function checkFigures(grid: Grid): void {
  const columns = grid.filter(({ name }) => isFigureColumn(name));
  if (columns.length === 0) return;
  const all = [...grid.filter(({ name }) => name === "preset"), ...columns];
  const count = all.reduce((product, { values }) => product * values.length, 1);
  for (let index = 0; index < Math.min(count, CHECKED_MAX); index++) {
    let rest = index;
    const point = all.map(({ name, at, values }) => {
      const { value, at: valueAt } = values[rest % values.length];
      rest = Math.floor(rest / values.length);
      return { name, at, value, valueAt };
    });
    try {
      figuresOfPoint(Object.fromEntries(point.map(({ name, value }) => [name, value])));
    } catch (error) {
      const message = (error as Error).message.replace(/^--set:? /, "");
      const isBlamed = ({ name, value }: (typeof point)[number]): boolean =>
        wordsOf(name, value).some((word) => message.includes(word.split("=")[0]));
      const blamed = point.find(isBlamed) ?? point[0];
      const isName = error instanceof UnknownNameError && error.value === blamed.name;
      throw inputErrorAt(isName ? blamed.at : blamed.valueAt, message);
    }
  }
}

/** A column that neither `owner` has nor any figure. */
export function unknownColumn(owner: string, column: string, known: readonly string[]): UnknownNameError {
  const { message, value } = unknownParameter(owner, column, [...known, SET_COLUMN]);
  return new UnknownNameError(`${message}, and figures by name (mmulab presets NAME)`, String(value), known);
}

/** What the preset files of a grid hold: part of what identifies a sweep. */
export function fileContents(
  grid: readonly { readonly name: string; readonly values: readonly GridValue[] }[],
): string {
  const words = grid.filter(({ name }) => name === "preset").flatMap(({ values }) => values.map(String));
  const files = words.filter(isPresetFile);
  return files.length === 0 ? "" : JSON.stringify(files.map(readPresetFile));
}
