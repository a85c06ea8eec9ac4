/** Sensitivity: which of the figures that are assumed move what an experiment finds, each changed by a factor of two either way. */
import type { NamedFigure } from "../../arch/index.ts";
import { UnknownNameError, ValueError } from "../input/errors.ts";
import { suggestion } from "../input/suggestion.ts";
import { figuresOfMachine, figureValue } from "../report/figures.ts";
import { changeFigure, type FigureChoice } from "../settings/figure-choice.ts";
import { kernelSettings, type MachineSettings } from "../settings/machine-settings.ts";
import type { Experiment, ExperimentResult, ResultTable, Value } from "./base/experiment.ts";
import { runExperiment } from "./index.ts";

/** The factor by which a figure is changed, up and down. */
const FACTOR = 2;
/** A result that changes by less than this part of itself does not count as moved: what rounding in tables may do. */
const MOVED_MIN = 0.0005;

/** How an experiment is run again and again. */
export interface SensitivityRun {
  readonly experiment: Experiment;
  readonly seed: number;
  /** Parameters by name, as text. */
  readonly given: Readonly<Record<string, string | undefined>>;
  /** Settings of its machines, with the figures. */
  readonly settings: MachineSettings & { readonly figures: FigureChoice };
  /** The column of its first table that is followed. */
  readonly column: string;
}

/** What one figure does to the result. */
interface FigureEffect {
  readonly figure: NamedFigure;
  /** The result with half and with twice the figure, as a multiple of the result as it is; null where that is not possible. */
  readonly atHalf: number | null;
  readonly atDouble: number | null;
}

/**
 * The result with a table more, `sensitivity`, of the assumed figures that move it, and findings about the others. The experiment
 * is run twice for each assumed figure that is a number other than 0.
 * @param result what the experiment found with the figures as they are
 * @param onProgress told before each run
 * @throws UnknownNameError when the first table has no such column
 */
export function withSensitivity(
  result: ExperimentResult,
  run: SensitivityRun,
  onProgress: (done: number, total: number, text: string) => void,
): ExperimentResult {
  const { figures } = run.settings;
  const before = columnOf(result, run.column);
  const costs = kernelSettings(run.settings, 1).costs ?? figures.costs;
  const used = { guests: run.settings.guest === true };
  const all = figuresOfMachine(figures.preset, costs, used, figures.hypervisorCosts);
  const assumed = all.filter(({ basis }) => basis === "assumed");
  const numbers = assumed.filter(({ value }) => typeof value === "number" && value !== 0);
  const effects = numbers.map((figure, index): FigureEffect => {
    const at = (factor: number, part: number): number | null => {
      onProgress(2 * index + part, 2 * numbers.length, `${figure.name} x ${factor}`);
      return resultAt(run, figure, factor, before);
    };
    return { figure, atHalf: at(1 / FACTOR, 0), atDouble: at(FACTOR, 1) };
  });
  const moved = effects
    .filter(({ atHalf, atDouble }) => isMoved(atHalf) || isMoved(atDouble))
    .sort((a, b) => Math.abs(elasticity(b)) - Math.abs(elasticity(a)));
  const still = effects.filter((effect) => !moved.includes(effect)).map(({ figure }) => figure.name);
  const words = assumed.filter(({ value }) => typeof value !== "number").map(({ name }) => name);
  const findings = [
    `${moved.length} of ${numbers.length} assumed figures move ${run.column}${moved.length === 0 ? "" : `, most of all ${moved[0].figure.name}`}.`,
    ...(still.length === 0 ? [] : [`These do not: ${still.join(", ")}.`]),
    ...(words.length === 0 ? [] : [`Assumed and no numbers, not changed: ${words.join(", ")}.`]),
  ];
  return {
    ...result,
    tables: [...result.tables, sensitivityTable(run.column, moved)],
    findings: [...result.findings, ...findings],
  };
}

function sensitivityTable(column: string, moved: readonly FigureEffect[]): ResultTable {
  return {
    name: "sensitivity",
    title: `Assumed figures that move ${column}: its mean over the rows above, as a multiple, with half and with twice the figure`,
    columns: [
      { key: "figure", heading: "figure" },
      { key: "value", heading: "value" },
      { key: "atHalf", heading: "at half" },
      { key: "atDouble", heading: "at double" },
      { key: "elasticity", heading: "elasticity" },
    ],
    rows: moved.map((effect): Value[] => [
      effect.figure.name,
      figureValue(effect.figure),
      shown(effect.atHalf),
      shown(effect.atDouble),
      elasticity(effect).toFixed(3),
    ]),
  };
}

/** Three digits after the point; the rendering of numbers in tables has one. */
function shown(multiple: number | null): string {
  return multiple === null ? "not possible" : multiple.toFixed(3);
}

/** By how many percent the result rises when the figure rises by one, from one end of what was tried to the other. */
function elasticity({ atHalf, atDouble }: FigureEffect): number {
  const low = atHalf ?? 1;
  const high = atDouble ?? 1;
  const span = (atHalf === null ? 0 : Math.log(FACTOR)) + (atDouble === null ? 0 : Math.log(FACTOR));
  return span === 0 || low <= 0 || high <= 0 ? 0 : Math.log(high / low) / span;
}

function isMoved(multiple: number | null): boolean {
  return multiple !== null && Math.abs(multiple - 1) > MOVED_MIN;
}

/** The result with a figure changed by a factor, or null when no machine can have that. */
function resultAt(run: SensitivityRun, figure: NamedFigure, factor: number, before: readonly number[]): number | null {
  let figures: FigureChoice;
  try {
    figures = changeFigure(run.settings.figures, figure.name, Number(figure.value) * factor);
  } catch (error) {
    if (error instanceof ValueError) return null;
    throw error;
  }
  const settings = { ...run.settings, figures };
  const result = runExperiment(run.experiment, figures.preset, run.seed, run.given, undefined, settings);
  return meanRatio(columnOf(result, run.column), before);
}

/** The mean over rows of the second list's that are not 0 of the ratio of both. */
function meanRatio(after: readonly number[], before: readonly number[]): number {
  let sum = 0;
  let count = 0;
  for (let row = 0; row < Math.min(after.length, before.length); row++) {
    if (before[row] === 0) continue;
    sum += after[row] / before[row];
    count++;
  }
  return count === 0 ? 1 : sum / count;
}

/** A column of numbers of the first table. @throws UnknownNameError */
function columnOf({ tables: [table] }: ExperimentResult, column: string): number[] {
  const at = table.columns.findIndex(({ key }) => key === column);
  const isNumeric = at >= 0 && table.rows.every((row) => typeof row[at] === "number");
  if (isNumeric) return table.rows.map((row) => Number(row[at]));
  const known = table.columns.filter((_, i) => table.rows.every((row) => typeof row[i] === "number"));
  const names = known.map(({ key }) => key);
  const line = `--sensitivity: ${table.name} has no column of numbers '${column}'${suggestion(column, names)}; it has ${names.join(", ")}`;
  throw new UnknownNameError(line, column, names);
}
