/** `mmulab run`: a workload on an emulated machine, and a report. */
import { type Command, Option } from "commander";
import { EXIT_DIFFERENCES, EXIT_OK } from "../command-line/errors.ts";
import { startProgress } from "../command-line/progress.ts";
import { memorySize, wholeNumber } from "../command-line/values.ts";
import { renderRunReport } from "../report/run-report-text.ts";
import { findWorkload, WORKLOADS } from "../workloads/index.ts";
import { findPreset, presetNames } from "../workloads/presets.ts";
import { runWorkload } from "../workloads/run.ts";

interface RunCommandOptions {
  readonly cpus: number;
  readonly memory: number;
  readonly ops: number;
  readonly seed: number;
  readonly preset: string;
  readonly list?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

const MEMORY_MIN = 2 ** 26;
const MEMORY_MAX = 2 ** 44;

const HELP = `
The machine is emulated: page tables in its memory, a TLB for each CPU, one kernel thread a CPU. The same seed gives the
same report, byte for byte.

Exit code: 0 the workload ran, 1 memory did not hold what was stored in it, 2 an option or name is wrong.

Examples:
  $ mmulab run
  $ mmulab run mixed --cpus 8 --memory 16GiB --ops 100000 --seed 7 --json
  $ mmulab run --list`;

/** Adds the command; `exit` takes its exit code. */
export function addRunCommand(program: Command, exit: (code: number) => void): void {
  program
    .command("run")
    .summary("boot an emulated machine, run a workload, print a report")
    .description("Boot an emulated machine, run a workload on all its CPUs, and report what its MMU and vmalloc did.")
    .argument("[workload]", "which workload (--list shows all)", "mixed")
    .option("--cpus <number>", "CPUs of the machine, 1 to 1024", wholeNumber(1, 1024), 4)
    .addOption(
      new Option("--memory <size>", "memory of the machine, such as 512MiB or 1TiB")
        .argParser(memorySize(MEMORY_MIN, MEMORY_MAX))
        .default(2 ** 32, "4GiB"),
    )
    .option("--ops <number>", "operations over all CPUs", wholeNumber(1, 1e9), 20_000)
    .option("--seed <number>", "seed of the random choices", wholeNumber(0, 2 ** 32 - 1), 1)
    .option("--preset <name>", `microarchitecture: its TLBs and costs (${presetNames().join(", ")})`, "skylake")
    .option("--list", "list the workloads and stop")
    .option("--json", "print the report as one JSON object")
    .option("--quiet", "print nothing but errors (and the object of --json)")
    .addHelpText("after", HELP)
    .action((workload: string, options: RunCommandOptions) => exit(run(workload, options)));
}

function run(name: string, options: RunCommandOptions): number {
  if (options.list) {
    for (const { name, summary } of WORKLOADS) process.stdout.write(`${name.padEnd(12)} ${summary}\n`);
    return EXIT_OK;
  }
  const workload = findWorkload(name);
  const progress = startProgress(options.ops, options.quiet === true);
  const config = { cpus: options.cpus, memoryBytes: options.memory, preset: findPreset(options.preset) };
  const report = runWorkload(workload, config, {
    operations: options.ops,
    seed: options.seed,
    onProgress: (operations) => progress.update(operations, workload.name),
  });
  progress.clear();
  if (options.json) process.stdout.write(`${JSON.stringify(report)}\n`);
  else if (!options.quiet) process.stdout.write(renderRunReport(report));
  if (report.memory.wrongLoads === 0) return EXIT_OK;
  process.stderr.write(`mmulab: ${report.memory.wrongLoads} loads did not give what had been stored\n`);
  return EXIT_DIFFERENCES;
}
