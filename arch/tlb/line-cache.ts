/**
 * One level of the data caches as the page walker sees them (walk-caches.ts). A line has 64 bytes: eight entries of a table.
 */

import { checkState } from "../isa/state-error.ts";
import { replacementPolicy, replacementProblem } from "../presets/replacement/index.ts";
import { afterUse, type Replacement } from "../presets/replacement/policy.ts";

const LINE_BYTES = 64;
/** Ways of a word of marks, and most ways of a set whose marks are compared. */
const WORD_WAYS = 4;
const MARKED_WAYS_MAX = 32;
/** Marks that there are. */
const MARKS = 256;
/** log2 of them. */
export const MARK_BITS = 8;
/** A one in each byte of a word, and the highest bit of each. */
const ONES = 0x01010101;
const HIGHEST_BITS = 0x80808080;
/** Number of the highest bit of a byte. */
const HIGHEST_BIT = 7;

/** Where an array of so many bytes goes: a buffer, and the byte of it. */
export type TakeBytes = (bytes: number) => readonly [ArrayBuffer, number];
/** A buffer of its own. */
export const ownBytes: TakeBytes = (bytes) => [new ArrayBuffer(bytes), 0];

/** Numbers of lines below this are shifted as they are: their tags need nothing but integers. */
const WORD_LINES = 2 ** 31;
/** Most sets whose rows are numbered in 16 bits. */
const SHORT_ROWS_MAX = 0xffff;

/** Bytes of the arrays of a level, in the order in which they are taken. */
export function lineCacheBytes(
  sizeBytes: number,
  ways: number,
): readonly [rows: number, tags: number, marks: number, states: number] {
  const sets = sizeBytes / LINE_BYTES / ways;
  const slots = (sets + 1) * ways;
  return [
    sets <= SHORT_ROWS_MAX ? 2 * sets : 4 * sets,
    4 * slots,
    (slots + WORD_WAYS - 1) & -WORD_WAYS,
    2 * (sets + 1),
  ];
}

/**
 * One level: physically indexed, tree-PLRU, or round robin where that does not exist for the number of ways.
 *
 * What belongs to a set is in a row, and sets get rows in the order in which lines first come to them. So the arrays, which are long enough for all
 * sets, are written from their beginning on, and the host commits memory for the sets that are used: many CPUs walk little, and the lines
 * of their page tables are scattered over all sets.
 */
export class LineCache {
  /** Cycles of a fetch that this level answers. */
  readonly hitCycles: number;
  /** By set: its row, from 1 on; 0 where no line was yet. */
  readonly rows: Uint16Array | Uint32Array;
  private rowsTaken = 0;
  /** By row and way, one more than what of the line's number is above its set and its mark; 0 for no line. */
  readonly tag: Int32Array;
  /** What a line's number is to be multiplied by, so that the whole part of it is above its set and its mark; and how far one is to be shifted. */
  private readonly tagShare: number;
  private readonly tagShift: number;
  /** By row and way, a mark of the line, a byte: the low bits of its number above those that choose the set. */
  readonly marks: Uint8Array;
  private readonly markWords: Int32Array;
  /** Words of the marks of a row; 0 where its ways do not fill words, so that tags are compared. */
  private readonly setWords: number;
  private readonly setShift: number;
  /** By row, the state of the set's replacement. */
  readonly state: Uint16Array;
  /** Lines of a set. */
  readonly ways: number;
  private readonly setMask: number;
  /** How sets are replaced: `victims` is no null. */
  readonly policy: Replacement;
  private readonly hitUse: Int32Array;
  /** Number of sets. */
  readonly sets: number;

  /** @param take takes so many bytes for an array, all zero; default: each has memory of its own */
  constructor(sizeBytes: number, ways: number, hitCycles: number, take: TakeBytes = ownBytes) {
    // V8 keeps what it has seen as a quotient as an object of its own, which is out of the host's caches where there are many CPUs.
    const sets = (sizeBytes / LINE_BYTES / ways) | 0;
    const [rowBytes, tagBytes, markBytes, stateBytes] = lineCacheBytes(sizeBytes, ways);
    this.hitCycles = hitCycles;
    const rows = take(rowBytes);
    this.rows = sets <= SHORT_ROWS_MAX ? new Uint16Array(...rows, sets) : new Uint32Array(...rows, sets);
    this.tag = new Int32Array(...take(tagBytes), (sets + 1) * ways);
    this.tagShare = 1 / (sets * MARKS);
    this.tagShift = Math.min(31, 31 - Math.clz32(sets) + MARK_BITS);
    const marks = take(markBytes);
    this.marks = new Uint8Array(...marks, markBytes);
    this.markWords = new Int32Array(...marks, markBytes / WORD_WAYS);
    this.setWords = ways % WORD_WAYS === 0 && ways <= MARKED_WAYS_MAX ? ways / WORD_WAYS : 0;
    this.setShift = 31 - Math.clz32(sets);
    this.state = new Uint16Array(...take(stateBytes), sets + 1);
    this.ways = ways;
    this.setMask = sets - 1;
    this.sets = sets;
    this.policy = replacementPolicy(replacementProblem("tree-plru", ways) === null ? "tree-plru" : "round-robin", ways);
    this.hitUse = this.policy.hitUse;
  }

  /** Looks for a line: a hit is recorded (true), what is not there is put in (false). */
  use(line: number): boolean {
    const { rows, state } = this;
    const set = (line | 0) & this.setMask;
    const row = rows[set] | 0;
    if (row === 0) {
      rows[set] = ++this.rowsTaken;
      this.insert(this.rowsTaken, line);
      return false;
    }
    const slot = (this.setWords === 0 ? this.search(row, line) : this.find(row, line)) | 0;
    if (slot < 0) {
      this.insert(row, line);
      return false;
    }
    const use = this.hitUse[slot - Math.imul(row, this.ways)];
    state[row] = (state[row] & (use >>> 16)) | (use & 0xffff);
    return true;
  }

  /** A cache that has what this one has, with a row for each set, in the sets' order. @param take takes so many bytes for an array, all zero */
  copyTo(take: TakeBytes): LineCache {
    const { sets, ways, hitCycles, rows } = this;
    const copy = new LineCache(sets * ways * LINE_BYTES, ways, hitCycles, take);
    for (let set = 0; set < sets; set++) {
      const [from, to] = [rows[set], copy.rowOf(set)];
      if (from === 0) continue;
      copy.tag.set(this.tag.subarray(from * ways, (from + 1) * ways), to * ways);
      copy.marks.set(this.marks.subarray(from * ways, (from + 1) * ways), to * ways);
      copy.state[to] = this.state[from];
    }
    return copy;
  }

  /** Where a line of the set of `row` is (row times ways plus way); -1 when it is not there. */
  private find(row: number, line: number): number {
    const { markWords, setWords } = this;
    // All marks of the set at once: bit 8 * byte + word of `found` says that a way has that of the line, or that one before it in its word has.
    const mark = Math.imul(((line | 0) >>> this.setShift) & 0xff, ONES);
    const first = Math.imul(row, setWords);
    let found = 0;
    for (let word = 0; word < setWords; word++) {
      const differences = markWords[first + word] ^ mark;
      found |= ((differences - ONES) & ~differences & HIGHEST_BITS) >>> (HIGHEST_BIT - word);
    }
    if (found === 0) return -1;
    const bit = 31 - Math.clz32(found & -found);
    const slot = (Math.imul(row, this.ways) + (bit & 7) * WORD_WAYS + (bit >> 3)) | 0;
    return this.tag[slot] === this.tagOf(line) ? slot : this.search(row, line) | 0;
  }

  private search(row: number, line: number): number {
    const { tag, marks, ways } = this;
    const mark = ((line | 0) >>> this.setShift) & 0xff;
    const wanted = this.tagOf(line);
    const start = Math.imul(row, ways);
    for (let slot = start; slot < start + ways; slot++) if (marks[slot] === mark && tag[slot] === wanted) return slot;
    return -1;
  }

  private tagOf(line: number): number {
    return (line < WORD_LINES ? (line | 0) >>> this.tagShift : (line * this.tagShare) | 0) + 1;
  }

  /** Puts a line in, which is not there. */
  private insert(row: number, line: number): void {
    const { state, policy } = this;
    const way = (policy.victims as Uint8Array)[state[row]];
    this.put(row * this.ways + way, line);
    state[row] = afterUse(state[row], policy.fillUse[way]);
  }

  /** The row of a set, which is given one if it has none. */
  private rowOf(set: number): number {
    const { rows } = this;
    if (rows[set] === 0) rows[set] = ++this.rowsTaken;
    return rows[set];
  }

  private put(slot: number, line: number): void {
    this.tag[slot] = this.tagOf(line);
    this.marks[slot] = (line | 0) >>> this.setShift;
  }

  /** Takes all lines out. */
  clear(): void {
    const rows = this.rowsTaken + 1;
    this.tag.fill(0, 0, rows * this.ways);
    this.marks.fill(0, 0, rows * this.ways);
    this.state.fill(0, 0, rows);
    this.rows.fill(0);
    this.rowsTaken = 0;
  }

  /** Has `visit` called with every line that it holds, by set times ways plus way. */
  forEachLine(visit: (place: number, line: number) => void): void {
    const { tag, marks, rows, ways, sets } = this;
    for (let set = 0; set < sets; set++) {
      for (let way = 0; way < ways && rows[set] !== 0; way++) {
        const slot = rows[set] * ways + way;
        if (tag[slot] > 0) visit(set * ways + way, ((tag[slot] - 1) * MARKS + marks[slot]) * sets + set);
      }
    }
  }

  /** Has `visit` called with the replacement state of every set that is not in state 0. */
  forEachState(visit: (set: number, state: number) => void): void {
    const { rows, state, sets } = this;
    for (let set = 0; set < sets; set++) if (state[rows[set]] !== 0) visit(set, state[rows[set]]);
  }

  /**
   * Puts a line into a place (set times ways plus way), for saved states.
   * @throws StateError when there is no such place, or it is not in the line's set
   */
  putBack(place: number, line: number): void {
    const { ways, sets } = this;
    checkState("data caches", place < sets * ways, `have no slot ${place}`);
    const set = Math.floor(place / ways);
    checkState("data caches", line % sets === set, `do not have line ${line} in set ${set}`);
    this.put(this.rowOf(set) * ways + (place % ways), line);
  }

  /** Brings a set into a state, for saved states. @throws StateError when there is no such set or state */
  setState(set: number, state: number): void {
    const { victims } = this.policy;
    const exists = set < this.sets && state < (victims?.length ?? 0);
    checkState("data caches", exists, `have no state ${state} of set ${set}`);
    this.state[this.rowOf(set)] = state;
  }
}
