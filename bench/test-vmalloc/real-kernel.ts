/** test_vmalloc in a real kernel: a command that boots one, and the report that its module prints. */
import { spawnSync } from "node:child_process";
import { loopsOf } from "./tests.ts";

/** The kernel's own report line of a test that passed. */
const SUMMARY = /Summary: (\w+) passed: \d+ failed: 0 repeat: \d+ loops: (\d+) avg: (\d+) usec/g;

/**
 * Runs `command` in a shell, with the module's parameters as its arguments, and reads its output.
 * @returns microseconds a loop, by test
 * @throws Error when the output has no report
 */
export function timeRealKernel(command: string, parameters: readonly string[]): Map<string, number> {
  const line = [command, ...parameters].join(" ");
  const child = spawnSync(line, { shell: true, encoding: "utf8", maxBuffer: 2 ** 28 });
  const usec = readSummaries(child.stdout ?? "");
  if (usec.size === 0) throw new Error(`no "Summary:" line of test_vmalloc in the output of: ${line}\n${child.stderr}`);
  return usec;
}

/** Microseconds a loop, by test that passed, of a kernel's log; the lines are told by their form alone. */
export function readSummaries(log: string): Map<string, number> {
  const usec = new Map<string, number>();
  for (const [, test, loops, average] of log.matchAll(SUMMARY)) {
    usec.set(test, Number(average) / loopsOf(test, Number(loops)));
  }
  return usec;
}
