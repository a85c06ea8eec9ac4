/**
 * `npm run mutants:planted`: plants each mutant of the list and runs the test that must notice it. No file is changed: the mutant
 * is put into what the test runner reads (`vitest.mutants.config.ts`). Exits with 1 when a mutant goes unnoticed, or a test fails
 * without one.
 */
import { spawnSync } from "node:child_process";
import type { PlantedMutant } from "./planted-mutant.ts";
import { PLANTED_MUTANTS } from "./planted-mutants.ts";

/** Time that one file of tests may take; a mutant that makes it longer counts as noticed. */
const TIMEOUT_MS = 300_000;

/** Whether the tests of a file all pass, with a mutant or without. */
function passes(test: string, mutant: PlantedMutant | null): boolean {
  const env = { ...process.env, MMULAB_MUTANT_TESTS: JSON.stringify([test]) };
  const planted = mutant === null ? {} : { MMULAB_PLANTED_MUTANT: JSON.stringify(mutant) };
  const args = ["vitest", "run", "--config", "vitest.mutants.config.ts", "--bail", "1"];
  const { status } = spawnSync("npx", args, { env: { ...env, ...planted }, stdio: "ignore", timeout: TIMEOUT_MS });
  return status === 0;
}

/** Runs those whose name or file contains a word, and returns how many were not noticed or have a test that fails anyway. */
function main(word: string): number {
  const mutants = PLANTED_MUTANTS.filter(({ name, file }) => `${name} ${file}`.includes(word));
  let wrong = 0;
  for (const test of new Set(mutants.map((mutant) => mutant.test))) {
    const isSound = passes(test, null);
    if (!isSound) process.stdout.write(`FAILS WITHOUT A MUTANT  ${test}\n`);
    for (const mutant of mutants.filter((each) => each.test === test)) {
      const isNoticed = isSound && !passes(test, mutant);
      if (!isNoticed) wrong++;
      process.stdout.write(`${isNoticed ? "noticed" : "NOT NOTICED"}  ${mutant.file}: ${mutant.name}\n`);
    }
  }
  process.stdout.write(`${mutants.length - wrong} of ${mutants.length} noticed\n`);
  return wrong;
}

process.exitCode = main(process.argv[2] ?? "") === 0 ? 0 : 1;
