/**
 * What is known of each shared line: who has it (`shared-lines.ts`) and when it was on its way (`line-transfers.ts`), 64 bytes side by side. With a
 * thousand CPUs a line is seldom in the host's caches when it is fetched, and so it is got there once.
 */

import { HOST_LINE_BEGIN_BYTE } from "./host-lines.ts";

/** log2 of the numbers of a line as times: the first four are. */
export const TIMES_SHIFT = 3;
/** Of its times: when a CPU came for its last transfer. */
export const TIME_ARRIVED = 0;
/** Until when that took, or the last of its queue does; 0 when there was none in this run. */
export const TIME_UNTIL = 1;
/** When a CPU came for the transfer before that, which was over when the last began. */
export const TIME_ARRIVED_BEFORE = 2;
/** Until when that took; 0 when there was none. */
export const TIME_UNTIL_BEFORE = 3;

/** log2 of the numbers of a line as words: those from the ninth on are. */
export const WORDS_SHIFT = 4;
/** Of its words: whose the last transfer was; of a line with a queue, where that is, as -1 - place. */
export const WORD_MOVER = 8;
/** Whose it is, plus 1: 0 is nobody, so that lines which nobody ever had take none of the host's memory. */
export const WORD_HOLDER = 9;
/** Whose the transfer before the last was. */
export const WORD_MOVER_BEFORE = 10;

/** log2 of the numbers of a line as halves of words: those from the 23rd on are. */
export const HALVES_SHIFT = 5;
/** Of its halves, of a line that a few CPUs have: how many they are. */
export const HALF_SHARERS = 22;
/** Of a line that several CPUs have: the one that read it last. */
export const HALF_LAST = 23;
/** Of a line that a few CPUs have: the first of them. */
export const HALF_SHARER = 24;
/** CPUs that there is room for. */
export const SHARERS_MAX = 8;

const BYTES_SHIFT = 6;
/** A line that nobody has. It is free to take: what is new is in the caches of the CPU that made it. */
export const NOBODY = -1;

/** The numbers of all lines, as times, as words and as halves of words. */
export class LineNumbers {
  times = new Float64Array(0);
  words = new Int32Array(0);
  halves = new Int16Array(0);

  /** Makes room for `lines` lines, which nobody has. */
  grow(lines: number): void {
    const bytes = lines << BYTES_SHIFT;
    const buffer = new ArrayBuffer(HOST_LINE_BEGIN_BYTE + bytes);
    const times = new Float64Array(buffer, HOST_LINE_BEGIN_BYTE, bytes / Float64Array.BYTES_PER_ELEMENT);
    const words = new Int32Array(buffer, HOST_LINE_BEGIN_BYTE, bytes / Int32Array.BYTES_PER_ELEMENT);
    words.set(this.words);
    this.times = times;
    this.words = words;
    this.halves = new Int16Array(buffer, HOST_LINE_BEGIN_BYTE, bytes / Int16Array.BYTES_PER_ELEMENT);
  }
}
