/**
 * Errors for the person who uses mmulab, as a library or from the command line. Each class says what was wrong in fields, and
 * each error has a code out of a closed list. What happens on the emulated machine is not among them: a page fault or #GP is a
 * result of the machine (faults.ts), and the kernel answers its callers' mistakes with an errno or a warning in its log.
 */

/**
 * All codes.
 * - `BAD_VALUE`: an argument, setting or parameter is not one of the values that are possible.
 * - `BAD_TEXT`: a text is not in the format in which it is read.
 * - `UNKNOWN_NAME`: nothing has that name.
 * - `BAD_COMBINATION`: options or arguments of a command do not go together, or one is missing.
 * - `BAD_INPUT`: a file cannot be read, is damaged, or holds something else than was expected.
 * - `BAD_OUTPUT`: a file cannot be written.
 * - `BAD_STATE`: a state contradicts itself, or cannot be saved or restored.
 * - `BAD_WORKLOAD`: a workload in a file of the person's own cannot be loaded.
 * - `WORKLOAD_FAILED`: such a workload ended with an error: a fault, a wrong argument of a call, or one of its own.
 * - `NO_MEMORY`: the emulated machine has too little memory for what was asked of it.
 * - `BAD_CONDITIONS`: the host does not allow what was asked for: too much else runs on it, or measurements contradict each other.
 * - `DEADLOCK`: nothing can happen on the machine any more although somebody waits.
 */
export const ERROR_CODES = [
  "BAD_VALUE",
  "BAD_TEXT",
  "UNKNOWN_NAME",
  "BAD_COMBINATION",
  "BAD_INPUT",
  "BAD_OUTPUT",
  "BAD_STATE",
  "BAD_WORKLOAD",
  "WORKLOAD_FAILED",
  "NO_MEMORY",
  "BAD_CONDITIONS",
  "DEADLOCK",
] as const;
/** One of {@link ERROR_CODES}. */
export type ErrorCode = (typeof ERROR_CODES)[number];

/** What an error is about; each class fills in what it has. */
export interface ErrorDetails {
  /** What the value was given for, such as `cpus`. */
  readonly subject?: string;
  /** What was given. */
  readonly value?: unknown;
  /** What would have been right, such as `a whole number from 1 to 4096`. */
  readonly expected?: string;
  /** The file to blame. */
  readonly file?: string;
  /** The line in it, from 1; absent when no line is to blame. */
  readonly line?: number;
}

/** Base of all errors that are for the person who uses mmulab. The message is one line that says everything. */
export abstract class MmulabError extends Error implements ErrorDetails {
  readonly code: ErrorCode;
  readonly subject?: string;
  readonly value?: unknown;
  readonly expected?: string;
  readonly file?: string;
  readonly line?: number;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message.trim().replace(/\s*\n\s*/g, " "));
    this.code = code;
    Object.assign(this, details);
  }
}

/** A value that was given, as a message shows it: what is missing is "nothing". */
export function givenText(value: unknown): string {
  return value === undefined ? "nothing" : String(value);
}

/** A caller of the emulator passed something that no program on the machine could: not a fault of the machine. */
export class MachineUsageError extends MmulabError {
  override readonly name = "MachineUsageError";

  /** @param subject what was being set or passed */
  constructor(subject: string, value: unknown, expected: string) {
    super("BAD_VALUE", `${subject}: ${givenText(value)}: expected ${expected}`, { subject, value, expected });
  }
}

/** A text is not in the format in which it is read. */
export class TextFormatError extends MmulabError {
  override readonly name = "TextFormatError";

  /** @param message what is wrong with `text`, in one line */
  constructor(text: string, message: string) {
    super("BAD_TEXT", message, { value: text });
  }
}
