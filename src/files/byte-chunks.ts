/** The bytes of a file or of standard input, compressed or plain, streamed: memory stays constant for any length. */
import { closeSync, createReadStream, openSync, readSync, statSync } from "node:fs";
import { isMainThread } from "node:worker_threads";
import { MmulabError } from "../../arch/isa/errors.ts";
import { InputFileError } from "../input/errors.ts";
import {
  BINARY_TRACE_BYTES,
  type BinaryTrace,
  binaryTraceOf,
  MAGIC_BYTES_MAX,
  PackedDataError,
  type Packing,
  packingOf,
  packingOfName,
  UNPACKING_COMMANDS,
  unpack,
  unreadPackingOf,
} from "./unpack.ts";

const READ_BYTES = 256 * 1024;
/** Milliseconds until a pipe that has nothing yet is tried again. */
const RETRY_MS = 1;

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
 * The decompressed bytes of `file` (`-`: standard input) in pieces: gzip, xz and zstd are recognised by their first bytes, not by
 * the file's name.
 * @throws InputFileError for an empty file, one whose name promises a compression that it does not have, or a compression that is
 *   not read, or a binary trace that another command turns into text; otherwise what the system or the decompressor says, for {@link toInputError}
 */
export async function* readByteChunks(file: string, onRead?: OnRead): AsyncGenerator<Uint8Array> {
  const { packing, source } = await packedChunks(file, onRead);
  const chunks = packing === null ? source : unpack(packing, source);
  const head = await readHead(chunks, BINARY_TRACE_BYTES);
  const trace = binaryTraceOf(head);
  if (trace !== null) {
    await chunks.return?.(undefined);
    throw new InputFileError(inputName(file), 0, howToMakeText(file, packing, trace));
  }
  yield* startingWith(head, chunks);
}

/** What a binary trace is, and the commands that make text of it: neither program reads a packed one. */
function howToMakeText(file: string, packing: Packing | null, { name, command }: BinaryTrace): string {
  const input = file === STANDARD_INPUT ? "FILE" : file;
  if (packing === null) return `is a binary ${name}: \`${command} -i ${input} > trace.txt\` turns it into text`;
  // Not `name`, which the packed file may have.
  const unpacked = `unpacked.${name}`;
  const unpacking = `\`${UNPACKING_COMMANDS[packing]} ${input} > ${unpacked}\``;
  return `is a binary ${name} in ${packing}: ${unpacking}, then \`${command} -i ${unpacked} > trace.txt\`, turn it into text`;
}

/** The pieces of a file as they are in it, and how they are packed; null: not. */
interface PackedChunks {
  readonly packing: Packing | null;
  readonly source: AsyncGenerator<Uint8Array>;
}

async function packedChunks(file: string, onRead: OnRead | undefined): Promise<PackedChunks> {
  const chunks = counted(isMainThread ? streamed(file) : readInTurn(file), onRead);
  const head = await readHead(chunks, MAGIC_BYTES_MAX);
  if (head.length === 0) throw new InputFileError(inputName(file), 0, "is empty");
  const source = startingWith(head, chunks);
  const packing = packingOf(head);
  if (packing !== null) return { packing, source };
  const promised = packingOfName(file);
  if (promised !== null) {
    const extension = file.slice(file.lastIndexOf("."));
    throw new InputFileError(file, 0, `is named ${extension} but does not hold ${promised} data`);
  }
  const unread = unreadPackingOf(head);
  if (unread !== null) {
    const reason = `holds ${unread} data, which is not read (gzip, xz and zstd are); pipe it in unpacked`;
    throw new InputFileError(inputName(file), 0, reason);
  }
  return { packing, source };
}

/** The first bytes, enough to tell what they are, unless there are fewer. */
async function readHead(chunks: AsyncGenerator<Uint8Array>, bytes: number): Promise<Uint8Array> {
  let head: Uint8Array = new Uint8Array(0);
  while (head.length < bytes) {
    const next = await chunks.next();
    if (next.done) break;
    head = head.length === 0 ? next.value : Buffer.concat([head, next.value]);
  }
  return head;
}

/** What went wrong while reading, as an error that names the file and the line where it ended; others as they are. */
export function toInputError(file: string, line: number, error: unknown): unknown {
  if (error instanceof MmulabError || !(error instanceof Error)) return error;
  const name = inputName(file);
  if (error instanceof PackedDataError) {
    const { packing, isCutShort, message } = error;
    const where = line > 0 ? "; no whole line from here on" : "";
    if (isCutShort)
      return new InputFileError(name, line, `the ${packing} data ends too early (truncated file)${where}`);
    return new InputFileError(name, line, `the ${packing} data is damaged (${message})`);
  }
  const { code } = error as NodeJS.ErrnoException;
  if (code === "ENOENT") return new InputFileError(name, 0, "no such file");
  if (code === "EISDIR") return new InputFileError(name, 0, "is a directory, not a file");
  if (code === "EACCES") return new InputFileError(name, 0, "may not be read (permission denied)");
  if (code === "Z_BUF_ERROR") {
    return new InputFileError(name, line, "the gzip data ends too early (truncated file)");
  }
  if (code?.startsWith("Z_")) return new InputFileError(name, line, `the gzip data is damaged (${error.message})`);
  if (code === "ERR_ENCODING_INVALID_ENCODED_DATA") {
    return new InputFileError(name, line, "not UTF-8 text from here on");
  }
  if (code !== undefined) return new InputFileError(name, line, `cannot be read (${error.message})`);
  return error;
}

/** The bytes of a file as the event loop brings them. */
function streamed(file: string): AsyncIterator<unknown> {
  const stream = file === STANDARD_INPUT ? process.stdin : createReadStream(file, { highWaterMark: READ_BYTES });
  return stream[Symbol.asyncIterator]();
}

/**
 * The bytes of a file, each piece read when it is asked for. For worker threads: their standard input comes by way of the main
 * thread, which may be waiting for them, and nobody minds that they block.
 */
async function* readInTurn(file: string): AsyncGenerator<Uint8Array> {
  const descriptor = file === STANDARD_INPUT ? 0 : openSync(file, "r");
  try {
    for (;;) {
      const piece = Buffer.allocUnsafe(READ_BYTES);
      const got = readBlocking(descriptor, piece);
      if (got === 0) return;
      yield piece.subarray(0, got);
    }
  } finally {
    if (descriptor !== 0) closeSync(descriptor);
  }
}

const never = new Int32Array(new SharedArrayBuffer(4));

/** Reads what there is; waits where a pipe, which somebody else has set to non-blocking, has nothing yet. */
function readBlocking(descriptor: number, piece: Uint8Array): number {
  for (;;) {
    try {
      return readSync(descriptor, piece);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EOF") return 0;
      if (code !== "EAGAIN") throw error;
      Atomics.wait(never, 0, 0, RETRY_MS);
    }
  }
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
