/**
 * `npm run mutants -- FILE...`: changes one thing after the other in a file (a mutant) and looks whether a test notices. Prints how
 * many were noticed, and each that was not. The tests of the file's room come first; with `--wide`, what they do not notice is tried
 * with all tests of its part of the project, which takes long. Only tests that reach the changed place are run for a mutant, until one
 * fails.
 *
 * `npm run mutants -- --sample 400`: as many mutants, drawn at random out of all files of `arch` and `mm`, each as likely as any
 * other, and what their score says about all of them. They get all tests of their part, quick ones first.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative, resolve } from "node:path";
import { Stryker } from "@stryker-mutator/core";
import { Command, CommanderError } from "commander";
import { table } from "table";
import {
  allMutants,
  confidenceInterval,
  drawn,
  fromReport,
  identityOf,
  type MutantIdentity,
  placeOf,
  sourceFiles,
} from "./sample.ts";
import { LOG_VARIABLE, type LogLine, SAMPLE_VARIABLE } from "./sample-checker.ts";

const EXIT_USAGE = 2;
/** Time that a mutant's tests may take beside one and a half times what they usually take: a loop without end counts as noticed. */
const TIMEOUT_MS = 20_000;
/** Time for all tests without a mutant, on a machine that has other things to do. */
const DRY_RUN_MINUTES = 120;

/** `vitest.mutants.config.ts` reads there which tests are to be run. */
const TESTS_VARIABLE = "MMULAB_MUTANT_TESTS";
/** Tests of `mm` that stand elsewhere. Those that start the command run what was built, which has no mutants. */
const TESTS_OF_MM_ELSEWHERE = ["test/src/{recording,state,events}/**/*.test.ts"];
/** The quick ones of them: what is captured and restored is looked at there only. */
const QUICK_TESTS_OF_MM_ELSEWHERE = ["test/src/state/*.test.ts"];
/** Tests that take over five seconds each: a sample's mutants get them last. */
const LONG_TESTS = {
  arch: ["fast-path/fast-path", "isa/access-matrix", "presets/silicon"],
  mm: ["kernel/fault-injection", "kernel/blocking-calls", "vmalloc/random-workload", "verify/verify-recordings"],
} as const;

/** What became of one mutant. */
interface Outcome {
  readonly mutant: MutantIdentity;
  readonly status: "killed" | "survived" | "notReached";
  /** Which stage of tests said so, from 0. */
  readonly stage: number;
}

interface Options {
  readonly tests?: string[];
  readonly wide?: true;
  readonly concurrency: number;
  readonly sample?: number;
  readonly seed: number;
  readonly log?: string;
  readonly part?: string;
  readonly quick?: true;
  /** What is known already, by identity. */
  readonly known?: ReadonlyMap<string, Outcome>;
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
  const wide = [`test/${part}/**/*.test.ts`, ...(part === "mm" ? TESTS_OF_MM_ELSEWHERE : [])];
  if (room === `test/${part}`) return [wide];
  const own = [`${room}/**/*.test.ts`];
  return isWide ? [own, wide] : [own];
}

/** Runs the tests of one stage after the other; each but the first gets only what none before it noticed. */
async function runStages(
  mutants: readonly MutantIdentity[] | string,
  stages: readonly string[][],
  options: Options,
): Promise<Outcome[]> {
  const outcomes = new Map<string, Outcome>(options.known);
  for (const [stage, tests] of stages.entries()) {
    const isDue = (mutant: MutantIdentity): boolean => {
      const outcome = outcomes.get(identityOf(mutant));
      return outcome === undefined || (outcome.status !== "killed" && outcome.stage < stage);
    };
    const due = typeof mutants === "string" ? [...outcomes.values()].map(({ mutant }) => mutant) : mutants;
    const these = stage === 0 && typeof mutants === "string" ? mutants : due.filter(isDue);
    if (these.length === 0) continue;
    for (const outcome of await runMutants(these, tests, stage, options)) {
      outcomes.set(identityOf(outcome.mutant), outcome);
    }
  }
  if (typeof mutants === "string") return [...outcomes.values()];
  return mutants.flatMap((mutant) => outcomes.get(identityOf(mutant)) ?? []);
}

/** Runs the tests on some mutants, or on every mutant of a file or a part of one. */
async function runMutants(
  mutants: readonly MutantIdentity[] | string,
  tests: readonly string[],
  stage: number,
  { concurrency, log }: Options,
): Promise<Outcome[]> {
  const isSample = typeof mutants !== "string";
  const folder = mkdtempSync(join(tmpdir(), "mmulab-mutants-"));
  // Tests and checks run in processes of their own, which read these there.
  process.env[TESTS_VARIABLE] = JSON.stringify(tests);
  if (log !== undefined) process.env[LOG_VARIABLE] = JSON.stringify({ file: resolve(log), stage });
  if (isSample) {
    process.env[SAMPLE_VARIABLE] = join(folder, "sample.json");
    writeFileSync(process.env[SAMPLE_VARIABLE], JSON.stringify(mutants.map(identityOf)));
  }
  const stryker = new Stryker({
    mutate: isSample ? [...new Set(mutants.map(placeOf))] : [mutants],
    testRunner: "vitest",
    vitest: { configFile: "vitest.mutants.config.ts", related: false },
    plugins: ["@stryker-mutator/vitest-runner", join(import.meta.dirname, "sample-checker.js")],
    checkers: isSample ? ["sample"] : [],
    coverageAnalysis: "perTest",
    concurrency,
    reporters: ["log", ...(process.stderr.isTTY ? ["progress"] : [])],
    tempDirName: ".mutants",
    cleanTempDir: "always",
    ignorePatterns: ["/api-docs", "/coverage", "/docs"],
    timeoutMS: TIMEOUT_MS,
    dryRunTimeoutMinutes: DRY_RUN_MINUTES,
    fileLogLevel: "off",
    logLevel: "error",
  } as ConstructorParameters<typeof Stryker>[0]);
  try {
    return (await stryker.runMutationTest()).flatMap((result) => {
      const status = countedStatus(result.status);
      return status === null ? [] : [{ mutant: fromReport(result), status, stage }];
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Globs of the tests of a part: first its quick ones, then the others. */
function stagesOfPart(part: "arch" | "mm"): string[][] {
  const long = LONG_TESTS[part].map((name) => `test/${part}/${name}.test.ts`);
  const quick = sourceFiles([`test/${part}`]).filter((name) => name.endsWith(".test.ts") && !long.includes(name));
  if (part === "mm") quick.push(...QUICK_TESTS_OF_MM_ELSEWHERE);
  return [quick, [...long, ...(part === "mm" ? TESTS_OF_MM_ELSEWHERE : [])]];
}

/** Draws mutants of arch and mm, or of the files given, and runs the tests of each part on those of it, quick ones first. */
async function runSample(files: readonly string[], count: number, options: Options): Promise<Outcome[]> {
  const all = await allMutants(files.length > 0 ? files : sourceFiles(["arch", "mm"]));
  const sample = drawn(all, count, options.seed);
  process.stderr.write(`${sample.length} of ${all.length} mutants, seed ${options.seed}\n`);
  const known = options.log === undefined ? new Map<string, Outcome>() : readLog(options.log, sample);
  const outcomes: Outcome[] = [];
  for (const part of ["arch", "mm"] as const) {
    if (options.part !== undefined && options.part !== part) continue;
    const mutants = sample.filter(({ fileName }) => fileName.startsWith(`${part}/`));
    const stages = stagesOfPart(part).slice(0, options.quick === true ? 1 : undefined);
    outcomes.push(...(await runStages(mutants, stages, { ...options, known })));
  }
  return outcomes;
}

/** What an earlier run has found out about some mutants, by identity; nothing when there was none. */
function readLog(log: string, mutants: readonly MutantIdentity[]): Map<string, Outcome> {
  const outcomes = new Map<string, Outcome>();
  if (!existsSync(log)) return outcomes;
  const byIdentity = new Map(mutants.map((mutant) => [identityOf(mutant), mutant]));
  for (const line of readFileSync(log, "utf8")
    .split("\n")
    .filter((text) => text !== "")) {
    const { status, stage, identity } = JSON.parse(line) as LogLine;
    const counted = countedStatus(status);
    const mutant = byIdentity.get(identity);
    if (mutant !== undefined && counted !== null) outcomes.set(identity, { mutant, status: counted, stage });
  }
  return outcomes;
}

/** Mutants that count: not those that were refused, or that a comment in the file excludes. */
function countedStatus(status: string): Outcome["status"] | null {
  if (status === "Killed" || status === "Timeout" || status === "RuntimeError") return "killed";
  if (status === "Survived") return "survived";
  return status === "NoCoverage" ? "notReached" : null;
}

function scoresOf(outcomes: readonly Outcome[]): Score[] {
  const scores = new Map<string, Score>();
  for (const { mutant, status } of outcomes) {
    const file = relative(process.cwd(), resolve(mutant.fileName));
    const score = scores.get(file) ?? { file, killed: 0, survived: 0, notReached: 0 };
    scores.set(file, score);
    if (status === "killed") score.killed++;
    else score.survived++;
    if (status === "notReached") score.notReached++;
  }
  return [...scores.values()];
}

function percent({ killed, survived }: Pick<Score, "killed" | "survived">): number {
  return killed + survived === 0 ? 100 : (100 * killed) / (killed + survived);
}

/** A mutant that no test noticed: where it is, and what it makes of the code there. */
function describe({ mutant, status }: Outcome): string {
  const { fileName, location, mutatorName, replacement } = mutant;
  const where = `${relative(process.cwd(), resolve(fileName))}:${location.start.line + 1}:${location.start.column + 1}`;
  const text = (replacement ?? "").replace(/\s+/g, " ");
  return `${where} ${mutatorName}${status === "notReached" ? " (no test reaches it)" : ""}: ${text}`;
}

function report(results: readonly Outcome[]): number {
  const scores = scoresOf(results);
  const all = { killed: 0, survived: 0, notReached: 0 };
  for (const { killed, survived, notReached } of scores) {
    all.killed += killed;
    all.survived += survived;
    all.notReached += notReached;
  }
  const survivors = results.filter(({ status }) => status !== "killed");
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
  const [low, high] = confidenceInterval(all.killed, all.killed + all.survived);
  process.stdout.write(`If these mutants were drawn: 95 % confidence from ${low.toFixed(1)} to ${high.toFixed(1)} %\n`);
  return percent(all);
}

async function main(): Promise<void> {
  const program = new Command("npm run mutants --")
    .argument("[file...]", "files of arch, mm or src; FILE:10-40 for some of its lines")
    .option("--tests <glob...>", "tests to run in place of those")
    .option("--wide", "try what the room's tests do not notice with all tests of arch, mm or src")
    .option("--sample <number>", "draw so many mutants of the files, or of all of arch and mm", Number)
    .option("--seed <number>", "which ones are drawn", Number, 1)
    .option("--part <name>", "of a sample only those of arch, or of mm")
    .option("--quick", "a sample's mutants get the quick tests only")
    .option("--log <file>", "keep what is found out about each mutant there, and go on from it next time")
    .option("--concurrency <number>", "processes that run tests", Number, 2)
    .option("--at-least <percent>", "exit with 1 when less is noticed", Number)
    .exitOverride();
  const { args } = program.parse();
  const options = program.opts<Options>();
  const { tests, wide, sample, atLeast } = options;
  if (args.length === 0 && sample === undefined) program.error("expected files, or --sample");
  const results: Outcome[] = sample === undefined ? [] : await runSample(args, sample, options);
  for (const file of sample === undefined ? args : []) {
    const stages = tests === undefined ? testsFor(file, wide === true) : [tests];
    results.push(...(await runStages(file, stages, options)));
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
