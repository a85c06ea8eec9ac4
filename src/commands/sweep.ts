/** `mmulab sweep`: a grid of runs on all cores. */
import { type Command, InvalidArgumentError, Option } from "commander";
import { optionParser } from "../command-line/option-values.ts";
import { repeatable } from "../command-line/repeated-options.ts";
import { wholeNumber } from "../input/values.ts";
import type { Shard } from "../sweep/sweep.ts";
import type { SweepCommandOptions } from "./sweep-action.ts";

const HELP = `
The specification names a workload, an experiment or a trace and gives values for its parameters; every combination is a point:

  workload: mixed
  seeds: 3                      # from --seed on, or a list; each row has its own
  grid:
    cpus: [4, 16]
    policy: [ipi, eager]
    lazy_max_pages: [1024, 32768]
    operations: 20000

For workloads a grid may hold cpus, memory, preset, operations, the workload's own parameters, and settings of the machine:
kernel (6.1, 7.3), topology (2x64x2), policy, isolated (2-7), pti (true, false), mitigations (off, on, strict), memcg_levels,
idle_states, flush_ceiling_pages, lazy_max_pages, vmap_nodes, nr_cpus, ipi_mode, flush_freed_tables, prove_locking, guest (true, false),
guest_pages, host_pages, vcpus, pcpus, overcommit, numa_balancing, balloon. For experiments, preset, the experiment's own parameters,
and those settings that its --help names.

A preset may be a file that ends in .json. A column may be any figure by its name (mmulab presets NAME), and the column set gives
several figures values at once:

  grid:
    kernel.callCycles: [50, 200]
    set: [none, tlbs.2.ways=8, tlbs.2.ways=12 tlbs.2.replacement=mru3-plru4]

With references: FILE (a trace that mmulab replay takes) or ftrace: FILE in place of workload, each point replays the trace. A grid of
references may hold preset, memory, cpus, pages, warmup, skip, limit, window, independent and the settings of guests; one of ftrace
cpus, memory, preset and all settings of the machine; both any figure. There are no seeds: a replay makes no random choices.

Each point goes to --out the moment it is done. A sweep that was interrupted goes on where it stopped when the same command
is given again. The table has every table of an experiment; the column "table" says which one a row is of.

On several machines: --shard 2/3 runs the second of three parts of about equal size; points are dealt out by a hash of their
values. --with adds the results of other shards to the table. With --dir, results go into a folder that all machines see, a file
for each attempt at a part; sweep status and sweep merge read it.

On a cluster: --slurm submits an array job with --tasks parts, follows it, and prints the table of all. What comes after -- goes
to sbatch. Tasks that were queued again go on with what is left; the same command follows a job that still runs, or submits what
is missing. --dry-run prints the script.

Exit code: 0 all points were run, 1 some failed (column error) or are missing, 2 the specification, an option or the file of
results is wrong, or cannot be written; 129, 130, 143 interrupted (SIGHUP, Ctrl-C, SIGTERM).

Examples:
  $ mmulab sweep sweep.yaml --csv > results.csv
  $ mmulab sweep sweep.yaml --parquet results.parquet --quiet
  $ mmulab sweep sweep.yaml --slurm --tasks 64 -- --partition=short --time=30 --mem=2G
  $ mmulab sweep status sweep.sweep
  $ mmulab sweep merge sweep.sweep --csv > results.csv`;

const MERGE_HELP = `
Exit code: 0 all points are there, 1 some are missing or failed, 2 the folder is not one of a sweep, or damaged.

Example:
  $ mmulab sweep merge sweep.sweep --parquet results.parquet`;

const STATUS_HELP = `
Exit code: 0 all points are done, 1 some are not, 2 the folder is not one of a sweep, or damaged.

Example:
  $ mmulab sweep status sweep.sweep`;

const TASKS_MAX = 10_000;

/** Adds the command; `exit` takes its exit code. */
export function addSweepCommand(program: Command, exit: (code: number) => void): void {
  const command = program
    .command("sweep")
    .description("Run a workload or an experiment, or replay a trace, for every combination of parameters.")
    .argument("<spec>", "the specification, YAML")
    .argument("[sbatch...]", "options of sbatch, after --")
    .option("--out <file>", "where results are kept (default: beside the specification, .results.jsonl)")
    .option("--dir <folder>", "keep results in a folder that several processes work on")
    .addOption(new Option("--shard <k/n>", "run only part k of n").argParser(parseShard))
    .addOption(repeatable(new Option("--with <file>", "results of another shard for the table; may be repeated")))
    .option(
      "--jobs <number>",
      "threads (default: all cores; with --slurm 1 a task)",
      optionParser(wholeNumber(1, 1024)),
    )
    .option(
      "--seed <number>",
      "first seed, where the specification says how many",
      optionParser(wholeNumber(0, 2 ** 31)),
      1,
    )
    .option("--slurm", "run as an array job of Slurm, in the folder --dir (default: beside the specification, .sweep)")
    .option(
      "--tasks <number>",
      "parts of the array job (default: one a point, at most 100)",
      optionParser(wholeNumber(1, TASKS_MAX)),
    )
    .option("--poll <seconds>", "how often Slurm is asked", optionParser(wholeNumber(1, 3600)), 5)
    .option("--dry-run", "print the script of the array job and stop");
  addTableOptions(command)
    .addHelpText("after", HELP)
    .action(async (file: string, sbatch: readonly string[], options: SweepCommandOptions) => {
      // Loaded by those who use it: 60 ms, most of them its reader of YAML.
      const { sweep } = await import("./sweep-action.ts");
      exit(await sweep(file, sbatch, options));
    });
  addTableOptions(
    command
      .command("merge")
      .description("Print the table of a sweep whose results are in a folder (--dir, --slurm).")
      .argument("<folder>", "the folder"),
  )
    .addHelpText("after", MERGE_HELP)
    .action(async (folder: string, _: unknown, merge: Command) => {
      const { mergeFolder } = await import("./sweep-action.ts");
      exit(await mergeFolder(folder, merge.optsWithGlobals()));
    });
  command
    .command("status")
    .description("Say how far a sweep is whose results are in a folder (--dir, --slurm).")
    .argument("<folder>", "the folder")
    .option("--json", "print one JSON object")
    .addHelpText("after", STATUS_HELP)
    .action(async (folder: string, _: unknown, status: Command) => {
      const { statusOfFolder } = await import("./sweep-status.ts");
      exit(await statusOfFolder(folder, status.optsWithGlobals()));
    });
}

/** Options on how the table is shown. */
function addTableOptions(command: Command): Command {
  return command
    .option("--columns <names>", "columns of the table, separated by commas")
    .option("--csv", "print the table as CSV, all columns")
    .option("--json", "print the table as one JSON object, all columns")
    .option("--parquet <file>", "write the table to a Parquet file as well")
    .option("--quiet", "print nothing but errors (and what --json or --csv ask for)");
}

function parseShard(text: string): Shard {
  const match = /^(\d+)\/(\d+)$/.exec(text);
  const shard = match === null ? null : { part: Number(match[1]), parts: Number(match[2]) };
  if (shard !== null && shard.parts <= 10_000 && shard.part >= 1 && shard.part <= shard.parts) return shard;
  throw new InvalidArgumentError("Expected a part such as 2/3: the second of three.");
}
