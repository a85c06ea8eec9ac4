/**
 * Lines of `valgrind --tool=lackey --trace-mem=yes`, read byte by byte: `I  ADDR,SIZE` (instruction), ` L ADDR,SIZE` (load),
 * ` S ADDR,SIZE` (store), ` M ADDR,SIZE` (load, then store); hexadecimal addresses, decimal sizes. Anything else is a
 * message of valgrind or of the program, and is skipped.
 */

import { ACCESS_FETCH, ACCESS_LOAD, ACCESS_STORE } from "../../arch/isa/access.ts";
import { USER_END } from "../../mm/lib/memory-layout.ts";

/** Kind of a line: a load and a store of the same bytes. */
export const REFERENCE_MODIFY = 3;

/** Who takes references: their kind, address (48 bits) and size in bytes. */
export type ReferenceSink = (kind: number, la: number, sizeBytes: number) => void;

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
/** User addresses end where the lower half of the address space does. */
const ADDRESS_END = USER_END;
/** The longest reference: an XSAVE area is below 16 KiB. */
const SIZE_MAX = 16384;
/** A line longer than this is no reference, whatever stands in it. */
const REFERENCE_BYTES_MAX = 4096;

/** Cuts bytes into lines, wherever the pieces end, and hands references on. */
export class LackeyLines {
  /** Lines so far. */
  lines = 0;
  /** Lines that were references. */
  references = 0;
  /** Number of the first line that was neither a reference nor a message of valgrind (`==PID==`), from 1; 0 for none. */
  firstOddLine = 0;
  oddLines = 0;
  /** Bytes so far of a line whose end has not come yet. */
  openLineBytes = 0;
  private readonly sink: ReferenceSink;
  /** The beginning of a line whose end has not come yet. */
  private readonly carry = new Uint8Array(REFERENCE_BYTES_MAX + 1);
  private carried = 0;

  constructor(sink: ReferenceSink) {
    this.sink = sink;
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
  }

  private keep(bytes: Uint8Array, start: number, end: number): void {
    const room = Math.min(end - start, REFERENCE_BYTES_MAX - this.carried);
    this.carry.set(bytes.subarray(start, start + room), this.carried);
    this.carried += room;
    this.openLineBytes += end - start;
  }

  private flushCarry(): void {
    this.carry[this.carried] = NEWLINE;
    this.parse(this.carry, 0, this.carried + 1);
    this.carried = 0;
    this.openLineBytes = 0;
  }

  /** Whole lines: `bytes[end - 1]` is a newline. */
  private parse(bytes: Uint8Array, start: number, end: number): void {
    const { sink } = this;
    let { lines, references } = this;
    let at = start;
    while (at < end) {
      lines++;
      const kind = kindAt(bytes, at);
      let p = at + 2;
      if (kind >= 0) {
        while (bytes[p] === SPACE) p++;
        const firstDigit = p;
        let la = 0;
        let digit = DIGIT[bytes[p]];
        while (digit < NOT_A_DIGIT) {
          la = la * 16 + digit;
          digit = DIGIT[bytes[++p]];
        }
        if (bytes[p] === COMMA && p > firstDigit && la < ADDRESS_END) {
          let size = 0;
          digit = DIGIT[bytes[++p]];
          while (digit < 10 && size < SIZE_MAX) {
            size = size * 10 + digit;
            digit = DIGIT[bytes[++p]];
          }
          if (bytes[p] === RETURN) p++;
          if (bytes[p] === NEWLINE && size > 0) {
            references++;
            sink(kind, la, size);
            at = p + 1;
            continue;
          }
        }
      }
      if (!isValgrindMessage(bytes, at)) {
        this.oddLines++;
        if (this.firstOddLine === 0) this.firstOddLine = lines;
      }
      at = bytes.indexOf(NEWLINE, at) + 1;
    }
    this.lines = lines;
    this.references = references;
  }
}

/** The kind of reference that a line beginning at `at` claims to be, or -1. */
function kindAt(bytes: Uint8Array, at: number): number {
  if (bytes[at] === LETTER_I) return bytes[at + 1] === SPACE ? ACCESS_FETCH : -1;
  if (bytes[at] !== SPACE) return -1;
  switch (bytes[at + 1]) {
    case LETTER_L:
      return ACCESS_LOAD;
    case LETTER_S:
      return ACCESS_STORE;
    case LETTER_M:
      return REFERENCE_MODIFY;
    default:
      return -1;
  }
}

/** `==1234==` and `--1234--`, or an empty line. */
function isValgrindMessage(bytes: Uint8Array, at: number): boolean {
  const first = bytes[at];
  if (first === NEWLINE || first === RETURN) return true;
  return (first === 0x3d || first === 0x2d) && bytes[at + 1] === first;
}
