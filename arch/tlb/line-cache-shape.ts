/**
 * One level of the data caches as the page walker sees them (walk-caches.ts), but for what it holds: where that lies in an array of words, and
 * how lines are looked for and put in there. All CPUs of a preset have it in common, since what a CPU has of its own is out of the host's caches where there
 * are many; so is all that tells of an array, and a CPU has one array of words for all levels.
 *
 * What belongs to a set is in a row: its replacement state, a mark of each line, the tags. A level of few sets has its rows in the sets' order. In
 * others sets get rows in the order in which lines first come to them: so the words, which are enough for all sets, are written from the
 * rows' beginning on, and the host commits memory for the sets that are used: many CPUs walk little, and the lines of their page tables are scattered over
 * all sets. What a row has lies side by side; or tags, marks and states lie apart, as the module wants them that does many lines at once
 * (line-cache-module.ts).
 */

import { checkState } from "../isa/state-error.ts";
import { replacementPolicy, replacementProblem } from "../presets/replacement/index.ts";
import { afterUse, type Replacement } from "../presets/replacement/policy.ts";

const LINE_BYTES = 64;
/** Ways of a word of marks, and most ways of a set whose marks are compared. */
const WORD_WAYS = 4;
const MARKED_WAYS_MAX = 32;
/** Words of a line of the host's caches: rows begin at multiples, and so does a level. */
const HOST_LINE_WORDS = 16;
/** Marks that there are. */
const MARKS = 256;
/** log2 of them. */
export const MARK_BITS = 8;
/** A one in each byte of a word, and the highest bit of each. */
const ONES = 0x01010101;
const HIGHEST_BITS = 0x80808080;
/** Number of the highest bit of a byte. */
const HIGHEST_BIT = 7;
/** Numbers of lines below this are shifted as they are: their tags need nothing but integers. */
const WORD_LINES = 2 ** 31;
/** Most sets whose rows are numbered in 16 bits. */
const SHORT_ROWS_MAX = 0xffff;
/** Words of the rows of all sets, at the most, where each set has one from the beginning. */
const FIXED_WORDS_MAX = 2 ** 13;
/** Words of the state of a set, and all of its row with its tags: few rows lie on more lines of the host's caches than they must. */
const STATE_WORDS = 1;
const ROW_UNIT_WORDS = 8;

/** Where what rows have lies: the state of row 0 in halves of words, its marks in bytes, its tags in words; and how far it is from one row to the next. */
interface RowPlaces {
  readonly stateAt: number;
  readonly stateStride: number;
  readonly markAt: number;
  readonly markStride: number;
  readonly tagAt: number;
  readonly tagStride: number;
}

/** Sizes of a level. */
export interface LineCacheSizes {
  readonly sizeBytes: number;
  /** Lines of a set. */
  readonly ways: number;
  /** Cycles of a fetch that it answers. */
  readonly hitCycles: number;
}

/** One level: physically indexed, tree-PLRU, or round robin where that does not exist for the number of ways. */
export class LineCacheShape {
  /** Cycles of a fetch that this level answers. */
  readonly hitCycles: number;
  /** Number of sets. */
  readonly sets: number;
  /** Lines of a set. */
  readonly ways: number;
  /** How sets are replaced: `victims` is no null. */
  readonly policy: Replacement;
  /** The word at which it ends. */
  readonly end: number;
  /** The word of the row of set 0 that nothing of the set is in, for who has something to keep by set; -1 where there is none, or sets have no fixed rows. */
  readonly spareAt: number;
  /** Words of a row. */
  readonly rowWords: number;
  /** Word with the number of rows that sets have got; -1 where sets have fixed rows. */
  private readonly takenAt: number;
  /** By set: its row, from 1 on, 0 where no line was yet: the first word of these numbers, and whether they are halves of words. */
  private readonly numbersAt: number;
  private readonly isShort: boolean;
  /** The word of the first row. */
  private readonly firstRow: number;
  private readonly stateAt: number;
  private readonly stateStride: number;
  private readonly markAt: number;
  private readonly markStride: number;
  private readonly tagAt: number;
  private readonly tagStride: number;
  /** What a line's number is to be multiplied by, so that the whole part of it is above its set and its mark; and how far one is to be shifted. */
  private readonly tagShare: number;
  private readonly tagShift: number;
  /** Words of the marks of a row; 0 where its ways do not fill words, so that tags are compared. */
  private readonly setWords: number;
  private readonly setShift: number;
  private readonly setMask: number;
  private readonly hitUse: Int32Array;

  /**
   * @param begin the word at which it begins, a multiple of `HOST_LINE_WORDS`
   * @param isApart whether tags, marks and states lie apart, in the sets' order
   */
  constructor({ sizeBytes, ways, hitCycles }: LineCacheSizes, begin: number, isApart = false) {
    // V8 keeps what it has seen as a quotient as an object of its own.
    const sets = (sizeBytes / LINE_BYTES / ways) | 0;
    const used = STATE_WORDS + Math.ceil(ways / WORD_WAYS) + ways;
    this.rowWords = rowWordsOf(used);
    const isFixed = isApart || sets * this.rowWords <= FIXED_WORDS_MAX;
    this.isShort = sets <= SHORT_ROWS_MAX;
    this.takenAt = isFixed ? -1 : begin;
    this.numbersAt = begin + HOST_LINE_WORDS;
    this.firstRow = isFixed ? begin : wholeLines(this.numbersAt + (this.isShort ? Math.ceil(sets / 2) : sets));
    this.spareAt = isFixed && !isApart && used < this.rowWords ? this.firstRow + this.rowWords - 1 : -1;
    const places = isApart ? placesApart(begin, sets, ways) : placesInRows(this.firstRow, this.rowWords, ways);
    this.end = isApart ? endApart(places, sets) : wholeLines(this.firstRow + sets * this.rowWords);
    this.stateAt = places.stateAt;
    this.stateStride = places.stateStride;
    this.markAt = places.markAt;
    this.markStride = places.markStride;
    this.tagAt = places.tagAt;
    this.tagStride = places.tagStride;
    this.hitCycles = hitCycles;
    this.tagShare = 1 / (sets * MARKS);
    this.tagShift = Math.min(31, 31 - Math.clz32(sets) + MARK_BITS);
    this.setWords = ways % WORD_WAYS === 0 && ways <= MARKED_WAYS_MAX ? (ways / WORD_WAYS) | 0 : 0;
    this.setShift = 31 - Math.clz32(sets);
    this.ways = ways;
    this.setMask = sets - 1;
    this.sets = sets;
    this.policy = replacementPolicy(replacementProblem("tree-plru", ways) === null ? "tree-plru" : "round-robin", ways);
    this.hitUse = this.policy.hitUse;
  }

  /** Its sizes. */
  get sizes(): LineCacheSizes {
    const { sets, ways, hitCycles } = this;
    return { sizeBytes: sets * ways * LINE_BYTES, ways, hitCycles };
  }

  /** Where tags, marks and states begin, in bytes: of what lies apart. */
  get bytesApart(): { tagsAt: number; marksAt: number; statesAt: number } {
    const { tagAt, markAt, stateAt } = this;
    return { tagsAt: 4 * tagAt, marksAt: markAt, statesAt: 2 * stateAt };
  }

  /** Looks for a line in what `words` have of this level: a hit is recorded (true), what is not there is put in (false). */
  use(words: Int32Array, line: number): boolean {
    const set = (line | 0) & this.setMask;
    const row = this.takenAt < 0 ? set : this.numberedRow(words, set) | 0;
    if (row < 0) {
      this.insert(words, this.takeRow(words, set), line);
      return false;
    }
    const way = (this.setWords === 0 ? this.search(words, row, line) : this.find(words, row, line)) | 0;
    if (way < 0) {
      this.insert(words, row, line);
      return false;
    }
    const use = this.hitUse[way];
    this.changeState(words, row, use);
    return true;
  }

  /** The row of a set, from 0 on; -1 where it has none. */
  private rowOf(words: Int32Array, set: number): number {
    return this.takenAt < 0 ? set : this.numberedRow(words, set);
  }

  private numberedRow(words: Int32Array, set: number): number {
    const number = this.isShort
      ? (words[(this.numbersAt + (set >> 1)) | 0] >>> ((set & 1) << 4)) & 0xffff
      : words[(this.numbersAt + set) | 0];
    return (number - 1) | 0;
  }

  /** Gives a row to a set that has none. */
  private takeRow(words: Int32Array, set: number): number {
    const row = words[this.takenAt]++;
    if (this.isShort) words[this.numbersAt + (set >> 1)] |= (row + 1) << ((set & 1) << 4);
    else words[this.numbersAt + set] = row + 1;
    return row;
  }

  /** The way that has a line of the set of `row`; -1 when it is not there. */
  private find(words: Int32Array, row: number, line: number): number {
    const { setWords } = this;
    // All marks of the set at once: bit 8 * byte + word of `found` says that a way has that of the line, or that one before it in its word has.
    const mark = Math.imul(((line | 0) >>> this.setShift) & 0xff, ONES);
    const first = ((Math.imul(row, this.markStride) + this.markAt) | 0) >> 2;
    let found = 0;
    for (let word = 0; word < setWords; word++) {
      const differences = words[(first + word) | 0] ^ mark;
      found |= ((differences - ONES) & ~differences & HIGHEST_BITS) >>> (HIGHEST_BIT - word);
    }
    if (found === 0) return -1;
    const bit = 31 - Math.clz32(found & -found);
    const way = ((bit & 7) * WORD_WAYS + (bit >> 3)) | 0;
    const tag = words[(Math.imul(row, this.tagStride) + this.tagAt + way) | 0];
    return tag === this.tagOf(line) ? way : this.search(words, row, line) | 0;
  }

  private search(words: Int32Array, row: number, line: number): number {
    const { ways } = this;
    const mark = ((line | 0) >>> this.setShift) & 0xff;
    const wanted = this.tagOf(line);
    const firstMark = (Math.imul(row, this.markStride) + this.markAt) | 0;
    const firstTag = (Math.imul(row, this.tagStride) + this.tagAt) | 0;
    for (let way = 0; way < ways; way++)
      if (byteAt(words, firstMark + way) === mark && words[firstTag + way] === wanted) return way;
    return -1;
  }

  private tagOf(line: number): number {
    return (line < WORD_LINES ? (line | 0) >>> this.tagShift : (line * this.tagShare) | 0) + 1;
  }

  /** Puts a line in, which is not there. */
  private insert(words: Int32Array, row: number, line: number): void {
    const { policy } = this;
    const way = (policy.victims as Uint8Array)[this.stateOf(words, row)];
    this.put(words, row, way, line);
    this.changeState(words, row, policy.fillUse[way]);
  }

  private put(words: Int32Array, row: number, way: number, line: number): void {
    words[(Math.imul(row, this.tagStride) + this.tagAt + way) | 0] = this.tagOf(line);
    const mark = (Math.imul(row, this.markStride) + this.markAt + way) | 0;
    const shift = (mark & 3) << 3;
    words[mark >> 2] = (words[mark >> 2] & ~(0xff << shift)) | ((((line | 0) >>> this.setShift) & 0xff) << shift);
  }

  private stateOf(words: Int32Array, row: number): number {
    const half = (Math.imul(row, this.stateStride) + this.stateAt) | 0;
    return (words[half >> 1] >>> ((half & 1) << 4)) & 0xffff;
  }

  /** @param use as a policy has it: what stays of the state in the high half, what is new in the low one */
  private changeState(words: Int32Array, row: number, use: number): void {
    const half = (Math.imul(row, this.stateStride) + this.stateAt) | 0;
    const shift = (half & 1) << 4;
    const word = words[half >> 1];
    const state = afterUse((word >>> shift) & 0xffff, use);
    words[half >> 1] = (word & ~(0xffff << shift)) | (state << shift);
  }

  /** Takes all lines out. */
  clear(words: Int32Array): void {
    const { takenAt, firstRow } = this;
    if (takenAt < 0) {
      words.fill(0, firstRow, this.end);
      return;
    }
    words.fill(0, firstRow, firstRow + words[takenAt] * this.rowWords);
    words.fill(0, takenAt, firstRow);
  }

  /** Has `visit` called with every line that it holds, by set times ways plus way. */
  forEachLine(words: Int32Array, visit: (place: number, line: number) => void): void {
    const { ways, sets } = this;
    for (let set = 0; set < sets; set++) {
      const row = this.rowOf(words, set);
      for (let way = 0; way < ways && row >= 0; way++) {
        const high = words[row * this.tagStride + this.tagAt + way] - 1;
        const mark = byteAt(words, row * this.markStride + this.markAt + way);
        if (high >= 0) visit(set * ways + way, (high * MARKS + mark) * sets + set);
      }
    }
  }

  /** Has `visit` called with the replacement state of every set that is not in state 0. */
  forEachState(words: Int32Array, visit: (set: number, state: number) => void): void {
    for (let set = 0; set < this.sets; set++) {
      const row = this.rowOf(words, set);
      const state = row < 0 ? 0 : this.stateOf(words, row);
      if (state !== 0) visit(set, state);
    }
  }

  /**
   * Puts a line into a place (set times ways plus way), for saved states.
   * @throws StateError when there is no such place, or it is not in the line's set
   */
  putBack(words: Int32Array, place: number, line: number): void {
    const { ways, sets } = this;
    checkState("data caches", place < sets * ways, `have no slot ${place}`);
    const set = Math.floor(place / ways);
    checkState("data caches", line % sets === set, `do not have line ${line} in set ${set}`);
    this.put(words, this.rowFor(words, set), place % ways, line);
  }

  /** Brings a set into a state, for saved states. @throws StateError when there is no such set or state */
  setState(words: Int32Array, set: number, state: number): void {
    const { victims } = this.policy;
    const exists = set < this.sets && state < (victims?.length ?? 0);
    checkState("data caches", exists, `have no state ${state} of set ${set}`);
    this.changeState(words, this.rowFor(words, set), state);
  }

  /** The row of a set, which is given one if it has none. */
  private rowFor(words: Int32Array, set: number): number {
    const row = this.rowOf(words, set);
    return row < 0 ? this.takeRow(words, set) : row;
  }
}

function byteAt(words: Int32Array, at: number): number {
  return (words[at >> 2] >>> ((at & 3) << 3)) & 0xff;
}

function wholeLines(words: number): number {
  return (words + HOST_LINE_WORDS - 1) & -HOST_LINE_WORDS;
}

/** Words of a row of which so many are used. */
function rowWordsOf(used: number): number {
  return used <= HOST_LINE_WORDS ? 1 << (32 - Math.clz32(used - 1)) : (used + ROW_UNIT_WORDS - 1) & -ROW_UNIT_WORDS;
}

/** State, marks and tags of a row side by side. */
function placesInRows(firstRow: number, rowWords: number, ways: number): RowPlaces {
  return {
    stateAt: 2 * firstRow,
    stateStride: 2 * rowWords,
    markAt: 4 * (firstRow + STATE_WORDS),
    markStride: 4 * rowWords,
    tagAt: firstRow + STATE_WORDS + Math.ceil(ways / WORD_WAYS),
    tagStride: rowWords,
  };
}

/** All tags, all marks, all states; a vector of marks may be read from the last of them on. */
function placesApart(begin: number, sets: number, ways: number): RowPlaces {
  const marks = wholeLines(begin + sets * ways);
  const states = wholeLines(marks + Math.ceil((sets * ways) / WORD_WAYS) + HOST_LINE_WORDS);
  return { stateAt: 2 * states, stateStride: 1, markAt: 4 * marks, markStride: ways, tagAt: begin, tagStride: ways };
}

function endApart({ stateAt }: RowPlaces, sets: number): number {
  return wholeLines((stateAt + sets + 1) >> 1);
}
