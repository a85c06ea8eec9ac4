/**
 * A plugin of the mutation tool. It refuses each mutant that was not drawn (a place that was drawn may hold others), and says of
 * each that was run what became of it, so that a long run can be watched.
 */
import { appendFileSync, readFileSync } from "node:fs";
import { fromReport, identityOf, type MutantIdentity } from "./sample.ts";

/** Names a file with the identities of the mutants that were drawn; without it every mutant is run. */
export const SAMPLE_VARIABLE = "MMULAB_MUTANT_SAMPLE";
/** Names a file that gets a line for each mutant that was run. */
export const LOG_VARIABLE = "MMULAB_MUTANT_LOG";

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
    const log = process.env[LOG_VARIABLE];
    if (log !== undefined && mutant.status !== "CompileError") {
      appendFileSync(log, `${mutant.status} ${identityOf(fromReport(mutant))}\n`);
    }
  }
}

/** What the mutation tool looks for in a plugin. */
export const strykerPlugins = [
  { kind: "Checker", name: "sample", injectableClass: SampleChecker },
  { kind: "Reporter", name: "log", injectableClass: LogReporter },
];
