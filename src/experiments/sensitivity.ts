/** Sensitivity: which of the figures that are assumed move what an experiment finds, each changed by a factor of two either way. */
import type { NamedFigure } from "../../arch/index.ts";
import { UnknownNameError, ValueError } from "../input/errors.ts";
import { suggestion } from "../input/suggestion.ts";
import { figureValue } from "../report/figures.ts";
import { changeFigure, type FigureChoice } from "../settings/figure-choice.ts";
import type { MachineSettings } from "../settings/machine-settings.ts";
import type { Experiment, ExperimentResult, ResultTable, Value } from "./base/experiment.ts";
import { runExperiment } from "./index.ts";

/** The factor by which a figure is changed, up and down. */
const FACTOR = 2;
/** Figures that are changed together have factors that differ by one part of so many. */
const GROUP_STEPS = 64;
/** A result that changes by less than this part of itself does not count as moved: what rounding in tables may do. */
const MOVED_MIN = 0.0005;
/** A figure counts where the mean moves, or one row by so much. */
const ROW_MOVED_MIN = 0.005;

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
  /** Rows that either moves. */
  readonly rowsMoved: number;
  /** The largest change of a row, as a part of it. */
  readonly mostMoved: number;
}

/**
 * The result with a table more, `sensitivity`, of the assumed figures that move it, and findings about the others. Half and twice
 * each figure among its inputs that is assumed and a number other than 0 are tried.
 * @param result what the experiment found with the figures as they are
 * @param onProgress told before each run
 * @throws UnknownNameError when the first table has no such column
 */
export function withSensitivity(
  result: ExperimentResult,
  run: SensitivityRun,
  onProgress: (done: number, total: number, text: string) => void,
): ExperimentResult {
  const before = columnOf(result, run.column);
  const assumed = result.inputs.filter(({ basis }) => basis === "assumed");
  const numbers = assumed.filter(({ value }) => typeof value === "number" && value !== 0);
  const effects = effectsOf(numbers, run, before, onProgress);
  const moved = effects.filter(isMoved).sort((a, b) => strength(b) - strength(a));
  const still = effects.filter((effect) => !moved.includes(effect)).map(({ figure }) => figure.name);
  const words = assumed.filter(({ value }) => typeof value !== "number").map(({ name }) => name);
  const zeros = assumed.filter(({ value }) => value === 0).map(({ name }) => name);
  const list = (what: string, names: readonly string[]): string[] =>
    names.length === 0 ? [] : [`${what}: ${names.join(", ")}.`];
  const findings = [
    `${moved.length} of ${numbers.length} assumed figures move ${run.column}${moved.length === 0 ? "" : `, most of all ${moved[0].figure.name}`}.`,
    ...list("These do not", still),
    ...list("Assumed and no numbers, not changed", words),
    ...list("Assumed and 0, of which there is no half, not changed", zeros),
  ];
  return {
    ...result,
    tables: [...result.tables, sensitivityTable(run.column, before.length, moved)],
    findings: [...result.findings, ...findings],
  };
}

/**
 * The effect of each figure. Costs and times are changed together first, a group that has one beginning of their names at a time, each by a
 * factor of its own, so that no two cancel: where not one row changes, none of the group counts, and 2 runs have stood for 2 a figure.
 * A group that does change something is halved.
 */
function effectsOf(
  numbers: readonly NamedFigure[],
  run: SensitivityRun,
  before: readonly number[],
  onProgress: (done: number, total: number, text: string) => void,
): FigureEffect[] {
  const found = new Map<NamedFigure, FigureEffect>();
  const told = (group: readonly NamedFigure[], factor: string): void => {
    const others = group.length === 1 ? "" : ` and ${group.length - 1} more`;
    onProgress(found.size, numbers.length, `${group[0].name}${others} x ${factor}`);
  };
  const isStill = (group: readonly NamedFigure[]): boolean =>
    [-1, 1].every((power) => {
      told(group, power < 0 ? "1/2 or less" : "2 or more");
      const changes = group.map((figure, i) => [figure, (FACTOR + i / GROUP_STEPS) ** power] as const);
      return resultWith(run, changes)?.every((value, row) => Object.is(value, before[row])) === true;
    });
  const settle = (group: readonly NamedFigure[]): void => {
    if (group.length === 1) {
      const [figure] = group;
      const movedRows = new Set<number>();
      let mostMoved = 0;
      const at = (factor: number): number | null => {
        told(group, String(factor));
        const after = resultWith(run, [[figure, factor]]);
        after?.forEach((value, row) => {
          if (Object.is(value, before[row])) return;
          const change = Math.abs((value - before[row]) / before[row]);
          // Of two figures of which one is not there, nothing more can be said.
          if (Number.isNaN(change) || change > MOVED_MIN) movedRows.add(row);
          if (change > mostMoved) mostMoved = change;
        });
        return after === null ? null : meanRatio(after, before);
      };
      const [atHalf, atDouble] = [at(1 / FACTOR), at(FACTOR)];
      found.set(figure, { figure, atHalf, atDouble, rowsMoved: movedRows.size, mostMoved });
    } else if (isStill(group)) {
      for (const figure of group) found.set(figure, { figure, atHalf: 1, atDouble: 1, rowsMoved: 0, mostMoved: 0 });
    } else {
      const half = group.length >> 1;
      settle(group.slice(0, half));
      settle(group.slice(half));
    }
  };
  for (const group of groupsOf(numbers)) settle(group);
  onProgress(numbers.length, numbers.length, "");
  return numbers.flatMap((figure) => found.get(figure) ?? []);
}

/** Costs and times by the first part of their names (of the kernel's, the first two); every other figure, which may be valid at few values only, by itself. */
function groupsOf(numbers: readonly NamedFigure[]): NamedFigure[][] {
  const groups = new Map<string, NamedFigure[]>();
  for (const figure of numbers) {
    const parts = figure.name.split(".");
    const family = parts.slice(0, parts[0] === "kernel" ? 2 : 1).join(".");
    const key = figure.unit === "cycles" || figure.unit === "ns" ? family : figure.name;
    groups.set(key, [...(groups.get(key) ?? []), figure]);
  }
  return [...groups.values()];
}

function sensitivityTable(column: string, rows: number, moved: readonly FigureEffect[]): ResultTable {
  return {
    name: "sensitivity",
    title: `Assumed figures that move ${column}: its mean over the rows above, as a multiple, with half and with twice the figure`,
    columns: [
      { key: "figure", heading: "figure" },
      { key: "value", heading: "value" },
      { key: "atHalf", heading: "at half" },
      { key: "atDouble", heading: "at double" },
      { key: "elasticity", heading: "elasticity" },
      { key: "rowsMoved", heading: `rows of ${rows} moved` },
    ],
    rows: moved.map((effect): Value[] => [
      effect.figure.name,
      figureValue(effect.figure),
      shown(effect.atHalf),
      shown(effect.atDouble),
      elasticity(effect)
        .toFixed(3)
        .replace(/^-(0\.0*)$/, "$1"),
      effect.rowsMoved,
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

function isMoved({ atHalf, atDouble, mostMoved }: FigureEffect): boolean {
  const isMeanMoved = [atHalf, atDouble].some((multiple) => Math.abs((multiple ?? 1) - 1) > MOVED_MIN);
  return isMeanMoved || mostMoved > ROW_MOVED_MIN;
}

/** How far the mean goes at the farther end, whichever way: what the table is sorted by. */
function strength({ atHalf, atDouble }: FigureEffect): number {
  return Math.max(...[atHalf, atDouble].map((multiple) => Math.abs(Math.log(multiple ?? 1))));
}

/** The column with figures changed by factors, or null when no machine can have that. */
function resultWith(
  run: SensitivityRun,
  changes: readonly (readonly [NamedFigure, number])[],
): readonly number[] | null {
  let { figures } = run.settings;
  try {
    for (const [{ name, value }, factor] of changes) figures = changeFigure(figures, name, Number(value) * factor);
  } catch (error) {
    if (error instanceof ValueError) return null;
    throw error;
  }
  const settings = { ...run.settings, figures };
  const result = runExperiment(run.experiment, figures.preset, run.seed, run.given, undefined, settings);
  return columnOf(result, run.column);
}

/** The mean of the ratio of both, over rows of which both have a figure and the second's is not 0. */
function meanRatio(after: readonly number[], before: readonly number[]): number {
  let sum = 0;
  let count = 0;
  for (let row = 0; row < Math.min(after.length, before.length); row++) {
    if (before[row] === 0 || Number.isNaN(before[row]) || Number.isNaN(after[row])) continue;
    sum += after[row] / before[row];
    count++;
  }
  return count === 0 ? 1 : sum / count;
}

/** A column of numbers of the first table, NaN where a row has none. @throws UnknownNameError */
function columnOf({ tables: [table] }: ExperimentResult, column: string): number[] {
  const known = table.columns.filter((_, i) => table.rows.every((row) => typeof row[i] !== "string"));
  const at = table.columns.findIndex((each) => each.key === column && known.includes(each));
  if (at >= 0) return table.rows.map((row) => (row[at] === null ? Number.NaN : Number(row[at])));
  const names = known.map(({ key }) => key);
  const line = `--sensitivity: ${table.name} has no column of numbers '${column}'${suggestion(column, names)}; it has ${names.join(", ")}`;
  throw new UnknownNameError(line, column, names);
}
