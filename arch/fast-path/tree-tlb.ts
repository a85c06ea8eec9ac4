/**
 * A first-level TLB of sets of four ways whose replacement state is a tree, kept as the places used last (replacement-state.ts):
 * a hit or an insertion stores two words and reads none. It has no index: a set's four marks, a byte each, are compared at once.
 */

import type { CpuArrays } from "../tlb/cpu-arrays.ts";
import * as layout from "../tlb/cpu-arrays.ts";
import { TREE_ROOT_WORD, TREE_WAYS } from "../tlb/replacement-state.ts";
import type { Tlb } from "../tlb/tlb.ts";
import { countAs, countOne, takeEmptySlot } from "./empty-slots.ts";

// The module's own constants, which V8 folds into the code (README.md, "Constants").
const { ATTRIBUTE_SIZE_SHIFT, CELL_SHIFT, RECORD_CELLS, SET_HELD, SET_SHIFT } = layout;
const { WORD_ATTRIBUTES, WORD_FRAME, WORD_SHIFT } = layout;
/** The attributes that are an entry's size. */
const SIZE = 3 << ATTRIBUTE_SIZE_SHIFT;
const WAYS = TREE_WAYS;
const TREE_ROOT = TREE_ROOT_WORD;
const WAYS_SHIFT = 31 - Math.clz32(WAYS);

/** The TLB, for pages of one size, which CPUs have in common as they have an `IndexedTlb`. Page numbers are bits 19:0 of them. */
export class TreeTlb {
  /** Cell with the tag of the page that is asked for: `REQUESTED_PAGE_CELL`, or that of larger pages. */
  private readonly requestCell: number;
  private readonly cells: Float64Array;
  private readonly words: Int32Array;
  private readonly bytes: Uint8Array;
  private readonly firstPlace: number;
  private readonly lowMask: number;
  private readonly hashShift: number;
  private readonly hashMask: number;
  private readonly markShift: number;
  /** Word of the row of set 0. */
  private readonly setsAt: number;
  /** Word of the marks of set 0 (`ReplacementState.marksAt`). */
  private readonly marksWord: number;
  /** Words of the numbers of entries of size 0. */
  private readonly sizeAt: number;

  constructor(tlb: Tlb, arrays: CpuArrays, requestCell: number) {
    this.requestCell = requestCell;
    this.cells = arrays.cells;
    this.words = arrays.words;
    this.bytes = arrays.bytes;
    this.firstPlace = tlb.firstPlace - arrays.firstPlace;
    this.lowMask = tlb.lowMask;
    this.hashShift = tlb.hashShift;
    this.hashMask = tlb.hashMask;
    this.markShift = tlb.markShift;
    this.setsAt = tlb.setsAt - arrays.firstWord;
    this.marksWord = (tlb.replacement.marksAt >> 2) - arrays.firstWord;
    this.sizeAt = tlb.sizeAt - arrays.firstWord;
  }

  /** The place of the page in the request cell, which has this number; 0 when it is not there. */
  find(base: number, number: number): number {
    if (this.isAbsent(base, number)) return 0;
    return this.findInSet(base, (number & this.lowMask) ^ ((number >>> this.hashShift) & this.hashMask)) | 0;
  }

  /** Whether the marks alone say that no page with this number is there. */
  isAbsent(base: number, number: number): boolean {
    // All four marks at once: a byte becomes 0 where it is the mark of the page asked for.
    const mark = Math.imul((number >>> this.markShift) & 255, 0x01010101);
    const set = (number & this.lowMask) ^ ((number >>> this.hashShift) & this.hashMask);
    const marks = this.words[(this.marksWord + base + set) | 0] ^ mark;
    return ((marks - 0x01010101) & ~marks & 0x80808080) === 0;
  }

  /** Records a hit of `place` for the replacement policy. */
  use(base: number, place: number): void {
    const slot = (place - this.firstPlace - (base >> WORD_SHIFT)) | 0;
    useInTree(this.words, (this.setsAt + base + (slot & -WAYS)) | 0, place);
  }

  /**
   * Puts in the translation of the page in the request cell, a page of memory below frame 2^31, in place of the one that the
   * policy evicts. Returns its place.
   */
  insert(base: number, number: number, frame: number, attributes: number): number {
    const { words } = this;
    const set = (number & this.lowMask) ^ ((number >>> this.hashShift) & this.hashMask);
    const row = (this.setsAt + base + (set << SET_SHIFT)) | 0;
    if (words[(row + SET_HELD) | 0] !== WAYS)
      return this.insertInEmptySlot(base, number, frame, attributes, set, row) | 0;
    // The victim is the place not used last of the pair not used last.
    const place = words[(row + ((words[(row + TREE_ROOT) | 0] ^ 2) & 2)) | 0] ^ 1;
    const before = words[((place << WORD_SHIFT) + WORD_ATTRIBUTES) | 0];
    if (((before ^ attributes) & SIZE) !== 0) countAs(words, base, this.sizeAt, before, attributes);
    return this.write(base, number, frame, attributes, set, row, place) | 0;
  }

  /** Writes the entry at `place`, which counts as used. Returns the place. */
  private write(
    base: number,
    number: number,
    frame: number,
    attributes: number,
    set: number,
    row: number,
    place: number,
  ): number {
    const { words, cells } = this;
    useInTree(words, row, place);
    this.bytes[(((this.marksWord + base + set) << 2) + (place & (WAYS - 1))) | 0] = number >>> this.markShift;
    cells[place << CELL_SHIFT] = cells[this.requestCell];
    words[((place << WORD_SHIFT) + WORD_FRAME) | 0] = frame;
    words[((place << WORD_SHIFT) + WORD_ATTRIBUTES) | 0] = attributes;
    return place;
  }

  private findInSet(base: number, set: number): number {
    const { cells } = this;
    const page = cells[this.requestCell];
    const first = (this.firstPlace + (base >> WORD_SHIFT) + (set << WAYS_SHIFT)) | 0;
    const cell = first << CELL_SHIFT;
    if (cells[cell] === page) return first;
    if (cells[cell + RECORD_CELLS] === page) return (first + 1) | 0;
    if (cells[cell + 2 * RECORD_CELLS] === page) return (first + 2) | 0;
    return cells[cell + 3 * RECORD_CELLS] === page ? (first + 3) | 0 : 0;
  }

  private insertInEmptySlot(
    base: number,
    number: number,
    frame: number,
    attributes: number,
    set: number,
    row: number,
  ): number {
    const first = (this.firstPlace + (base >> WORD_SHIFT) + (set << WAYS_SHIFT)) | 0;
    const place = takeEmptySlot(this.cells, this.words, row, first, WAYS) | 0;
    countOne(this.words, base, this.sizeAt, attributes);
    return this.write(base, number, frame, attributes, set, row, place) | 0;
  }
}

/** Records a use of `place` in the tree of its set. @param row word of the set's row */
function useInTree(words: Int32Array, row: number, place: number): void {
  words[(row + TREE_ROOT) | 0] = place;
  words[(row + (place & 2)) | 0] = place;
}
