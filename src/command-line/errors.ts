/** Mistakes on the command line, and the exit codes of the program. */
import { CommanderError } from "commander";
import { type ErrorCode, MmulabError } from "../../arch/isa/errors.ts";

/** Exit code: all is well. */
export const EXIT_OK = 0;
/** Exit code: the command ran, and what it ran failed or differs from what was recorded. */
export const EXIT_DIFFERENCES = 1;
/** Exit code: the program itself failed. */
export const EXIT_FAILURE = 1;
/** Exit code: the command could not be carried out as given. */
export const EXIT_USAGE = 2;

/** The exit code for each kind of error. */
const EXIT_CODES: Readonly<Record<ErrorCode, number>> = {
  BAD_VALUE: EXIT_USAGE,
  BAD_TEXT: EXIT_USAGE,
  UNKNOWN_NAME: EXIT_USAGE,
  BAD_COMBINATION: EXIT_USAGE,
  BAD_INPUT: EXIT_USAGE,
  BAD_OUTPUT: EXIT_USAGE,
  BAD_STATE: EXIT_USAGE,
  BAD_WORKLOAD: EXIT_USAGE,
  WORKLOAD_FAILED: EXIT_DIFFERENCES,
  NO_MEMORY: EXIT_USAGE,
  BAD_CONDITIONS: EXIT_USAGE,
  DEADLOCK: EXIT_DIFFERENCES,
};

/** Options or arguments do not go together, or one is missing. */
export class UsageError extends MmulabError {
  override readonly name = "UsageError";

  /** @param message what does not go together, in one line */
  constructor(message: string) {
    super("BAD_COMBINATION", message);
  }
}

/** How the program ends after an error. */
export interface Ending {
  /** One line for standard error; empty when help or the version was all there was to show. */
  readonly line: string;
  readonly exitCode: number;
}

/** How the program ends after `error`, or null for an error that is a fault of the program itself. */
export function endingOf(error: unknown): Ending | null {
  if (error instanceof MmulabError) return { line: oneLine(error.message), exitCode: EXIT_CODES[error.code] };
  if (!(error instanceof CommanderError)) return null;
  if (error.exitCode === 0) return { line: "", exitCode: EXIT_OK };
  if (error.code === "commander.help") return { line: "", exitCode: EXIT_USAGE };
  return { line: oneLine(error.message.replace(/^error: /, "")), exitCode: EXIT_USAGE };
}

/** A text of several lines on one. */
export function oneLine(text: string): string {
  return text.trim().replace(/\s*\n\s*/g, " ");
}
