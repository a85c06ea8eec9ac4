/**
 * What a flush attribution (arch/tlb/flush-attribution.ts) has to see of the accesses that the fast path does, for one kind of access:
 * its TLBs without flushes are looked up, filled and predicted with the code that does the real ones. What that code does not do goes
 * to the attribution itself, with the same outcome. Accesses are told by where the real first level has the page now: an address that
 * is an argument of a call may be put on the heap.
 */

import type { PagingMode } from "../isa/paging-mode.ts";
import * as translation from "../isa/translation.ts";
import type { CpuArrays } from "../tlb/cpu-arrays.ts";
import * as layout from "../tlb/cpu-arrays.ts";
import type { FlushAttribution } from "../tlb/flush-attribution.ts";
import type { Tlb } from "../tlb/tlb.ts";
import { IndexedTlb } from "./indexed-tlb.ts";
import { TreeTlb } from "./tree-tlb.ts";

// The module's own constants, which V8 folds into the code (README.md, "Constants").
const { SIZE_4K, TR_GLOBAL, TR_MASK } = translation;
const { ATTRIBUTE_MEMORY, ATTRIBUTE_PCID_MASK, ATTRIBUTE_PCID_SHIFT, ATTRIBUTE_STORES } = layout;
const { CELL_SHIFT, LARGE_TRANSLATIONS_WORD } = layout;
const { LOAD_PREDICTIONS_WORD, PREDICTIONS_MASK, PREDICTIONS_SHIFT, REQUESTED_PAGE_CELL } = layout;
const { WORD_ATTRIBUTES, WORD_FRAME, WORD_SHIFT } = layout;

/** Bits of page numbers that the fast path is given. */
const NUMBER_MASK = 2 ** 20 - 1;
/** In place of a place, where the attribution itself is to look. */
const NOT_QUICK = -1;

/** The TLBs without flushes, for loads (kind 0), stores (1) or fetches (2) of small pages. */
export class UnflushedPath {
  private readonly kind: number;
  private readonly attribution: FlushAttribution;
  private readonly mode: PagingMode;
  private readonly cells: Float64Array;
  private readonly words: Int32Array;
  /** The real TLBs' numbers. */
  private readonly realCells: Float64Array;
  private readonly realWords: Int32Array;
  private readonly first: TreeTlb | IndexedTlb;
  private readonly second: IndexedTlb;
  private readonly other: IndexedTlb | null;
  private readonly otherShift: number;
  /** TLBs among them that hold a limited number of PCIDs. */
  private readonly limited: readonly Tlb[];
  private readonly predictionsWord: number;

  /** The shape of the TLBs must be one that `AccessPath` does. */
  constructor(kind: number, attribution: FlushAttribution, mode: PagingMode, real: CpuArrays) {
    const { arrays, unflushed } = attribution;
    const ofKind = unflushed.tlbsByKind()[kind];
    const [first] = ofKind.first[SIZE_4K];
    const second = ofKind.second[SIZE_4K];
    this.kind = kind;
    this.attribution = attribution;
    this.mode = mode;
    this.cells = arrays.cells;
    this.words = arrays.words;
    this.realCells = real.cells;
    this.realWords = real.words;
    this.first = first.replacement.isTree ? new TreeTlb(first, arrays) : new IndexedTlb(first, arrays);
    this.second = new IndexedTlb(second[0], arrays);
    this.other = second.length > 1 ? new IndexedTlb(second[1], arrays) : null;
    this.otherShift = second[0].hashShift;
    this.limited = second.filter(({ isLimited }) => isLimited);
    this.predictionsWord = LOAD_PREDICTIONS_WORD + (kind << PREDICTIONS_SHIFT);
  }

  /** Begins another context: nothing is predicted. */
  forget(): void {
    this.words.fill(0, this.predictionsWord, this.predictionsWord + PREDICTIONS_MASK + 1);
  }

  /**
   * A hit of the first level at `real`. No flush is noted for what the first level holds: an invalidation removes it there too, and who
   * fills it takes the note.
   */
  hitFirst(real: number): void {
    const page = this.realCells[real << CELL_SHIFT];
    const number = (page / 4096) & NUMBER_MASK;
    const place = this.words[(this.predictionsWord + (number & PREDICTIONS_MASK)) | 0];
    if (this.cells[place << CELL_SHIFT] === page) this.first.use(place);
    else this.hit(number, real);
  }

  /** A hit of the second level, which is at `real` of the first now. @param number bits 19:0 of the page number */
  hitSecond(number: number, real: number): void {
    this.takeNote(real);
    this.hit(number, real);
  }

  /** A walk of some cycles, whose translation is at `real`. @param number bits 19:0 of the page number */
  refill(number: number, real: number, cycles: number): void {
    const { onWalk } = this.attribution;
    if (onWalk !== null) onWalk(this.kind, this.translationAt(real).page);
    const flush = this.takeNote(real);
    this.cells[REQUESTED_PAGE_CELL] = this.realCells[real << CELL_SHIFT];
    const inFirst = this.hasLarge() ? NOT_QUICK : this.first.find(number) | 0;
    const tlb = this.holderOf(number);
    const place = inFirst !== 0 ? inFirst : tlb.find(number) | 0;
    if (place === 0 && this.mayInsert(real)) {
      this.insert(number, real, tlb);
    } else if (place > 0 && this.isSame(place, real) && this.isOfContext(place)) {
      if (inFirst !== 0) this.useFirst(number, place);
      else this.useSecond(number, place, tlb);
      this.attribution.explain(flush, cycles);
    } else {
      this.refillOther(flush, real, cycles);
    }
  }

  private refillOther(flush: number, real: number, cycles: number): void {
    const { attribution, kind, mode } = this;
    const { page, frame, flags } = this.translationAt(real);
    attribution.refillAfter(flush, kind, page, mode.pcid, frame, flags, cycles);
  }

  private takeNote(real: number): number {
    const { attribution, kind, mode } = this;
    if (!attribution.hasNotes(kind)) return 0;
    const { page, flags } = this.translationAt(real);
    return attribution.takeNote(kind, page, mode.pcid, flags);
  }

  private hit(number: number, real: number): void {
    this.cells[REQUESTED_PAGE_CELL] = this.realCells[real << CELL_SHIFT];
    const inFirst = this.hasLarge() ? NOT_QUICK : this.first.find(number) | 0;
    const tlb = this.holderOf(number);
    const place = inFirst !== 0 ? inFirst : tlb.find(number) | 0;
    if (place === 0 && this.mayInsert(real)) {
      this.insert(number, real, tlb);
    } else if (place > 0 && this.isOfContext(place)) {
      if (inFirst !== 0) this.useFirst(number, place);
      else this.useSecond(number, place, tlb);
    } else {
      const { page, frame, flags } = this.translationAt(real);
      this.attribution.hitOf(this.kind, page, this.mode.pcid, frame, flags);
    }
  }

  private translationAt(real: number): { readonly page: number; readonly frame: number; readonly flags: number } {
    const record = real << WORD_SHIFT;
    const { realCells, realWords } = this;
    const flags = realWords[record | WORD_ATTRIBUTES] & TR_MASK;
    return { page: realCells[real << CELL_SHIFT], frame: realWords[record | WORD_FRAME], flags };
  }

  private hasLarge(): boolean {
    return this.words[LARGE_TRANSLATIONS_WORD] !== 0;
  }

  /** Whether the TLBs that hold a limited number of PCIDs have the current one as the one used last. */
  private isPcidLast(): boolean {
    const { limited, mode } = this;
    for (let i = 0; i < limited.length; i++) if (limited[i].lastPcid !== mode.pcid) return false;
    return true;
  }

  private mayInsert(real: number): boolean {
    return (this.realWords[((real << WORD_SHIFT) + WORD_ATTRIBUTES) | 0] & TR_GLOBAL) !== 0 || this.isPcidLast();
  }

  /** The TLB of the second level that holds a page, or that it goes into. */
  private holderOf(number: number): IndexedTlb {
    const { second, other } = this;
    if (other === null || second.find(number) !== 0) return second;
    return other.find(number) !== 0 || ((number >>> this.otherShift) & 1) !== 0 ? other : second;
  }

  /** Whether an entry is of the current PCID or global, and complete without what lies in `further` (arch/tlb/cpu-arrays.ts). */
  private isOfContext(place: number): boolean {
    const attributes = this.words[((place << WORD_SHIFT) + WORD_ATTRIBUTES) | 0];
    if ((attributes & ATTRIBUTE_MEMORY) === 0) return false;
    if ((attributes & TR_GLOBAL) !== 0) return true;
    return ((attributes >> ATTRIBUTE_PCID_SHIFT) & ATTRIBUTE_PCID_MASK) === this.mode.pcid && this.isPcidLast();
  }

  private isSame(place: number, real: number): boolean {
    const { words, realWords } = this;
    const record = place << WORD_SHIFT;
    const realRecord = real << WORD_SHIFT;
    return (
      words[(record + WORD_FRAME) | 0] === realWords[(realRecord + WORD_FRAME) | 0] &&
      words[(record + WORD_ATTRIBUTES) | 0] === (realWords[(realRecord + WORD_ATTRIBUTES) | 0] & ~ATTRIBUTE_STORES)
    );
  }

  /** Puts the translation at `real` into both levels. */
  private insert(number: number, real: number, tlb: IndexedTlb): void {
    const record = real << WORD_SHIFT;
    const frame = this.realWords[(record + WORD_FRAME) | 0];
    const attributes = this.realWords[(record + WORD_ATTRIBUTES) | 0] & ~ATTRIBUTE_STORES;
    tlb.insert(number, frame, attributes);
    this.fillFirst(number, frame, attributes);
  }

  private useFirst(number: number, place: number): void {
    this.first.use(place);
    this.words[(this.predictionsWord + (number & PREDICTIONS_MASK)) | 0] = place;
  }

  private useSecond(number: number, place: number, tlb: IndexedTlb): void {
    const record = place << WORD_SHIFT;
    tlb.use(place);
    this.fillFirst(number, this.words[(record + WORD_FRAME) | 0], this.words[(record + WORD_ATTRIBUTES) | 0]);
  }

  private fillFirst(number: number, frame: number, attributes: number): void {
    const place = this.first.insert(number, frame, attributes);
    this.words[(this.predictionsWord + (number & PREDICTIONS_MASK)) | 0] = place;
  }
}
