/** `mmulab explore`: searches the interleavings of a test for one that goes wrong, and shows it. */
import { availableParallelism } from "node:os";
import { type Command, Option } from "commander";
import { BUG_NAMES, type BugName, HISTORICAL_BUGS } from "../../mm/index.ts";
import { EXIT_DIFFERENCES, EXIT_OK, UsageError } from "../command-line/errors.ts";
import { addMachineOptions, addSetOption } from "../command-line/machine-options.ts";
import { listWords, optionParser } from "../command-line/option-values.ts";
import { startProgress } from "../command-line/progress.ts";
import { repeatable } from "../command-line/repeated-options.ts";
import { printJson, printOutput, printReport, printText } from "../command-line/standard-streams.ts";
import type { Explorer, ScheduleResult } from "../explore/base/explorer.ts";
import { minimise, replaySchedule } from "../explore/base/minimise.ts";
import { type ExplorePlan, type ShareResult, STRATEGIES, type StrategyName } from "../explore/base/plan.ts";
import { formatSchedule, parseSchedule } from "../explore/base/schedule-text.ts";
import { formatStory, tellStory } from "../explore/base/story.ts";
import { explore } from "../explore/explore.ts";
import { EXPLORE_TESTS } from "../explore/tests/index.ts";
import { prepare, type TestChoice } from "../explore/worker.ts";
import { writeOutputFile } from "../files/output-file.ts";
import { checkOutputs } from "../files/output-target.ts";
import { HYPERVISOR } from "../guests/hypervisor-costs.ts";
import { unknownName, ValueError } from "../input/errors.ts";
import { wholeNumber } from "../input/values.ts";
import { madeBy } from "../provenance/made-by.ts";
import { counted } from "../report/counted.ts";
import { presetNames } from "../settings/presets.ts";
import { ChromeTrace } from "../timeline/chrome-trace.ts";
import { describeVerdict, exploreAll, summarize } from "./explore-all.ts";

interface ExploreOptions {
  readonly strategy: StrategyName;
  readonly preemptions: number;
  readonly sleepSets: boolean;
  readonly depth: number;
  readonly seed: number;
  readonly schedules: number;
  readonly seconds: number;
  readonly jobs: number;
  readonly bug: readonly string[];
  readonly kernel?: string;
  readonly preset?: string;
  readonly set: readonly string[];
  readonly schedule?: string;
  readonly timeline?: string;
  readonly list?: boolean;
  readonly all?: boolean;
  readonly json?: boolean;
  readonly quiet?: boolean;
}

const HELP = `
A test is a small situation and what each CPU does in it. The explorer runs it under one schedule after the other: which CPU goes
on, which takes an interrupt, which prefetches a translation, at each lock and at named points of the code. After each it looks
for stale translations that are used or lead to what is given back, for what the kernel warns of, for deadlocks, and whether the
whole state is consistent. What fails is made as short as possible and told as a story.

Exit code: 0 nothing was found; 1 a schedule fails; 2 an option, name or file is wrong.

Examples:
  $ mmulab explore --list
  $ mmulab explore munmap-against-loads
  $ mmulab explore switch-against-munmap --bug flushSkipsSwitchingCpus
  $ mmulab explore switch-against-munmap --bug flushSkipsSwitchingCpus --schedule 1.1-4.1
  $ mmulab explore pools-against-decay --strategy pct --depth 3 --schedules 20000 --seed 7
  $ mmulab explore my-test.ts --seconds 60
  $ mmulab explore --all --schedules 100000`;

/** Adds the command; `exit` takes its exit code. */
export function addExploreCommand(program: Command, exit: (code: number) => void): void {
  const command = program
    .command("explore")
    .description("Search the interleavings of a small test for one that goes wrong, and show it.")
    .argument("[test]", "which test (--list shows all), or a .ts or .js file of one's own")
    .addOption(
      new Option("--strategy <name>", "exhaustive within a bound, by random priorities, or a random walk")
        .choices(STRATEGIES)
        .default("exhaustive"),
    )
    .option(
      "--preemptions <number>",
      "exhaustive: preemptions of a schedule at most",
      optionParser(wholeNumber(0, 20)),
      2,
    )
    .option("--no-sleep-sets", "exhaustive: try also what comes to the same as another schedule that is tried")
    .option("--depth <number>", "pct: how many events a bug's order concerns", optionParser(wholeNumber(1, 20)), 3)
    .option("--seed <number>", "seed of the random choices", optionParser(wholeNumber(0, 2 ** 32 - 1)), 1)
    .option("--schedules <number>", "schedules at most", optionParser(wholeNumber(1, 1e9)), 100_000)
    .option("--seconds <number>", "seconds at most; 0: no limit", optionParser(wholeNumber(0, 86_400)), 0)
    .option("--jobs <number>", "threads of this computer", optionParser(wholeNumber(1, 1024)), availableParallelism())
    .addOption(
      repeatable(new Option("--bug <name>", "put a bug back that Linux once had (--list shows all); may be repeated")),
    )
    .option("--schedule <schedule>", "run one schedule, as a report names it, and tell its story")
    .option(
      "--timeline <file>",
      "write a timeline of the failing schedule in Chrome trace-event JSON (ui.perfetto.dev)",
    )
    .option("--all", "explore all tests that there are (--list), each within the bound and the budget")
    .option("--list", "list the tests and the bugs and stop")
    .option("--json", "print the result as one JSON object")
    .option("--quiet", "print nothing but errors (and what --json asks for)")
    .addHelpText("after", HELP);
  command.addOption(
    listWords(
      new Option(
        "--preset <name>",
        `microarchitecture of tests that do not ask for one (${presetNames().join(", ")}), or a file that ends in .json`,
      ),
      presetNames(),
      true,
    ),
  );
  addSetOption(command);
  addMachineOptions(command, ["kernel"]);
  command.action(async (name: string | undefined, options: ExploreOptions) => exit(await run(name, options)));
}

async function run(name: string | undefined, options: ExploreOptions): Promise<number> {
  if (options.list) {
    if (options.json) printOutput(`${JSON.stringify(listed())}\n`);
    else printText(list());
    return EXIT_OK;
  }
  if (options.all) return runAll(name, options);
  if (name === undefined) throw new UsageError("which test? mmulab explore --list shows all; --all runs all");
  checkOutputs([{ what: "--timeline", file: options.timeline }]);
  const test: TestChoice = { name, ...choiceOf(options) };
  const { schedules, seconds, jobs } = options;
  const plan = planOf(options);
  const explorer = await prepare(test);
  let found: ShareResult | null = null;
  let result: ScheduleResult | null = null;
  if (options.schedule !== undefined) {
    result = replayAsked(explorer, options.schedule);
  } else {
    const progress = startProgress(schedules, options.quiet === true);
    found = await explore(test, plan, { schedules, seconds, jobs }, (done) => progress.update(done, "schedules"));
    progress.clear();
    if (found.failure !== null) result = minimise(explorer, found.failure.result);
  }
  const story = result === null ? [] : tellStory(explorer, result.deviations);
  if (options.timeline !== undefined && result !== null) {
    const trace = new ChromeTrace();
    explorer.onBegin = () => trace.watch(explorer.kernel, name);
    replaySchedule(explorer, result.deviations);
    writeOutputFile(options.timeline, trace.toJson(madeBy()));
  }
  const fails = result !== null && result.failure !== null;
  if (options.json) {
    const schedule = result === null ? null : formatSchedule(result.deviations);
    const summary =
      found === null
        ? null
        : {
            schedules: found.schedules,
            redundant: found.redundant,
            isComplete: found.isComplete,
            choicesMax: found.choicesMax,
          };
    printJson({
      test: name,
      bugs: test.bugs,
      ...machineOf(test),
      ...plan,
      found: summary,
      failure: result?.failure ?? null,
      schedule,
      schedulePreemptions: result?.preemptions ?? null,
      story,
    });
  } else if (!options.quiet) {
    if (found !== null) printReport(describeSearch(test, options, found));
    if (result !== null) {
      const story_ = formatStory(story, explorer.kernel.machine.cpus.length);
      printReport(`${describeResult(test, result)}\n${story_}`);
    }
  }
  return fails ? EXIT_DIFFERENCES : EXIT_OK;
}

/** Runs the schedule that was asked for. @throws ValueError for one that is of another test or version: not all of its choices are there */
function replayAsked(explorer: Explorer<unknown>, text: string): ScheduleResult {
  const result = replaySchedule(explorer, parseSchedule(text));
  const ran = formatSchedule(result.deviations);
  // One that fails ends there, whatever else it would have chosen.
  if (ran === text || result.failure !== null) return result;
  const expected = `choices that this test has (${result.choices} in all); those that it has are ${ran}`;
  throw new ValueError("--schedule", text, expected);
}

function planOf({ strategy, preemptions, sleepSets, depth, seed }: ExploreOptions): ExplorePlan {
  return { strategy, preemptions, sleepSets, depth, seed };
}

async function runAll(name: string | undefined, options: ExploreOptions): Promise<number> {
  if (name !== undefined) throw new UsageError(`--all runs all tests: leave out ${name}, or --all`);
  for (const option of ["schedule", "timeline"] as const) {
    if (options[option] !== undefined)
      throw new UsageError(`--${option} is about one test: leave out --all, and name it`);
  }
  const choice = choiceOf(options);
  const isText = !options.json && !options.quiet;
  const plan = planOf(options);
  const verdicts = await exploreAll(choice, plan, options, options.quiet === true, (verdict) => {
    if (isText) printReport(describeVerdict(verdict));
  });
  if (options.json) printJson({ ...choice, ...plan, tests: verdicts });
  else if (isText) printReport(summarize(verdicts, machineWords(choice)));
  return verdicts.some(({ failure }) => failure !== null) ? EXIT_DIFFERENCES : EXIT_OK;
}

/** The kernel that the tests are to run on. */
function choiceOf({ bug, kernel, preset, set }: ExploreOptions): Omit<TestChoice, "name"> {
  const ofHost = set.find((each) => each.startsWith(HYPERVISOR));
  if (ofHost !== undefined) throw new UsageError(`--set ${ofHost}: what a hypervisor costs decides nothing here`);
  return { bugs: bug.map(bugByName), ...machineOf({ kernel, preset, ...(set.length === 0 ? {} : { set }) }) };
}

/** The options that say which machine and kernel, as far as they were given. */
function machineOf({
  kernel,
  preset,
  set,
}: { readonly [Key in "kernel" | "preset" | "set"]?: TestChoice[Key] | undefined }): Omit<TestChoice, "name" | "bugs"> {
  return {
    ...(kernel === undefined ? {} : { kernel }),
    ...(preset === undefined ? {} : { preset }),
    ...(set === undefined ? {} : { set }),
  };
}

function bugByName(name: string): BugName {
  const found = BUG_NAMES.find((each) => each === name);
  if (found === undefined) throw unknownName("bug", name, BUG_NAMES);
  return found;
}

function describeSearch(test: TestChoice, options: ExploreOptions, found: ShareResult): string {
  const { strategy, preemptions, depth, seed } = options;
  const how =
    strategy === "exhaustive"
      ? `exhaustive, at most ${counted(preemptions, "preemption")}`
      : strategy === "pct"
        ? `random priorities of depth ${depth}, seed ${seed}`
        : `random walk, seed ${seed}`;
  const reach = found.isComplete ? ", which are all" : "";
  const leftOut = found.redundant === 0 ? "" : `; ${found.redundant} that come to the same as others were left out`;
  const verdict =
    found.failure === null
      ? `nothing found in ${counted(found.schedules, "schedule")}${reach}`
      : `schedule number ${found.failure.schedules} fails`;
  return `${test.name}: ${verdict} (${how}; up to ${counted(found.choicesMax, "choice")} a schedule${leftOut}${machineWords(test)})\n`;
}

function describeResult({ name, ...choice }: TestChoice, { failure, deviations, preemptions }: ScheduleResult): string {
  const what = failure === null ? "nothing is wrong" : `${failure.kind}: ${failure.message}`;
  const with_ = optionsOf(choice)
    .map(([option, value]) => ` --${option} ${value}`)
    .join("");
  const schedule = formatSchedule(deviations);
  return `\n${what}\n\nschedule ${schedule} (${counted(preemptions, "preemption")}); again: mmulab explore ${name}${with_} --schedule ${schedule}\n`;
}

/** The options that say on which machine and kernel a test runs, as far as they were given. */
function optionsOf({ bugs, ...machine }: Omit<TestChoice, "name">): (readonly [option: string, value: string])[] {
  return [...bugs.map((bug) => ["bug", bug] as const), ...Object.entries(machine)].flatMap(([option, values]) =>
    [values].flat().map((value) => [option, value] as const),
  );
}

/** `; preset mine.json; set costs.walk=30`: the same for a report. */
function machineWords({ kernel, preset, set }: Omit<TestChoice, "name">): string {
  return optionsOf({ bugs: [], ...machineOf({ kernel, preset, set }) })
    .map(([option, value]) => `; ${option} ${value}`)
    .join("");
}

function listed(): object {
  return { tests: EXPLORE_TESTS.map(({ name, summary }) => ({ name, summary })), bugs: HISTORICAL_BUGS };
}

function list(): string {
  const tests = EXPLORE_TESTS.map(({ name, summary }) => `  ${name}\n      ${summary}`);
  const bugs = BUG_NAMES.map(
    (name) => `  ${name}\n      ${HISTORICAL_BUGS[name].effect}\n      ${HISTORICAL_BUGS[name].source}`,
  );
  return `Tests:\n${tests.join("\n")}\n\nBugs that Linux has had (--bug):\n${bugs.join("\n")}\n`;
}
