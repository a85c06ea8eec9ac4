/** What makes a file unreadable as a recording. */

/** A file that cannot be read or is not a recording of the version that is read here. */
export class RecordingError extends Error {
  override readonly name = "RecordingError";
  readonly file: string;
  /** Line number from 1; 0 when no line is to blame. */
  readonly line: number;
  readonly reason: string;

  constructor(file: string, line: number, reason: string) {
    super(line > 0 ? `${file}:${line}: ${reason}` : `${file}: ${reason}`);
    this.file = file;
    this.line = line;
    this.reason = reason;
  }
}
