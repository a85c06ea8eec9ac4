/** The table of a sweep: for people, as CSV, as JSON, as a Parquet file. */
import { stringify } from "csv-stringify/sync";
import { UsageError } from "../command-line/errors.ts";
import { printJson, printOutput, printReport } from "../command-line/standard-streams.ts";
import { unknownName } from "../input/errors.ts";
import { writeParquetTable } from "../output/parquet-table.ts";
import { madeBy } from "../provenance/made-by.ts";
import { type Cell, renderTable } from "../report/tables.ts";
import type { SweepSpec } from "../sweep/spec.ts";
import { hasTables, type SweepRow, type SweepTable, tablesByName } from "../sweep/sweep.ts";

/** Options that say how the table is shown. */
export interface TableOptions {
  readonly columns?: string;
  readonly json?: boolean;
  readonly csv?: boolean;
  readonly parquet?: string;
  readonly quiet?: boolean;
}

/** Booleans as they are written in the specification. */
const CSV = { cast: { boolean: String } };
/** Columns of the table for people, beside the grid's, unless --columns names others. */
const SHOWN_COLUMNS = [
  "elapsedCycles",
  "flushes",
  "flushWorkCycles",
  "flushWaitCycles",
  "flushStolenCycles",
  "flushRefillCycles",
  "purges",
  "walkCycles",
  "failure",
  "error",
];

/** Refuses options that do not go together. @throws UsageError */
export function checkTableOptions({ json, csv }: TableOptions): void {
  if (json && csv) throw new UsageError("--json and --csv: expected one of them");
}

/** Prints the table of a sweep, and writes the files that were asked for. @throws UnknownNameError for a column that it does not have */
export function printSweepTable(spec: SweepSpec, table: SweepTable, options: TableOptions): void {
  const { columns, rows } = table;
  if (options.json) {
    printJson({ name: spec.name, program: spec.program, columns, rows });
  } else if (options.csv) {
    // No line of comment before the heading, as in other CSV: data frames take the table as it is. Its options are the grid's columns.
    const made = JSON.stringify({ version: spec.program, command: madeBy()?.command ?? [] });
    printOutput(
      stringify([[...columns, "madeBy"], ...rows.map((row) => [...columns.map((name) => row[name]), made])], CSV),
    );
  } else if (!options.quiet) {
    printReport(textOf(spec, table, options.columns));
  }
  if (options.parquet !== undefined) writeParquetTable(options.parquet, columns, rows);
}

function textOf(spec: SweepSpec, table: SweepTable, chosen: string | undefined): string {
  const names = chosen?.split(",");
  // What is measured is known once a point has been run.
  const isKnown = table.rows.some((row) => row.error === undefined);
  const unknown = isKnown ? names?.find((name) => !table.columns.includes(name)) : undefined;
  if (unknown !== undefined) throw unknownName("column", unknown, table.columns, "--columns");
  const given = spec.grid.map(({ name }) => name);
  const parts = hasTables(spec) ? tablesByName(table) : new Map([["", table]]);
  return [...parts]
    .map(([name, part]) => {
      const shown = shownColumns(spec, part, names);
      const heading = name === "" ? "" : `${name}\n`;
      return (
        heading +
        renderTable(
          shown,
          part.rows.map((row) => cellsOf(row, shown, given)),
        )
      );
    })
    .join("\n");
}

function shownColumns(
  spec: SweepSpec,
  { columns }: SweepTable,
  chosen: readonly string[] | undefined,
): readonly string[] {
  const own = [...spec.grid.map(({ name }) => name), "seed"];
  if (chosen !== undefined) return [...own, ...chosen.filter((name) => !own.includes(name) && columns.includes(name))];
  if (spec.kind !== "workload") return columns;
  return columns.filter((name) => own.includes(name) || SHOWN_COLUMNS.includes(name));
}

/** The cells of a row. Values of the grid (columns `given`) stand as they were written. */
function cellsOf(row: SweepRow, columns: readonly string[], given: readonly string[]): Cell[] {
  return columns.map((name) => {
    const value = row[name];
    if (typeof value === "number" && !Number.isInteger(value) && given.includes(name)) return String(value);
    if (typeof value === "number") return value;
    return value === undefined ? "" : String(value);
  });
}
