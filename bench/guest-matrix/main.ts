/**
 * `npm run guest-matrix`: cases of the guest matrix, on all cores, against a model from the manuals. Prints `N passed, M failed` and how
 * many a second, and exits with 1 when any failed; progress goes to stderr. Behind `npm run guest-matrix --`: `--vendor intel` or `--vendor
 * amd` for one of them (default both), `--pointers` for the pointer matrix (LAM, LASS, UAI, 57-bit addresses, natively and in guests) in
 * place of that of rights, `--sample N` for about N cases spread over all settings (default 1,000,000), `--seed S` for where they
 * begin, `--shard I/N` for one of N equal parts of the sample, the same with any number of workers, `--workers N`.
 */
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { type Matrix, matrixOf, type Vendor } from "./matrix.ts";
import { visitPart } from "./sample.ts";

/** What is to be run. */
interface Scope {
  readonly vendors: readonly Vendor[];
  readonly pointers: boolean;
  readonly sample: number;
  readonly seed: number;
  readonly shard: number;
  readonly shards: number;
}

/** What a worker has done since its last message. */
interface Report {
  readonly passed: number;
  readonly failed: number;
  readonly failures: readonly string[];
  readonly done: boolean;
}

const FAILURES_SHOWN = 5;
const REPORT_EVERY = 100_000;

function matricesOf({ vendors, pointers }: Scope): Matrix[] {
  return vendors.map((vendor) => matrixOf(vendor, pointers));
}

function settingCount(matrices: readonly Matrix[]): number {
  return matrices.reduce((sum, { settings }) => sum + settings, 0);
}

/** Runs the part of a sample that is the worker's: of each setting, every so many-th of its cases. */
function work(scope: Scope, worker: number, workers: number, send: (report: Report) => void): void {
  Error.stackTraceLimit = 0;
  const matrices = matricesOf(scope);
  const perSetting = Math.ceil(scope.sample / settingCount(matrices));
  const part = { shard: scope.shard, shards: scope.shards, worker, workers };
  let [passed, failed] = [0, 0];
  let failures: string[] = [];
  const report = (done: boolean): void => {
    send({ passed, failed, failures, done });
    [passed, failed, failures] = [0, 0, []];
  };
  let number = 0;
  for (const { settings, casesPerSetting, use, run } of matrices) {
    for (let setting = 0; setting < settings; setting++) {
      use(setting);
      visitPart(casesPerSetting, Math.min(casesPerSetting, perSetting), scope.seed + number++, part, (index) => {
        const failure = run(index);
        if (failure === null) passed++;
        else if (failed++ < FAILURES_SHOWN) failures.push(failure);
        if (passed + failed === REPORT_EVERY) report(false);
      });
    }
  }
  report(true);
}

function main(): void {
  const { scope, workers } = parseCommandLine(process.argv.slice(2));
  const all = matricesOf(scope).reduce((sum, { settings, casesPerSetting }) => sum + settings * casesPerSetting, 0);
  const planned = Math.min(all, scope.sample) / scope.shards;
  process.stderr.write(`${Math.round(planned)} of ${all} cases, seed ${scope.seed}; ${workers} workers\n`);
  const start = process.hrtime.bigint();
  let [passed, failed, running, shown] = [0, 0, workers, 0];
  for (let worker = 0; worker < workers; worker++) {
    const thread = new Worker(new URL(import.meta.url), { workerData: { scope, worker, workers } });
    thread.on("error", (error: Error) => {
      process.stderr.write(`${error.stack ?? error.message}\n`);
      process.exit(1);
    });
    thread.on("message", (report: Report) => {
      passed += report.passed;
      failed += report.failed;
      for (const failure of report.failures) {
        if (shown++ < FAILURES_SHOWN) process.stderr.write(`\nFAILED ${failure}\n`);
      }
      process.stderr.write(`\r${Math.floor(((passed + failed) * 100) / planned)} %`);
      if (!report.done || --running > 0) return;
      const seconds = Number(process.hrtime.bigint() - start) / 1e9;
      process.stderr.write("\n");
      process.stdout.write(`${passed} passed, ${failed} failed; ${Math.round((passed + failed) / seconds)} a second\n`);
      process.exitCode = failed === 0 ? 0 : 1;
    });
  }
}

function parseCommandLine(args: string[]): { scope: Scope; workers: number } {
  try {
    const { values } = parseArgs({
      args,
      options: {
        vendor: { type: "string" },
        pointers: { type: "boolean", default: false },
        sample: { type: "string", default: "1000000" },
        seed: { type: "string", default: "1" },
        shard: { type: "string", default: "1/1" },
        workers: { type: "string", default: String(availableParallelism()) },
      },
    });
    const { vendor } = values;
    if (vendor !== undefined && vendor !== "intel" && vendor !== "amd") {
      throw new RangeError(`--vendor ${vendor}: expected intel or amd`);
    }
    const shard = /^([1-9]\d*)\/([1-9]\d*)$/.exec(values.shard);
    if (shard === null || Number(shard[1]) > Number(shard[2])) {
      throw new RangeError(`--shard ${values.shard}: expected I/N, with I from 1 to N`);
    }
    const whole = (name: "sample" | "seed" | "workers"): number => {
      if (!/^[1-9]\d{0,11}$/.test(values[name]))
        throw new RangeError(`--${name} ${values[name]}: expected a whole number`);
      return Number(values[name]);
    };
    const scope: Scope = {
      vendors: vendor === undefined ? ["intel", "amd"] : [vendor],
      pointers: values.pointers,
      sample: whole("sample"),
      seed: whole("seed"),
      shard: Number(shard[1]) - 1,
      shards: Number(shard[2]),
    };
    return { scope, workers: whole("workers") };
  } catch (error) {
    process.stderr.write(`guest-matrix: ${(error as Error).message}\n`);
    process.exit(2);
  }
}

if (isMainThread) {
  main();
} else {
  const { scope, worker, workers } = workerData as { scope: Scope; worker: number; workers: number };
  work(scope, worker, workers, (report) => parentPort?.postMessage(report));
}
