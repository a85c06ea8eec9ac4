/** What `mmulab sweep` does. */
import { availableParallelism } from "node:os";
import { EXIT_DIFFERENCES, EXIT_OK, UsageError } from "../command-line/errors.ts";
import { startProgress } from "../command-line/progress.ts";
import { printError, printOutput } from "../command-line/standard-streams.ts";
import { checkOutputs } from "../files/output-target.ts";
import { OutputFileError } from "../input/errors.ts";
import { counted } from "../report/counted.ts";
import { defaultResultsFile, defaultResultsFolder } from "../sweep/default-results.ts";
import type { FinishedPoint } from "../sweep/result-lines.ts";
import { ResultsFile, readResults } from "../sweep/results-file.ts";
import { jobScript } from "../sweep/slurm/job-script.ts";
import { follow, partsToRun, runningJob, submit } from "../sweep/slurm/slurm-sweep.ts";
import { loadOwnCodeOfSpec, readSweepSpec, type SweepPoint, type SweepSpec, sweepPoints } from "../sweep/spec.ts";
import { type PointResults, runSweep, type Shard, shardPoints, sweepTable } from "../sweep/sweep.ts";
import { FolderReader, FolderResults, openSweepFolder, sweepOfFolder } from "../sweep/sweep-folder.ts";
import { checkTableOptions, printSweepTable, type TableOptions } from "./sweep-table.ts";

/** The command's options. */
export interface SweepCommandOptions extends TableOptions {
  readonly out?: string;
  readonly dir?: string;
  readonly with: readonly string[];
  readonly shard?: Shard;
  readonly jobs?: number;
  readonly seed: number;
  readonly slurm?: boolean;
  readonly tasks?: number;
  readonly poll: number;
  readonly dryRun?: boolean;
}

/** Signals that end a sweep in order, and the exit codes of programs that they end. */
const INTERRUPTS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;
const WHOLE: Shard = { part: 1, parts: 1 };
/** Tasks of an array job, unless --tasks says how many; a point at least is one. */
const TASKS_DEFAULT = 100;

/**
 * Runs the points of a specification that are not done yet, and prints the table; returns the exit code.
 * @param sbatchOptions what was given after `--`, for sbatch
 * @throws MmulabError for a specification, results or options that are wrong
 */
export async function sweep(
  file: string,
  sbatchOptions: readonly string[],
  options: SweepCommandOptions,
): Promise<number> {
  checkTableOptions(options);
  checkTogether(sbatchOptions, options);
  if (options.slurm) return sweepOnSlurm(file, sbatchOptions, options);
  return options.dir === undefined ? sweepIntoFile(file, options) : sweepIntoFolder(file, options.dir, options);
}

function checkTogether(sbatchOptions: readonly string[], options: SweepCommandOptions): void {
  const { slurm, dir, out, shard } = options;
  if (dir !== undefined && (out !== undefined || options.with.length > 0)) {
    throw new UsageError("--dir keeps results in a folder, --out and --with in files: expected one of them");
  }
  if (slurm && (out !== undefined || shard !== undefined)) {
    throw new UsageError("--slurm makes its parts itself, in a folder (--dir): expected neither --out nor --shard");
  }
  if (!slurm && (sbatchOptions.length > 0 || options.tasks !== undefined || options.dryRun)) {
    throw new UsageError("options of sbatch, --tasks and --dry-run are for --slurm");
  }
}

async function sweepIntoFile(file: string, options: SweepCommandOptions): Promise<number> {
  await loadOwnCodeOfSpec(file);
  const spec = readSweepSpec(file, options.seed);
  const shard = options.shard ?? WHOLE;
  const out = options.out ?? defaultResultsFile(file, shard);
  checkOutputs(
    [{ what: "--out", file: out }, ...parquetOutput(options)],
    [{ what: "the specification", file }, ...options.with.map((other) => ({ what: "--with", file: other }))],
  );
  const others = options.with.flatMap((other) => readResults(other, spec).points);
  const results = new ResultsFile(out, spec);
  await runPoints(spec, shardPoints(spec, shard), results, out, options);
  const all = new Map<number, FinishedPoint>(others.map((each) => [each.point.index, each]));
  for (const [index, each] of results.finished) all.set(index, each);
  return report(spec, [...all.values()], options, options.with.length > 0);
}

async function sweepIntoFolder(file: string, folder: string, options: SweepCommandOptions): Promise<number> {
  checkOutputs(parquetOutput(options), [{ what: "the specification", file }]);
  await loadOwnCodeOfSpec(file);
  const spec = openSweepFolder(folder, file, options.seed);
  const shard = options.shard ?? WHOLE;
  const results = new FolderResults(folder, spec, shard);
  const points = shardPoints(spec, shard);
  await runPoints(spec, points, results, folder, options);
  const own = new Set(points.map(({ index }) => index));
  return report(
    spec,
    [...results.finished.values()].filter(({ point }) => own.has(point.index)),
    options,
    false,
  );
}

async function sweepOnSlurm(
  file: string,
  sbatchOptions: readonly string[],
  options: SweepCommandOptions,
): Promise<number> {
  checkOutputs(parquetOutput(options), [{ what: "the specification", file }]);
  const folder = options.dir ?? defaultResultsFolder(file);
  await loadOwnCodeOfSpec(file);
  const spec = readSweepSpec(file, options.seed);
  const points = sweepPoints(spec).length;
  const parts = Math.min(points, options.tasks ?? TASKS_DEFAULT);
  const job = {
    name: spec.name,
    folder,
    file,
    firstSeed: options.seed,
    parts,
    jobs: options.jobs ?? 1,
    options: sbatchOptions,
  };
  if (options.dryRun) {
    printOutput(jobScript({ ...job, partsToRun: Array.from({ length: parts }, (_, i) => i + 1) }));
    return EXIT_OK;
  }
  openSweepFolder(folder, file, options.seed);
  const left = partsToRun(spec, folder, parts);
  if (left.length > 0) {
    const number = runningJob(folder) ?? submit({ ...job, partsToRun: left });
    await followJob(number, spec, folder, points, options);
  }
  const { finished } = new FolderReader(folder, spec).content();
  const code = report(spec, [...finished.values()], options, true);
  if (finished.size < points) {
    printError(`mmulab: no task is left; what they said is in ${folder}; the same command submits what is missing\n`);
  }
  return code;
}

/** Shows how far a job is, until it has ended; a signal ends the following, not the job. */
async function followJob(
  job: string,
  spec: SweepSpec,
  folder: string,
  points: number,
  options: SweepCommandOptions,
): Promise<void> {
  const progress = startProgress(points, options.quiet === true);
  if (!options.quiet) printError(`mmulab: job ${job} works on ${folder}\n`);
  const end = onInterrupt((exitCode) => {
    progress.clear();
    printError(`mmulab: job ${job} goes on; the same command follows it again, scancel ${job} ends it\n`);
    process.exit(exitCode);
  });
  try {
    await follow(job, spec, folder, options.poll, (done, tasks) => progress.update(done, tasks));
  } finally {
    progress.clear();
    end();
  }
}

/** Prints the table of a sweep's folder. @param options how it is shown */
export async function mergeFolder(folder: string, options: TableOptions): Promise<number> {
  checkTableOptions(options);
  const spec = await sweepOfFolder(folder);
  return report(spec, [...new FolderReader(folder, spec).content().finished.values()], options, true);
}

/** Prints the table; ends with 1 where rows are failures, or where all points were asked for and are not there. */
function report(
  spec: SweepSpec,
  finished: readonly FinishedPoint[],
  options: TableOptions,
  asksForAll: boolean,
): number {
  const table = sweepTable(spec, finished);
  printSweepTable(spec, table, options);
  const failed = table.rows.filter((row) => row.error !== undefined || row.failure !== undefined).length;
  if (failed > 0)
    printError(
      `mmulab: ${failed} of ${counted(table.rows.length, "row")} ${failed === 1 ? "is a failure" : "are failures"}\n`,
    );
  const points = sweepPoints(spec).length;
  const isIncomplete = asksForAll && finished.length < points;
  if (isIncomplete)
    printError(
      `mmulab: ${finished.length} of ${counted(points, "point")} ${finished.length === 1 ? "is" : "are"} done\n`,
    );
  return failed === 0 && !isIncomplete ? EXIT_OK : EXIT_DIFFERENCES;
}

/** Runs the points that are not done yet; a signal ends the process with the finished ones on the disk. */
async function runPoints(
  spec: SweepSpec,
  points: readonly SweepPoint[],
  results: PointResults,
  place: string,
  options: SweepCommandOptions,
): Promise<void> {
  const progress = startProgress(points.length, options.quiet === true);
  const state = (): string => {
    const done = points.filter(({ index }) => results.finished.has(index)).length;
    return `${done} of ${counted(points.length, "point")} are in ${place}, the same command goes on`;
  };
  const end = onInterrupt((exitCode) => {
    progress.clear();
    results.close();
    printError(`mmulab: interrupted; ${state()}\n`);
    process.exit(exitCode);
  });
  const jobs = options.jobs ?? availableParallelism();
  try {
    await runSweep(spec, points, results, jobs, (done) => progress.update(done, spec.name));
  } catch (error) {
    if (error instanceof OutputFileError) {
      throw new OutputFileError(place, error.message, `${error.message}; ${state()}`);
    }
    throw error;
  } finally {
    progress.clear();
    results.close();
    end();
  }
}

/** Calls `action` with the exit code when a signal comes; returns what ends that. */
function onInterrupt(action: (exitCode: number) => void): () => void {
  const handlers = Object.entries(INTERRUPTS).map(([signal, exitCode]) => ({
    signal,
    handler: () => action(exitCode),
  }));
  for (const { signal, handler } of handlers) process.once(signal, handler);
  return () => {
    for (const { signal, handler } of handlers) process.off(signal, handler);
  };
}

function parquetOutput({ parquet }: TableOptions): { readonly what: string; readonly file: string }[] {
  return parquet === undefined ? [] : [{ what: "--parquet", file: parquet }];
}
