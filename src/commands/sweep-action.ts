/** What `mmulab sweep` does. */
import { stringify } from "csv-stringify/sync";
import { EXIT_DIFFERENCES, EXIT_OK, UsageError } from "../command-line/errors.ts";
import { startProgress } from "../command-line/progress.ts";
import { printError, printOutput } from "../command-line/standard-streams.ts";
import { checkOutputs } from "../files/output-target.ts";
import { OutputFileError } from "../input/errors.ts";
import { type Cell, renderTable } from "../report/tables.ts";
import type { FinishedPoint } from "../sweep/result-lines.ts";
import { ResultsFile, readResults } from "../sweep/results-file.ts";
import { readSweepSpec, type SweepPoint, type SweepSpec } from "../sweep/spec.ts";
import { runSweep, type Shard, type SweepTable, shardPoints, sweepTable } from "../sweep/sweep.ts";

/** The command's options. */
export interface SweepCommandOptions {
  readonly out?: string;
  readonly with: readonly string[];
  readonly shard: Shard;
  readonly jobs: number;
  readonly seed: number;
  readonly columns?: string;
  readonly json?: boolean;
  readonly csv?: boolean;
  readonly quiet?: boolean;
}

/** Booleans as they are written in the specification. */
const CSV = { cast: { boolean: String } };
/** Signals that end a sweep in order, and the exit codes of programs that they end. */
const INTERRUPTS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;
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
];

/**
 * Runs the points of a specification that are not done yet, and prints the table; returns the exit code.
 * @throws MmulabError for a specification, results or options that are wrong
 */
export async function sweep(file: string, options: SweepCommandOptions): Promise<number> {
  if (options.json && options.csv) throw new UsageError("--json and --csv: expected one of them");
  const spec = readSweepSpec(file, options.seed);
  const points = shardPoints(spec, options.shard);
  const out = options.out ?? `${file.replace(/\.ya?ml$/i, "")}${shardName(options.shard)}.results.jsonl`;
  checkOutputs(
    [{ what: "--out", file: out }],
    [{ what: "the specification", file }, ...options.with.map((other) => ({ what: "--with", file: other }))],
  );
  const others = options.with.flatMap((other) => readResults(other, spec).points);
  const results = new ResultsFile(out, spec);
  try {
    await runPoints(spec, points, results, out, options);
  } finally {
    results.close();
  }
  const all = new Map<number, FinishedPoint>(others.map((each) => [each.point.index, each]));
  for (const [index, each] of results.finished) all.set(index, each);
  const table = sweepTable(spec, [...all.values()]);
  print(spec, table, options);
  const failed = table.rows.filter((row) => row.error !== undefined || row.failure !== undefined).length;
  if (failed > 0) printError(`mmulab: ${failed} of ${table.rows.length} rows are failures\n`);
  return failed === 0 ? EXIT_OK : EXIT_DIFFERENCES;
}

/** Runs the points that are not done yet; a signal ends the process with the finished ones in the file. */
async function runPoints(
  spec: SweepSpec,
  points: readonly SweepPoint[],
  results: ResultsFile,
  out: string,
  options: SweepCommandOptions,
): Promise<void> {
  const progress = startProgress(points.length, options.quiet === true);
  const state = (): string => {
    const done = points.filter(({ index }) => results.finished.has(index)).length;
    return `${done} of ${points.length} points are in ${out}, the same command goes on`;
  };
  const interrupted = (signal: keyof typeof INTERRUPTS): void => {
    progress.clear();
    results.close();
    printError(`mmulab: interrupted; ${state()}\n`);
    process.exit(INTERRUPTS[signal]);
  };
  const signals = Object.keys(INTERRUPTS) as (keyof typeof INTERRUPTS)[];
  for (const signal of signals) process.once(signal, interrupted);
  try {
    await runSweep(spec, points, results, options.jobs, (done) => progress.update(done, spec.name));
  } catch (error) {
    if (error instanceof OutputFileError) throw new OutputFileError(out, error.message, `${error.message}; ${state()}`);
    throw error;
  } finally {
    progress.clear();
    for (const signal of signals) process.off(signal, interrupted);
  }
}

function print(spec: SweepSpec, table: SweepTable, options: SweepCommandOptions): void {
  const { columns, rows } = table;
  if (options.json) {
    printOutput(`${JSON.stringify({ name: spec.name, columns, rows })}\n`);
  } else if (options.csv) {
    printOutput(stringify([columns, ...rows.map((row) => columns.map((name) => row[name]))], CSV));
  } else if (!options.quiet) {
    const shown = shownColumns(spec, table, options.columns);
    const cells = rows.map((row) => shown.map((name): Cell => cellOf(row[name])));
    printOutput(renderTable(shown, cells));
  }
}

function shownColumns(spec: SweepSpec, { columns }: SweepTable, chosen: string | undefined): readonly string[] {
  const own = [...spec.grid.map(({ name }) => name), "seed"];
  if (chosen !== undefined) {
    const names = chosen.split(",");
    const unknown = names.find((name) => !columns.includes(name));
    if (unknown !== undefined) throw new UsageError(`no column ${unknown}; there are ${columns.join(", ")}`);
    return [...own, ...names.filter((name) => !own.includes(name))];
  }
  if (spec.kind === "experiment") return columns;
  return columns.filter((name) => own.includes(name) || SHOWN_COLUMNS.includes(name) || name === "error");
}

function cellOf(value: number | string | boolean | undefined): Cell {
  if (typeof value === "number") return Number.isInteger(value) ? value : Math.round(value * 100) / 100;
  return value === undefined ? "" : String(value);
}

function shardName({ part, parts }: Shard): string {
  return parts === 1 ? "" : `.${part}-of-${parts}`;
}
