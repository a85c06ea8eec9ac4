/** Lines of a text file, gzip or plain, streamed: memory stays constant for any length. */
import { createReadStream } from "node:fs";
import { pipeline, Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { RecordingError } from "./recording-error.ts";

const READ_BYTES = 256 * 1024;

/** Consecutive lines without their newlines; `firstLine` counts from 1. */
export interface LineBatch {
  readonly firstLine: number;
  readonly lines: readonly string[];
}

/**
 * The lines of `file` in batches. Gzip is recognised by its magic number (RFC 1952, 2.3.1), not by the file's name. A last
 * line without a newline counts; an empty rest after the last newline does not.
 * @throws RecordingError when the file cannot be read, its gzip data is damaged or cut short, or it is not UTF-8 text
 */
export async function* readLineBatches(file: string): AsyncGenerator<LineBatch> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let firstLine = 1;
  let rest = "";
  try {
    for await (const chunk of await decompressed(file)) {
      const lines = (rest + decoder.decode(chunk as Uint8Array, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      if (lines.length === 0) continue;
      yield { firstLine, lines };
      firstLine += lines.length;
    }
    rest += decoder.decode();
  } catch (error) {
    throw toRecordingError(file, firstLine, error);
  }
  if (rest !== "") yield { firstLine, lines: [rest] };
}

async function decompressed(file: string): Promise<AsyncIterable<unknown>> {
  const chunks = createReadStream(file, { highWaterMark: READ_BYTES })[Symbol.asyncIterator]();
  const first = await chunks.next();
  if (first.done) throw new RecordingError(file, 0, "is empty");
  const head = first.value as Uint8Array;
  const source = Readable.from(startingWith(head, chunks), { objectMode: false });
  if (head[0] !== 0x1f || head[1] !== 0x8b) {
    if (file.endsWith(".gz")) throw new RecordingError(file, 0, "is named .gz but does not hold gzip data");
    return source;
  }
  const gunzip = createGunzip({ chunkSize: READ_BYTES });
  pipeline(source, gunzip, () => {
    // The reader of `gunzip` sees every error.
  });
  return gunzip;
}

async function* startingWith(head: unknown, rest: AsyncIterator<unknown>): AsyncGenerator<unknown> {
  try {
    yield head;
    for (let next = await rest.next(); !next.done; next = await rest.next()) yield next.value;
  } finally {
    await rest.return?.();
  }
}

function toRecordingError(file: string, line: number, error: unknown): unknown {
  if (error instanceof RecordingError || !(error instanceof Error)) return error;
  const { code } = error as NodeJS.ErrnoException;
  if (code === "ENOENT") return new RecordingError(file, 0, "no such file");
  if (code === "EISDIR") return new RecordingError(file, 0, "is a directory, not a recording");
  if (code === "EACCES") return new RecordingError(file, 0, "may not be read (permission denied)");
  if (code === "Z_BUF_ERROR") {
    return new RecordingError(file, line, "the gzip data ends too early (truncated file); no whole line from here on");
  }
  if (code?.startsWith("Z_")) return new RecordingError(file, line, `the gzip data is damaged (${error.message})`);
  if (code === "ERR_ENCODING_INVALID_ENCODED_DATA")
    return new RecordingError(file, line, "not UTF-8 text from here on");
  if (code !== undefined) return new RecordingError(file, line, `cannot be read (${error.message})`);
  return error;
}
