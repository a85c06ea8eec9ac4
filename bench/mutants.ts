/**
 * `npm run mutants -- FILE...`: changes one thing after the other in a file (a mutant) and looks whether a test notices. Prints how
 * many were noticed, and each that was not. The tests are those of the file's part of the project; only tests that reach the changed
 * place are run for a mutant, until one fails.
 */
import { relative, resolve } from "node:path";
import { Stryker } from "@stryker-mutator/core";
import { Command, CommanderError } from "commander";
import { table } from "table";

/** Tests for the files whose path begins so; the first that fits counts. */
const TESTS: readonly (readonly [string, readonly string[]])[] = [
  ["arch/", ["test/arch/**/*.test.ts"]],
  ["mm/vmalloc/", ["test/mm/{vmalloc,verify,percpu,kernel}/**/*.test.ts"]],
  ["mm/", ["test/mm/**/*.test.ts"]],
  ["src/", ["test/src/**/*.test.ts"]],
];
const EXIT_USAGE = 2;
/** Time that a mutant's tests may take beside one and a half times what they usually take: a loop without end counts as noticed. */
const TIMEOUT_MS = 20_000;

/** What became of one mutant. */
type MutantResult = Awaited<ReturnType<Stryker["runMutationTest"]>>[number];

interface Options {
  readonly tests?: string[];
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

/** Tests for the given files. */
function testsFor(files: readonly string[]): string[] {
  const globs = new Set<string>();
  for (const file of files) {
    const found = TESTS.find(([prefix]) => file.startsWith(prefix));
    if (found === undefined) throw new RangeError(`${file}: expected a file of arch, mm or src`);
    for (const glob of found[1]) globs.add(glob);
  }
  return [...globs];
}

/** Runs the tests on every mutant of the files. */
async function runMutants(files: readonly string[], tests: readonly string[], concurrency: number) {
  // The test runner is a process of its own, and `vitest.mutants.config.ts` reads this there.
  process.env.MMULAB_MUTANT_TESTS = JSON.stringify(tests);
  const stryker = new Stryker({
    mutate: [...files],
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
  const survivors = results.filter((result) => ["survived", "notReached"].includes(countedStatus(result) ?? ""));
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
    .option("--tests <glob...>", "tests to run in place of those of the file's folder")
    .option("--concurrency <number>", "processes that run tests", Number, 2)
    .option("--at-least <percent>", "exit with 1 when less is noticed", Number)
    .exitOverride();
  const { args } = program.parse();
  const { tests, concurrency, atLeast } = program.opts<Options>();
  const score = report(await runMutants(args, tests ?? testsFor(args), concurrency));
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
