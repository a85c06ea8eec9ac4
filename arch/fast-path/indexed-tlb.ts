/**
 * A TLB of either level that has an index (`Tlb.headAt`): lookups by its chains of page numbers, hits and insertions of pages
 * under any replacement policy. A table says what a use makes of a set's state and which way is evicted, or the set has a log of its
 * uses (replacement-state.ts).
 */

import { afterUse } from "../presets/replacement/policy.ts";
import type { CpuArrays } from "../tlb/cpu-arrays.ts";
import * as layout from "../tlb/cpu-arrays.ts";
import type { LruLogs } from "../tlb/lru-logs.ts";
import type { Tlb } from "../tlb/tlb.ts";
import { countAs, countOne, takeEmptySlot } from "./empty-slots.ts";
import { recordUse } from "./recorded-use.ts";

// The module's own constants, which V8 folds into the code (README.md, "Constants").
const { ATTRIBUTE_SIZE_SHIFT, CELL_SHIFT } = layout;
const { SET_HELD, SET_SHIFT, SET_STATE } = layout;
const { WORD_ATTRIBUTES, WORD_FRAME, WORD_LINK, WORD_NEXT, WORD_SHIFT } = layout;
/** The attributes that are an entry's size. */
const SIZE = 3 << ATTRIBUTE_SIZE_SHIFT;

/**
 * The TLB, for pages of one size. Page numbers are bits 19:0 of them. CPUs that have parts of the same arrays have it in common, as what a CPU has of its
 * own is out of the host's caches where there are many: `base` is the first word of the CPU's part (`CpuArrays.firstWord`). Places are those of all arrays.
 */
export class IndexedTlb {
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
  private readonly fillUse: Int32Array;
  private readonly logs: LruLogs | null;
  /** Words of the numbers of entries of size 0, and of large translations. */
  private readonly sizeAt: number;

  constructor(tlb: Tlb, arrays: CpuArrays, requestCell: number) {
    this.requestCell = requestCell;
    this.cells = arrays.cells;
    this.words = arrays.words;
    this.headWord = tlb.headAt - arrays.firstWord;
    this.headMask = tlb.headMask;
    this.firstPlace = tlb.firstPlace - arrays.firstPlace;
    this.ways = tlb.ways;
    this.filledWays = tlb.replacement.filledWays;
    this.lowMask = tlb.lowMask;
    this.hashShift = tlb.hashShift;
    this.hashMask = tlb.hashMask;
    this.setsAt = tlb.setsAt - arrays.firstWord;
    this.fills = tlb.replacement.fills;
    this.fillUse = tlb.replacement.fillUse;
    this.logs = tlb.replacement.logs;
    this.sizeAt = tlb.sizeAt - arrays.firstWord;
  }

  /** The place of the page in the request cell, which has this number; 0 when it is not there. */
  find(base: number, number: number): number {
    const { words, cells } = this;
    const place = words[(this.headWord + base + (number & this.headMask)) | 0];
    if (place === 0 || cells[place << CELL_SHIFT] === cells[this.requestCell]) return place;
    return this.findBehind(place) | 0;
  }

  /** Whether it takes no look at an entry to say that no page with this number is there. */
  isAbsent(base: number, number: number): boolean {
    return this.words[(this.headWord + base + (number & this.headMask)) | 0] === 0;
  }

  /** Records a hit of `place` for the replacement policy. */
  use(_base: number, place: number): void {
    recordUse(this.words, this.logs, place);
  }

  /**
   * Puts in the translation of the page in the request cell, a page of memory below frame 2^31, in place of the one that the
   * policy evicts. Returns its place.
   */
  insert(base: number, number: number, frame: number, attributes: number): number {
    const { words } = this;
    const set = (number & this.lowMask) ^ ((number >>> this.hashShift) & this.hashMask);
    const row = (this.setsAt + base + (set << SET_SHIFT)) | 0;
    const first = (this.firstPlace + (base >> WORD_SHIFT) + Math.imul(set, this.ways)) | 0;
    if (words[(row + SET_HELD) | 0] !== this.filledWays)
      return this.insertInEmptySlot(base, number, frame, attributes, row, first) | 0;
    const place = this.evict(row, first) | 0;
    const record = place << WORD_SHIFT;
    if (((words[(record + WORD_ATTRIBUTES) | 0] ^ attributes) & SIZE) !== 0)
      countAs(words, base, this.sizeAt, words[(record + WORD_ATTRIBUTES) | 0], attributes);
    // Out of the chain of the page that is evicted, and to the head of the other.
    const link = words[(record + WORD_LINK) | 0];
    const after = words[(record + WORD_NEXT) | 0];
    words[link] = after;
    words[((after << WORD_SHIFT) + WORD_LINK) | 0] = link;
    return this.write(base, number, frame, attributes, place) | 0;
  }

  /** Writes the entry at `place`, which is in no chain, and puts it at the head of one. Returns the place. */
  private write(base: number, number: number, frame: number, attributes: number, place: number): number {
    const { words, cells } = this;
    const record = place << WORD_SHIFT;
    const head = (this.headWord + base + (number & this.headMask)) | 0;
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

  /** The place that a full set evicts; it counts as used. @param first the set's first place */
  private evict(row: number, first: number): number {
    const { words, logs } = this;
    if (logs !== null) {
      const oldest = logs.oldest(first);
      logs.use(oldest);
      return oldest;
    }
    const state = (row + SET_STATE) | 0;
    const filled = this.fills[words[state]];
    words[state] = filled >> 8;
    return (first + (filled & 0xff)) | 0;
  }

  /** The place of the page in the request cell in its chain behind `first`; 0 when it is not there. */
  private findBehind(first: number): number {
    const { words, cells } = this;
    const page = cells[this.requestCell];
    let place = words[((first << WORD_SHIFT) + WORD_NEXT) | 0];
    while (place !== 0 && cells[place << CELL_SHIFT] !== page) place = words[((place << WORD_SHIFT) + WORD_NEXT) | 0];
    return place;
  }

  /** {@link insert} into a set that is not full. */
  private insertInEmptySlot(
    base: number,
    number: number,
    frame: number,
    attributes: number,
    row: number,
    first: number,
  ): number {
    const { words, logs } = this;
    const place = takeEmptySlot(this.cells, words, row, first, this.filledWays) | 0;
    if (logs !== null) logs.use(place);
    else words[(row + SET_STATE) | 0] = afterUse(words[(row + SET_STATE) | 0], this.fillUse[place - first]);
    countOne(words, base, this.sizeAt, attributes);
    return this.write(base, number, frame, attributes, place) | 0;
  }
}
