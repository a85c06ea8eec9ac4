/** Tables of results while an experiment fills them: rows by the names of their columns, never by number. */
import type { ResultTable } from "./experiment.ts";
import { pointOf } from "./points.ts";

/** What a column of a table is; its key is its name in JSON and CSV, with its unit: `waitCycles`. */
export interface ColumnSpec {
  /** Heading for people. */
  readonly heading: string;
  /** Whether its cells are words; numbers in all other columns. */
  readonly text?: true;
  /** What an axis of a plot says of it, with its unit: `cycles per munmap, all CPUs`. Absent where it is not to be plotted. */
  readonly axis?: string;
  /** What the legend says of it in plots with a curve a column. */
  readonly curve?: string;
  /** Whether a row may have no figure: null, such as the mean of what has not happened. */
  readonly mayLack?: true;
  /** Whether the table shows the nearest whole number; plots always show the value as it is. */
  readonly rounded?: true;
}

/** Columns by key, in the order in which they are shown. */
export type Columns = Readonly<Record<string, ColumnSpec>>;

/** A row: a cell a column. */
export type Row<C extends Columns> = {
  readonly [K in keyof C]: C[K] extends { readonly text: true }
    ? string
    : C[K] extends { readonly mayLack: true }
      ? number | null
      : number;
};

/** A table that is being filled. */
export class DataTable<const C extends Columns> {
  readonly name: string;
  readonly title: string;
  readonly columns: C;
  readonly rows: readonly Row<C>[];

  /** @param title one line: what a row is */
  constructor(name: string, title: string, columns: C, rows: readonly Row<C>[]) {
    this.name = name;
    this.title = title;
    this.columns = columns;
    this.rows = rows;
  }

  /** As it is shown and written: cells in the order of the columns. */
  toResult(): ResultTable {
    const columns = Object.entries(this.columns);
    const points = this.rows.map(pointOf);
    return {
      name: this.name,
      title: this.title,
      columns: columns.map(([key, { heading }]) => ({ key, heading })),
      rows: this.rows.map((row) =>
        columns.map(([key, { rounded }]) => {
          const { [key]: value } = row;
          return rounded === true && typeof value === "number" ? Math.round(value) : value;
        }),
      ),
      ...(points.some((point) => point !== null) ? { points } : {}),
    };
  }
}
