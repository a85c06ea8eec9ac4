/**
 * The second-level TLB of 4 KiB pages, which all kinds of access share: lookups by its chains of page numbers, hits, and
 * insertions in place of another 4 KiB page. It has an index (`Tlb.headAt`), and a table gives its victims (replacement-state.ts).
 */

import * as translation from "../isa/translation.ts";
import type { CpuArrays } from "../tlb/cpu-arrays.ts";
import * as layout from "../tlb/cpu-arrays.ts";
import type { Tlb } from "../tlb/tlb.ts";

// The module's own constants, which V8 folds into the code (README.md, "Constants").
const { TR_MASK } = translation;
const { ATTRIBUTE_PCID_MASK, ATTRIBUTE_PCID_SHIFT, ATTRIBUTE_SIZE_SHIFT, CELL_SHIFT, REQUESTED_PAGE_CELL } = layout;
const { WORD_ATTRIBUTES, WORD_FRAME, WORD_LINK, WORD_NEXT, WORD_SHIFT, WORD_STATE, WORD_USE } = layout;
/** The attributes that say that an entry is not one of a 4 KiB page. */
const NOT_4K = 3 << ATTRIBUTE_SIZE_SHIFT;

/** The TLB. Page numbers are bits 19:0 of them. */
export class SecondLevel {
  private readonly tlb: Tlb;
  private readonly cells: Float64Array;
  private readonly words: Int32Array;
  private readonly headWord: number;
  private readonly headMask: number;
  private readonly firstPlace: number;
  private readonly ways: number;
  private readonly setMask: number;
  private readonly hashShift: number;
  private readonly hashMask: number;
  /** Word of the number of entries of set 0. */
  private readonly countWord: number;
  private readonly stateWord: number;
  private readonly fillsWord: number;

  constructor(tlb: Tlb, arrays: CpuArrays) {
    this.tlb = tlb;
    this.cells = arrays.cells;
    this.words = arrays.words;
    this.headWord = tlb.headAt;
    this.headMask = tlb.headMask;
    this.firstPlace = tlb.firstPlace;
    this.ways = tlb.ways;
    this.setMask = tlb.setMask;
    this.hashShift = tlb.hashShift;
    this.hashMask = tlb.hashMask;
    this.countWord = tlb.countAt;
    this.stateWord = tlb.replacement.stateAt;
    this.fillsWord = tlb.replacement.fillsAt;
  }

  /** The first place of the chain that the page with this number would be in; 0 when the chain is empty. */
  head(number: number): number {
    return this.words[(this.headWord + (number & this.headMask)) | 0];
  }

  /** The place of the page in `REQUESTED_PAGE_CELL` in the chain from `first` on; 0 when it is not there. */
  search(first: number): number {
    const { words, cells } = this;
    const page = cells[REQUESTED_PAGE_CELL];
    let place = first;
    while (place !== 0 && cells[place << CELL_SHIFT] !== page) place = words[(place << WORD_SHIFT) | WORD_NEXT];
    return place;
  }

  /** Records a hit of `place` for the replacement policy. */
  touch(place: number): void {
    const { words } = this;
    const use = words[((place << WORD_SHIFT) + WORD_USE) | 0];
    const state = words[((place << WORD_SHIFT) + WORD_STATE) | 0];
    words[state] = (words[state] & (use >>> 16)) | (use & 0xffff);
  }

  /**
   * Puts in the translation of the page in `REQUESTED_PAGE_CELL`, a page of memory below frame 2^28. False, and nothing
   * changed, where the policy evicts an entry that is not one of a 4 KiB page.
   */
  insert(number: number, frame: number, attributes: number): boolean {
    const { words, cells } = this;
    const set = (number ^ ((number >>> this.hashShift) & this.hashMask)) & this.setMask;
    const { ways } = this;
    if (words[(this.countWord + set) | 0] !== ways) return this.insertInEmptySlot(number, frame, attributes);
    const state = (this.stateWord + set) | 0;
    const filled = words[(this.fillsWord + words[state]) | 0];
    const place = (this.firstPlace + Math.imul(set, ways) + (filled & 0xff)) | 0;
    const record = place << WORD_SHIFT;
    if ((words[(record + WORD_ATTRIBUTES) | 0] & NOT_4K) !== 0) return false;
    words[state] = filled >> 8;
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
    cells[place << CELL_SHIFT] = cells[REQUESTED_PAGE_CELL];
    words[(record + WORD_FRAME) | 0] = frame;
    words[(record + WORD_ATTRIBUTES) | 0] = attributes;
    return true;
  }

  private insertInEmptySlot(number: number, frame: number, attributes: number): boolean {
    const { tlb } = this;
    const pcid = (attributes >> ATTRIBUTE_PCID_SHIFT) & ATTRIBUTE_PCID_MASK;
    tlb.markMemory(tlb.insert(this.cells[REQUESTED_PAGE_CELL], number, pcid, 0, frame, attributes & TR_MASK));
    return true;
  }
}
