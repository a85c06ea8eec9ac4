/** Columns of a sweep's grid that choose figures: the preset, and figures by name (`tlbs.0.ways`), as `--preset` and `--set` do. */
import type { Preset } from "../../arch/index.ts";
import { inputErrorAt } from "../input/errors.ts";
import { choiceOf, type FigureChoice } from "../settings/figure-choice.ts";
import { readPresetFile } from "../settings/preset-file.ts";
import { findPreset, isPresetFile } from "../settings/presets.ts";
import type { GridValue, SpecText } from "./spec-text.ts";

/** The preset of a grid that names none. */
const DEFAULT_PRESET = "skylake";
/** Figures whose names have no dot. A column `memory` is the machine's. */
const PLAIN_FIGURES = ["frequencyGhz", "maxPhyAddr"];
/** Combinations of figures that are looked at before anything runs; what is wrong with others is told in their rows. */
const CHECKED_MAX = 1000;

type Grid = SpecText["grid"];
type Values = Readonly<Record<string, GridValue>>;

/** Whether a column is a figure of the preset or of the kernel. */
export function isFigureColumn(column: string): boolean {
  return column.includes(".") || PLAIN_FIGURES.includes(column);
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
  const words = Object.entries(values).filter(([column]) => isFigureColumn(column));
  return choiceOf(
    word,
    presetNamed(word),
    words.map(([name, value]) => `${name}=${value}`),
  );
}

/** Refuses figures that no preset of the grid has, and values that are not possible. @throws InputFileError with its place */
export function checkFigures(grid: Grid): void {
  const columns = grid.filter(({ name }) => isFigureColumn(name));
  if (columns.length === 0) return;
  const all = [...grid.filter(({ name }) => name === "preset"), ...columns];
  const count = all.reduce((product, { values }) => product * values.length, 1);
  for (let index = 0; index < Math.min(count, CHECKED_MAX); index++) {
    let rest = index;
    const point: Record<string, GridValue> = {};
    for (const { name, values } of all) {
      point[name] = values[rest % values.length].value;
      rest = Math.floor(rest / values.length);
    }
    try {
      figuresOfPoint(point);
    } catch (error) {
      const message = (error as Error).message.replace(/^--set:? /, "");
      const blamed = columns.find(({ name }) => message.includes(name)) ?? all[0];
      throw inputErrorAt(blamed.at, message);
    }
  }
}

/** What the preset files of a grid hold: part of what identifies a sweep. */
export function fileContents(
  grid: readonly { readonly name: string; readonly values: readonly GridValue[] }[],
): string {
  const words = grid.filter(({ name }) => name === "preset").flatMap(({ values }) => values.map(String));
  const files = words.filter(isPresetFile);
  return files.length === 0 ? "" : JSON.stringify(files.map(readPresetFile));
}
