/**
 * The first-level TLB of 4 KiB pages that one kind of access uses: hits that were not predicted, and fills. Sets have four
 * ways, and their replacement state is a tree kept as the places used last (replacement-state.ts), so that a hit or a fill
 * stores two words and reads none.
 */

import type { CpuArrays } from "../tlb/cpu-arrays.ts";
import * as layout from "../tlb/cpu-arrays.ts";
import { TREE_WAYS } from "../tlb/replacement-state.ts";
import type { Tlb } from "../tlb/tlb.ts";

// The module's own constants, which V8 folds into the code (README.md, "Constants").
const { ATTRIBUTE_STORES, CELL_SHIFT, LOAD_PREDICTIONS_WORD, PREDICTIONS_MASK, PREDICTIONS_SHIFT } = layout;
const { RECORD_CELLS, REQUESTED_PAGE_CELL, WORD_ATTRIBUTES, WORD_FRAME, WORD_SHIFT } = layout;
const WAYS = TREE_WAYS;
const WAYS_SHIFT = 31 - Math.clz32(WAYS);

/** The TLB, for one kind of access (load 0, store 1, fetch 2). Page numbers are bits 19:0 of them. */
export class FirstLevel {
  private readonly tlb: Tlb;
  private readonly cells: Float64Array;
  private readonly words: Int32Array;
  private readonly bytes: Uint8Array;
  private readonly firstPlace: number;
  private readonly setMask: number;
  /** Word of the number of entries of set 0. */
  private readonly countWord: number;
  private readonly rootsAt: number;
  private readonly pairsAt: number;
  /** Word of the marks of set 0 (`Tlb.marksAt`), and the lowest bit of a page number that its mark holds. */
  private readonly marksWord: number;
  private readonly markShift: number;
  /** Byte of the mark of place 0, if it were part of this TLB. */
  private readonly marksByte: number;
  /** Word of the first prediction for this kind of access. */
  private readonly predictionsWord: number;
  /** What a fill sets in the attributes: `ATTRIBUTE_STORES` for stores, else 0. */
  private readonly fillAttribute: number;

  constructor(kind: number, tlb: Tlb, arrays: CpuArrays) {
    this.tlb = tlb;
    this.cells = arrays.cells;
    this.words = arrays.words;
    this.bytes = arrays.bytes;
    this.firstPlace = tlb.firstPlace;
    this.setMask = tlb.setMask;
    this.countWord = tlb.countAt;
    this.rootsAt = tlb.replacement.rootsAt;
    this.pairsAt = tlb.replacement.pairsAt;
    this.marksWord = tlb.marksAt >> 2;
    this.markShift = tlb.hashShift;
    this.marksByte = tlb.marksAt - tlb.firstPlace;
    this.predictionsWord = LOAD_PREDICTIONS_WORD + (kind << PREDICTIONS_SHIFT);
    this.fillAttribute = kind === 1 ? ATTRIBUTE_STORES : 0;
  }

  /** False where no way of the set of the page number holds it, by its marks. */
  mayHold(number: number): boolean {
    // All four marks at once: a byte becomes 0 where it is the mark of the page asked for.
    const mark = Math.imul((number >>> this.markShift) & 255, 0x01010101);
    const marks = this.words[(this.marksWord + (number & this.setMask)) | 0] ^ mark;
    return ((marks - 0x01010101) & ~marks & 0x80808080) !== 0;
  }

  /** Whether the page in `REQUESTED_PAGE_CELL`, of this number, is in its set. */
  holds(number: number): boolean {
    const { cells } = this;
    const page = cells[REQUESTED_PAGE_CELL];
    const first = (this.firstPlace + ((number & this.setMask) << WAYS_SHIFT)) << CELL_SHIFT;
    return (
      cells[first] === page ||
      cells[first + RECORD_CELLS] === page ||
      cells[first + 2 * RECORD_CELLS] === page ||
      cells[first + 3 * RECORD_CELLS] === page
    );
  }

  /** The place of the page in `REQUESTED_PAGE_CELL`, which its set {@link holds}. */
  placeOf(number: number): number {
    const { cells } = this;
    let place = this.firstPlace + ((number & this.setMask) << WAYS_SHIFT);
    while (cells[place << CELL_SHIFT] !== cells[REQUESTED_PAGE_CELL]) place++;
    return place;
  }

  /** Records a hit of `place` for the replacement policy. */
  touch(place: number): void {
    this.tlb.touch(place - this.firstPlace);
  }

  /** Predicts that accesses to the page with this number, which are known to be allowed, will hit `place`. */
  predict(number: number, place: number): void {
    const { words } = this;
    words[(place << WORD_SHIFT) | WORD_ATTRIBUTES] |= this.fillAttribute;
    words[this.predictionsWord + (number & PREDICTIONS_MASK)] = place;
  }

  /**
   * Puts the translation of the page in `REQUESTED_PAGE_CELL`, which is known to allow the access, in place of the one that
   * the policy evicts, and predicts it. Returns `frame`.
   */
  fill(number: number, frame: number, attributes: number): number {
    const { words, cells } = this;
    const set = number & this.setMask;
    if (words[(this.countWord + set) | 0] !== WAYS) return this.fillEmptySlot(number, frame, attributes) | 0;
    // The victim is the place not used last of the pair not used last.
    const root = (this.rootsAt + (this.firstPlace >> WAYS_SHIFT) + set) | 0;
    const place = words[(this.pairsAt + ((words[root] ^ 2) >> 1)) | 0] ^ 1;
    words[root] = place;
    words[(this.pairsAt + (place >> 1)) | 0] = place;
    this.bytes[(this.marksByte + place) | 0] = number >>> this.markShift;
    cells[place << CELL_SHIFT] = cells[REQUESTED_PAGE_CELL];
    words[((place << WORD_SHIFT) + WORD_FRAME) | 0] = frame;
    words[((place << WORD_SHIFT) + WORD_ATTRIBUTES) | 0] = attributes | this.fillAttribute;
    words[((number & PREDICTIONS_MASK) + this.predictionsWord) | 0] = place;
    return frame;
  }

  private fillEmptySlot(number: number, frame: number, attributes: number): number {
    const { words } = this;
    const place = this.firstPlace + this.tlb.insert(this.cells[REQUESTED_PAGE_CELL], number, 0, 0, 0, 0);
    words[(place << WORD_SHIFT) | WORD_FRAME] = frame;
    words[(place << WORD_SHIFT) | WORD_ATTRIBUTES] = attributes;
    this.predict(number, place);
    return frame;
  }
}
