/** `mmulab replay`: recordings of a real kernel against the emulated one. */
import type { Command } from "commander";
import { EXIT_DIFFERENCES, EXIT_OK, EXIT_USAGE } from "../command-line/errors.ts";
import { startProgress } from "../command-line/progress.ts";
import { wholeNumber } from "../command-line/values.ts";
import { RecordingError } from "../recording/recording-error.ts";
import { type ReplayResult, replayRecording } from "../recording/replay.ts";
import type { ReplayDifference } from "../recording/replay-difference.ts";

interface ReplayCommandOptions {
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly differences: number;
}

const HELP = `
Each file is a recording of calls into a real kernel's vmalloc, JSON lines, plain or gzip. The emulated kernel starts
from the recorded state, makes the same calls, and is compared in every returned address, every event and the final state.

Exit code: 0 no difference, 1 differences, 2 a file cannot be read or is not a recording (the others are still replayed).

Example:
  $ mmulab replay test/recordings/fix_smp1_s1.jsonl.gz`;

/** Adds the command; `exit` takes its exit code. */
export function addReplayCommand(program: Command, exit: (code: number) => void): void {
  program
    .command("replay")
    .summary("compare the emulated kernel with recordings of a real one")
    .description("Replay recordings of a real kernel and compare address by address, event by event.")
    .argument("<file...>", "recordings (.jsonl or .jsonl.gz)")
    .option("--json", "print one JSON object a file")
    .option("--differences <number>", "how many differences to show for each file", wholeNumber(0, 1_000_000), 1)
    .option("--quiet", "print only what --json asks for and errors")
    .addHelpText("after", HELP)
    .action(async (files: string[], options: ReplayCommandOptions) => exit(await replayFiles(files, options)));
}

async function replayFiles(files: readonly string[], options: ReplayCommandOptions): Promise<number> {
  let code = EXIT_OK;
  const progress = startProgress(files.length, options.quiet === true);
  for (let i = 0; i < files.length; i++) {
    const file = files[i];
    progress.update(i, file);
    let result: ReplayResult;
    try {
      result = await replayRecording(file, {
        differencesMax: options.differences,
        onProgress: (calls) => progress.update(i, `${file}: call ${calls}`),
      });
    } catch (error) {
      progress.clear();
      code = Math.max(code, reportFailure(file, error));
      continue;
    }
    progress.clear();
    if (hasMismatches(result)) code = Math.max(code, EXIT_DIFFERENCES);
    print(result, options);
  }
  return code;
}

/** An unreadable file is the user's mistake, anything else the emulator's; the other files are replayed in both cases. */
function reportFailure(file: string, error: unknown): number {
  if (error instanceof RecordingError) {
    process.stderr.write(`mmulab: ${error.message}\n`);
    return EXIT_USAGE;
  }
  const details = error instanceof Error ? error.stack : String(error);
  process.stderr.write(`mmulab: ${file}: the emulator failed (please report this): ${details}\n`);
  return EXIT_DIFFERENCES;
}

function hasMismatches(result: ReplayResult): boolean {
  return result.addressMismatches + result.eventMismatches + result.finalStateMismatches > 0;
}

function print(result: ReplayResult, options: ReplayCommandOptions): void {
  if (options.json) {
    const { recording, calls, events, addressMismatches, eventMismatches, finalStateMismatches } = result;
    const counts = { recording, calls, events, addressMismatches, eventMismatches, finalStateMismatches };
    process.stdout.write(`${JSON.stringify(counts)}\n`);
  } else if (!options.quiet) {
    process.stdout.write(`${summaryLine(result)}\n`);
  }
  if (options.quiet) return;
  const details = result.differences.flatMap(differenceLines).join("\n");
  const stream = options.json ? process.stderr : process.stdout;
  if (details !== "") stream.write(`${details}\n`);
}

/** `fix_smp1_s1: 20125 calls, 50005 events; mismatches: 0 addresses, 0 events, 0 in the final state`. */
export function summaryLine(result: ReplayResult): string {
  const { recording, calls, events } = result;
  const counts = [
    `${result.addressMismatches} addresses`,
    `${result.eventMismatches} events${breakdown(result.eventMismatchesByName)}`,
    `${result.finalStateMismatches} in the final state${breakdown(result.finalStateMismatchesByPart)}`,
  ];
  return `${recording}: ${calls} calls, ${events} events; mismatches: ${counts.join(", ")}`;
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
