/**
 * Lines of `valgrind --tool=lackey --trace-mem=yes`, read byte by byte: `I  ADDR,SIZE` (instruction), ` L ADDR,SIZE` (load),
 * ` S ADDR,SIZE` (store), ` M ADDR,SIZE` (load, then store); hexadecimal addresses, decimal sizes. Anything else is a
 * message of valgrind or of the program, and is skipped.
 *
 * Lines of the form that valgrind writes are read by a module in WebAssembly (lackey-module.ts), where the host has that; all others
 * by `parseLine`, which says what a line is.
 */

import { ACCESS_FETCH, ACCESS_LOAD, ACCESS_STORE } from "../../arch/isa/access.ts";
import { USER_END } from "../../mm/lib/memory-layout.ts";
import type { BatchWriter } from "./batch-writer.ts";
import { PlainLines } from "./plain-lines.ts";
import { BATCH_REFERENCES } from "./reference-batch.ts";
import type { ReferenceParser } from "./reference-parser.ts";

/** Kind of a line: a load and a store of the same bytes. */
const MODIFY = 3;

const NEWLINE = 0x0a;
const RETURN = 0x0d;
const SPACE = 0x20;
const COMMA = 0x2c;
const LETTER_I = 0x49;
const LETTER_L = 0x4c;
const LETTER_M = 0x4d;
const LETTER_S = 0x53;
const NOT_A_DIGIT = 16;
/** The value of each hexadecimal digit. */
const DIGIT = new Uint8Array(256).fill(NOT_A_DIGIT);
for (let value = 0; value < 16; value++) {
  DIGIT[value.toString(16).charCodeAt(0)] = value;
  DIGIT[value.toString(16).toUpperCase().charCodeAt(0)] = value;
}
const NO_KIND = -1;
/** The kind that a line's first two bytes claim, by the second of them where the first is a space. */
const KIND_OF_LETTER = new Int8Array(256).fill(NO_KIND);
KIND_OF_LETTER[LETTER_L] = ACCESS_LOAD;
KIND_OF_LETTER[LETTER_S] = ACCESS_STORE;
KIND_OF_LETTER[LETTER_M] = MODIFY;

/** User addresses end where the lower half of the address space does. */
const ADDRESS_END = USER_END;
/** The longest reference: an XSAVE area is below 16 KiB. */
const SIZE_MAX = 16384;
/** A line longer than this is no reference, whatever stands in it. */
const REFERENCE_BYTES_MAX = 4096;

/** Cuts bytes into lines, wherever the pieces end, and puts references into batches. */
export class LackeyLines implements ReferenceParser {
  /** Lines so far. */
  records = 0;
  /** Lines that were references. */
  references = 0;
  /** Number of the first line that was neither a reference nor a message of valgrind (`==PID==`), from 1; 0 for none. */
  firstOdd = 0;
  odd = 0;
  /** Bytes so far of a line whose end has not come yet. */
  openBytes = 0;
  private readonly writer: BatchWriter;
  /** The beginning of a line whose end has not come yet. */
  private readonly carry = new Uint8Array(REFERENCE_BYTES_MAX + 1);
  private carried = 0;
  /** Parses lines of the usual form; null where the host cannot. */
  private readonly plain: PlainLines | null;

  /** @param plain null: all lines are parsed by `parseLine` */
  constructor(writer: BatchWriter, plain = PlainLines.make()) {
    this.writer = writer;
    this.plain = plain;
  }

  /** Takes the next bytes of the trace. */
  feed(bytes: Uint8Array): void {
    let start = 0;
    if (this.carried > 0) {
      const newline = bytes.indexOf(NEWLINE);
      this.keep(bytes, 0, newline < 0 ? bytes.length : newline);
      if (newline < 0) return;
      this.flushCarry();
      start = newline + 1;
    }
    const end = bytes.lastIndexOf(NEWLINE) + 1;
    if (end > start) this.parse(bytes, start, end);
    if (Math.max(end, start) < bytes.length) this.keep(bytes, Math.max(end, start), bytes.length);
  }

  /** The trace ends here; a last line may lack its newline. */
  end(): void {
    if (this.carried > 0) this.flushCarry();
    this.writer.flush();
  }

  private keep(bytes: Uint8Array, start: number, end: number): void {
    const room = Math.min(end - start, REFERENCE_BYTES_MAX - this.carried);
    this.carry.set(bytes.subarray(start, start + room), this.carried);
    this.carried += room;
    this.openBytes += end - start;
  }

  private flushCarry(): void {
    this.carry[this.carried] = NEWLINE;
    this.parse(this.carry, 0, this.carried + 1);
    this.carried = 0;
    this.openBytes = 0;
  }

  /** Whole lines: `bytes[end - 1]` is a newline. */
  private parse(bytes: Uint8Array, start: number, end: number): void {
    const { plain, writer } = this;
    plain?.begin(bytes, start, end);
    let at = start;
    while (at < end) {
      if (writer.length >= BATCH_REFERENCES - 2) writer.flush();
      if (plain !== null) {
        const next = plain.parse(at, writer);
        this.records += plain.lines;
        this.references += plain.lines;
        // Where a batch became full, more of them may follow.
        if (next !== at) {
          at = next;
          continue;
        }
      }
      at = this.parseLine(bytes, at);
    }
  }

  /** One line, of any form; returns where the next begins. */
  private parseLine(bytes: Uint8Array, at: number): number {
    const { writer } = this;
    this.records++;
    const kind = kindAt(bytes, at);
    let p = at + 2;
    if (kind >= 0) {
      while (bytes[p] === SPACE) p++;
      const firstDigit = p;
      let la = 0;
      for (let digit = DIGIT[bytes[p]]; digit < NOT_A_DIGIT; digit = DIGIT[bytes[++p]]) la = la * 16 + digit;
      if (bytes[p] === COMMA && p > firstDigit && la < ADDRESS_END) {
        let size = 0;
        for (let digit = DIGIT[bytes[++p]]; digit < 10 && size < SIZE_MAX; digit = DIGIT[bytes[++p]]) {
          size = size * 10 + digit;
        }
        if (bytes[p] === RETURN) p++;
        if (bytes[p] === NEWLINE && size > 0) {
          this.references++;
          writer.put(kind === MODIFY ? ACCESS_LOAD : kind, la, size);
          if (kind === MODIFY) writer.put(ACCESS_STORE, la, size);
          return p + 1;
        }
      }
    }
    if (!isValgrindMessage(bytes, at)) {
      this.odd++;
      if (this.firstOdd === 0) this.firstOdd = this.records;
    }
    return bytes.indexOf(NEWLINE, at) + 1;
  }
}

/** The kind of reference that a line beginning at `at` claims to be, or -1. */
function kindAt(bytes: Uint8Array, at: number): number {
  if (bytes[at] === SPACE) return KIND_OF_LETTER[bytes[at + 1]];
  return bytes[at] === LETTER_I && bytes[at + 1] === SPACE ? ACCESS_FETCH : NO_KIND;
}

/** `==1234==` and `--1234--`, or an empty line. */
function isValgrindMessage(bytes: Uint8Array, at: number): boolean {
  const first = bytes[at];
  if (first === NEWLINE || first === RETURN) return true;
  return (first === 0x3d || first === 0x2d) && bytes[at + 1] === first;
}
