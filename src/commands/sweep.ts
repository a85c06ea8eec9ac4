/** `mmulab sweep`: a grid of runs on all cores. */
import { availableParallelism } from "node:os";
import { type Command, InvalidArgumentError, Option } from "commander";
import { stringify } from "csv-stringify/sync";
import { EXIT_DIFFERENCES, EXIT_OK, UsageError } from "../command-line/errors.ts";
import { startProgress } from "../command-line/progress.ts";
import { wholeNumber } from "../command-line/values.ts";
import { type Cell, renderTable } from "../report/tables.ts";
import { type FinishedPoint, ResultsFile, readResults } from "../sweep/results-file.ts";
import { readSweepSpec, type SweepSpec } from "../sweep/spec.ts";
import { runSweep, type Shard, type SweepTable, shardPoints, sweepTable } from "../sweep/sweep.ts";

interface SweepCommandOptions {
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
/** Exit code of a program that Ctrl-C ended. */
const EXIT_INTERRUPTED = 130;
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

const HELP = `
The specification names a workload or an experiment and gives values for its parameters; every combination is a point:

  workload: mixed
  seeds: 3                      # from --seed on, or a list; each row has its own
  grid:
    cpus: [4, 16]
    policy: [ipi, eager]
    lazy_max_pages: [1024, 32768]
    operations: 20000

For workloads a grid may hold cpus, memory, preset, operations, the workload's own parameters, and settings of the machine:
topology (2x64x2), policy, isolated (2-7), pti (true, false), lazy_max_pages, flush_ceiling_pages, vmap_nodes, nr_cpus,
ipi_mode. For experiments, preset, the experiment's own parameters, and those settings that its --help names.

Each point goes to --out the moment it is done. A sweep that was interrupted goes on where it stopped when the same command
is given again. --shard 2/3 runs the second third of the points; --with adds the results of other shards to the table.

Exit code: 0 all points were run, 1 some failed (column error), 2 the specification or an option is wrong, 130 interrupted.

Example:
  $ mmulab sweep sweep.yaml --csv > results.csv`;

/** Adds the command; `exit` takes its exit code. */
export function addSweepCommand(program: Command, exit: (code: number) => void): void {
  program
    .command("sweep")
    .summary("run a grid of parameters on all cores, resumably")
    .description("Run a workload or an experiment for every combination of parameters, on all cores.")
    .argument("<spec>", "the specification, YAML")
    .option("--out <file>", "where results are kept (default: beside the specification, .results.jsonl)")
    .addOption(
      new Option("--shard <k/n>", "run only part k of n").argParser(parseShard).default({ part: 1, parts: 1 }, "1/1"),
    )
    .addOption(
      new Option("--with <file>", "results of another shard for the table; may be repeated")
        .argParser(collect)
        .default([], "none"),
    )
    .addOption(
      new Option("--jobs <number>", "threads")
        .argParser(wholeNumber(1, 1024))
        .default(availableParallelism(), "all cores"),
    )
    .option("--seed <number>", "first seed, where the specification says how many", wholeNumber(0, 2 ** 31), 1)
    .option("--columns <names>", "columns of the table, separated by commas")
    .option("--csv", "print the table as CSV, all columns")
    .option("--json", "print the table as one JSON object, all columns")
    .option("--quiet", "print nothing but errors (and what --json or --csv ask for)")
    .addHelpText("after", HELP)
    .action(async (file: string, options: SweepCommandOptions) => exit(await sweep(file, options)));
}

async function sweep(file: string, options: SweepCommandOptions): Promise<number> {
  if (options.json && options.csv) throw new UsageError("--json and --csv: expected one of them");
  const spec = readSweepSpec(file, options.seed);
  const points = shardPoints(spec, options.shard);
  const out = options.out ?? `${file.replace(/\.ya?ml$/i, "")}${shardName(options.shard)}.results.jsonl`;
  const others = options.with.flatMap((other) => readResults(other, spec).points);
  const results = new ResultsFile(out, spec);
  const progress = startProgress(points.length, options.quiet === true);
  const interrupted = (): void => {
    progress.clear();
    const done = results.finished.size;
    process.stderr.write(
      `mmulab: interrupted; ${done} of ${points.length} points are in ${out}, the same command goes on\n`,
    );
    process.exit(EXIT_INTERRUPTED);
  };
  process.once("SIGINT", interrupted);
  process.once("SIGTERM", interrupted);
  try {
    await runSweep(spec, points, results, options.jobs, (done) => progress.update(done, spec.name));
  } finally {
    progress.clear();
    results.close();
    process.off("SIGINT", interrupted);
    process.off("SIGTERM", interrupted);
  }
  const all = new Map<number, FinishedPoint>(others.map((each) => [each.point.index, each]));
  for (const [index, each] of results.finished) all.set(index, each);
  const table = sweepTable(spec, [...all.values()]);
  print(spec, table, options);
  const failed = table.rows.filter((row) => row.error !== undefined || row.failure !== undefined).length;
  if (failed > 0) process.stderr.write(`mmulab: ${failed} of ${table.rows.length} rows are failures\n`);
  return failed === 0 ? EXIT_OK : EXIT_DIFFERENCES;
}

function print(spec: SweepSpec, table: SweepTable, options: SweepCommandOptions): void {
  const { columns, rows } = table;
  if (options.json) {
    process.stdout.write(`${JSON.stringify({ name: spec.name, columns, rows })}\n`);
  } else if (options.csv) {
    process.stdout.write(stringify([columns, ...rows.map((row) => columns.map((name) => row[name]))], CSV));
  } else if (!options.quiet) {
    const shown = shownColumns(spec, table, options.columns);
    const cells = rows.map((row) => shown.map((name): Cell => cellOf(row[name])));
    process.stdout.write(renderTable(shown, cells));
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

function parseShard(text: string): Shard {
  const match = /^(\d+)\/(\d+)$/.exec(text);
  const shard = match === null ? null : { part: Number(match[1]), parts: Number(match[2]) };
  if (shard !== null && shard.parts <= 10_000 && shard.part >= 1 && shard.part <= shard.parts) return shard;
  throw new InvalidArgumentError("Expected a part such as 2/3: the second of three.");
}

function collect(value: string, previous: readonly string[]): readonly string[] {
  return [...previous, value];
}
