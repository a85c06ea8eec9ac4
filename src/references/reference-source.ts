/**
 * One source of references behind all formats of traces: which format a file has is told by its contents, how it is compressed too,
 * and its references come in batches.
 */
import { statSync } from "node:fs";
import { inputName, inputSizeBytes, toInputError } from "../files/byte-chunks.ts";
import { InputFileError } from "../input/errors.ts";
import type { BatchWriter } from "./batch-writer.ts";
import { CHAMPSIM_RECORD_BYTES, ChampsimRecords, isChampsimRecord } from "./champsim-records.ts";
import { isTraceFolder, readTraceFolder, traceFilesOf } from "./drmemtrace-folder.ts";
import { DrmemtraceRecords, isDrmemtraceHeader } from "./drmemtrace-records.ts";
import { LackeyLines } from "./lackey-lines.ts";
import type { ReferenceFormat } from "./reference-batch.ts";
import type { ReferenceParser } from "./reference-parser.ts";
import { readTraceBytes, withHead } from "./trace-bytes.ts";

/** What is said of a file that is none of the traces that are read. */
const NO_TRACE =
  "is no trace of references that is known: expected lackey's text (lines such as ` L 1fff000778,8`), drmemtrace's records (which begin with a header) or ChampSim's (64 bytes an instruction)";

/** What a trace was, once it has been read. */
export interface SourceSummary {
  readonly format: ReferenceFormat;
  /** Records (lines of a text), and those that were skipped although they should mean something. */
  readonly records: number;
  readonly odd: number;
  /** Number of the first of these, from 1; 0 for none, and in a folder of several files. */
  readonly firstOdd: number;
}

/** Bytes at the beginning by which formats are told apart. */
const HEAD_BYTES = 4096;
/** Records without a reference after which a file counts as none of its format: what is packed may be endless. */
const RECORDS_IN_VAIN_MAX = 2 ** 24;
/** The longest line; the traced program may print among the references. */
export const RECORD_BYTES_MAX = 2 ** 25;

/** Files in which a trace lies, each of a thread or core of its own; 1 where one file has all. */
export function traceFiles(file: string, format: ReferenceFormat | null): number {
  return isFolderOf(file, format) ? traceFilesOf(file).length : 1;
}

/** The files of a trace: those of a folder of drmemtrace, or the one. @throws InputFileError for a folder without traces */
export function traceFilePaths(file: string): string[] {
  return isTraceFolder(file) ? traceFilesOf(file) : [file];
}

/** Bytes of a trace as it lies on disk; 0 when that is not known. */
export function traceSizeBytes(file: string, format: ReferenceFormat | null): number {
  if (!isFolderOf(file, format)) return inputSizeBytes(file);
  return traceFilesOf(file).reduce((sum, each) => sum + statSync(each).size, 0);
}

/**
 * Puts all references of a trace into batches.
 * @param file a file, a folder of drmemtrace, or `-` for standard input
 * @param format what it has to be; null to tell by its contents
 * @throws InputFileError when it cannot be read, or is no trace of the format; what `writer` throws as it is
 */
export async function readReferences(
  file: string,
  format: ReferenceFormat | null,
  writer: BatchWriter,
): Promise<SourceSummary> {
  if (isFolderOf(file, format)) return await readFolder(file, writer);
  let parser: ReferenceParser | null = null;
  let found = format;
  try {
    const bytes = readTraceBytes(file, (read) => {
      writer.bytesRead = read;
    });
    for await (const chunk of withHead(bytes, HEAD_BYTES)) {
      if (parser === null) {
        found = formatOf(inputName(file), chunk, format);
        writer.format = found;
        parser = makeParser(found, inputName(file), writer);
      }
      parser.feed(chunk);
      if (parser.references === 0 && (parser.records > RECORDS_IN_VAIN_MAX || parser.openBytes > RECORD_BYTES_MAX))
        break;
      checkLine(file, parser);
    }
    parser?.end();
  } catch (error) {
    throw failure(file, found, parser?.records ?? 0, error);
  }
  if (parser === null || found === null) throw new InputFileError(inputName(file), 0, "is empty");
  if (parser.references === 0) throw noReferences(inputName(file), found, format === null);
  const { records, odd, firstOdd } = parser;
  return { format: found, records, odd, firstOdd };
}

/** Only traces of drmemtrace are folders. */
function isFolderOf(file: string, format: ReferenceFormat | null): boolean {
  return (format === null || format === "drmemtrace") && isTraceFolder(file);
}

async function readFolder(folder: string, writer: BatchWriter): Promise<SourceSummary> {
  writer.format = "drmemtrace";
  const files = await readTraceFolder(folder, writer, (file, { records }, error) =>
    failure(file, "drmemtrace", records, error),
  );
  const sum = (of: (records: DrmemtraceRecords) => number) => files.reduce((total, each) => total + of(each), 0);
  if (sum(({ references }) => references) === 0) throw noReferences(folder, "drmemtrace", false);
  return { format: "drmemtrace", records: sum(({ records }) => records), odd: sum(({ odd }) => odd), firstOdd: 0 };
}

/** The format of binary records that begin with `head`; null for text, and for what is none of these. */
export function binaryFormatOf(head: Uint8Array): ReferenceFormat | null {
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  if (head.length >= 12 && isDrmemtraceHeader(view, 0)) return "drmemtrace";
  return head.includes(0) && isAllChampsim(view) ? "champsim" : null;
}

/** Which format data has that begin with `head`, or that it has the one that it must. @throws InputFileError if not */
function formatOf(file: string, head: Uint8Array, wanted: ReferenceFormat | null): ReferenceFormat {
  const format = binaryFormatOf(head);
  if (wanted === "drmemtrace" && format !== "drmemtrace") {
    throw new InputFileError(file, 0, "record 1: is no header of a drmemtrace file");
  }
  if (wanted !== null) return wanted;
  if (format !== null) return format;
  // Whether a text has references is said by its lines.
  if (!head.includes(0)) return "lackey";
  throw new InputFileError(file, 0, NO_TRACE);
}

/** Whether all whole records in `view` can be ChampSim's. */
function isAllChampsim(view: DataView): boolean {
  for (let at = 0; at + CHAMPSIM_RECORD_BYTES <= view.byteLength; at += CHAMPSIM_RECORD_BYTES) {
    if (!isChampsimRecord(view, at)) return false;
  }
  return view.byteLength >= CHAMPSIM_RECORD_BYTES;
}

function makeParser(format: ReferenceFormat, file: string, writer: BatchWriter): ReferenceParser {
  if (format === "lackey") return new LackeyLines(writer);
  if (format === "champsim") return new ChampsimRecords(file, writer);
  // One file with several threads: each has a number, in the order in which they appear.
  const streams = new Map<number, number>();
  return new DrmemtraceRecords(file, writer, (tid) => {
    const stream = streams.get(tid) ?? streams.size;
    streams.set(tid, stream);
    return stream;
  });
}

function checkLine(file: string, { openBytes, records }: ReferenceParser): void {
  if (openBytes <= RECORD_BYTES_MAX) return;
  const problem = `is longer than ${RECORD_BYTES_MAX} bytes, the most that a line may have`;
  throw new InputFileError(inputName(file), records + 1, problem);
}

/** An error while reading, with the line or the record where it happened. */
function failure(file: string, format: ReferenceFormat | null, records: number, error: unknown): unknown {
  const named = toInputError(file, format === "lackey" ? records + 1 : 0, error);
  if (format === "lackey" || error === named || records === 0 || !(named instanceof InputFileError)) return named;
  return new InputFileError(inputName(file), 0, `record ${records + 1}: ${named.reason}`);
}

/** @param isGuess whether the format was told by the contents: what is not binary counts as lackey's */
function noReferences(file: string, format: ReferenceFormat, isGuess: boolean): InputFileError {
  if (isGuess && format === "lackey") return new InputFileError(file, 0, NO_TRACE);
  if (format !== "lackey") return new InputFileError(file, 0, `no record of this ${format} trace is a reference`);
  return new InputFileError(file, 1, "no line is a reference of valgrind's lackey (such as ` L 1fff000778,8`)");
}
