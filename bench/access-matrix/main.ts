/**
 * `npm run access-matrix`: every legal case of the access matrix, on all cores. Prints `N passed, M failed` and exits with 1
 * when any failed; progress goes to stderr. `--sample N` runs every so many-th case so that about N run.
 */
import { availableParallelism } from "node:os";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { accessKinds, allSettings, type Case, caseAt, casesPerSetting, entryPairs } from "./cases.ts";
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
const SETTINGS = [...allSettings(false), ...allSettings(true)];

/** Runs the settings whose number is `first` modulo `step`, every `stride`-th case. */
function work(first: number, step: number, stride: number, send: (report: Report) => void): void {
  // A fault is an exception; its stack trace would cost more than the case.
  Error.stackTraceLimit = 0;
  const runner = new CaseRunner();
  const each: Case = { pte: 0, pde: 0, readOnlyPdpte: false, key: false, access: 0 };
  let [passed, failed] = [0, 0];
  let failures: string[] = [];
  const report = (done: boolean): void => {
    send({ passed, failed, failures, done });
    [passed, failed, failures] = [0, 0, []];
  };
  for (let number = first; number < SETTINGS.length; number += step) {
    const setting = SETTINGS[number];
    const pairs = entryPairs(setting.nxe);
    const accesses = accessKinds(setting.smep);
    const count = casesPerSetting(setting);
    runner.use(setting);
    for (let index = number % stride; index < count; index += stride) {
      caseAt(pairs, accesses, index, each);
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
  const total = SETTINGS.reduce((sum, setting) => sum + casesPerSetting(setting), 0);
  const sample = sampleSize(process.argv.slice(2), total);
  const stride = Math.max(1, Math.round(total / sample));
  const workers = Math.min(availableParallelism(), SETTINGS.length);
  let [passed, failed, running, shown] = [0, 0, workers, 0];
  const withoutSmep = allSettings(false).reduce((sum, setting) => sum + casesPerSetting(setting), 0);
  process.stderr.write(`${total} cases, ${withoutSmep} of them without SMEP; ${workers} workers\n`);
  for (let first = 0; first < workers; first++) {
    const worker = new Worker(new URL(import.meta.url), { workerData: { first, step: workers, stride } });
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

function sampleSize(args: readonly string[], total: number): number {
  if (args.length === 0) return total;
  const size = Number(args[1]);
  if (args[0] !== "--sample" || args.length !== 2 || !Number.isInteger(size) || size < 1) {
    process.stderr.write(`access-matrix: ${args.join(" ")}: expected no argument, or --sample and a whole number\n`);
    process.exit(2);
  }
  return Math.min(size, total);
}

if (isMainThread) {
  main();
} else {
  const { first, step, stride } = workerData as { first: number; step: number; stride: number };
  work(first, step, stride, (report) => parentPort?.postMessage(report));
}
