/**
 * Plots of columns of a table. What an axis and a legend say comes with the column, so that a plot cannot show one quantity
 * under the name of another.
 */
import type { Plot, Series } from "./experiment.ts";
import type { Columns, DataTable, Row } from "./table.ts";

/** Keys of columns that have a text for an axis: only these can be plotted. */
type AxisKey<C extends Columns> = {
  [K in keyof C]: C[K] extends { readonly axis: string; readonly text?: never } ? K : never;
}[keyof C] &
  string;

/** Keys of columns that also have a text for the legend. */
type CurveKey<C extends Columns> = {
  [K in AxisKey<C>]: C[K] extends { readonly curve: string } ? K : never;
}[AxisKey<C>];

/** How a plot looks. */
interface PlotStyle {
  readonly title: string;
  readonly xLog: boolean;
  readonly yLog: boolean;
}

/**
 * One column against another, with a curve for each kind of row.
 * @param curveOf the kind that a row belongs to, in words for the legend
 * @param rows some rows of the table; by default all
 */
export function plotByKind<C extends Columns>(
  table: DataTable<C>,
  x: AxisKey<C>,
  y: AxisKey<C>,
  style: PlotStyle,
  curveOf: (row: Row<C>) => string,
  rows: readonly Row<C>[] = table.rows,
): Plot {
  const series = [...new Set(rows.map(curveOf))].map((name): Series => {
    const own = rows.filter((row) => curveOf(row) === name);
    return { name, points: points(own, x, y) };
  });
  return plot(style, axisText(table, [x]), axisText(table, [y]), series);
}

/**
 * Several columns against another, a curve each.
 * @param ys columns of one quantity: their texts for the axis are the same
 * @param rows some rows of the table; by default all
 * @throws Error for columns of different quantities
 */
export function plotByColumn<C extends Columns>(
  table: DataTable<C>,
  x: AxisKey<C>,
  ys: readonly CurveKey<C>[],
  style: PlotStyle,
  rows: readonly Row<C>[] = table.rows,
): Plot {
  const series = ys.map((y): Series => ({ name: table.columns[y].curve ?? y, points: points(rows, x, y) }));
  return plot(style, axisText(table, [x]), axisText(table, ys), series);
}

function plot({ title, xLog, yLog }: PlotStyle, xName: string, yName: string, series: readonly Series[]): Plot {
  // A curve of rows that have no figure is none.
  return { title, xName, yName, xLog, yLog, series: series.filter(({ points }) => points.length > 0) };
}

function points<C extends Columns>(rows: readonly Row<C>[], x: keyof C, y: keyof C): [number, number][] {
  return rows.flatMap((row): [number, number][] => (row[y] === null ? [] : [[Number(row[x]), Number(row[y])]]));
}

function axisText<C extends Columns>(table: DataTable<C>, keys: readonly string[]): string {
  const texts = new Set(keys.map((key) => table.columns[key].axis));
  const [text] = texts;
  if (texts.size === 1 && text !== undefined) return text;
  throw new Error(`columns ${keys.join(", ")} of ${table.name} are not one quantity: ${[...texts].join("; ")}`);
}
