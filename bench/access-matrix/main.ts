/**
 * `npm run access-matrix`: every legal case of the access matrix, on all cores. Prints `N passed, M failed` and exits with 1
 * when any failed; progress goes to stderr. `--vendor intel` or `--vendor amd` (behind `npm run access-matrix --`) runs it on a
 * CPU of that vendor, with the cases of upper entries after it; without it runs what kvm-unit-tests has, on an Intel CPU.
 * `--sample N` runs every so many-th case so that about N run.
 */
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import {
  accessKinds,
  allSettings,
  caseAt,
  casesPerSetting,
  emptyCase,
  entryPairs,
  type Setting,
  upperCaseAt,
  upperCasesPerSetting,
  upperPairs,
} from "./cases.ts";
import { CaseRunner } from "./run-case.ts";

/** What a worker has done since its last message. */
interface Report {
  readonly passed: number;
  readonly failed: number;
  readonly failures: readonly string[];
  readonly done: boolean;
}

const FAILURES_SHOWN = 5;
const REPORT_EVERY = 200_000;

/** What a run covers. */
interface Scope {
  readonly vendor: Setting["vendor"];
  /** Whether the cases of upper entries are part of it. */
  readonly withUpper: boolean;
}

function settingsOf({ vendor }: Scope): Setting[] {
  return [...allSettings(false, vendor), ...allSettings(true, vendor)];
}

function totalOf(scope: Scope, settings: readonly Setting[]): number {
  return settings.reduce(
    (sum, setting) => sum + casesPerSetting(setting) + (scope.withUpper ? upperCasesPerSetting(setting) : 0),
    0,
  );
}

/** Runs the settings whose number is `first` modulo `step`, every `stride`-th case. */
function work(scope: Scope, first: number, step: number, stride: number, send: (report: Report) => void): void {
  // A fault is an exception; its stack trace would cost more than the case.
  Error.stackTraceLimit = 0;
  const runner = new CaseRunner(scope.vendor);
  const settings = settingsOf(scope);
  const each = emptyCase();
  let [passed, failed] = [0, 0];
  let failures: string[] = [];
  const report = (done: boolean): void => {
    send({ passed, failed, failures, done });
    [passed, failed, failures] = [0, 0, []];
  };
  for (let number = first; number < settings.length; number += step) {
    const setting = settings[number];
    const pairs = entryPairs(setting.nxe);
    const ofUpper = upperPairs(setting.nxe);
    const accesses = accessKinds(setting.smep);
    const plain = casesPerSetting(setting);
    const count = plain + (scope.withUpper ? upperCasesPerSetting(setting) : 0);
    runner.use(setting);
    for (let index = number % stride; index < count; index += stride) {
      if (index < plain) caseAt(pairs, accesses, index, each);
      else upperCaseAt(ofUpper, accesses, index - plain, each);
      const failure = runner.run(each);
      if (failure === null) {
        passed++;
      } else {
        failed++;
        if (failures.length < FAILURES_SHOWN) failures.push(failure);
      }
      if (passed + failed === REPORT_EVERY) report(false);
    }
  }
  report(true);
}

/** Starts the workers and adds up what they report. */
function main(): void {
  const { scope, sample } = parseCommandLine(process.argv.slice(2));
  const settings = settingsOf(scope);
  const total = totalOf(scope, settings);
  const stride = Math.max(1, Math.round(total / Math.min(sample, total)));
  const workers = Math.min(availableParallelism(), settings.length);
  let [passed, failed, running, shown] = [0, 0, workers, 0];
  const withoutSmep = totalOf(scope, allSettings(false, scope.vendor));
  process.stderr.write(`${scope.vendor}: ${total} cases, ${withoutSmep} of them without SMEP; ${workers} workers\n`);
  for (let first = 0; first < workers; first++) {
    const worker = new Worker(new URL(import.meta.url), { workerData: { scope, first, step: workers, stride } });
    worker.on("error", (error: Error) => {
      process.stderr.write(`${error.stack ?? error.message}\n`);
      process.exit(1);
    });
    worker.on("message", (report: Report) => {
      passed += report.passed;
      failed += report.failed;
      for (const failure of report.failures)
        if (shown++ < FAILURES_SHOWN) process.stderr.write(`\nFAILED ${failure}\n`);
      process.stderr.write(`\r${Math.floor(((passed + failed) * stride * 100) / total)} %`);
      if (report.done && --running === 0) {
        process.stderr.write("\n");
        process.stdout.write(`${passed} passed, ${failed} failed\n`);
        process.exitCode = failed === 0 ? 0 : 1;
      }
    });
  }
}

function parseCommandLine(args: string[]): { scope: Scope; sample: number } {
  try {
    const { values } = parseArgs({ args, options: { vendor: { type: "string" }, sample: { type: "string" } } });
    const { vendor = "intel", sample = String(Number.MAX_SAFE_INTEGER) } = values;
    if (vendor !== "intel" && vendor !== "amd") throw new RangeError(`--vendor ${vendor}: expected intel or amd`);
    if (!/^[1-9]\d*$/.test(sample)) throw new RangeError(`--sample ${sample}: expected a whole number`);
    return { scope: { vendor, withUpper: values.vendor !== undefined }, sample: Number(sample) };
  } catch (error) {
    process.stderr.write(`access-matrix: ${(error as Error).message}\n`);
    process.exit(2);
  }
}

if (isMainThread) {
  main();
} else {
  const { scope, first, step, stride } = workerData as { scope: Scope; first: number; step: number; stride: number };
  work(scope, first, step, stride, (report) => parentPort?.postMessage(report));
}
