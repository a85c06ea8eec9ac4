/** `mmulab sweep`: a grid of runs on all cores. */
import { availableParallelism } from "node:os";
import { type Command, InvalidArgumentError, Option } from "commander";
import { optionParser } from "../command-line/option-values.ts";
import { wholeNumber } from "../input/values.ts";
import type { Shard } from "../sweep/sweep.ts";
import type { SweepCommandOptions } from "./sweep-action.ts";

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
ipi_mode. For experiments, preset, the experiment's own parameters, and those settings that its --help names. A preset may be a
file that ends in .json, and a column may be any figure by its name: tlbs.2.ways, kernel.callCycles (mmulab presets NAME).

Each point goes to --out the moment it is done. A sweep that was interrupted goes on where it stopped when the same command
is given again. --shard 2/3 runs the second third of the points; --with adds the results of other shards to the table.

Exit code: 0 all points were run, 1 some failed (column error), 2 the specification, an option or the file of results is
wrong, or cannot be written; 129, 130, 143 interrupted (SIGHUP, Ctrl-C, SIGTERM).

Example:
  $ mmulab sweep sweep.yaml --csv > results.csv`;

/** Adds the command; `exit` takes its exit code. */
export function addSweepCommand(program: Command, exit: (code: number) => void): void {
  program
    .command("sweep")
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
        .argParser(optionParser(wholeNumber(1, 1024)))
        .default(availableParallelism(), "all cores"),
    )
    .option(
      "--seed <number>",
      "first seed, where the specification says how many",
      optionParser(wholeNumber(0, 2 ** 31)),
      1,
    )
    .option("--columns <names>", "columns of the table, separated by commas")
    .option("--csv", "print the table as CSV, all columns")
    .option("--json", "print the table as one JSON object, all columns")
    .option("--quiet", "print nothing but errors (and what --json or --csv ask for)")
    .addHelpText("after", HELP)
    .action(async (file: string, options: SweepCommandOptions) => {
      // Loaded by those who use it: 60 ms, most of them its reader of YAML.
      const { sweep } = await import("./sweep-action.ts");
      exit(await sweep(file, options));
    });
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
