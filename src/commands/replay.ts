/** `mmulab replay`: recordings of a real kernel against the emulated one. */
import { type Command, Option } from "commander";
import { EXIT_DIFFERENCES, EXIT_OK, endingOf, UsageError } from "../command-line/errors.ts";
import { addFigureOptions, addMachineOptions } from "../command-line/machine-options.ts";
import { optionParser } from "../command-line/option-values.ts";
import { startProgress } from "../command-line/progress.ts";
import { printError, printJson, printOutput, printReport } from "../command-line/standard-streams.ts";
import { InputFileError } from "../input/errors.ts";
import { wholeNumber } from "../input/values.ts";
import { FLUSH_FILE_FORMATS } from "../output/flush-file.ts";
import type { ReplayResult } from "../recording/replay.ts";
import type { ReplayDifference } from "../recording/replay-difference.ts";
import { counted } from "../report/counted.ts";
import { parseCpus, parseMemorySize } from "../settings/machine-limits.ts";
import { settingKey } from "../settings/machine-settings.ts";
import { GUEST_SETTING_NAMES, SETTING_NAMES, type SettingName } from "../settings/setting-names.ts";
import type { FtraceCommandOptions } from "./replay-ftrace.ts";
import {
  addReferenceOptions,
  addTraceOptions,
  REFERENCE_OPTION_NAMES,
  type ReferenceCommandOptions,
  type ReferenceTrace,
  referenceTraceOf,
  replayReferenceTrace,
} from "./replay-references.ts";

interface ReplayCommandOptions extends ReferenceCommandOptions, FtraceCommandOptions {
  readonly differences: number;
  readonly follow?: boolean;
  readonly ftrace?: string;
}

const HELP = `
Each file is a recording of calls into a real kernel's vmalloc, JSON lines, plain or gzip. The emulated kernel starts
from the recorded state, makes the same calls, and is compared in every returned address, every event and the final state.

With --follow, CPUs may have run at the same time in a recording: the order of events is taken from it, the rest compared.

With --lackey, --drmemtrace or --champsim the trace is what valgrind --tool=lackey --trace-mem=yes, DynamoRIO's drmemtrace or a
tracer of ChampSim wrote of any program, plain, gzip, xz, zstd or (drmemtrace) zip; - is standard input; --references tells the
format by the contents. The references go through the MMU, and counters are printed as perf stat prints them. Each thread
of a folder of drmemtrace has a CPU, unless --cpus says how many share the threads.

With --ftrace, the file is what the script of mmulab record-script wrote on any machine, or mmulab run --events: the same calls
are made at the same times on the machine asked for, and what they and their flushes cost is reported. Of ftrace text with
vmalloc:alloc_vmap_area, vmalloc:free_vmap_area_noflush and vmalloc:purge_vmap_area_lazy alone (trace_pipe, trace-cmd report,
perf script) the same areas are allocated and freed.

Exit code: 0 no difference, 1 differences, 2 a file cannot be read or is not what it should be (other recordings are
still replayed).

Examples:
  $ mmulab replay recording.jsonl.gz
  $ mmulab replay --lackey trace.lackey.gz --pages 2M
  $ mmulab replay --drmemtrace drmemtrace.app.1234.dir --preset zen4
  $ mmulab replay --champsim 600.perlbench.champsimtrace.xz --warmup 1000000 --top 10
  $ mmulab replay --references trace.gz --against pages=2M --against preset=zen4
  $ mmulab replay --ftrace trace.txt --cpus 64 --policy eager
  $ valgrind --tool=lackey --trace-mem=yes --log-fd=3 ls 3>&1 >/dev/null | mmulab replay --lackey - -x,`;

/** Adds the command; `exit` takes its exit code. */
export function addReplayCommand(program: Command, exit: (code: number) => void): void {
  const command = program
    .command("replay")
    .description("Replay recordings of a real kernel and compare address by address, event by event.")
    .argument("[file...]", "recordings (.jsonl or .jsonl.gz)");
  addTraceOptions(command);
  command
    .option("--ftrace <file>", "ftrace text of vmalloc:* events from any machine; - is standard input")
    .addOption(
      new Option("--memory <size>", "memory of the machine for references and --ftrace")
        .argParser(optionParser(parseMemorySize))
        .default(2 ** 38, "256GiB"),
    )
    .option(
      "--cpus <number>",
      "CPUs of the machine (default: as many as were traced, and one for a single file of references)",
      optionParser(parseCpus),
    );
  addReferenceOptions(command);
  command
    .option(
      "--seed <number>",
      "taken as everywhere; a replay makes no random choices",
      optionParser(wholeNumber(0, 2 ** 32 - 1)),
      1,
    )
    .option("--accounts", "with --ftrace: report what the flushes cost, by their parts, by cause and by who freed")
    .option("--flushes <file>", `with --ftrace: write a record of every flush to a file: ${FLUSH_FILE_FORMATS}`)
    .option("--timeline <file>", "with --ftrace: write a timeline in Chrome trace-event JSON (ui.perfetto.dev)")
    .option("--json", "print one JSON object a file")
    .option("--csv", "with --ftrace: print the report as CSV, one number a row")
    .option(
      "--differences <number>",
      "how many differences to show for each file",
      optionParser(wholeNumber(0, 1_000_000)),
      1,
    )
    .option("--follow", "take the order of events from recordings in which CPUs ran at the same time; compare the rest")
    .option("--quiet", "print only what --json asks for and errors")
    .addHelpText("after", HELP);
  addFigureOptions(command);
  addMachineOptions(
    command,
    undefined,
    "Machine and kernel for --ftrace (lazy_max_pages is by default the traced one):",
  );
  command.action(async (files: string[], options: ReplayCommandOptions) =>
    exit(await replay(files, options, (option) => command.getOptionValueSource(option) === "cli")),
  );
}

type Mode = "recordings" | "references" | "--ftrace";

/** How a kind of replay is called in messages. */
const MODE_NAMES: Readonly<Record<Mode, string>> = {
  recordings: "recordings of a real kernel",
  references: "references (--lackey, --drmemtrace, --champsim)",
  "--ftrace": "--ftrace",
};

/** Settings that replays of references have too. Nothing takes memory from the guest there: the host acts in the time of an event loop. */
const OF_REFERENCES_TOO: readonly SettingName[] = [
  "kernel",
  ...GUEST_SETTING_NAMES.filter((name) => name !== "numa-balancing" && name !== "balloon"),
];

/** What an option is for, where it is not for every kind of replay; and its spelling. */
const MODE_OPTIONS: Readonly<Record<string, { readonly name: string; readonly modes: readonly Mode[] }>> = {
  preset: { name: "--preset", modes: ["references", "--ftrace"] },
  set: { name: "--set", modes: ["references", "--ftrace"] },
  memory: { name: "--memory", modes: ["references", "--ftrace"] },
  cpus: { name: "--cpus", modes: ["references", "--ftrace"] },
  ...Object.fromEntries(
    SETTING_NAMES.map((name) => [settingKey(name), { name: `--${name}`, modes: modesOfSetting(name) }]),
  ),
  ...Object.fromEntries(
    Object.entries(REFERENCE_OPTION_NAMES).map(([key, name]) => [key, { name, modes: ["references"] }]),
  ),
  accounts: { name: "--accounts", modes: ["--ftrace"] },
  flushes: { name: "--flushes", modes: ["--ftrace"] },
  timeline: { name: "--timeline", modes: ["--ftrace"] },
  csv: { name: "--csv", modes: ["--ftrace"] },
  differences: { name: "--differences", modes: ["recordings"] },
  follow: { name: "--follow", modes: ["recordings"] },
};

/** References are replayed on any kernel and in a guest too. */
function modesOfSetting(name: SettingName): Mode[] {
  return OF_REFERENCES_TOO.includes(name) ? ["references", "--ftrace"] : ["--ftrace"];
}

/** Refuses what would otherwise be given and silently not heeded. */
function checkOptions(mode: Mode, options: ReplayCommandOptions, given: (option: string) => boolean): void {
  for (const [option, { name, modes }] of Object.entries(MODE_OPTIONS)) {
    if (!given(option) || modes.includes(mode)) continue;
    const places = modes.map((each) => MODE_NAMES[each]).join(" or ");
    throw new UsageError(`${name} goes with ${places}, not with ${MODE_NAMES[mode]}`);
  }
  if (options.json && options.fieldSeparator !== undefined) throw new UsageError("--json and -x: expected one of them");
}

async function replay(
  files: readonly string[],
  options: ReplayCommandOptions,
  given: (option: string) => boolean,
): Promise<number> {
  const references = referenceTraceOf(options);
  const { ftrace } = options;
  checkTrace(references, ftrace, files);
  checkOptions(references !== null ? "references" : ftrace !== undefined ? "--ftrace" : "recordings", options, given);
  // What reads one kind of file is loaded for that kind.
  if (references !== null) return await replayReferenceTrace(references, options);
  if (ftrace !== undefined) return await (await import("./replay-ftrace.ts")).replayFtraceFile(ftrace, options);
  return await replayFiles(files, options);
}

/** One trace, or recordings. */
function checkTrace(references: ReferenceTrace | null, ftrace: string | undefined, files: readonly string[]): void {
  if (references !== null && ftrace !== undefined) {
    throw new UsageError(`${references.option} and --ftrace exclude each other`);
  }
  const trace = references?.file ?? ftrace;
  if (trace !== undefined && files.length > 0) {
    const name = references?.option ?? "--ftrace";
    throw new UsageError(`${name} ${trace} is replayed alone, but ${files.join(", ")} was given as well`);
  }
  if (trace === undefined && files.length === 0) {
    throw new UsageError("missing required argument 'file'; mmulab help replay shows what it takes");
  }
}

async function replayFiles(files: readonly string[], options: ReplayCommandOptions): Promise<number> {
  const { replayRecording } = await import("../recording/replay.ts");
  const { followRecording } = await import("../recording/follow/follow.ts");
  let code = EXIT_OK;
  const progress = startProgress(files.length, options.quiet === true);
  for (let i = 0; i < files.length; i++) {
    const file = files[i];
    progress.update(i, file);
    let result: ReplayResult;
    try {
      result = await (options.follow ? followRecording : replayRecording)(file, {
        differencesMax: options.differences,
        onProgress: (calls) => progress.update(i, `${file}: call ${calls}`),
      });
    } catch (error) {
      progress.clear();
      code = Math.max(code, reportFailure(file, await asTrace(file, error)));
      continue;
    }
    progress.clear();
    if (hasMismatches(result)) code = Math.max(code, EXIT_DIFFERENCES);
    print(result, options);
  }
  return code;
}

/** What is wrong with a file that is no recording: where it is a trace, that and how it is replayed. */
async function asTrace(file: string, error: unknown): Promise<unknown> {
  if (!(error instanceof InputFileError)) return error;
  const { describeTrace } = await import("./trace-kind.ts");
  const trace = await describeTrace(file);
  return trace === null ? error : new InputFileError(file, 0, trace);
}

/** A file that cannot be replayed is the user's mistake, anything else the emulator's; the other files are replayed in both cases. */
function reportFailure(file: string, error: unknown): number {
  const ending = error instanceof InputFileError ? endingOf(error) : null;
  if (ending !== null) {
    printError(`mmulab: ${ending.line}\n`);
    return ending.exitCode;
  }
  const details = error instanceof Error ? error.stack : String(error);
  printError(`mmulab: ${file}: the emulator failed (please report this): ${details}\n`);
  return EXIT_DIFFERENCES;
}

function hasMismatches(result: ReplayResult): boolean {
  return result.addressMismatches + result.eventMismatches + result.finalStateMismatches > 0;
}

function print(result: ReplayResult, options: ReplayCommandOptions): void {
  if (options.json) {
    const { recording, calls, events, addressMismatches, eventMismatches, finalStateMismatches } = result;
    const { eventMismatchesByName, finalStateMismatchesByPart, differences } = result;
    const counts = { recording, calls, events, addressMismatches, eventMismatches, finalStateMismatches };
    printJson({ ...counts, eventMismatchesByName, finalStateMismatchesByPart, differences });
  } else if (!options.quiet) {
    printReport(`${summaryLine(result)}\n`);
  }
  if (options.quiet) return;
  const details = result.differences.flatMap(differenceLines).join("\n");
  if (details === "") return;
  const print = options.json ? printError : printOutput;
  print(`${details}\n`);
}

/** `fix_smp1_s1: 20125 calls, 50005 events; mismatches: 0 addresses, 0 events, 0 in the final state`. */
function summaryLine(result: ReplayResult): string {
  const { recording, calls, events } = result;
  const counts = [
    counted(result.addressMismatches, "address", "addresses"),
    `${counted(result.eventMismatches, "event")}${breakdown(result.eventMismatchesByName)}`,
    `${result.finalStateMismatches} in the final state${breakdown(result.finalStateMismatchesByPart)}`,
  ];
  return `${recording}: ${counted(calls, "call")}, ${counted(events, "event")}; mismatches: ${counts.join(", ")}`;
}

function breakdown(counts: Readonly<Record<string, number>>): string {
  const parts = Object.entries(counts).map(([name, count]) => `${name} ${count}`);
  return parts.length === 0 ? "" : ` (${parts.join(", ")})`;
}

function differenceLines(difference: ReplayDifference): string[] {
  return [
    `  ${difference.kind} differs at line ${difference.line}, ${difference.where}`,
    `    expected ${difference.expected}`,
    `    actual   ${difference.actual}`,
    ...(difference.context.length > 0 ? ["    events around it (- recorded only, + emulated only):"] : []),
    ...difference.context.map((line) => `      ${line}`),
  ];
}
