/** Errors of what a person gives: values, names, files. The base class and the codes are in arch/isa/errors.ts. */
import { MmulabError } from "../../arch/isa/errors.ts";
import { suggestion } from "./suggestion.ts";

/** A value is not one of those that are possible. */
export class ValueError extends MmulabError {
  override readonly name = "ValueError";

  /**
   * @param subject what the value is for; empty where only the caller knows, such as the parser of an option
   * @param message one line; by default `subject value: expected ...`, and for an empty text `subject with no value: expected ...`
   */
  constructor(subject: string, value: unknown, expected: string, message?: string) {
    const what = subject === "" ? "" : `${subject} ${value === "" ? "with no value" : String(value)}: `;
    super("BAD_VALUE", message ?? `${what}expected ${expected}`, { subject, value, expected });
  }
}

/** Nothing has that name. */
export class UnknownNameError extends MmulabError {
  override readonly name = "UnknownNameError";

  /**
   * @param message one line
   * @param value the name that was given
   * @param known names that there are
   */
  constructor(message: string, value: string, known: readonly string[]) {
    super("UNKNOWN_NAME", message, { value, expected: known.length === 0 ? "none" : `one of ${known.join(", ")}` });
  }
}

/**
 * `unknown preset 'skylke' (did you mean skylake?); there are ...`.
 * @param kind what the name should be of: `preset`
 * @param option the option whose value names it, where only that tells what is meant: `--columns`
 */
export function unknownName(kind: string, name: string, known: readonly string[], option = ""): UnknownNameError {
  const line = `${option === "" ? "" : `${option}: `}unknown ${kind} '${name}'${suggestion(name, known)}; there are ${known.join(", ")}`;
  return new UnknownNameError(line, name, known);
}

/** `test_vmalloc has no parameter 'nr_thread' (did you mean nr_threads?); it has ...`. @param owner whose parameter */
export function unknownParameter(owner: string, name: string, known: readonly string[]): UnknownNameError {
  const line =
    known.length === 0
      ? `${owner} takes no parameters, but '${name}' was given`
      : `${owner} has no parameter '${name}'${suggestion(name, known)}; it has ${known.join(", ")}`;
  return new UnknownNameError(line, name, known);
}

/** A file cannot be read, is damaged, or is not what it should be: a recording, a trace, a saved state, a sweep. */
export class InputFileError extends MmulabError {
  override readonly name = "InputFileError";
  declare readonly file: string;
  declare readonly line: number;
  readonly reason: string;

  /**
   * @param line from 1; 0 when no line is to blame
   * @param column from 1; 0 when it is not known
   */
  constructor(file: string, line: number, reason: string, column = 0) {
    const where = `${file === "" ? "''" : file}${line > 0 ? `:${line}` : ""}${column > 0 ? `:${column}` : ""}`;
    super("BAD_INPUT", `${where}: ${reason}`, { file, line });
    this.reason = reason;
  }
}

/** A place in a file; line and column count from 1. */
export interface FilePlace {
  readonly file: string;
  readonly line: number;
  readonly column: number;
}

/** The error for what stands at a place of a file. */
export function inputErrorAt({ file, line, column }: FilePlace, reason: string): InputFileError {
  return new InputFileError(file, line, reason, column);
}

/** A file cannot be written. */
export class OutputFileError extends MmulabError {
  override readonly name = "OutputFileError";

  /** @param message one line; by default `cannot write file: reason` */
  constructor(file: string, reason: string, message = `cannot write ${file}: ${reason}`) {
    super("BAD_OUTPUT", message, { file });
  }
}

/** The name of a file to write does not say in which format. */
export function unknownFormat(file: string, formats: string): OutputFileError {
  const line = `cannot tell from the name ${file} in which format to write; it should end in ${formats}`;
  return new OutputFileError(file, "unknown format", line);
}

/** A workload in a file of the person's own ended with an error. */
export class WorkloadFailure extends MmulabError {
  override readonly name = "WorkloadFailure";

  /** @param reason what went wrong, in one line */
  constructor(file: string, reason: string) {
    super("WORKLOAD_FAILED", `${file}: ${reason}`, { file });
  }
}

/** A flush policy or an experiment in a file of the person's own cannot be loaded. */
export class OwnCodeError extends MmulabError {
  override readonly name = "OwnCodeError";

  /** @param reason what went wrong, in one line */
  constructor(file: string, reason: string) {
    super("BAD_INPUT", `${file}: ${reason}`, { file });
  }
}

/** A workload in a file of the person's own cannot be loaded. */
export class WorkloadError extends MmulabError {
  override readonly name = "WorkloadError";

  /** @param reason what went wrong, in one line */
  constructor(file: string, reason: string) {
    super("BAD_WORKLOAD", `${file}: ${reason}`, { file });
  }
}
