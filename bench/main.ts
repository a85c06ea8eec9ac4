/**
 * Runs the benchmarks: `npm run bench -- --help`. Each task has a process of its own, so that what V8 learned from one does not
 * change another.
 */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { Command, CommanderError, Option } from "commander";
import { table } from "table";
import { Bench } from "tinybench";
import { compileNoLoops, raiseInliningLimits } from "./host-v8.ts";
import { LOAD_TASKS, loadSink } from "./load.ts";
import { MANY_CPUS_TASKS } from "./many-cpus.ts";
import { SHAPE_TASKS, shapesSink } from "./shapes.ts";
import type { BenchTask } from "./task.ts";
import { VIEW_TASKS } from "./view.ts";
import { VMALLOC_TASKS } from "./vmalloc.ts";

const TASKS: readonly BenchTask[] = [
  ...LOAD_TASKS,
  ...SHAPE_TASKS,
  ...VMALLOC_TASKS,
  ...MANY_CPUS_TASKS,
  ...VIEW_TASKS,
];
const EXIT_USAGE = 2;
const NS_PER_MS = 1e6;

/** What one task was measured to cost. */
interface Measured {
  readonly name: string;
  /** Median over the runs, in nanoseconds an operation. */
  readonly medianNs: number;
  /** Quickest and slowest run. */
  readonly minNs: number;
  readonly maxNs: number;
  readonly runs: number;
}

interface Options {
  readonly json?: true;
  readonly smoke?: true;
  readonly filter?: string;
  readonly task?: string;
  readonly inlining: boolean;
}

/** Measures one task in a process of its own. @throws Error when it fails there */
function measureApart({ name }: BenchTask, { smoke, inlining }: Options): Measured {
  const script = fileURLToPath(import.meta.url);
  const options = [
    ...process.execArgv,
    script,
    "--task",
    name,
    ...(smoke ? ["--smoke"] : []),
    ...(inlining ? [] : ["--no-inlining"]),
  ];
  const { status, stdout } = spawnSync(process.execPath, options, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (status !== 0) throw new Error(`${name} failed in its process`);
  return JSON.parse(stdout) as Measured;
}

/** Measures one task in this process. */
function measure(task: BenchTask, smoke: boolean): Measured {
  const time = smoke ? 1 : 1500;
  const bench = new Bench({
    time,
    iterations: smoke ? 1 : 7,
    warmupTime: smoke ? 1 : 3000,
    warmupIterations: smoke ? 1 : 5,
    throws: true,
  });
  bench.add(task.name, task.setup());
  bench.runSync();
  const { result } = bench.tasks[0];
  if (result.state !== "completed") throw new Error(`${task.name} ended as ${result.state}`);
  const { latency } = result;
  const perOperation = NS_PER_MS / task.operationsPerRun;
  return {
    name: task.name,
    medianNs: latency.p50 * perOperation,
    minNs: latency.min * perOperation,
    maxNs: latency.max * perOperation,
    runs: latency.samplesCount,
  };
}

function asTable(measured: readonly Measured[]): string {
  const rows = measured.map(({ name, medianNs, minNs, maxNs, runs }) => [
    name,
    medianNs.toFixed(2),
    minNs.toFixed(2),
    maxNs.toFixed(2),
    runs,
  ]);
  return table([["task", "ns/op (median)", "quickest run", "slowest run", "runs"], ...rows], {
    columnDefault: { alignment: "right" },
    columns: { 0: { alignment: "left" } },
  });
}

function asJson(measured: readonly Measured[]): string {
  const rounded = measured.map(({ name, medianNs }) => [name, Number(medianNs.toFixed(2))]);
  return `${JSON.stringify(Object.fromEntries(rounded))}\n`;
}

function run(options: Options): void {
  const { json, smoke, filter, task, inlining } = options;
  const alone = TASKS.find(({ name }) => name === task);
  if (alone !== undefined) {
    compileNoLoops();
    if (inlining) raiseInliningLimits();
    const measured = measure(alone, smoke ?? false);
    if (Number.isNaN(loadSink() + shapesSink())) throw new Error("a load returned no number");
    process.stdout.write(JSON.stringify(measured));
    return;
  }
  const tasks = TASKS.filter(({ name }) => name.includes(filter ?? ""));
  if (tasks.length === 0) {
    const names = TASKS.map(({ name }) => name).join(", ");
    process.stderr.write(`bench: --filter ${filter}: expected part of one of ${names}\n`);
    process.exitCode = EXIT_USAGE;
    return;
  }
  const measured = tasks.map((each) => measureApart(each, options));
  process.stdout.write(json ? asJson(measured) : asTable(measured));
}

try {
  new Command("bench")
    .description("Measures the emulator's operations on this machine.")
    .option("--json", "print one JSON object: task name to nanoseconds per operation (median)")
    .option("--smoke", "run everything very briefly, only to see that it runs")
    .option("--filter <part>", "run only the tasks whose name contains <part>")
    .option("--no-inlining", "leave V8's limits for inlining as they are (bench/host-v8.ts)")
    .addOption(new Option("--task <name>", "measure this task in this process").hideHelp())
    .configureOutput({ outputError: () => {} })
    .exitOverride()
    .allowExcessArguments(false)
    .action(run)
    .parse();
} catch (error) {
  if (!(error instanceof CommanderError)) throw error;
  if (error.exitCode !== 0) {
    process.stderr.write(`bench: ${error.message.replace(/^error: /, "")}\n`);
    process.exitCode = EXIT_USAGE;
  }
}
