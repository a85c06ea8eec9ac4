/** The script of an array job: each task runs a part of a sweep. */
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { packageFile } from "../../files/program-files.ts";
import { shellWord } from "../../input/shell-word.ts";

/** What an array job is made of. */
export interface ArrayJob {
  /** The workload or experiment, for the job's name. */
  readonly name: string;
  /** The sweep's folder. */
  readonly folder: string;
  /** The specification's file. */
  readonly file: string;
  readonly firstSeed: number;
  /** How many parts the sweep is cut into: the tasks of the whole array. */
  readonly parts: number;
  /** Parts that are not done yet; the others are not submitted. */
  readonly partsToRun: readonly number[];
  /** Threads of a task, for which as many CPUs are asked. */
  readonly jobs: number;
  /** Options of sbatch that the user gave; they come last and win. */
  readonly options: readonly string[];
}

/** Where tasks write what they have to say: `%A` is the job's number, `%a` the task's. */
const LOG_PATTERN = "slurm-%A_%a.log";

/**
 * The script, for `sbatch`'s standard input. A task replaces its shell by the program, so that the signals of `scancel`, of
 * preemption and of a time limit reach it: it stops with its finished points in its file, and a task that is queued again goes on
 * from there.
 */
export function jobScript(job: ArrayJob): string {
  const options = [
    `--job-name=mmulab-${job.name}`,
    `--array=${ranges(job.partsToRun)}`,
    `--cpus-per-task=${job.jobs}`,
    `--output=${resolve(job.folder, LOG_PATTERN)}`,
    "--open-mode=append",
    "--requeue",
    ...job.options,
  ];
  const command = [
    process.execPath,
    fileURLToPath(packageFile("dist/src/cli.js")),
    "sweep",
    resolve(job.file),
    "--dir",
    resolve(job.folder),
    "--seed",
    String(job.firstSeed),
    "--jobs",
    String(job.jobs),
    "--quiet",
    "--shard",
  ];
  return [
    "#!/bin/sh",
    ...options.map((option) => `#SBATCH ${option}`),
    `exec ${command.map(shellWord).join(" ")} "$SLURM_ARRAY_TASK_ID/${job.parts}"`,
    "",
  ].join("\n");
}

/** A list of numbers as `--array` takes it: `1-4,7`. */
export function ranges(numbers: readonly number[]): string {
  const runs: [number, number][] = [];
  for (const number of [...numbers].sort((a, b) => a - b)) {
    const last = runs.at(-1);
    if (last !== undefined && last[1] === number - 1) last[1] = number;
    else runs.push([number, number]);
  }
  return runs.map(([first, last]) => (first === last ? String(first) : `${first}-${last}`)).join(",");
}
