/** A folder of drmemtrace: a file for each thread or core, whose references are put into one order by their timestamps. */
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { InputFileError } from "../input/errors.ts";
import type { BatchWriter } from "./batch-writer.ts";
import { DRMEMTRACE_RECORD_BYTES, DrmemtraceRecords, isDrmemtraceHeader } from "./drmemtrace-records.ts";
import { readTraceBytes, withHead } from "./trace-bytes.ts";

/** Traces of threads and cores as drmemtrace names them, however packed; schedules and logs lie beside them. */
const TRACE_FILE = /\.trace(\.(gz|zip|xz|zst))?$/;
/** Where a folder has them that was not given by its innermost name. */
const INNER_FOLDER = "trace";
/** Before they are converted, traces are here. */
const RAW_FOLDER = "raw";
const NEVER = Number.POSITIVE_INFINITY;

/** Whether a trace is a folder. */
export function isTraceFolder(file: string): boolean {
  return statSync(file, { throwIfNoEntry: false })?.isDirectory() ?? false;
}

/**
 * The files of a folder, in the order of their names.
 * @throws InputFileError when it has none
 */
export function traceFilesOf(folder: string): string[] {
  const inner = join(folder, INNER_FOLDER);
  const place = existsSync(inner) ? inner : folder;
  const files = readdirSync(place)
    .filter((name) => TRACE_FILE.test(name))
    .sort();
  if (files.length > 0) return files.map((name) => join(place, name));
  const isRaw = existsSync(join(folder, RAW_FOLDER)) || readdirSync(folder).some((name) => /\.raw(\.\w+)?$/.test(name));
  const reason = isRaw
    ? "holds a raw trace, which DynamoRIO has still to convert (drrun -t drmemtrace -indir FOLDER -tool basic_counts)"
    : "is a folder without *.trace, *.trace.gz or *.trace.zip files of drmemtrace";
  throw new InputFileError(folder, 0, reason);
}

/** One file of a folder, as far as it has been read. */
class ThreadFile {
  readonly records: DrmemtraceRecords;
  /** When what comes next was traced; infinite at the end. */
  next = 0;
  private readonly file: string;
  private readonly chunks: AsyncGenerator<Uint8Array>;
  private isHeaderSeen = false;

  constructor(file: string, records: DrmemtraceRecords, onRead: (bytes: number) => void) {
    let before = 0;
    this.file = file;
    this.records = records;
    const bytes = readTraceBytes(file, (read) => {
      onRead(read - before);
      before = read;
    });
    this.chunks = withHead(bytes, DRMEMTRACE_RECORD_BYTES);
  }

  /** Makes the references up to the next timestamp, or to the end. */
  async advance(): Promise<void> {
    while (!this.records.advance()) {
      const chunk = await this.chunks.next();
      if (chunk.done) {
        this.records.end();
        this.next = NEVER;
        return;
      }
      if (!this.isHeaderSeen) this.checkHeader(chunk.value);
      this.records.feedLater(chunk.value);
    }
    // Clocks of different CPUs may be a little apart; a thread's own time never goes back.
    this.next = Math.max(this.next, this.records.timestamp);
  }

  private checkHeader(bytes: Uint8Array): void {
    this.isHeaderSeen = true;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (bytes.length >= DRMEMTRACE_RECORD_BYTES && isDrmemtraceHeader(view, 0)) return;
    throw new InputFileError(this.file, 0, "record 1: is no header of a drmemtrace file");
  }
}

/** Puts the references of all files into batches, and returns what each file's records were. */
export async function readTraceFolder(
  folder: string,
  writer: BatchWriter,
  onFailure: (file: string, records: DrmemtraceRecords, error: unknown) => unknown,
): Promise<readonly DrmemtraceRecords[]> {
  const files = traceFilesOf(folder).map((file, stream) => {
    const records = new DrmemtraceRecords(file, writer, () => stream);
    const onRead = (bytes: number) => {
      writer.bytesRead += bytes;
    };
    return { file, thread: new ThreadFile(file, records, onRead) };
  });
  const all = files.map(({ thread }) => thread.records);
  for (;;) {
    let [first] = files;
    for (const each of files) if (each.thread.next < first.thread.next) first = each;
    if (first.thread.next === NEVER) return all;
    try {
      await first.thread.advance();
    } catch (error) {
      throw onFailure(first.file, first.thread.records, error);
    }
  }
}
