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
/** Bytes of a line of the host's caches. */
export const HOST_LINE_BYTES = 64;
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

/** Bytes of the state of a set and of its marks, and all of its row with its tags: few rows lie on more lines of the host's caches than they must. */
const STATE_BYTES = 4;
const ROW_UNIT_BYTES = 32;

function markBytesOf(ways: number): number {
  return (ways + WORD_WAYS - 1) & -WORD_WAYS;
}

function rowBytesOf(ways: number): number {
  const bytes = STATE_BYTES + markBytesOf(ways) + 4 * ways;
  return bytes <= HOST_LINE_BYTES ? 1 << (32 - Math.clz32(bytes - 1)) : (bytes + ROW_UNIT_BYTES - 1) & -ROW_UNIT_BYTES;
}

/** Bytes of the arrays of a level, in the order in which they are taken: the rows' numbers and the rows, or what rows have one kind after the other. */
export function lineCacheBytes(sizeBytes: number, ways: number, isApart = false): readonly number[] {
  const sets = sizeBytes / LINE_BYTES / ways;
  const slots = (sets + 1) * ways;
  const numbers = sets <= SHORT_ROWS_MAX ? 2 * sets : 4 * sets;
  return isApart
    ? [numbers, 4 * slots, (slots + WORD_WAYS - 1) & -WORD_WAYS, 2 * (sets + 1)]
    : [numbers, (sets + 1) * rowBytesOf(ways)];
}

/**
 * One level: physically indexed, tree-PLRU, or round robin where that does not exist for the number of ways.
 *
 * What belongs to a set is in a row, and sets get rows in the order in which lines first come to them. So the arrays, which are long enough for all
 * sets, are written from their beginning on, and the host commits memory for the sets that are used: many CPUs walk little, and the lines
 * of their page tables are scattered over all sets. What a row has lies side by side, since with many CPUs it is in none of the host's caches; or tags,
 * marks and states lie apart, as the module wants them that does many lines at once (line-cache-module.ts).
 */
export class LineCache {
  /** Cycles of a fetch that this level answers. */
  readonly hitCycles: number;
  /** By set: its row, from 1 on; 0 where no line was yet. */
  readonly rows: Uint16Array | Uint32Array;
  private rowsTaken = 0;
  /** By row and way, from `tagAt` on, one more than what of the line's number is above its set and its mark; 0 for no line. */
  readonly tag: Int32Array;
  private readonly tagAt: number;
  private readonly tagStride: number;
  /** What a line's number is to be multiplied by, so that the whole part of it is above its set and its mark; and how far one is to be shifted. */
  private readonly tagShare: number;
  private readonly tagShift: number;
  /** By row and way, from `markAt` on, a mark of the line, a byte: the low bits of its number above those that choose the set. */
  readonly marks: Uint8Array;
  private readonly markAt: number;
  private readonly markStride: number;
  private readonly markWords: Int32Array;
  /** Words of the marks of a row; 0 where its ways do not fill words, so that tags are compared. */
  private readonly setWords: number;
  private readonly setShift: number;
  /** By row, the state of the set's replacement. */
  readonly state: Uint16Array;
  private readonly stateStride: number;
  /** Lines of a set. */
  readonly ways: number;
  private readonly setMask: number;
  /** How sets are replaced: `victims` is no null. */
  readonly policy: Replacement;
  private readonly hitUse: Int32Array;
  /** Number of sets. */
  readonly sets: number;
  /** Bytes of its lines. */
  get sizeBytes(): number {
    return this.sets * this.ways * LINE_BYTES;
  }

  /**
   * @param take takes so many bytes for an array, all zero; default: each has memory of its own
   * @param isApart whether tags, marks and states are in arrays of their own
   */
  constructor(sizeBytes: number, ways: number, hitCycles: number, take: TakeBytes = ownBytes, isApart = false) {
    // V8 keeps what it has seen as a quotient as an object of its own, which is out of the host's caches where there are many CPUs.
    const sets = (sizeBytes / LINE_BYTES / ways) | 0;
    const [numberBytes, ...bytes] = lineCacheBytes(sizeBytes, ways, isApart);
    this.hitCycles = hitCycles;
    const rows = take(numberBytes);
    const taken = bytes.map(take);
    const [tags, marks, states] = isApart ? taken : [taken[0], taken[0], taken[0]];
    const [tagBytes, markBytes, stateBytes] = isApart ? bytes : [bytes[0], bytes[0], bytes[0]];
    const rowBytes = rowBytesOf(ways);
    this.tagAt = isApart ? 0 : (STATE_BYTES + markBytesOf(ways)) >> 2;
    this.tagStride = isApart ? ways : rowBytes >> 2;
    this.markAt = isApart ? 0 : STATE_BYTES;
    this.markStride = isApart ? ways : rowBytes;
    this.stateStride = isApart ? 1 : rowBytes >> 1;
    this.rows = sets <= SHORT_ROWS_MAX ? new Uint16Array(...rows, sets) : new Uint32Array(...rows, sets);
    this.tag = new Int32Array(...tags, tagBytes >> 2);
    this.tagShare = 1 / (sets * MARKS);
    this.tagShift = Math.min(31, 31 - Math.clz32(sets) + MARK_BITS);
    this.marks = new Uint8Array(...marks, markBytes);
    this.markWords = new Int32Array(...marks, markBytes / WORD_WAYS);
    this.setWords = ways % WORD_WAYS === 0 && ways <= MARKED_WAYS_MAX ? ways / WORD_WAYS : 0;
    this.setShift = 31 - Math.clz32(sets);
    this.state = new Uint16Array(...states, stateBytes >> 1);
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
    const way = (this.setWords === 0 ? this.search(row, line) : this.find(row, line)) | 0;
    if (way < 0) {
      this.insert(row, line);
      return false;
    }
    const use = this.hitUse[way];
    const at = Math.imul(row, this.stateStride);
    state[at] = (state[at] & (use >>> 16)) | (use & 0xffff);
    return true;
  }

  /**
   * A cache that has what this one has, with a row for each set, in the sets' order, and tags, marks and states in arrays of their own.
   * @param take takes so many bytes for an array, all zero
   */
  copyTo(take: TakeBytes): LineCache {
    const { sets, ways, hitCycles, rows } = this;
    const copy = new LineCache(sets * ways * LINE_BYTES, ways, hitCycles, take, true);
    for (let set = 0; set < sets; set++) {
      const [from, to] = [rows[set], copy.rowOf(set)];
      if (from === 0) continue;
      const [tag, mark] = [this.tagOfRow(from), this.markOfRow(from)];
      copy.tag.set(this.tag.subarray(tag, tag + ways), copy.tagOfRow(to));
      copy.marks.set(this.marks.subarray(mark, mark + ways), copy.markOfRow(to));
      copy.state[to * copy.stateStride] = this.state[from * this.stateStride];
    }
    return copy;
  }

  /** Where the tags of a row begin. */
  private tagOfRow(row: number): number {
    return (Math.imul(row, this.tagStride) + this.tagAt) | 0;
  }

  /** Where its marks do. */
  private markOfRow(row: number): number {
    return (Math.imul(row, this.markStride) + this.markAt) | 0;
  }

  /** The way that has a line of the set of `row`; -1 when it is not there. */
  private find(row: number, line: number): number {
    const { markWords, setWords } = this;
    // All marks of the set at once: bit 8 * byte + word of `found` says that a way has that of the line, or that one before it in its word has.
    const mark = Math.imul(((line | 0) >>> this.setShift) & 0xff, ONES);
    const first = this.markOfRow(row) >> 2;
    let found = 0;
    for (let word = 0; word < setWords; word++) {
      const differences = markWords[first + word] ^ mark;
      found |= ((differences - ONES) & ~differences & HIGHEST_BITS) >>> (HIGHEST_BIT - word);
    }
    if (found === 0) return -1;
    const bit = 31 - Math.clz32(found & -found);
    const way = ((bit & 7) * WORD_WAYS + (bit >> 3)) | 0;
    return this.tag[(this.tagOfRow(row) + way) | 0] === this.tagOf(line) ? way : this.search(row, line) | 0;
  }

  private search(row: number, line: number): number {
    const { tag, marks, ways } = this;
    const mark = ((line | 0) >>> this.setShift) & 0xff;
    const wanted = this.tagOf(line);
    const firstMark = this.markOfRow(row);
    const firstTag = this.tagOfRow(row);
    for (let way = 0; way < ways; way++)
      if (marks[firstMark + way] === mark && tag[firstTag + way] === wanted) return way;
    return -1;
  }

  private tagOf(line: number): number {
    return (line < WORD_LINES ? (line | 0) >>> this.tagShift : (line * this.tagShare) | 0) + 1;
  }

  /** Puts a line in, which is not there. */
  private insert(row: number, line: number): void {
    const { state, policy } = this;
    const at = Math.imul(row, this.stateStride);
    const way = (policy.victims as Uint8Array)[state[at]];
    this.put(row, way, line);
    state[at] = afterUse(state[at], policy.fillUse[way]);
  }

  /** The row of a set, which is given one if it has none. */
  private rowOf(set: number): number {
    const { rows } = this;
    if (rows[set] === 0) rows[set] = ++this.rowsTaken;
    return rows[set];
  }

  private put(row: number, way: number, line: number): void {
    this.tag[(this.tagOfRow(row) + way) | 0] = this.tagOf(line);
    this.marks[(this.markOfRow(row) + way) | 0] = (line | 0) >>> this.setShift;
  }

  /** Takes all lines out. */
  clear(): void {
    const rows = this.rowsTaken + 1;
    this.tag.fill(0, 0, rows * this.tagStride);
    this.marks.fill(0, 0, rows * this.markStride);
    this.state.fill(0, 0, rows * this.stateStride);
    this.rows.fill(0);
    this.rowsTaken = 0;
  }

  /** Has `visit` called with every line that it holds, by set times ways plus way. */
  forEachLine(visit: (place: number, line: number) => void): void {
    const { tag, marks, rows, ways, sets } = this;
    for (let set = 0; set < sets; set++) {
      for (let way = 0; way < ways && rows[set] !== 0; way++) {
        const high = tag[this.tagOfRow(rows[set]) + way] - 1;
        const mark = marks[this.markOfRow(rows[set]) + way];
        if (high >= 0) visit(set * ways + way, (high * MARKS + mark) * sets + set);
      }
    }
  }

  /** Has `visit` called with the replacement state of every set that is not in state 0. */
  forEachState(visit: (set: number, state: number) => void): void {
    const { rows, state, stateStride, sets } = this;
    for (let set = 0; set < sets; set++) {
      const each = state[rows[set] * stateStride];
      if (each !== 0) visit(set, each);
    }
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
    this.put(this.rowOf(set), place % ways, line);
  }

  /** Brings a set into a state, for saved states. @throws StateError when there is no such set or state */
  setState(set: number, state: number): void {
    const { victims } = this.policy;
    const exists = set < this.sets && state < (victims?.length ?? 0);
    checkState("data caches", exists, `have no state ${state} of set ${set}`);
    this.state[this.rowOf(set) * this.stateStride] = state;
  }
}
