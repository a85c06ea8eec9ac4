/**
 * `npm run mutants:races [WORD [TEST]]`: plants one bug of concurrency after the other in a copy of what was built and looks whether the
 * explorer's tests find it: exhaustively, with at most two preemptions. No file of the project is changed. Exits with 1 when one is not
 * found. WORD is in the names or files of the bugs, TEST at the beginning of the names of the tests; without, it is all.
 */
import { readFileSync } from "node:fs";
import type { FoundRace } from "./find-race.ts";
import { PlantedCopy } from "./planted-copy.ts";
import type { PlantedRace } from "./planted-race.ts";
import { PLANTED_RACES } from "./planted-races.ts";

/** Schedules that each test gets at most. */
const SCHEDULES = Number(process.env.MMULAB_SCHEDULES ?? 2000);
/** Time that all tests may take; a bug that makes them longer counts as found. */
const TIMEOUT_MS = 600_000;

/** The text of a file with a bug planted in it. @throws Error when the place is not there, or more than once */
function plantedText({ file, search, replacement }: PlantedRace): string {
  const parts = readFileSync(file, "utf8").split(search);
  if (parts.length !== 2) throw new Error(`${file}: the place to change is there ${parts.length - 1} times`);
  return parts.join(replacement);
}

/** Runs all tests on a copy with the bug planted; what was found, or how it ended without a result. */
function find(copy: PlantedCopy, race: PlantedRace, tests: string): FoundRace | string | null {
  const texts = new Map([[race.file, plantedText(race)]]);
  const { stdout, stderr } = copy.run(texts, "bench/mutants/find-race.js", [String(SCHEDULES), tests], TIMEOUT_MS);
  if (stdout !== null) return JSON.parse(stdout) as FoundRace | null;
  return `no schedule ran: ${/^\w*Error.*$/m.exec(stderr)?.[0] ?? "no end"}`;
}

/** What found a bug, in words. */
function describe(found: FoundRace | string | null): string {
  if (found === null) return "NOT FOUND";
  if (typeof found === "string") return found;
  return `${found.test}, schedule ${found.schedules} (${found.before} before): ${found.kind}: ${found.message}`;
}

/** Plants those whose name or file contains a word, and runs the tests whose names begin so; how many were not found. */
function main(word: string, tests: string): number {
  const races = PLANTED_RACES.filter(({ name, file }) => `${name} ${file}`.includes(word));
  const copy = new PlantedCopy();
  let missed = 0;
  try {
    for (const race of races) {
      const found = find(copy, race, tests);
      if (found === null) missed++;
      process.stdout.write(`${race.name}\n    ${describe(found)}\n`);
    }
  } finally {
    copy.remove();
  }
  process.stdout.write(`${races.length - missed} of ${races.length} found\n`);
  return missed;
}

process.exitCode = main(process.argv[2] ?? "", process.argv[3] ?? "") === 0 ? 0 : 1;
