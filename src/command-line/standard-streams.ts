/** Standard output and standard error: what is printed has been written when the call returns. */
import { fstatSync } from "node:fs";
import { toOutputError } from "../files/output-error.ts";
import { writeAll } from "../files/write-all.ts";
import { madeByLine, withMadeBy } from "../provenance/made-by.ts";
import { textWidth } from "../report/text-width.ts";
import { wrapText } from "../report/wrapped-text.ts";

const STANDARD_OUTPUT = 1;
const STANDARD_ERROR = 2;

/** The reader of standard output has gone away (`mmulab ... | head`): the command ends without a complaint. */
export class ReaderGone extends Error {
  override readonly name = "ReaderGone";
}

/**
 * Prints on standard output.
 * @throws ReaderGone when nobody reads it any more, OutputFileError when it cannot be written (a full disk)
 */
export function printOutput(text: string): void {
  try {
    writeAll(STANDARD_OUTPUT, Buffer.from(text));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EPIPE") throw new ReaderGone("nobody reads standard output");
    throw toOutputError("standard output", error);
  }
}

let isReportBegun = false;

/**
 * Prints a report for people, or a part of one. Kept in a file (`mmulab run > report.txt`), it begins with a line of comment that says
 * what made it; on a terminal and in a pipe there is none. @throws as {@link printOutput}
 */
export function printReport(text: string): void {
  if (!isReportBegun && isKept()) printOutput(madeByLine());
  isReportBegun = true;
  printText(text);
}

/** Prints text for people; on a terminal its lines keep to the terminal's width. @throws as {@link printOutput} */
export function printText(text: string): void {
  printOutput(wrapText(text, textWidth()));
}

function isKept(): boolean {
  try {
    return fstatSync(STANDARD_OUTPUT).isFile();
  } catch {
    return false;
  }
}

/** Prints a result as one line of JSON that says what made it. @throws as {@link printOutput} */
export function printJson(result: object): void {
  printOutput(`${JSON.stringify(withMadeBy(result))}\n`);
}

/** Prints on standard error. Where that cannot be written nobody can be told. */
export function printError(text: string): void {
  try {
    writeAll(STANDARD_ERROR, Buffer.from(text));
  } catch {
    // A closed or full standard error is no reason to fail.
  }
}

/** Waits until what libraries and own workloads have written to the streams of `process` has left them. */
export async function flushStandardStreams(): Promise<void> {
  await Promise.all([process.stdout, process.stderr].map(flushed));
}

function flushed(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => {
    stream.on("error", () => resolve());
    stream.write("", () => resolve());
  });
}
