/**
 * `npm run mutants:generated-races -- [--sample N] [--seed N] [--schedules N] [--files WORD] [--kinds REGEXP]`: makes bugs of concurrency of the sources by rule
 * (`race-mutations.ts`), plants one after the other in a copy of what was built, and runs those tests of the explorer that reach the place.
 * Prints each that no test finds with its file and line, and at the end how many were found.
 */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import type { FoundRace } from "./find-race.ts";
import { PlantedCopy } from "./planted-copy.ts";
import { namesThatLetAct, parsed, type RaceMutation, raceMutations, statementLists } from "./race-mutations.ts";
import type { ReachedSites } from "./reach-sites.ts";
import { confidenceInterval, drawn, sourceFiles } from "./sample.ts";

/** What is not about several CPUs: views, checks, saved states, tables of versions, what observes. */
const LEFT_OUT =
  /mm\/(lib|percpu|page-tables\/memtype|views|verify|snapshot|versions)\/|-state\.ts$|capture-|index\.ts$|compatibility|kernel-mm|kernel\/(lock|lockdep|lock-stat|lock-watcher|blocking|fault-injection|historical-bugs|kernel-costs?\S*|call-probes|points)\.ts$|flush-accounts|free-ledger|vmstat|reasons|warn-alloc|config/;
/** Schedules of each test, to see what it reaches. */
const REACH_SCHEDULES = 200;
/** Schedules of all tests together, for one mutation. */
const ALL_SCHEDULES = 4000;
const TIMEOUT_MS = 300_000;

/** A place is known by its file and where it begins. */
function siteKey(file: string, start: number): string {
  return `${file}:${start}`;
}

/** The texts of files in which each statement says that it is reached. */
function instrumented(files: ReturnType<typeof parsed>[], numbers: Map<string, number>): Map<string, string> {
  const texts = new Map<string, string>();
  for (const file of files) {
    const starts = statementLists(file)
      .flatMap((list) => list.map((statement) => statement.getStart()))
      .sort((a, b) => b - a);
    let { text } = file;
    for (const start of starts) {
      const number = numbers.size;
      numbers.set(siteKey(file.fileName, start), number);
      text = `${text.slice(0, start)}(globalThis as any).raceSites[${number}] = 1; ${text.slice(start)}`;
    }
    texts.set(file.fileName, `(globalThis as any).raceSites ??= {};\n${text}`);
  }
  return texts;
}

/** Names of the tests that reach each place, by `siteKey`. */
function testsBySite(copy: PlantedCopy, files: ReturnType<typeof parsed>[]): ReadonlyMap<string, readonly string[]> {
  const numbers = new Map<string, number>();
  const texts = instrumented(files, numbers);
  const { stdout, stderr } = copy.run(texts, "bench/mutants/reach-sites.js", [String(REACH_SCHEDULES)], TIMEOUT_MS);
  if (stdout === null) throw new Error(`the tests do not run: ${stderr}`);
  const reached = JSON.parse(stdout) as ReachedSites;
  const sets = Object.entries(reached).map(([name, sites]) => ({ name, sites: new Set(sites) }));
  const found = new Map<string, readonly string[]>();
  for (const [key, number] of numbers) {
    const names = sets.filter(({ sites }) => sites.has(number)).map(({ name }) => name);
    found.set(key, names);
  }
  return found;
}

function mutatedText(text: string, { start, end, replacement }: RaceMutation): string {
  return text.slice(0, start) + replacement + text.slice(end);
}

function shown(text: string): string {
  return text.replaceAll(/\s+/g, " ").slice(0, 160);
}

interface Options {
  readonly sample: number;
  readonly seed: number;
  readonly schedules: number;
  readonly files: string;
  /** What was done to the place. */
  readonly kinds: RegExp;
}

/** What became of a mutation: found by a test, ended otherwise (no schedule ran, no end), or null. */
function plant(copy: PlantedCopy, mutation: RaceMutation, tests: readonly string[], schedules: number) {
  const text = mutatedText(readFileSync(mutation.file, "utf8"), mutation);
  const args = [String(schedules), tests.join(","), String(ALL_SCHEDULES)];
  const { stdout } = copy.run(new Map([[mutation.file, text]]), "bench/mutants/find-race.js", args, TIMEOUT_MS);
  return stdout === null ? "no schedule ran" : (JSON.parse(stdout) as FoundRace | null);
}

function main({ sample, seed, schedules, files: word, kinds }: Options): void {
  const files = sourceFiles(["mm"])
    .filter((name) => !LEFT_OUT.test(name))
    .map((name) => parsed(name, readFileSync(name, "utf8")));
  const letsAct = namesThatLetAct(files);
  const copy = new PlantedCopy();
  try {
    const tests = testsBySite(copy, files);
    const all = files
      .filter(({ fileName }) => fileName.includes(word))
      .flatMap((file) => raceMutations(file, letsAct))
      .filter(({ kind }) => kinds.test(kind));
    const reached = all.filter(({ file, site }) => (tests.get(siteKey(file, site)) ?? []).length > 0);
    process.stdout.write(`${all.length} mutations, ${reached.length} at places that tests reach\n`);
    const chosen = drawn(reached, sample, seed);
    let found = 0;
    chosen.forEach((mutation, i) => {
      const { file, line, kind, site, start, end, replacement } = mutation;
      const names = tests.get(siteKey(file, site)) ?? [];
      const result = plant(copy, mutation, names, schedules);
      if (result !== null) {
        found++;
        return;
      }
      const before = shown(readFileSync(file, "utf8").slice(start, end));
      process.stdout.write(`NOT FOUND ${file}:${line} ${kind} (${names.length} tests; ${i + 1} of ${chosen.length})\n`);
      process.stdout.write(`    ${before}\n    -> ${shown(replacement)}\n`);
    });
    const [low, high] = confidenceInterval(found, chosen.length);
    process.stdout.write(
      `${found} of ${chosen.length} found (95 % confidence: ${low.toFixed(1)} to ${high.toFixed(1)} %)\n`,
    );
  } finally {
    copy.remove();
  }
}

const { values } = parseArgs({
  options: {
    sample: { type: "string", default: "100" },
    seed: { type: "string", default: "1" },
    schedules: { type: "string", default: "500" },
    files: { type: "string", default: "" },
    kinds: { type: "string", default: "" },
  },
});
main({
  sample: Number(values.sample),
  seed: Number(values.seed),
  schedules: Number(values.schedules),
  files: values.files,
  kinds: new RegExp(values.kinds),
});
