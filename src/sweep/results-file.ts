/**
 * The results of a sweep as they come: a line of JSON each, added the moment a point is done. Whoever stops a sweep, or whose
 * machine stops, starts it again with the same file and loses only what was under way. One process at a time adds to a file.
 */
import { closeSync, fstatSync, fsyncSync, ftruncateSync, openSync } from "node:fs";
import { toInputError } from "../files/byte-chunks.ts";
import { lockFile } from "../files/file-lock.ts";
import { writing } from "../files/output-error.ts";
import { readSmallFile } from "../files/whole-file.ts";
import { writeAll } from "../files/write-all.ts";
import { InputFileError, OutputFileError } from "../input/errors.ts";
import { type FinishedPoint, headerLine, headerProblem, ResultLines, resultLine } from "./result-lines.ts";
import type { SweepSpec } from "./spec.ts";

const NEWLINE = 0x0a;
/** The largest file that is read: results of half a million points. */
const RESULTS_BYTES_MAX = 2 ** 29;

/** A file of results of one sweep, begun or gone on with. */
export class ResultsFile {
  /** Points that are done, by index. */
  readonly finished = new Map<number, FinishedPoint>();
  private readonly file: string;
  private readonly spec: SweepSpec;
  private readonly descriptor: number;
  private readonly unlock: () => void;
  private sizeBytes = 0;
  private isOpen = true;

  /**
   * Opens `file`, which may hold results of an earlier run of the same sweep. A last line that was cut short is cut off;
   * nothing else that is there is written again.
   * @throws InputFileError when it holds something else, OutputFileError when it cannot be written or another sweep adds to it
   */
  constructor(file: string, spec: SweepSpec) {
    this.file = file;
    this.spec = spec;
    this.descriptor = writing(file, () => openSync(file, "a+"));
    try {
      if (!fstatSync(this.descriptor).isFile()) {
        const reason = "results are kept in a regular file";
        throw new OutputFileError(file, reason, `${file}: ${reason}`);
      }
      this.unlock = lockFile(file, "another sweep is adding to it");
    } catch (error) {
      closeSync(this.descriptor);
      throw error;
    }
    try {
      this.takeOver();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /**
   * Adds a point; it is on the disk when this returns.
   * @throws OutputFileError when it cannot be written; the file then ends with the line before
   */
  add(finished: FinishedPoint): void {
    if (!this.isOpen) return;
    this.append(`${resultLine(finished, this.spec)}\n`);
    this.finished.set(finished.point.index, finished);
  }

  /** Lets other processes add. May be called twice. */
  close(): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    closeSync(this.descriptor);
    this.unlock();
  }

  private takeOver(): void {
    const { points, wholeBytes, isLastLineOpen } = readResults(this.file, this.spec);
    for (const point of points) this.finished.set(point.point.index, point);
    this.sizeBytes = wholeBytes;
    writing(this.file, () => ftruncateSync(this.descriptor, wholeBytes));
    if (isLastLineOpen) this.append("\n");
    if (wholeBytes === 0) this.append(`${headerLine(this.spec)}\n`);
  }

  private append(text: string): void {
    const bytes = Buffer.from(text);
    try {
      writing(this.file, () => {
        writeAll(this.descriptor, bytes);
        fsyncSync(this.descriptor);
      });
    } catch (error) {
      ftruncateSync(this.descriptor, this.sizeBytes);
      throw error;
    }
    this.sizeBytes += bytes.length;
  }
}

/** What a file of results holds. */
interface Results {
  readonly points: readonly FinishedPoint[];
  /** Bytes up to the end of the last whole line. */
  readonly wholeBytes: number;
  /** Whether that line lacks its newline. */
  readonly isLastLineOpen: boolean;
}

/**
 * The points in a file of results; a last line that was cut short does not count.
 * @throws InputFileError when it is not a file of results of `spec`, at the line that shows it
 */
export function readResults(file: string, spec: SweepSpec): Results {
  const bytes = readBytes(file);
  const isTorn = (end: number): boolean => end === bytes.length && bytes[end - 1] !== NEWLINE;
  const reader = new ResultLines(spec);
  const points = new Map<number, FinishedPoint>();
  let start = 0;
  for (let line = 1; start < bytes.length; line++) {
    const newline = bytes.indexOf(NEWLINE, start);
    const end = newline < 0 ? bytes.length : newline;
    const text = bytes.toString("utf8", start, end);
    if (line === 1) {
      if (isTorn(end) && headerLine(spec).startsWith(text) && headerLine(spec) !== text) break;
      const problem = headerProblem(text, spec);
      if (problem !== null) throw new InputFileError(file, 1, problem);
    } else {
      const point = reader.parse(text);
      if (typeof point === "string") {
        if (isTorn(end)) break;
        throw new InputFileError(file, line, point);
      }
      if (points.has(point.point.index)) {
        throw new InputFileError(file, line, `is a second result of point ${point.point.index}`);
      }
      points.set(point.point.index, point);
    }
    start = newline < 0 ? end : newline + 1;
  }
  return { points: [...points.values()], wholeBytes: start, isLastLineOpen: start > 0 && bytes[start - 1] !== NEWLINE };
}

function readBytes(file: string): Buffer {
  try {
    return readSmallFile(file, RESULTS_BYTES_MAX);
  } catch (error) {
    throw toInputError(file, 0, error);
  }
}
