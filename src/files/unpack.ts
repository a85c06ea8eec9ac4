/** Compressed data: which kind it is, by its first bytes, and its contents, piece by piece, in constant memory. */
import { pipeline, Readable } from "node:stream";
import { ReadableStream } from "node:stream/web";
import { createGunzip } from "node:zlib";

/** A kind of compression that is read. */
export type Packing = "gzip" | "xz" | "zstd";

/** RFC 1952, 2.3.1; the .xz file format, 2.1.1.1; RFC 8878, 3.1.1. */
const PACKINGS: Readonly<Record<Packing, { readonly magic: readonly number[]; readonly extension: string }>> = {
  gzip: { magic: [0x1f, 0x8b], extension: ".gz" },
  xz: { magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00], extension: ".xz" },
  zstd: { magic: [0x28, 0xb5, 0x2f, 0xfd], extension: ".zst" },
};
/** The command that writes the contents of such a file. */
export const UNPACKING_COMMANDS: Readonly<Record<Packing, string>> = {
  gzip: "gzip -dc",
  xz: "xz -dc",
  zstd: "zstd -dc",
};
/** Others that people have, and that are not read. */
const UNREAD: readonly { readonly name: string; readonly magic: readonly number[] }[] = [
  { name: "bzip2", magic: [0x42, 0x5a, 0x68] },
  { name: "lz4", magic: [0x04, 0x22, 0x4d, 0x18] },
];
/** A binary trace, and the command that makes text of it. */
export interface BinaryTrace {
  readonly name: string;
  readonly command: string;
}
/** Binary traces that another program turns into text. */
const BINARY_TRACES: readonly (BinaryTrace & { readonly magic: string })[] = [
  // trace-cmd.dat(5): the magic bytes 17 08 44, and then "tracing".
  { name: "trace.dat", magic: "\x17\x08Dtracing", command: "trace-cmd report" },
  // tools/perf/Documentation/perf.data-file-format.txt; the second is of before 2010.
  { name: "perf.data", magic: "PERFILE2", command: "perf script" },
  { name: "perf.data", magic: "PERFFILE", command: "perf script" },
];
/** As many bytes of the contents tell them. */
export const BINARY_TRACE_BYTES = 8;

/** A binary trace whose contents begin with `head`, and the command that makes text of it; null for anything else. */
export function binaryTraceOf(head: Uint8Array): BinaryTrace | null {
  const text = String.fromCharCode(...head.subarray(0, BINARY_TRACE_BYTES));
  return BINARY_TRACES.find(({ magic }) => text === magic.slice(0, BINARY_TRACE_BYTES)) ?? null;
}

/** As many bytes at the beginning tell all of them apart. */
export const MAGIC_BYTES_MAX = 6;

/**
 * A zstd decompressor makes everything out of what it is given before it returns: as much at a time that a block of zeros (4 bytes for
 * 128 KiB) cannot fill the memory.
 */
const ZSTD_INPUT_BYTES = 1024;
const GUNZIP_BYTES = 256 * 1024;

/** Compressed data is damaged, or ends too early. */
export class PackedDataError extends Error {
  readonly packing: Packing;
  /** Whether it ends before its end; else it is damaged. */
  readonly isCutShort: boolean;
  constructor(packing: Packing, isCutShort: boolean, reason: string) {
    super(reason);
    this.packing = packing;
    this.isCutShort = isCutShort;
  }
}

/** The kind of compression that data beginning with `head` has; null for none that is read. */
export function packingOf(head: Uint8Array): Packing | null {
  const kinds = Object.keys(PACKINGS) as Packing[];
  return kinds.find((kind) => startsWith(head, PACKINGS[kind].magic)) ?? null;
}

/** The name of a kind of compression that is not read, which data beginning with `head` has; null for none. */
export function unreadPackingOf(head: Uint8Array): string | null {
  return UNREAD.find(({ magic }) => startsWith(head, magic))?.name ?? null;
}

/** The kind of compression that a file's name promises; null for none. */
export function packingOfName(file: string): Packing | null {
  const kinds = Object.keys(PACKINGS) as Packing[];
  return kinds.find((kind) => file.endsWith(PACKINGS[kind].extension)) ?? null;
}

/**
 * What compressed data contains. Several frames or members one after another are read as one.
 * @throws PackedDataError when the data is damaged or ends too early; errors of `chunks` as they are
 */
export async function* unpack(packing: Packing, chunks: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  if (packing === "gzip") yield* gunzip(chunks);
  else if (packing === "xz") yield* unpackXz(chunks);
  else yield* unpackZstd(chunks);
}

async function* gunzip(chunks: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  const gunzip = createGunzip({ chunkSize: GUNZIP_BYTES });
  pipeline(Readable.from(chunks, { objectMode: false }), gunzip, () => {
    // The reader of `gunzip` sees every error.
  });
  try {
    for await (const chunk of gunzip) yield chunk as Uint8Array;
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (!code?.startsWith("Z_")) throw error;
    throw new PackedDataError("gzip", code === "Z_BUF_ERROR", message);
  }
}

/** What the decoder's messages end with (`xz_ret` of XZ Embedded): the data ended, or there is no more progress. */
const XZ_ENDS_EARLY = /error code 8$/;

async function* unpackXz(chunks: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  const { default: xz } = await import("xz-decompress");
  // What goes wrong while reading is not the decoder's.
  let readingFailed = false;
  const packed = new ReadableStream<Uint8Array>({
    pull: async (controller) => {
      try {
        const next = await chunks.next();
        if (next.done) controller.close();
        else controller.enqueue(next.value);
      } catch (error) {
        readingFailed = true;
        throw error;
      }
    },
  });
  try {
    // The decoder's types are those of a browser.
    const unpacked = new xz.XzReadableStream(packed as never) as unknown as AsyncIterable<Uint8Array>;
    for await (const chunk of unpacked) yield chunk;
  } catch (error) {
    if (readingFailed || !(error instanceof Error)) throw error;
    throw new PackedDataError("xz", XZ_ENDS_EARLY.test(error.message), error.message);
  }
}

async function* unpackZstd(chunks: AsyncGenerator<Uint8Array>): AsyncGenerator<Uint8Array> {
  const { Decompress, ZstdErrorCode } = await import("fzstd");
  const pieces: Uint8Array[] = [];
  const decoder = new Decompress((piece) => {
    if (piece.length > 0) pieces.push(piece);
  });
  const push = (bytes: Uint8Array, isLast: boolean): void => {
    try {
      decoder.push(bytes, isLast);
    } catch (error) {
      const { code, message } = error as { code?: number; message: string };
      throw new PackedDataError("zstd", code === ZstdErrorCode.UnexpectedEOF, message);
    }
  };
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.length; at += ZSTD_INPUT_BYTES) {
      push(chunk.subarray(at, at + ZSTD_INPUT_BYTES), false);
      yield* pieces.splice(0);
    }
  }
  push(new Uint8Array(0), true);
  yield* pieces.splice(0);
}

function startsWith(head: Uint8Array, magic: readonly number[]): boolean {
  return magic.every((byte, i) => head[i] === byte);
}
