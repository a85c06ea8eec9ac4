/**
 * A first-level TLB of sets of four ways whose replacement state is a tree, kept as the places used last (replacement-state.ts):
 * a hit or an insertion stores two words and reads none. It has no index: a set's four marks, a byte each, are compared at once.
 */

import type { CpuArrays } from "../tlb/cpu-arrays.ts";
import * as layout from "../tlb/cpu-arrays.ts";
import { TREE_WAYS } from "../tlb/replacement-state.ts";
import type { Tlb } from "../tlb/tlb.ts";

// The module's own constants, which V8 folds into the code (README.md, "Constants").
const { ATTRIBUTE_SIZE_SHIFT, CELL_SHIFT, RECORD_CELLS, REQUESTED_PAGE_CELL, SET_HELD } = layout;
const { WORD_ATTRIBUTES, WORD_FRAME, WORD_SHIFT } = layout;
/** The attributes that are an entry's size. */
const SIZE = 3 << ATTRIBUTE_SIZE_SHIFT;
const WAYS = TREE_WAYS;
const WAYS_SHIFT = 31 - Math.clz32(WAYS);

/** The TLB, for pages of one size. Page numbers are bits 19:0 of them. */
export class TreeTlb {
  private readonly tlb: Tlb;
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
  /** Word of what set 0 holds. */
  private readonly heldWord: number;
  private readonly rootsAt: number;
  private readonly pairsAt: number;
  /** Word of the marks of set 0 (`ReplacementState.marksAt`). */
  private readonly marksWord: number;
  /** Byte of the mark of place 0, if it were part of this TLB. */
  private readonly marksByte: number;

  constructor(tlb: Tlb, arrays: CpuArrays, requestCell: number = REQUESTED_PAGE_CELL) {
    this.tlb = tlb;
    this.requestCell = requestCell;
    this.cells = arrays.cells;
    this.words = arrays.words;
    this.bytes = arrays.bytes;
    this.firstPlace = tlb.firstPlace;
    this.lowMask = tlb.lowMask;
    this.hashShift = tlb.hashShift;
    this.hashMask = tlb.hashMask;
    this.markShift = tlb.markShift;
    this.heldWord = tlb.setsAt | SET_HELD;
    this.rootsAt = tlb.replacement.rootsAt;
    this.pairsAt = tlb.replacement.pairsAt;
    this.marksWord = tlb.replacement.marksAt >> 2;
    this.marksByte = tlb.replacement.marksAt - tlb.firstPlace;
  }

  /** The place of the page in the request cell, which has this number; 0 when it is not there. */
  find(number: number): number {
    if (this.isAbsent(number)) return 0;
    return this.findInSet((number & this.lowMask) ^ ((number >>> this.hashShift) & this.hashMask)) | 0;
  }

  /** Whether the marks alone say that no page with this number is there. */
  isAbsent(number: number): boolean {
    // All four marks at once: a byte becomes 0 where it is the mark of the page asked for.
    const mark = Math.imul((number >>> this.markShift) & 255, 0x01010101);
    const set = (number & this.lowMask) ^ ((number >>> this.hashShift) & this.hashMask);
    const marks = this.words[(this.marksWord + set) | 0] ^ mark;
    return ((marks - 0x01010101) & ~marks & 0x80808080) === 0;
  }

  /** Records a hit of `place` for the replacement policy. */
  use(place: number): void {
    const { words } = this;
    words[(this.rootsAt + (place & ~3)) | 0] = place;
    words[(this.pairsAt + (place & ~1)) | 0] = place;
  }

  /**
   * Puts in the translation of the page in the request cell, a page of memory below frame 2^31, in place of the one that the
   * policy evicts. Returns its place.
   */
  insert(number: number, frame: number, attributes: number): number {
    const { words, cells } = this;
    const set = (number & this.lowMask) ^ ((number >>> this.hashShift) & this.hashMask);
    if (words[(this.heldWord + (set << WAYS_SHIFT)) | 0] !== WAYS)
      return this.insertInEmptySlot(number, frame, attributes) | 0;
    // The victim is the place not used last of the pair not used last.
    const root = (this.rootsAt + this.firstPlace + (set << WAYS_SHIFT)) | 0;
    const place = words[(this.pairsAt + ((words[root] ^ 2) & ~1)) | 0] ^ 1;
    if (((words[((place << WORD_SHIFT) + WORD_ATTRIBUTES) | 0] ^ attributes) & SIZE) !== 0)
      this.recount(place, attributes);
    words[root] = place;
    words[(this.pairsAt + (place & ~1)) | 0] = place;
    this.bytes[(this.marksByte + place) | 0] = number >>> this.markShift;
    cells[place << CELL_SHIFT] = cells[this.requestCell];
    words[((place << WORD_SHIFT) + WORD_FRAME) | 0] = frame;
    words[((place << WORD_SHIFT) + WORD_ATTRIBUTES) | 0] = attributes;
    return place;
  }

  /** Counts an entry, in place of which another goes, as one of the other's size. */
  private recount(place: number, attributes: number): void {
    this.tlb.countAs(place - this.firstPlace, (attributes & SIZE) >> ATTRIBUTE_SIZE_SHIFT);
  }

  private findInSet(set: number): number {
    const { cells } = this;
    const page = cells[this.requestCell];
    const first = (this.firstPlace + (set << WAYS_SHIFT)) | 0;
    const cell = first << CELL_SHIFT;
    if (cells[cell] === page) return first;
    if (cells[cell + RECORD_CELLS] === page) return (first + 1) | 0;
    if (cells[cell + 2 * RECORD_CELLS] === page) return (first + 2) | 0;
    return cells[cell + 3 * RECORD_CELLS] === page ? (first + 3) | 0 : 0;
  }

  private insertInEmptySlot(number: number, frame: number, attributes: number): number {
    const { words } = this;
    const size = (attributes >> ATTRIBUTE_SIZE_SHIFT) & 3;
    const place = this.firstPlace + this.tlb.insert(this.cells[this.requestCell], number, 0, size, 0, 0);
    words[(place << WORD_SHIFT) | WORD_FRAME] = frame;
    words[(place << WORD_SHIFT) | WORD_ATTRIBUTES] = attributes;
    return place;
  }
}
