/**
 * What is known of each shared line: who has it (`shared-lines.ts`) and when it was on its way (`line-transfers.ts`), 64 bytes side by side. With a
 * thousand CPUs a line is seldom in the host's caches when it is fetched, and so it is got there once.
 */

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
/** Whose it is. */
export const WORD_HOLDER = 9;
/** Of a line that two CPUs have: the one that has had it longer. */
export const WORD_FIRST = 10;
/** Of a line that several CPUs have: the one that read it last. */
export const WORD_LAST = 11;
/** Whose the transfer before the last was. */
export const WORD_MOVER_BEFORE = 12;

/** A line that nobody has. It is free to take: what is new is in the caches of the CPU that made it. */
export const NOBODY = -1;

/** The numbers of all lines, as times and as words. */
export class LineNumbers {
  times = new Float64Array(0);
  words = new Int32Array(0);

  /** Makes room for `lines` lines, which nobody has. */
  grow(lines: number): void {
    const times = new Float64Array(lines << TIMES_SHIFT);
    const words = new Int32Array(times.buffer);
    const end = this.words.length;
    words.set(this.words);
    for (let at = end | WORD_HOLDER; at < words.length; at += 1 << WORDS_SHIFT) words[at] = NOBODY;
    this.times = times;
    this.words = words;
  }
}
