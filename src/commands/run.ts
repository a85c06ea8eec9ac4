/** `mmulab run`: a workload on an emulated machine, and a report. */
import { type Command, Option } from "commander";
import { EXIT_DIFFERENCES, EXIT_OK, UsageError } from "../command-line/errors.ts";
import {
  addFigureOptions,
  addMachineOptions,
  checkHeeded,
  checkSavable,
  type FigureOptions,
} from "../command-line/machine-options.ts";
import { listChoices, optionParser } from "../command-line/option-values.ts";
import { startProgress } from "../command-line/progress.ts";
import { printError, printJson, printOutput, printReport, printText } from "../command-line/standard-streams.ts";
import { WallClock } from "../command-line/wall-clock.ts";
import { writeOutputFile } from "../files/output-file.ts";
import { checkOutputs } from "../files/output-target.ts";
import { isModuleFile } from "../files/own-module.ts";
import { describeParameter, namesOf, parseParameters } from "../input/parameters.ts";
import { wholeNumber } from "../input/values.ts";
import { bootKernel, type Kernel } from "../machine/kernel.ts";
import { EVENT_FILE_FORMATS, openEventFile } from "../output/event-file.ts";
import { checkFlushFile, FLUSH_FILE_FORMATS, writeFlushFile } from "../output/flush-file.ts";
import { madeBy, madeByLine } from "../provenance/made-by.ts";
import { counted } from "../report/counted.ts";
import { runOnKernel } from "../runs/run.ts";
import type { RunReport } from "../runs/run-report.ts";
import { renderRunReport, warningSummary } from "../runs/run-report-text.ts";
import type { FigureChoice } from "../settings/figure-choice.ts";
import { chooseFigures } from "../settings/load-figures.ts";
import { COMMAND_CPUS_MAX, parseCpus, parseMemorySize } from "../settings/machine-limits.ts";
import {
  cpusOf,
  describeSettings,
  kernelSettings,
  type MachineSettings,
  settingKey,
} from "../settings/machine-settings.ts";
import { SETTING_NAMES } from "../settings/setting-names.ts";
import { ChromeTrace } from "../timeline/chrome-trace.ts";
import type { Workload } from "../workloads/base/workload.ts";
import { loadWorkload, WORKLOADS } from "../workloads/index.ts";

interface RunCommandOptions extends MachineSettings, FigureOptions {
  readonly cpus: number;
  readonly memory: number;
  readonly ops: number;
  readonly seed: number;
  readonly list?: boolean;
  readonly wall?: boolean;
  readonly accounts?: boolean;
  readonly flushes?: string;
  readonly events?: string;
  readonly save?: string;
  readonly load?: string;
  readonly timeline?: string;
  readonly json?: boolean;
  readonly csv?: boolean;
  readonly quiet?: boolean;
}

const HELP = `
The machine is emulated: page tables in its memory, a TLB for each CPU, one kernel thread a CPU. The same seed gives the
same report, byte for byte.

Exit code: 0 the workload ran; 1 it failed (a workload of your own: a fault, a wrong argument of a call, an error of its code),
memory did not hold what was stored in it, or the kernel warned; 2 an option, name or file is wrong.

Examples:
  $ mmulab run
  $ mmulab run mixed --cpus 8 --memory 16GiB --ops 100000 --seed 7 --json
  $ mmulab run test_vmalloc run_test_mask=7 test_loop_count=100000 --wall
  $ mmulab run user_processes --cpus 16 --preset zen4 --policy invlpgb --accounts
  $ mmulab run mixed --topology 2x8x2 --lazy-max 1024 --flushes flushes.csv
  $ mmulab run mixed --ops 2000 --events events.parquet
  $ mmulab run mixed --save machine.state && mmulab run mixed --load machine.state --seed 2
  $ mmulab run --list`;

/** Adds the command; `exit` takes its exit code. */
export function addRunCommand(program: Command, exit: (code: number) => void): void {
  const command = program
    .command("run")
    .description("Boot an emulated machine, run a workload on all its CPUs, and report what its MMU and vmalloc did.")
    .argument("[workload]", "which workload, or a .ts or .js file of one's own", "mixed")
    .argument("[parameters...]", "the workload's own parameters, NAME=VALUE (--list shows them)")
    .option("--cpus <number>", "CPUs of the machine, 1 to 1024", optionParser(parseCpus), 4)
    .addOption(
      new Option("--memory <size>", "memory of the machine, such as 512MiB or 1TiB")
        .argParser(optionParser(parseMemorySize))
        .default(2 ** 32, "4GiB"),
    )
    .option("--ops <number>", "operations over all CPUs", optionParser(wholeNumber(1, 1e9)), 20_000)
    .option("--seed <number>", "seed of the random choices", optionParser(wholeNumber(0, 2 ** 32 - 1)), 1)
    .option("--accounts", "report what the flushes cost, by their parts, by cause and by who freed")
    .option("--flushes <file>", `write a record of every flush to a file: ${FLUSH_FILE_FORMATS}`)
    .option("--events <file>", `write every event of vmalloc to a file: ${EVENT_FILE_FORMATS}`)
    .option("--save <file>", "write the machine's whole state at the end to a file")
    .option("--load <file>", "begin with a machine that --save wrote")
    .option("--list", "list the workloads with their parameters and stop (also with --json)")
    .option("--wall", "print on standard error how long it took on this computer")
    .option("--timeline <file>", "write a timeline in Chrome trace-event JSON (ui.perfetto.dev)")
    .option("--json", "print the report as one JSON object")
    .option("--csv", "print the report as CSV, one number a row")
    .option("--quiet", "print nothing but errors (and what --json or --csv ask for)")
    .addHelpText("after", HELP);
  addFigureOptions(command);
  addMachineOptions(command);
  listChoices(
    command,
    WORKLOADS.map(({ name }) => name),
  );
  command.action(async (workload: string, parameters: string[], options: RunCommandOptions, command: Command) =>
    exit(await run(workload, parameters, options, (option) => command.getOptionValueSource(option) === "cli")),
  );
}

async function run(
  name: string,
  words: readonly string[],
  options: RunCommandOptions,
  given: (option: string) => boolean,
): Promise<number> {
  if (options.list) {
    if (options.json) printJson({ workloads: WORKLOADS.map(workloadEntry) });
    else printText(listWorkloads());
    return EXIT_OK;
  }
  if (options.json && options.csv) throw new UsageError("--json and --csv: expected one of them");
  const workload = await loadWorkload(name);
  const specs = workload.parameters ?? [];
  const parameters = parseParameters(workload.name, specs, words);
  if (given("ops") && workload.usesOperations === false) {
    throw new UsageError(`${workload.name} does not take --ops; its parameters are ${namesOf(specs).join(", ")}`);
  }
  checkHeeded(options);
  checkSavable(options.save, options);
  const figures = await chooseFigures(options.preset, options.set);
  if (options.flushes !== undefined) checkFlushFile(options.flushes);
  checkOutputs(
    (["events", "flushes", "save", "timeline"] as const).map((option) => ({
      what: `--${option}`,
      file: options[option],
    })),
    [
      { what: "--load", file: options.load },
      { what: "the workload", file: isModuleFile(name) ? name : undefined },
    ],
  );
  const total = workload.operationsOf?.(parameters, options.ops) ?? options.ops;
  const progress = startProgress(total, options.quiet === true);
  const kernel = await kernelFor(options, figures, given);
  if (options.accounts || options.flushes !== undefined) kernel.vm.flushing.keepAccounts();
  const events = options.events === undefined ? null : await openEventFile(options.events, kernel);
  kernel.vm.events = events?.observer ?? null;
  const trace = options.timeline === undefined ? null : new ChromeTrace();
  trace?.watch(kernel, `${workload.name}, ${counted(kernel.machine.loop.cpus, "CPU")}`);
  const settings = options.load === undefined ? describeSettings({ ...options, figures }) : {};
  const wall = options.wall === true ? new WallClock() : null;
  let report: RunReport;
  try {
    report = runOnKernel(kernel, workload, {
      operations: options.ops,
      seed: options.seed,
      onProgress: (operations) => progress.update(operations, workload.name),
      ...(specs.length > 0 ? { parameters } : {}),
      ...(wall === null ? {} : { phases: wall }),
    });
    if (Object.keys(settings).length > 0) report = { ...report, machine: { ...report.machine, settings } };
    events?.finish();
  } catch (error) {
    events?.abandon();
    throw error;
  } finally {
    progress.clear();
  }
  if (options.timeline !== undefined && trace !== null) writeOutputFile(options.timeline, trace.toJson(madeBy()));
  if (options.flushes !== undefined) await writeFlushFile(options.flushes, kernel);
  if (wall !== null) printError(wall.report());
  if (options.save !== undefined) {
    const { saveKernel } = await savedStates();
    saveKernel(kernel, options.save, describeRun(workload, words, options, kernel));
  }
  await printRun(report, options);
  return judge(report);
}

async function printRun(report: RunReport, { json, csv, quiet }: RunCommandOptions): Promise<void> {
  if (json) printJson(report);
  else if (csv) {
    const { renderReportCsv } = await import("../report/report-csv.ts");
    printOutput(madeByLine() + renderReportCsv(report));
  } else if (!quiet) printReport(renderRunReport(report));
}

/** Tells on standard error why a run counts as failed, if it does; the exit code. */
function judge(report: RunReport): number {
  const problems: string[] = [];
  if (report.failure !== undefined) problems.push(report.failure);
  const { wrongLoads } = report.memory;
  if (wrongLoads > 0) problems.push(`${counted(wrongLoads, "load")} did not give what had been stored`);
  if (report.kernelWarnings > 0) {
    const [first] = report.kernelWarningLines ?? [];
    problems.push(`${warningSummary(report.kernelWarnings)}${first === undefined ? "" : `, first: ${first}`}`);
  }
  for (const problem of problems) printError(`mmulab: ${problem}\n`);
  return problems.length === 0 ? EXIT_OK : EXIT_DIFFERENCES;
}

/** Reading and writing saved states: a quarter of what the command loads, and seldom needed. */
const savedStates = () => import("../state/machine-state.ts");

/** Options that say which machine is booted: a saved one has its own. */
const MACHINE_OPTIONS = ["cpus", "memory", "preset", "set", ...SETTING_NAMES];

async function kernelFor(
  options: RunCommandOptions,
  figures: FigureChoice,
  given: (option: string) => boolean,
): Promise<Kernel> {
  if (options.load !== undefined) {
    const misplaced = MACHINE_OPTIONS.find((name) => given(settingKey(name)));
    if (misplaced === undefined) {
      const { loadKernel } = await savedStates();
      return loadKernel(options.load).kernel;
    }
    throw new UsageError(`--${misplaced} does not go with --load: ${options.load} has its machine`);
  }
  const cpus = options.topology === undefined || given("cpus") ? options.cpus : cpusOf(options.topology);
  if (cpus > COMMAND_CPUS_MAX)
    throw new UsageError(`--topology: has ${cpus} CPUs, expected at most ${COMMAND_CPUS_MAX}`);
  return bootKernel({
    ...kernelSettings({ ...options, figures }, cpus),
    memoryBytes: options.memory,
  });
}

/** What a saved state says about where it comes from. */
function describeRun(workload: Workload, words: readonly string[], options: RunCommandOptions, kernel: Kernel): string {
  const what = workload.usesOperations === false ? words.join(" ") : counted(options.ops, "operation");
  return `${counted(kernel.machine.loop.cpus, "CPU")} after ${workload.name}, ${what || "defaults"}, seed ${options.seed}`;
}

/** A workload in the list for programs. */
function workloadEntry({ name, summary, parameters }: Workload): object {
  return { name, summary, parameters: parameters ?? [] };
}

function listWorkloads(): string {
  const lines = WORKLOADS.flatMap(({ name, summary, parameters }) => [
    `${name.padEnd(16)} ${summary}`,
    ...(parameters ?? []).map((spec) => `  ${describeParameter(spec)}`),
  ]);
  return lines.map((line) => `${line}\n`).join("");
}
