/**
 * LRU of many ways: a log of the uses of each set, in the words that a CPU's structures share (cpu-arrays.ts). A use writes the
 * place at the log's end and notes in the place's record where; earlier mentions of the place count no more. The first mention that
 * counts is that of the place used before all others. A log that is full is shortened to the mentions that count.
 */

import type { CpuArrays } from "./cpu-arrays.ts";
import * as layout from "./cpu-arrays.ts";

// The module's own constants, which V8 folds into the code (arch/fast-path/README.md, "Constants").
const { WORD_SHIFT, WORD_STATE, WORD_USE } = layout;

/** Mentions that a log has room for, by way: shortening one then costs less than one step a use. */
const MENTIONS_PER_WAY = 4;
/** Stands behind the last mention that a log has room for. */
const END = -1;

/** Words that the logs of `sets` sets of `ways` ways take. */
export function lruLogWords(sets: number, ways: number): number {
  return sets * (2 + logWords(ways));
}

function logWords(ways: number): number {
  return MENTIONS_PER_WAY * ways + 1;
}

/** The logs of one structure. */
export class LruLogs {
  private readonly words: Int32Array;
  private readonly firstPlace: number;
  private readonly ways: number;
  /** Word with the end of the log of set 0: the index of the word of the next mention. The log's beginning follows. */
  private readonly endsAt: number;
  /** Word of the first mention of set 0. */
  private readonly logsAt: number;

  /** Takes its words, and sets those of the records. In each set, slots are in ascending order, slot 0 used last. */
  constructor(sets: number, ways: number, arrays: CpuArrays, firstPlace: number) {
    const { words } = arrays;
    this.words = words;
    this.firstPlace = firstPlace;
    this.ways = ways;
    this.endsAt = arrays.takeWords(2 * sets);
    this.logsAt = arrays.takeWords(sets * logWords(ways));
    for (let set = 0; set < sets; set++) {
      const log = this.logsAt + set * logWords(ways);
      const end = this.endsAt + 2 * set;
      words[end] = log;
      words[end + 1] = log;
      words[log + MENTIONS_PER_WAY * ways] = END;
      for (let way = ways - 1; way >= 0; way--) {
        const place = firstPlace + set * ways + way;
        words[(place << WORD_SHIFT) | WORD_STATE] = end;
        this.use(place);
      }
    }
  }

  /** Records a use of `place`. */
  use(place: number): void {
    const { words } = this;
    const record = place << WORD_SHIFT;
    const end = words[(record + WORD_STATE) | 0];
    const at = words[end];
    if (words[at] === END) {
      this.shorten(end, place);
      return;
    }
    words[at] = place;
    words[(record + WORD_USE) | 0] = at;
    words[end] = (at + 1) | 0;
  }

  /** The place of a set that was used before all others. @param first the set's first place */
  oldest(first: number): number {
    const { words } = this;
    const begin = (words[((first << WORD_SHIFT) + WORD_STATE) | 0] + 1) | 0;
    let at = words[begin];
    let place = words[at];
    while (words[((place << WORD_SHIFT) + WORD_USE) | 0] !== at) {
      at = (at + 1) | 0;
      place = words[at];
    }
    words[begin] = at;
    return place;
  }

  /** The slots of a set, the one used last first. */
  order(set: number): number[] {
    const { words, firstPlace } = this;
    const end = this.endsAt + 2 * set;
    const slots: number[] = [];
    for (let at = words[end] - 1; at >= words[end + 1]; at--) {
      if (words[(words[at] << WORD_SHIFT) | WORD_USE] === at) slots.push(words[at] - firstPlace);
    }
    return slots;
  }

  /** Keeps the mentions that count of the full log whose end is in word `end`, and then records a use of `place`. */
  private shorten(end: number, place: number): void {
    const { words } = this;
    // It is full: what is in word `end` is the end of the words that it has.
    const log = words[end] - MENTIONS_PER_WAY * this.ways;
    let to = log;
    for (let at = words[end + 1]; at < words[end]; at++) {
      const use = (words[at] << WORD_SHIFT) | WORD_USE;
      if (words[use] !== at) continue;
      words[to] = words[at];
      words[use] = to++;
    }
    // Not by `use`: V8 would inline one into the other time and again, in all that records a use.
    words[to] = place;
    words[(place << WORD_SHIFT) | WORD_USE] = to;
    words[end] = to + 1;
    words[end + 1] = log;
  }
}
