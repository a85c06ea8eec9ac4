/**
 * A TLB of either level that has an index (`Tlb.headAt`): lookups by its chains of page numbers, hits and insertions of pages
 * under any replacement policy. A table says what a use makes of a set's state and which way is evicted, or the set has a log of its
 * uses (replacement-state.ts).
 */

import * as translation from "../isa/translation.ts";
import type { CpuArrays } from "../tlb/cpu-arrays.ts";
import * as layout from "../tlb/cpu-arrays.ts";
import type { LruLogs } from "../tlb/lru-logs.ts";
import type { Tlb } from "../tlb/tlb.ts";

// The module's own constants, which V8 folds into the code (README.md, "Constants").
const { TR_MASK } = translation;
const { ATTRIBUTE_PCID_MASK, ATTRIBUTE_PCID_SHIFT, ATTRIBUTE_SIZE_SHIFT, CELL_SHIFT, REQUESTED_PAGE_CELL } = layout;
const { SET_HELD, SET_SHIFT, SET_STATE } = layout;
const { WORD_ATTRIBUTES, WORD_FRAME, WORD_LINK, WORD_NEXT, WORD_SHIFT, WORD_STATE, WORD_USE } = layout;
/** The attributes that are an entry's size. */
const SIZE = 3 << ATTRIBUTE_SIZE_SHIFT;

/** The TLB, for pages of one size. Page numbers are bits 19:0 of them. */
export class IndexedTlb {
  private readonly tlb: Tlb;
  /** Cell with the tag of the page that is asked for: `REQUESTED_PAGE_CELL`, or that of larger pages. */
  private readonly requestCell: number;
  private readonly cells: Float64Array;
  private readonly words: Int32Array;
  private readonly headWord: number;
  private readonly headMask: number;
  private readonly firstPlace: number;
  private readonly ways: number;
  /** Entries of a full set. */
  private readonly filledWays: number;
  private readonly lowMask: number;
  private readonly hashShift: number;
  private readonly hashMask: number;
  /** Word of the row of set 0. */
  private readonly setsAt: number;
  private readonly fills: Int32Array;
  private readonly logs: LruLogs | null;

  constructor(tlb: Tlb, arrays: CpuArrays, requestCell: number = REQUESTED_PAGE_CELL) {
    this.tlb = tlb;
    this.requestCell = requestCell;
    this.cells = arrays.cells;
    this.words = arrays.words;
    this.headWord = tlb.headAt;
    this.headMask = tlb.headMask;
    this.firstPlace = tlb.firstPlace;
    this.ways = tlb.ways;
    this.filledWays = tlb.replacement.filledWays;
    this.lowMask = tlb.lowMask;
    this.hashShift = tlb.hashShift;
    this.hashMask = tlb.hashMask;
    this.setsAt = tlb.setsAt;
    this.fills = tlb.replacement.fills;
    this.logs = tlb.replacement.logs;
  }

  /** The place of the page in the request cell, which has this number; 0 when it is not there. */
  find(number: number): number {
    const { words, cells } = this;
    const place = words[(this.headWord + (number & this.headMask)) | 0];
    if (place === 0 || cells[place << CELL_SHIFT] === cells[this.requestCell]) return place;
    return this.findBehind(place) | 0;
  }

  /** Whether it takes no look at an entry to say that no page with this number is there. */
  isAbsent(number: number): boolean {
    return this.words[(this.headWord + (number & this.headMask)) | 0] === 0;
  }

  /** Records a hit of `place` for the replacement policy. */
  use(place: number): void {
    const { words, logs } = this;
    if (logs !== null) {
      logs.use(place);
      return;
    }
    const use = words[((place << WORD_SHIFT) + WORD_USE) | 0];
    const state = words[((place << WORD_SHIFT) + WORD_STATE) | 0];
    words[state] = (words[state] & (use >>> 16)) | (use & 0xffff);
  }

  /**
   * Puts in the translation of the page in the request cell, a page of memory below frame 2^31, in place of the one that the
   * policy evicts. Returns its place.
   */
  insert(number: number, frame: number, attributes: number): number {
    const { words, cells } = this;
    const set = (number & this.lowMask) ^ ((number >>> this.hashShift) & this.hashMask);
    if (words[(this.setsAt + (set << SET_SHIFT) + SET_HELD) | 0] !== this.filledWays)
      return this.insertInEmptySlot(number, frame, attributes) | 0;
    const place = this.evict(set) | 0;
    const record = place << WORD_SHIFT;
    if (((words[(record + WORD_ATTRIBUTES) | 0] ^ attributes) & SIZE) !== 0) this.recount(place, attributes);
    // Out of the chain of the page that is evicted, and to the head of the other.
    const link = words[(record + WORD_LINK) | 0];
    const after = words[(record + WORD_NEXT) | 0];
    words[link] = after;
    words[((after << WORD_SHIFT) + WORD_LINK) | 0] = link;
    const head = (this.headWord + (number & this.headMask)) | 0;
    const next = words[head];
    words[(record + WORD_NEXT) | 0] = next;
    words[((next << WORD_SHIFT) + WORD_LINK) | 0] = record + WORD_NEXT;
    words[(record + WORD_LINK) | 0] = head;
    words[head] = place;
    cells[place << CELL_SHIFT] = cells[this.requestCell];
    words[(record + WORD_FRAME) | 0] = frame;
    words[(record + WORD_ATTRIBUTES) | 0] = attributes;
    return place;
  }

  /** The place that a full set evicts; it counts as used. */
  private evict(set: number): number {
    const { words, logs } = this;
    if (logs !== null) {
      const oldest = logs.oldest(set);
      logs.use(oldest);
      return oldest;
    }
    const state = (this.setsAt + (set << SET_SHIFT) + SET_STATE) | 0;
    const filled = this.fills[words[state]];
    words[state] = filled >> 8;
    return (this.firstPlace + Math.imul(set, this.ways) + (filled & 0xff)) | 0;
  }

  /** The place of the page in the request cell in its chain behind `first`; 0 when it is not there. */
  private findBehind(first: number): number {
    const { words, cells } = this;
    const page = cells[this.requestCell];
    let place = words[((first << WORD_SHIFT) + WORD_NEXT) | 0];
    while (place !== 0 && cells[place << CELL_SHIFT] !== page) place = words[((place << WORD_SHIFT) + WORD_NEXT) | 0];
    return place;
  }

  /** Counts an entry, in place of which another goes, as one of the other's size. */
  private recount(place: number, attributes: number): void {
    this.tlb.countAs(place - this.firstPlace, (attributes & SIZE) >> ATTRIBUTE_SIZE_SHIFT);
  }

  /** {@link insert} into a set that is not full. */
  private insertInEmptySlot(number: number, frame: number, attributes: number): number {
    const { tlb, words } = this;
    const pcid = (attributes >> ATTRIBUTE_PCID_SHIFT) & ATTRIBUTE_PCID_MASK;
    const size = (attributes & SIZE) >> ATTRIBUTE_SIZE_SHIFT;
    const tag = this.cells[this.requestCell];
    const place = this.firstPlace + tlb.insert(tag, number, pcid, size, frame, attributes & TR_MASK);
    words[(place << WORD_SHIFT) | WORD_ATTRIBUTES] = attributes;
    return place;
  }
}
