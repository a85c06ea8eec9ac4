/**
 * Long texts of lackey are parsed by several threads: the file is cut into parts of a MiB, each thread takes the next that nobody has begun
 * (part-claims.ts), and whoever replays takes the parts in order. A line belongs to the part that it begins in, so that each is parsed once.
 */
import { closeSync, openSync, readSync, statSync } from "node:fs";
import { packingOfName } from "../files/unpack.ts";
import { BatchWriter } from "./batch-writer.ts";
import { LackeyLines } from "./lackey-lines.ts";
import { PlainLines } from "./plain-lines.ts";
import { ReferenceBatch } from "./reference-batch.ts";
import { RECORD_BYTES_MAX } from "./reference-source.ts";

/** Bytes of a part: its references, 14 bytes each, fit into a ring of batches (batch-ring.ts), so that a thread need not wait for its turn. */
const PART_BYTES = 2 ** 20;
/** A line that is open at the end of a part is read on to its end in pieces of this size. */
const READ_ON_BYTES = 2 ** 16;
/** Bytes at the beginning by which a file is taken for text of lackey: some of its first lines are references. */
const HEAD_BYTES = 2 ** 16;
/** Files from this size on are read in parts. */
const SIZE_BYTES_MIN = 2 ** 25;
const NEWLINE = 0x0a;

/** Thrown at a line that is longer than any may be. Who reads the trace from its beginning says which that is. */
export class LineTooLong extends Error {
  /** The most bytes that a line may have. */
  readonly bytesMax: number;

  constructor(bytesMax: number) {
    super(`a line is longer than ${bytesMax} bytes`);
    this.bytesMax = bytesMax;
  }
}

/** What the lines of a part were. */
export interface PartSummary {
  readonly records: number;
  readonly references: number;
  readonly odd: number;
  /** Number of the first odd line in the part, from 1; 0 for none. */
  readonly firstOdd: number;
}

/** Number of parts that `file` is to be read in; 0 where it is no long file of plain text of lackey. */
export function lackeyParts(file: string, sizeBytesMin = SIZE_BYTES_MIN): number {
  const stats = statSync(file, { throwIfNoEntry: false });
  if (!stats?.isFile() || stats.size < sizeBytesMin || packingOfName(file) !== null) return 0;
  return isLackeyText(file) ? Math.ceil(stats.size / PART_BYTES) : 0;
}

function isLackeyText(file: string): boolean {
  let descriptor: number;
  try {
    descriptor = openSync(file, "r");
  } catch {
    // What is wrong with the file is said by whoever reads it.
    return false;
  }
  try {
    const head = new Uint8Array(HEAD_BYTES);
    const read = head.subarray(0, readSync(descriptor, head, 0, HEAD_BYTES, 0));
    // A packed file, or a binary trace, has other bytes than those of text.
    if (!read.every((byte) => byte >= 0x20 || (byte >= 0x09 && byte <= 0x0d))) return false;
    const lines = new LackeyLines(new BatchWriter(new ReferenceBatch(), (batch) => batch));
    lines.feed(read);
    return lines.references > 0;
  } catch {
    return false;
  } finally {
    closeSync(descriptor);
  }
}

/** Reads parts of one file. */
export class LackeyParts {
  private readonly descriptor: number;
  private readonly writer: BatchWriter;
  private readonly plain = PlainLines.make();
  private readonly bytes: Uint8Array;
  private readonly partBytes: number;

  /** @throws what the system says when the file cannot be opened */
  constructor(file: string, writer: BatchWriter, partBytes = PART_BYTES) {
    this.partBytes = partBytes;
    this.bytes = new Uint8Array(partBytes + 1);
    this.descriptor = openSync(file, "r");
    this.writer = writer;
    writer.format = "lackey";
  }

  /** Puts the references of part `part` (from 0) into batches, and passes the last of them on. @throws LineTooLong, what the system says when it cannot be read */
  read(part: number): PartSummary {
    const { bytes, writer, partBytes } = this;
    const lines = new LackeyLines(writer, this.plain);
    // From the byte before the part on: a newline there says that a line begins with the part.
    const before = part === 0 ? 0 : 1;
    const first = part * partBytes - before;
    const read = readFully(this.descriptor, bytes.subarray(0, partBytes + before), first);
    const begin = part === 0 ? 0 : bytes.subarray(0, read).indexOf(NEWLINE) + 1;
    const isWhole = read === partBytes + before;
    writer.bytesRead = first + read;
    // Nothing begins in a part that a longer line runs through, or behind a last newline, which belongs to the part before.
    if ((begin > 0 || part === 0) && begin < read) {
      lines.feed(bytes.subarray(begin, read));
      if (isWhole) this.readOn(lines, first + read);
      lines.end();
    }
    writer.flush();
    const { records, references, odd, firstOdd } = lines;
    return { records, references, odd, firstOdd };
  }

  /** Closes the file. */
  close(): void {
    closeSync(this.descriptor);
  }

  /** Reads the last line of a part to its end, from `from` on. */
  private readOn(lines: LackeyLines, from: number): void {
    const piece = new Uint8Array(READ_ON_BYTES);
    for (let at = from; lines.openBytes > 0; at += READ_ON_BYTES) {
      const read = piece.subarray(0, readFully(this.descriptor, piece, at));
      const newline = read.indexOf(NEWLINE);
      lines.feed(newline < 0 ? read : read.subarray(0, newline + 1));
      if (lines.openBytes > RECORD_BYTES_MAX) throw new LineTooLong(RECORD_BYTES_MAX);
      if (newline >= 0 || read.length < READ_ON_BYTES) return;
    }
  }
}

/** Reads from a place in a file until `into` is full or the file ends; returns how many bytes there were. */
function readFully(descriptor: number, into: Uint8Array, from: number): number {
  let read = 0;
  while (read < into.length) {
    const got = readSync(descriptor, into, read, into.length - read, from + read);
    if (got === 0) break;
    read += got;
  }
  return read;
}

/** The summary of a file by those of its parts, in order. */
export function joinParts(parts: readonly PartSummary[]): PartSummary {
  let records = 0;
  let references = 0;
  let odd = 0;
  let firstOdd = 0;
  for (const part of parts) {
    if (firstOdd === 0 && part.firstOdd > 0) firstOdd = records + part.firstOdd;
    records += part.records;
    references += part.references;
    odd += part.odd;
  }
  return { records, references, odd, firstOdd };
}
