/**
 * `npm run mutants -- FILE...`: changes one thing after the other in a file (a mutant) and looks whether a test notices. Prints how
 * many were noticed, and each that was not. The tests of the file's room come first; with `--wide`, what they do not notice is tried
 * with all tests of its part of the project, which takes long. Only tests that reach the changed place are run for a mutant, until one
 * fails.
 */
import { existsSync } from "node:fs";
import { dirname, relative, resolve } from "node:path";
import { Stryker } from "@stryker-mutator/core";
import { Command, CommanderError } from "commander";
import { table } from "table";

const EXIT_USAGE = 2;
/** Time that a mutant's tests may take beside one and a half times what they usually take: a loop without end counts as noticed. */
const TIMEOUT_MS = 20_000;

/** What became of one mutant. */
type MutantResult = Awaited<ReturnType<Stryker["runMutationTest"]>>[number];

interface Options {
  readonly tests?: string[];
  readonly wide?: true;
  readonly concurrency: number;
  readonly atLeast?: number;
}

/** What became of the mutants of one file. */
interface Score {
  readonly file: string;
  killed: number;
  survived: number;
  /** Of these, mutants that no test reaches. */
  notReached: number;
}

/** Tests for a file: those of its room and then, if asked to, all that may reach it. @throws RangeError for a file of no part */
function testsFor(file: string, isWide: boolean): string[][] {
  const [part] = file.split("/");
  if (!["arch", "mm", "src"].includes(part)) throw new RangeError(`${file}: expected a file of arch, mm or src`);
  let room = `test/${dirname(file)}`;
  while (!existsSync(room)) room = dirname(room);
  const wide = [`test/${part}/**/*.test.ts`, ...(part === "mm" ? ["test/src/recording/replay.test.ts"] : [])];
  if (room === `test/${part}`) return [wide];
  const own = [`${room}/**/*.test.ts`];
  return isWide ? [own, wide] : [own];
}

/** Runs the tests of one stage after the other; each but the first gets only what none before it noticed. */
async function runStages(file: string, stages: readonly string[][], concurrency: number): Promise<MutantResult[]> {
  let results: MutantResult[] = [];
  for (const [stage, tests] of stages.entries()) {
    const survivors = results.filter(isSurvivor);
    if (stage > 0 && survivors.length === 0) break;
    const places = stage === 0 ? [file] : survivors.map(placeOf);
    const found = await runMutants(places, tests, concurrency);
    const byMutant = new Map(found.map((result) => [identityOf(result), result]));
    results = stage === 0 ? found : results.map((result) => byMutant.get(identityOf(result)) ?? result);
  }
  return results;
}

/** The place of a mutant as Stryker takes it: lines from 1, columns from 0. */
function placeOf({ fileName, location: { start, end } }: MutantResult): string {
  const file = relative(process.cwd(), resolve(fileName));
  return `${file}:${start.line}:${start.column - 1}-${end.line}:${end.column - 1}`;
}

function identityOf(result: MutantResult): string {
  return `${placeOf(result)} ${result.mutatorName} ${result.replacement}`;
}

function isSurvivor(result: MutantResult): boolean {
  return ["survived", "notReached"].includes(countedStatus(result) ?? "");
}

/** Runs the tests on every mutant of some files, or parts of files. */
async function runMutants(
  places: readonly string[],
  tests: readonly string[],
  concurrency: number,
): Promise<MutantResult[]> {
  // The test runner is a process of its own, and `vitest.mutants.config.ts` reads this there.
  process.env.MMULAB_MUTANT_TESTS = JSON.stringify(tests);
  const stryker = new Stryker({
    mutate: [...places],
    testRunner: "vitest",
    vitest: { configFile: "vitest.mutants.config.ts", related: false },
    plugins: ["@stryker-mutator/vitest-runner"],
    coverageAnalysis: "perTest",
    concurrency,
    reporters: process.stderr.isTTY ? ["progress"] : [],
    tempDirName: ".mutants",
    cleanTempDir: "always",
    ignorePatterns: ["/api-docs", "/coverage", "/docs"],
    timeoutMS: TIMEOUT_MS,
    fileLogLevel: "off",
    logLevel: "error",
  } as ConstructorParameters<typeof Stryker>[0]);
  return await stryker.runMutationTest();
}

/** Mutants that count: not those that cannot be compiled, or that a comment in the file excludes. */
function countedStatus({ status }: MutantResult): "killed" | "survived" | "notReached" | null {
  if (status === "Killed" || status === "Timeout" || status === "RuntimeError") return "killed";
  if (status === "Survived") return "survived";
  return status === "NoCoverage" ? "notReached" : null;
}

function scoresOf(results: readonly MutantResult[]): Score[] {
  const scores = new Map<string, Score>();
  for (const result of results) {
    const file = relative(process.cwd(), resolve(result.fileName));
    const score = scores.get(file) ?? { file, killed: 0, survived: 0, notReached: 0 };
    scores.set(file, score);
    const status = countedStatus(result);
    if (status === "killed") score.killed++;
    else if (status !== null) score.survived++;
    if (status === "notReached") score.notReached++;
  }
  return [...scores.values()];
}

function percent({ killed, survived }: Pick<Score, "killed" | "survived">): number {
  return killed + survived === 0 ? 100 : (100 * killed) / (killed + survived);
}

/** A mutant that no test noticed: where it is, and what it makes of the code there. */
function describe(result: MutantResult): string {
  const { fileName, location, mutatorName, replacement, status } = result;
  const where = `${relative(process.cwd(), resolve(fileName))}:${location.start.line}:${location.start.column}`;
  const text = (replacement ?? "").replace(/\s+/g, " ");
  return `${where} ${mutatorName}${status === "NoCoverage" ? " (no test reaches it)" : ""}: ${text}`;
}

function report(results: readonly MutantResult[]): number {
  const scores = scoresOf(results);
  const all = { killed: 0, survived: 0, notReached: 0 };
  for (const { killed, survived, notReached } of scores) {
    all.killed += killed;
    all.survived += survived;
    all.notReached += notReached;
  }
  const survivors = results.filter(isSurvivor);
  for (const survivor of survivors) process.stdout.write(`${describe(survivor)}\n`);
  const row = (name: string, score: Omit<Score, "file">): string[] => [
    name,
    ...[score.killed, score.survived, score.notReached].map(String),
    `${percent(score).toFixed(1)} %`,
  ];
  const heading = ["file", "killed", "survived", "of these not reached", "score"];
  const rows = [heading, ...scores.map((score) => row(score.file, score)), row("all", all)];
  const columns = heading.map((_, i) => ({ alignment: i === 0 ? ("left" as const) : ("right" as const) }));
  process.stdout.write(`\n${table(rows, { columns, drawHorizontalLine: () => false, drawVerticalLine: () => false })}`);
  return percent(all);
}

async function main(): Promise<void> {
  const program = new Command("npm run mutants --")
    .argument("<file...>", "files of arch, mm or src; FILE:10-40 for some of its lines")
    .option("--tests <glob...>", "tests to run in place of those")
    .option("--wide", "try what the room's tests do not notice with all tests of arch, mm or src")
    .option("--concurrency <number>", "processes that run tests", Number, 2)
    .option("--at-least <percent>", "exit with 1 when less is noticed", Number)
    .exitOverride();
  const { args } = program.parse();
  const { tests, wide, concurrency, atLeast } = program.opts<Options>();
  const results: MutantResult[] = [];
  for (const file of args) {
    results.push(
      ...(await runStages(file, tests === undefined ? testsFor(file, wide === true) : [tests], concurrency)),
    );
  }
  const score = report(results);
  if (atLeast !== undefined && score < atLeast) process.exitCode = 1;
}

main().catch((error: unknown) => {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode === 0 ? 0 : EXIT_USAGE;
    return;
  }
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = EXIT_USAGE;
});
