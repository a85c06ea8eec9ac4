/**
 * Where the numbers of one CPU lie: two typed arrays that its TLBs, predictions and counters share, so that code which works on
 * several of them at once loads few arrays. Their first parts are at fixed places, which the fast paths name as numbers.
 *
 *   words   0      predictions: 256 for loads, for stores, for fetches; 256 unused
 *           1024   rules of the paging mode, four a kind of access (paging-mode.ts)
 *           1056   translations of large pages in all TLBs, plus one while the short path is off
 *           1060   records of the first level, four words a slot: context, flags, use, word of the set's state (tlb.ts)
 *   cells   0      counters (perf-counters.ts)
 *           64     tags of the first level; the first is a slot that never holds anything; then its frames
 */
export const PREDICTIONS_AT = 0;
/** Predictions of one kind of access. */
export const PREDICTIONS = 256;
export const RULES_AT = 1024;
export const LARGE_AT = 1056;
export const FIRST_RECORDS_AT = 1060;
export const COUNTS_AT = 0;
export const FIRST_TAGS_AT = 64;

/** The arrays of one CPU, and what is taken of them. */
export class CpuArrays {
  /** Tags, frames, counters. */
  readonly cells: Float64Array;
  /** Everything else. */
  readonly words: Int32Array;
  /** Slots of all first-level TLBs together; slot 0 is never used. */
  readonly firstSlots: number;
  private nextFirstSlot = 1;
  private nextCell: number;
  private nextWord: number;

  constructor(firstSlots: number, cells: number, words: number) {
    this.firstSlots = firstSlots + 1;
    this.nextCell = FIRST_TAGS_AT + 2 * this.firstSlots;
    this.nextWord = FIRST_RECORDS_AT + 4 * this.firstSlots;
    this.cells = new Float64Array(this.nextCell + cells);
    this.words = new Int32Array(this.nextWord + words);
    this.cells.fill(Number.NaN, FIRST_TAGS_AT, FIRST_TAGS_AT + this.firstSlots);
  }

  /** Cell of the frame of first-level slot 0. */
  get firstFramesAt(): number {
    return FIRST_TAGS_AT + this.firstSlots;
  }

  /** Takes slots of the first level for one TLB; returns the number of the first. */
  takeFirstSlots(count: number): number {
    const first = this.nextFirstSlot;
    this.nextFirstSlot += count;
    return first;
  }

  /** Takes `count` cells; returns the index of the first. */
  takeCells(count: number): number {
    const first = this.nextCell;
    this.nextCell += count;
    return first;
  }

  /** Takes `count` words, a multiple of four; returns the index of the first. */
  takeWords(count: number): number {
    const first = this.nextWord;
    this.nextWord += (count + 3) & ~3;
    return first;
  }
}
