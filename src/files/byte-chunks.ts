/** The bytes of a file or of standard input, gzip or plain, streamed: memory stays constant for any length. */
import { createReadStream, statSync } from "node:fs";
import { pipeline, Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { MmulabError } from "../../arch/isa/errors.ts";
import { InputFileError } from "../input/errors.ts";

const READ_BYTES = 256 * 1024;

/** Stands for standard input where a file's name is expected. */
const STANDARD_INPUT = "-";

/** How an input is called in messages. */
export function inputName(file: string): string {
  return file === STANDARD_INPUT ? "standard input" : file;
}

/** Bytes of a file as it lies on disk, or 0 when that is not known. */
export function inputSizeBytes(file: string): number {
  if (file === STANDARD_INPUT) return 0;
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}

/** Told how many bytes of a file, still packed, have been read so far, and the last of them. */
export type OnRead = (bytes: number, chunk: Uint8Array) => void;

/**
 * The decompressed bytes of `file` (`-`: standard input) in pieces. Gzip is recognised by its magic number (RFC 1952,
 * 2.3.1), not by the file's name.
 * @throws InputFileError for an empty file, or one named .gz that is none; otherwise what the system says, for
 *   {@link toInputError}
 */
export async function* readByteChunks(file: string, onRead?: OnRead): AsyncGenerator<Uint8Array> {
  const options = { highWaterMark: READ_BYTES };
  const stream = file === STANDARD_INPUT ? process.stdin : createReadStream(file, options);
  const chunks = counted(stream[Symbol.asyncIterator](), onRead);
  const first = await chunks.next();
  if (first.done) throw new InputFileError(inputName(file), 0, "is empty");
  const head = first.value;
  const source = Readable.from(startingWith(head, chunks), { objectMode: false });
  if (head[0] !== 0x1f || head[1] !== 0x8b) {
    if (file.endsWith(".gz")) throw new InputFileError(file, 0, "is named .gz but does not hold gzip data");
    for await (const chunk of source) yield chunk as Uint8Array;
    return;
  }
  const gunzip = createGunzip({ chunkSize: READ_BYTES });
  pipeline(source, gunzip, () => {
    // The reader of `gunzip` sees every error.
  });
  for await (const chunk of gunzip) yield chunk as Uint8Array;
}

/** What went wrong while reading, as an error that names the file and the line where it ended; others as they are. */
export function toInputError(file: string, line: number, error: unknown): unknown {
  if (error instanceof MmulabError || !(error instanceof Error)) return error;
  const name = inputName(file);
  const { code } = error as NodeJS.ErrnoException;
  if (code === "ENOENT") return new InputFileError(name, 0, "no such file");
  if (code === "EISDIR") return new InputFileError(name, 0, "is a directory, not a file");
  if (code === "EACCES") return new InputFileError(name, 0, "may not be read (permission denied)");
  if (code === "Z_BUF_ERROR") {
    return new InputFileError(name, line, "the gzip data ends too early (truncated file); no whole line from here on");
  }
  if (code?.startsWith("Z_")) return new InputFileError(name, line, `the gzip data is damaged (${error.message})`);
  if (code === "ERR_ENCODING_INVALID_ENCODED_DATA") {
    return new InputFileError(name, line, "not UTF-8 text from here on");
  }
  if (code !== undefined) return new InputFileError(name, line, `cannot be read (${error.message})`);
  return error;
}

async function* counted(chunks: AsyncIterator<unknown>, onRead: OnRead | undefined): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for (let next = await chunks.next(); !next.done; next = await chunks.next()) {
    const chunk = next.value as Uint8Array;
    bytes += chunk.length;
    onRead?.(bytes, chunk);
    yield chunk;
  }
}

async function* startingWith(head: Uint8Array, rest: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  try {
    yield head;
    for (let next = await rest.next(); !next.done; next = await rest.next()) yield next.value;
  } finally {
    await rest.return?.(undefined);
  }
}
