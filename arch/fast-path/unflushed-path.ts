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
import type { InStepSets } from "../tlb/in-step-sets.ts";
import type { NotedUses } from "../tlb/noted-uses.ts";
import type { Tlb } from "../tlb/tlb.ts";
import type { TlbsOfKind } from "../tlb/tlb-hierarchy.ts";
import { IndexedTlb } from "./indexed-tlb.ts";
import { TreeTlb } from "./tree-tlb.ts";

// The module's own constants, which V8 folds into the code (README.md, "Constants").
const { SIZE_4K, TR_GLOBAL, TR_MASK } = translation;
const { ATTRIBUTE_MEMORY, ATTRIBUTE_PCID_MASK, ATTRIBUTE_PCID_SHIFT, ATTRIBUTE_STORES } = layout;
const { CELL_SHIFT, LARGE_TRANSLATIONS_WORD } = layout;
const { COUNTERS_CELL, REQUESTED_PAGE_CELL, WORD_ATTRIBUTES, WORD_FRAME, WORD_SHIFT } = layout;

/** Bits of page numbers that the fast path is given. */
const NUMBER_MASK = 2 ** 20 - 1;
/** In place of a place: an entry of a larger page translates the small one. */
const IN_LARGE = -1;

/** The TLBs without flushes, for loads (kind 0), stores (1) or fetches (2) of small pages. */
export class UnflushedPath {
  private readonly kind: number;
  private readonly attribution: FlushAttribution;
  private readonly mode: PagingMode;
  private readonly cells: Float64Array;
  private readonly words: Int32Array;
  private readonly further: Int32Array;
  /** The real TLBs' numbers. */
  private readonly realCells: Float64Array;
  private readonly realWords: Int32Array;
  private readonly first: TreeTlb | IndexedTlb;
  private readonly second: IndexedTlb;
  private readonly other: IndexedTlb | null;
  private readonly otherShift: number;
  /** Which sets of the first level are in step, so that only the real one is kept; by place in the real one, 1 for those that are not. */
  private readonly inStep: InStepSets;
  private readonly apart: Uint8Array;
  /** These TLBs, in the order of their places, and where those of `first` and of `second` end. */
  private readonly tlbs: readonly Tlb[];
  private readonly firstEnd: number;
  private readonly secondEnd: number;
  /** Flushes that are noted (arch/tlb/flush-notes.ts), and both of a place as one; the side of this kind of access. */
  private readonly flushes: Uint32Array;
  private readonly besides: Float64Array;
  private readonly side: number;
  /** TLBs among them that hold a limited number of PCIDs. */
  private readonly limited: readonly Tlb[];
  /** When entries were used of which these TLBs are told later, by place in the real ones; less than 0: they are told at once. */
  private readonly times: Float64Array;
  private readonly now: Float64Array;
  /** What is known of these uses, by TLB. */
  private readonly firstUses: NotedUses;
  private readonly secondUses: NotedUses;
  private readonly otherUses: NotedUses;
  /** Whether this kind of access notes hits of the second level. */
  private readonly notesSecond: boolean;
  /**
   * By place in the real TLBs: where the same translation is in these, as far as is known. As with
   * predictions, the tag that is there says whether it still is, and another context begins with none.
   */
  private readonly twins: Int32Array;
  private readonly secondTwins: Int32Array;
  private readonly otherTwins: Int32Array;
  /** The real counter of cycles of walks: its cell, and what it was before the last walk. */
  private readonly walkCyclesCell: number;
  private readonly cyclesBefore = new Float64Array(1);

  /** The shape of the TLBs must be one that `AccessPath` does. */
  constructor(kind: number, attribution: FlushAttribution, mode: PagingMode, real: CpuArrays, realTlbs: TlbsOfKind) {
    const { arrays, unflushed } = attribution;
    const [realFirst] = realTlbs.first[SIZE_4K];
    const realSecond = realTlbs.second[SIZE_4K];
    const inStep = attribution.inStepOf(realFirst);
    if (inStep === null) throw new Error(`${realFirst.name} holds no pages of 4 KiB`);
    const ofKind = unflushed.tlbsByKind()[kind];
    const [first] = ofKind.first[SIZE_4K];
    const second = ofKind.second[SIZE_4K];
    this.kind = kind;
    this.attribution = attribution;
    this.mode = mode;
    this.cells = arrays.cells;
    this.words = arrays.words;
    this.further = arrays.further;
    this.realCells = real.cells;
    this.realWords = real.words;
    this.first = first.replacement.isTree ? new TreeTlb(first, arrays) : new IndexedTlb(first, arrays);
    this.second = new IndexedTlb(second[0], arrays);
    this.other = second.length > 1 ? new IndexedTlb(second[1], arrays) : null;
    this.otherShift = second[0].markShift;
    this.inStep = inStep;
    this.apart = inStep.apart;
    this.tlbs = [first, ...second];
    this.firstEnd = first.firstPlace + first.slots;
    this.secondEnd = second[0].firstPlace + second[0].slots;
    this.flushes = attribution.notes.flushes;
    this.besides = attribution.notes.pairs;
    this.side = kind >> 1;
    this.limited = second.filter(({ isLimited }) => isLimited);
    this.times = attribution.useTimes.times;
    this.now = attribution.useTimes.now;
    this.firstUses = inStep.uses;
    this.secondUses = attribution.setsOf(realSecond[0]).uses;
    this.otherUses = attribution.setsOf(realSecond[realSecond.length - 1]).uses;
    this.notesSecond = this.secondUses.notesKind(kind);
    this.twins = this.firstUses.twins;
    this.secondTwins = this.secondUses.twins;
    this.otherTwins = this.otherUses.twins;
    this.walkCyclesCell = COUNTERS_CELL + counters.COUNT_WALK_CYCLES + kind;
  }

  /** Begins another context: nothing is predicted. */
  forget(): void {
    this.firstUses.forget();
    this.secondUses.forget();
    if (this.other !== null) this.otherUses.forget();
  }

  /**
   * A hit of the first level at `real`. No flush is noted for what the first level holds: an invalidation removes it there too, and who
   * fills it takes the note.
   */
  hitFirst(real: number): void {
    const { times, now } = this;
    if (times[real] < 0) this.hitFirstTold(real);
    else times[real] = ++now[0];
  }

  /** A hit of the second level at `held`, which is at `real` of the first now. @param number bits 19:0 of the page number */
  hitSecond(number: number, real: number, held: number): void {
    const { attribution, times, now, kind } = this;
    if (attribution.onSecondLevelHit !== null) attribution.onSecondLevelHit(kind, this.translationAt(real).page);
    if (this.apart[real] !== 0) this.hitApart(number, real);
    else if (times[held] < 0 || !this.notesSecond) this.hitSecondTold(number, real, held);
    else times[held] = ++now[0];
  }

  /** A walk begins: {@link refill} tells of it when it has found a translation. */
  beginWalk(): void {
    this.cyclesBefore[0] = this.realCells[this.walkCyclesCell];
  }

  /** A walk whose translation is at `real`. @param number bits 19:0 of the page number */
  refill(number: number, real: number): void {
    const { attribution } = this;
    if (attribution.onWalk !== null) attribution.onWalk(this.kind, this.translationAt(real).page);
    const isApart = this.apart[real] !== 0;
    if (isApart && this.times[real] >= 0) this.firstUses.leaveAtPlace(real);
    const place = (isApart ? this.find(number, real) : this.findInSecond(number, real)) | 0;
    if (place === 0) {
      if (this.mayInsert(real)) this.insert(number, real, isApart);
      else this.refillOther(real);
    } else if (place > 0 && this.isSame(place, real) && this.isPcidLast()) {
      const flush = this.takeNote(place, real);
      // The walk has filled the real second level, whose set may trail.
      this.catchUpSecond(number, this.homeOf(number));
      if (place < this.firstEnd) this.useFirst(place, real);
      else this.useSecond(number, place, real, isApart);
      attribution.explain(flush, this.walkCycles());
    } else {
      this.refillOther(real);
    }
  }

  /** Cycles of the walk that began last. */
  private walkCycles(): number {
    return this.realCells[this.walkCyclesCell] - this.cyclesBefore[0];
  }

  private refillOther(real: number): void {
    const { attribution, kind, mode } = this;
    const { page, frame, flags } = this.translationAt(real);
    this.partFrom(real);
    attribution.refillOf(kind, page, mode.pcid, frame, flags, this.walkCycles());
  }

  /** A hit of the first level at `real`, whose set is apart, and of which these TLBs are told at once. */
  private hitFirstTold(real: number): void {
    const place = this.twins[real];
    if (this.cells[place << CELL_SHIFT] === this.realCells[real << CELL_SHIFT]) {
      this.first.use(place);
      this.firstUses.told(real, this.mode.pcid);
    } else {
      this.hitApart((this.realCells[real << CELL_SHIFT] / 4096) & NUMBER_MASK, real);
    }
  }

  /** A hit of the second level at `held`, whose set of the first level is in step, and of which these TLBs are told at once. */
  private hitSecondTold(number: number, real: number, held: number): void {
    const isInOther = this.other !== null && held >= this.secondEnd;
    const uses = isInOther ? this.otherUses : this.secondUses;
    if (uses.trailing !== 0) uses.leaveAtPlace(held);
    const place = (isInOther ? this.otherTwins : this.secondTwins)[held];
    if (!this.isTwin(place, held)) {
      this.hit(number, real, held);
      return;
    }
    this.secondAt(place).use(place);
    if (this.notesSecond) uses.told(held, this.mode.pcid);
  }

  /** Whether the entry at `place` of the second level, which was the twin of `held`, still is, and no flush is noted there. */
  private isTwin(place: number, held: number): boolean {
    const { words, realWords } = this;
    return (
      this.cells[place << CELL_SHIFT] === this.realCells[held << CELL_SHIFT] &&
      words[((place << WORD_SHIFT) + WORD_ATTRIBUTES) | 0] ===
        realWords[((held << WORD_SHIFT) + WORD_ATTRIBUTES) | 0] &&
      this.flushes[(2 * place + this.side) | 0] === 0
    );
  }

  /** The TLB of the second level that the page with this number goes into. */
  private homeOf(number: number): IndexedTlb {
    return this.other === null || ((number >>> this.otherShift) & 1) === 0 ? this.second : this.other;
  }

  /** The TLB of the second level that `place` is in. */
  private secondAt(place: number): IndexedTlb {
    return this.other === null || place < this.secondEnd ? this.second : this.other;
  }

  /** A hit of the second level at `held` whose set of the first level, which it filled at `real`, is in step. */
  private hit(number: number, real: number, held: number): void {
    const place = this.findInSecond(number, real) | 0;
    if (place === 0) {
      if (this.mayInsert(real)) this.insert(number, real, false);
      else this.hitOther(real);
    } else if (place < 0 || !this.isOfContext(place, real)) {
      this.hitOther(real);
    } else {
      this.takeNote(place, real);
      this.useSecond(number, place, real, false);
      (held < this.secondEnd ? this.secondUses : this.otherUses).setTwin(held, place);
    }
  }

  /** A hit of either level whose set of the first level, where it is at `real` now, is apart. */
  private hitApart(number: number, real: number): void {
    if (this.times[real] >= 0) this.firstUses.leaveAtPlace(real);
    const place = this.find(number, real) | 0;
    if (place === 0) {
      if (this.mayInsert(real)) this.insert(number, real, true);
      else this.hitOther(real);
    } else if (place < 0 || !this.isOfContext(place, real)) {
      this.hitOther(real);
    } else {
      this.takeNote(place, real);
      if (place < this.firstEnd) this.useFirst(place, real);
      else this.useSecond(number, place, real, true);
    }
  }

  /** The place of the page that is at `real`, of either level; `IN_LARGE` where a larger page translates it; 0 where nothing does. */
  private find(number: number, real: number): number {
    this.cells[REQUESTED_PAGE_CELL] = this.realCells[real << CELL_SHIFT];
    const inFirst = this.first.find(number) | 0;
    return inFirst !== 0 ? inFirst : this.findInSecond(number, real) | 0;
  }

  /** {@link find} of a page that the first level does not hold. */
  private findInSecond(number: number, real: number): number {
    this.cells[REQUESTED_PAGE_CELL] = this.realCells[real << CELL_SHIFT];
    if (this.words[LARGE_TRANSLATIONS_WORD] !== 0 && this.isInLarge()) return IN_LARGE;
    const inSecond = this.second.find(number) | 0;
    return inSecond !== 0 || this.other === null ? inSecond : this.other.find(number) | 0;
  }

  /** Has the set of the first level that was filled at `real` go on apart, without what it was filled with. */
  private partFrom(real: number): void {
    const slot = real - this.inStep.real.firstPlace;
    this.inStep.part(slot, slot);
  }

  private hitOther(real: number): void {
    const { page, frame, flags } = this.translationAt(real);
    this.partFrom(real);
    this.attribution.hitOf(this.kind, page, this.mode.pcid, frame, flags);
  }

  private translationAt(real: number): { readonly page: number; readonly frame: number; readonly flags: number } {
    const record = real << WORD_SHIFT;
    const { realCells, realWords } = this;
    const flags = realWords[record | WORD_ATTRIBUTES] & TR_MASK;
    return { page: realCells[real << CELL_SHIFT], frame: realWords[record | WORD_FRAME], flags };
  }

  private isInLarge(): boolean {
    const { attribution, kind, mode, cells } = this;
    return attribution.unflushed.isInLarge(kind, cells[REQUESTED_PAGE_CELL], mode.pcid);
  }

  /** The flush that is noted at a place, which has the translation that is at `real`; 0 for none. The note goes. */
  private takeNote(place: number, real: number): number {
    return this.flushes[2 * place + this.side] === 0 ? 0 : this.takeNoteOf(place, real);
  }

  private takeNoteOf(place: number, real: number): number {
    const tlb = this.tlbs.find(({ firstPlace, slots }) => place < firstPlace + slots) as Tlb;
    return this.attribution.notes.take(this.kind, tlb, place - tlb.firstPlace, this.translationAt(real).flags);
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
      if (!this.isComplete(place, real)) return false;
      const pcid = (attributes >> ATTRIBUTE_PCID_SHIFT) & ATTRIBUTE_PCID_MASK;
      if ((attributes & TR_GLOBAL) === 0 && pcid !== this.mode.pcid) return false;
    }
    return (attributes & TR_GLOBAL) !== 0 || this.isPcidLast();
  }

  /** Whether the entry at `place` is known to be complete without what lies in `further`, as the real one is that has the same frame. */
  private isComplete(place: number, real: number): boolean {
    const { words, realWords } = this;
    const at = ((place << WORD_SHIFT) + WORD_ATTRIBUTES) | 0;
    if ((words[at] & ATTRIBUTE_MEMORY) !== 0) return true;
    const isSameFrame =
      words[((place << WORD_SHIFT) + WORD_FRAME) | 0] === realWords[((real << WORD_SHIFT) + WORD_FRAME) | 0];
    if (!isSameFrame || this.further[place] !== 0) return false;
    words[at] |= ATTRIBUTE_MEMORY;
    return true;
  }

  /** Whether the entry at `place` has the frame and the attributes of the real one. */
  private isSame(place: number, real: number): boolean {
    const { words, realWords } = this;
    const record = place << WORD_SHIFT;
    const realRecord = real << WORD_SHIFT;
    return (
      words[(record + WORD_FRAME) | 0] === realWords[(realRecord + WORD_FRAME) | 0] &&
      this.isComplete(place, real) &&
      words[(record + WORD_ATTRIBUTES) | 0] === (realWords[(realRecord + WORD_ATTRIBUTES) | 0] & ~ATTRIBUTE_STORES)
    );
  }

  /** Puts the translation at `real` into both levels. @param isApart whether the set of the first level is */
  private insert(number: number, real: number, isApart: boolean): void {
    const frame = this.realWords[((real << WORD_SHIFT) + WORD_FRAME) | 0];
    const attributes = this.realWords[((real << WORD_SHIFT) + WORD_ATTRIBUTES) | 0] & ~ATTRIBUTE_STORES;
    const tlb = this.homeOf(number);
    this.catchUpSecond(number, tlb);
    this.besides[tlb.insert(number, frame, attributes)] = 0;
    if (isApart) this.insertFirst(number, frame, attributes, real);
  }

  private insertFirst(number: number, frame: number, attributes: number, real: number): void {
    const place = this.first.insert(number, frame, attributes);
    this.besides[place] = 0;
    this.firstUses.setTwin(real, place);
    this.inStep.filled(this.inStep.setOf[real]);
  }

  /** The set of a TLB of the second level that a page goes into trails no more. */
  private catchUpSecond(number: number, tlb: IndexedTlb): void {
    const uses = tlb === this.second ? this.secondUses : this.otherUses;
    if (uses.trailing !== 0) uses.leaveAtNumber(number);
  }

  private useFirst(place: number, real: number): void {
    this.first.use(place);
    this.firstUses.setTwin(real, place);
  }

  private useSecond(number: number, place: number, real: number, isApart: boolean): void {
    const { words } = this;
    const record = place << WORD_SHIFT;
    const tlb = this.secondAt(place);
    this.catchUpSecond(number, tlb);
    tlb.use(place);
    if (!isApart) return;
    this.insertFirst(number, words[(record + WORD_FRAME) | 0], words[(record + WORD_ATTRIBUTES) | 0], real);
  }
}
