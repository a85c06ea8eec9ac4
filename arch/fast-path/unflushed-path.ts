/**
 * What a flush attribution (arch/tlb/flush-attribution.ts) has to see of the accesses that the fast path does, for one kind of access:
 * its TLBs without flushes are looked up, filled and predicted with the code that does the real ones. What that code does not do goes
 * to the attribution itself, with the same outcome. Accesses are told by where the real first level has the page now: an address that
 * is an argument of a call may be put on the heap.
 */

import type { PagingMode } from "../isa/paging-mode.ts";
import * as translation from "../isa/translation.ts";
import * as counters from "../time/perf-counters.ts";
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
const { COUNTERS_CELL, REQUESTED_PAGE_CELL, WORD_ATTRIBUTES, WORD_FRAME, WORD_SHIFT } = layout;

/** Bits of page numbers that the fast path is given. */
const NUMBER_MASK = 2 ** 20 - 1;

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
  /**
   * By place in the real first level: where the same translation is in the first level without flushes, as far as is known. As with
   * predictions, the tag that is there says whether it still is, and another context begins with none.
   */
  private readonly twins: Int32Array;
  /** The real counter of cycles of walks: its cell, and what it was before the last walk. */
  private readonly walkCyclesCell: number;
  private readonly cyclesBefore = new Float64Array(1);

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
    this.otherShift = second[0].markShift;
    this.limited = second.filter(({ isLimited }) => isLimited);
    this.twins = new Int32Array(first.firstPlace + first.slots);
    this.walkCyclesCell = COUNTERS_CELL + counters.COUNT_WALK_CYCLES + kind;
  }

  /** Begins another context: nothing is predicted. */
  forget(): void {
    this.twins.fill(0);
  }

  /**
   * A hit of the first level at `real`. No flush is noted for what the first level holds: an invalidation removes it there too, and who
   * fills it takes the note.
   */
  hitFirst(real: number): void {
    const place = this.twins[real];
    if (this.cells[place << CELL_SHIFT] === this.realCells[real << CELL_SHIFT]) this.first.use(place);
    else this.hit((this.realCells[real << CELL_SHIFT] / 4096) & NUMBER_MASK, real);
  }

  /** A hit of the second level, which is at `real` of the first now. @param number bits 19:0 of the page number */
  hitSecond(number: number, real: number): void {
    const { attribution, kind } = this;
    if (attribution.onSecondLevelHit !== null) attribution.onSecondLevelHit(kind, this.translationAt(real).page);
    if (attribution.hasNotes(kind)) this.takeNote(real);
    this.hit(number, real);
  }

  /** A walk begins: {@link refill} tells of it when it has found a translation. */
  beginWalk(): void {
    this.cyclesBefore[0] = this.realCells[this.walkCyclesCell];
  }

  /** A walk whose translation is at `real`. @param number bits 19:0 of the page number */
  refill(number: number, real: number): void {
    const { attribution, second, other, first } = this;
    if (attribution.onWalk !== null) attribution.onWalk(this.kind, this.translationAt(real).page);
    const flush = attribution.hasNotes(this.kind) ? this.takeNote(real) : 0;
    this.cells[REQUESTED_PAGE_CELL] = this.realCells[real << CELL_SHIFT];
    if (this.hasLarge()) {
      this.refillOther(flush, real);
      return;
    }
    const inFirst = first.find(number) | 0;
    const inSecond = inFirst !== 0 ? 0 : second.find(number) | 0;
    const inOther = inFirst !== 0 || inSecond !== 0 || other === null ? 0 : other.find(number) | 0;
    const place = inFirst | inSecond | inOther;
    if (place === 0) {
      if (this.mayInsert(real)) this.insert(number, real);
      else this.refillOther(flush, real);
    } else if (this.isSame(place, real) && this.isPcidLast()) {
      if (inFirst !== 0) this.useFirst(place, real);
      else this.useSecond(number, place, inSecond !== 0 ? second : (other ?? second), real);
      attribution.explain(flush, this.walkCycles());
    } else {
      this.refillOther(flush, real);
    }
  }

  /** Cycles of the walk that began last. */
  private walkCycles(): number {
    return this.realCells[this.walkCyclesCell] - this.cyclesBefore[0];
  }

  private refillOther(flush: number, real: number): void {
    const { attribution, kind, mode } = this;
    const { page, frame, flags } = this.translationAt(real);
    attribution.refillAfter(flush, kind, page, mode.pcid, frame, flags, this.walkCycles());
  }

  /** The flush that is noted of the translation at `real`; 0 for none. The note goes. */
  private takeNote(real: number): number {
    const { attribution, kind, mode } = this;
    const { page, flags } = this.translationAt(real);
    return attribution.takeNote(kind, page, mode.pcid, flags);
  }

  private hit(number: number, real: number): void {
    const { second, other, first } = this;
    this.cells[REQUESTED_PAGE_CELL] = this.realCells[real << CELL_SHIFT];
    if (this.hasLarge()) {
      this.hitOther(real);
      return;
    }
    const inFirst = first.find(number) | 0;
    const inSecond = inFirst !== 0 ? 0 : second.find(number) | 0;
    const inOther = inFirst !== 0 || inSecond !== 0 || other === null ? 0 : other.find(number) | 0;
    const place = inFirst | inSecond | inOther;
    if (place === 0) {
      if (this.mayInsert(real)) this.insert(number, real);
      else this.hitOther(real);
    } else if (!this.isOfContext(place, real)) {
      this.hitOther(real);
    } else if (inFirst !== 0) {
      this.useFirst(place, real);
    } else {
      this.useSecond(number, place, inSecond !== 0 ? second : (other ?? second), real);
    }
  }

  private hitOther(real: number): void {
    const { page, frame, flags } = this.translationAt(real);
    this.attribution.hitOf(this.kind, page, this.mode.pcid, frame, flags);
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

  /**
   * Whether the entry at `place`, found by its tag alone, is of the current PCID or global, and complete without what lies in `further`
   * (arch/tlb/cpu-arrays.ts). What has the attributes of the real one is.
   */
  private isOfContext(place: number, real: number): boolean {
    const attributes = this.words[((place << WORD_SHIFT) + WORD_ATTRIBUTES) | 0];
    if (attributes !== (this.realWords[((real << WORD_SHIFT) + WORD_ATTRIBUTES) | 0] & ~ATTRIBUTE_STORES)) {
      if ((attributes & ATTRIBUTE_MEMORY) === 0) return false;
      const pcid = (attributes >> ATTRIBUTE_PCID_SHIFT) & ATTRIBUTE_PCID_MASK;
      if ((attributes & TR_GLOBAL) === 0 && pcid !== this.mode.pcid) return false;
    }
    return (attributes & TR_GLOBAL) !== 0 || this.isPcidLast();
  }

  /** Whether the entry at `place` has the frame and the attributes of the real one. */
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
  private insert(number: number, real: number): void {
    const record = real << WORD_SHIFT;
    const frame = this.realWords[(record + WORD_FRAME) | 0];
    const attributes = this.realWords[(record + WORD_ATTRIBUTES) | 0] & ~ATTRIBUTE_STORES;
    const { second, other } = this;
    const tlb = other === null || ((number >>> this.otherShift) & 1) === 0 ? second : other;
    tlb.insert(number, frame, attributes);
    this.twins[real] = this.first.insert(number, frame, attributes);
  }

  private useFirst(place: number, real: number): void {
    this.first.use(place);
    this.twins[real] = place;
  }

  private useSecond(number: number, place: number, tlb: IndexedTlb, real: number): void {
    const { words } = this;
    const record = place << WORD_SHIFT;
    tlb.use(place);
    const frame = words[(record + WORD_FRAME) | 0];
    this.twins[real] = this.first.insert(number, frame, words[(record + WORD_ATTRIBUTES) | 0]);
  }
}
