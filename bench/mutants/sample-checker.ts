/**
 * A plugin of the mutation tool. It refuses each mutant that was not drawn (a place that was drawn may hold others), and says of
 * each that was run what became of it, so that a long run can be watched.
 */
import { appendFileSync, readFileSync } from "node:fs";
import { fromReport, identityOf, type MutantIdentity } from "./sample.ts";

/** Names a file with the identities of the mutants that were drawn; without it every mutant is run. */
export const SAMPLE_VARIABLE = "MMULAB_MUTANT_SAMPLE";
/** Names a file that gets a line for each mutant that was run, and the stage of tests that is run, as JSON. */
export const LOG_VARIABLE = "MMULAB_MUTANT_LOG";

/** What became of a mutant, as the mutation tool calls it. */
export interface LogLine {
  readonly status: string;
  readonly stage: number;
  readonly identity: string;
}

class SampleChecker {
  #drawn = new Set<string>();

  async init(): Promise<void> {
    this.#drawn = new Set(JSON.parse(readFileSync(process.env[SAMPLE_VARIABLE] ?? "", "utf8")));
  }

  async check(mutants: readonly (MutantIdentity & { id: string })[]): Promise<Record<string, object>> {
    const verdict = (mutant: MutantIdentity): object =>
      this.#drawn.has(identityOf(mutant)) ? { status: "passed" } : { status: "compileError", reason: "not drawn" };
    return Object.fromEntries(mutants.map((mutant) => [mutant.id, verdict(mutant)]));
  }
}

class LogReporter {
  onMutantTested(mutant: MutantIdentity & { status: string }): void {
    const setting = process.env[LOG_VARIABLE];
    if (setting === undefined || mutant.status === "CompileError") return;
    const { file, stage } = JSON.parse(setting) as { file: string; stage: number };
    const line: LogLine = { status: mutant.status, stage, identity: identityOf(fromReport(mutant)) };
    appendFileSync(file, `${JSON.stringify(line)}\n`);
  }
}

/** What the mutation tool looks for in a plugin. */
export const strykerPlugins = [
  { kind: "Checker", name: "sample", injectableClass: SampleChecker },
  { kind: "Reporter", name: "log", injectableClass: LogReporter },
];
