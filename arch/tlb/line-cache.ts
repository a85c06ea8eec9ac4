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
const ownBytes: TakeBytes = (bytes) => [new ArrayBuffer(bytes), 0];

/** One level: physically indexed, tree-PLRU, or round robin where that does not exist for the number of ways. */
export class LineCache {
  /** Cycles of a fetch that this level answers. */
  readonly hitCycles: number;
  /**
   * One more than what of the line's number is above its set and its mark; 0 for no line. An array that nothing was written to is 0, and the
   * host commits no memory for it: many CPUs walk little.
   */
  readonly tag: Int32Array;
  /** What a line's number is to be multiplied by, so that the whole part of it is above its set and its mark. */
  private readonly tagShare: number;
  /** A mark of each line, a byte: the low bits of its number above those that choose the set. */
  readonly marks: Uint8Array;
  private readonly markWords: Int32Array;
  /** Words of the marks of a set; 0 where its ways do not fill words, so that tags are compared. */
  private readonly setWords: number;
  private readonly setShift: number;
  /** The replacement state of each set. */
  readonly state: Uint16Array;
  /** Lines of a set. */
  readonly ways: number;
  private readonly setMask: number;
  /** How sets are replaced: `victims` is no null. */
  readonly policy: Replacement;
  private readonly hitUse: Int32Array;
  /** Number of sets. */
  readonly sets: number;

  /** @param take takes so many bytes for an array; default: each has memory of its own */
  constructor(sizeBytes: number, ways: number, hitCycles: number, take: TakeBytes = ownBytes) {
    const sets = sizeBytes / LINE_BYTES / ways;
    this.hitCycles = hitCycles;
    this.tag = new Int32Array(...take(4 * sets * ways), sets * ways);
    this.tagShare = 1 / (sets * MARKS);
    const markWords = Math.ceil((sets * ways) / WORD_WAYS);
    const marks = take(WORD_WAYS * markWords);
    this.marks = new Uint8Array(...marks, WORD_WAYS * markWords);
    this.markWords = new Int32Array(...marks, markWords);
    this.setWords = ways % WORD_WAYS === 0 && ways <= MARKED_WAYS_MAX ? ways / WORD_WAYS : 0;
    this.setShift = 31 - Math.clz32(sets);
    this.state = new Uint16Array(...take(2 * sets), sets);
    this.ways = ways;
    this.setMask = sets - 1;
    this.sets = sets;
    this.policy = replacementPolicy(replacementProblem("tree-plru", ways) === null ? "tree-plru" : "round-robin", ways);
    this.hitUse = this.policy.hitUse;
  }

  /** Records a hit of `slot`, which is in the set of `line`. */
  hit(slot: number, line: number): void {
    const { state } = this;
    const set = (line | 0) & this.setMask;
    const use = this.hitUse[slot - Math.imul(set, this.ways)];
    state[set] = (state[set] & (use >>> 16)) | (use & 0xffff);
  }

  /** A cache that has what this one has. @param take takes so many bytes for an array */
  copyTo(take: TakeBytes): LineCache {
    const { sets, ways, hitCycles } = this;
    const copy = new LineCache(sets * ways * LINE_BYTES, ways, hitCycles, take);
    copy.tag.set(this.tag);
    copy.marks.set(this.marks);
    copy.state.set(this.state);
    return copy;
  }

  /** The slot of a line; -1 when it is not there. Changes nothing. */
  find(line: number): number {
    const { markWords, setWords } = this;
    const set = (line | 0) & this.setMask;
    if (setWords === 0) return this.search(set, line) | 0;
    // All marks of the set at once: bit 8 * byte + word of `found` says that a way has that of the line, or that one before it in its word has.
    const mark = Math.imul(((line | 0) >>> this.setShift) & 0xff, ONES);
    const first = Math.imul(set, setWords);
    let found = 0;
    for (let word = 0; word < setWords; word++) {
      const differences = markWords[first + word] ^ mark;
      found |= ((differences - ONES) & ~differences & HIGHEST_BITS) >>> (HIGHEST_BIT - word);
    }
    if (found === 0) return -1;
    const bit = 31 - Math.clz32(found & -found);
    const slot = (Math.imul(set, this.ways) + (bit & 7) * WORD_WAYS + (bit >> 3)) | 0;
    return this.tag[slot] === this.tagOf(line) ? slot : this.search(set, line) | 0;
  }

  private search(set: number, line: number): number {
    const { tag, marks, ways } = this;
    const mark = ((line | 0) >>> this.setShift) & 0xff;
    const wanted = this.tagOf(line);
    const start = Math.imul(set, ways);
    for (let slot = start; slot < start + ways; slot++) if (marks[slot] === mark && tag[slot] === wanted) return slot;
    return -1;
  }

  private tagOf(line: number): number {
    return ((line * this.tagShare) | 0) + 1;
  }

  /** Puts a line in, which is not there. */
  insert(line: number): void {
    const { tag, state, policy } = this;
    const set = (line | 0) & this.setMask;
    const way = (policy.victims as Uint8Array)[state[set]];
    tag[set * this.ways + way] = this.tagOf(line);
    this.marks[set * this.ways + way] = (line | 0) >>> this.setShift;
    state[set] = afterUse(state[set], policy.fillUse[way]);
  }

  /** Looks for a line: a hit is recorded (true), what is not there is put in (false). */
  use(line: number): boolean {
    const slot = this.find(line);
    if (slot < 0) this.insert(line);
    else this.hit(slot, line);
    return slot >= 0;
  }

  /** Has `visit` called with every line that it holds, by slot (set times ways plus way). */
  forEachLine(visit: (slot: number, line: number) => void): void {
    const { tag, marks, ways, sets } = this;
    for (let slot = 0; slot < tag.length; slot++) {
      if (tag[slot] > 0) visit(slot, ((tag[slot] - 1) * MARKS + marks[slot]) * sets + Math.floor(slot / ways));
    }
  }

  /** Has `visit` called with the replacement state of every set that is not in state 0. */
  forEachState(visit: (set: number, state: number) => void): void {
    const { state } = this;
    for (let set = 0; set < state.length; set++) if (state[set] !== 0) visit(set, state[set]);
  }

  /** Puts a line into a slot, for saved states. @throws StateError when there is no such slot, or not in the line's set */
  putBack(slot: number, line: number): void {
    checkState("data caches", slot < this.tag.length, `have no slot ${slot}`);
    const set = Math.floor(slot / this.ways);
    checkState("data caches", line % this.sets === set, `do not have line ${line} in set ${set}`);
    this.tag[slot] = this.tagOf(line);
    this.marks[slot] = (line | 0) >>> this.setShift;
  }

  /** Brings a set into a state, for saved states. @throws StateError when there is no such set or state */
  setState(set: number, state: number): void {
    const { victims } = this.policy;
    const exists = set < this.state.length && state < (victims?.length ?? 0);
    checkState("data caches", exists, `have no state ${state} of set ${set}`);
    this.state[set] = state;
  }
}
