/**
 * What a flush attribution has to see of accesses to pages of 2 MiB, or of 1 GiB, that the fast path does, for one kind of access; as
 * unflushed-path.ts does it for small pages. Only what is most frequent is done here: a hit of an entry of which the same is known to be in
 * the TLB without flushes, and would be found there. All else is told to the attribution itself; after a hit the entry is known.
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
const { SIZE_1G, SIZE_2M, SIZE_4K, SIZE_BYTES, TR_GLOBAL, TR_MASK } = translation;
const { ATTRIBUTE_MEMORY, ATTRIBUTE_STORES, CELL_SHIFT, COUNTERS_CELL } = layout;
const { REQUESTED_LARGE_CELL, REQUESTED_PAGE_CELL, WORD_ATTRIBUTES, WORD_FRAME, WORD_SHIFT } = layout;

/** In place of a word with a number of entries, where there is no TLB: the first word of no entry, which is 0. */
const NO_COUNT = 0;

/** The TLBs without flushes, for loads (kind 0), stores (1) or fetches (2) of pages of one larger size. */
export class UnflushedLarge {
  private readonly kind: number;
  private readonly size: number;
  private readonly attribution: FlushAttribution;
  private readonly mode: PagingMode;
  private readonly cells: Float64Array;
  private readonly words: Int32Array;
  private readonly further: Int32Array;
  /** The real TLBs' numbers. */
  private readonly realCells: Float64Array;
  private readonly realWords: Int32Array;
  private readonly requestCell: number;
  private readonly pageMask: number;
  private readonly first: TreeTlb | IndexedTlb;
  private readonly firstTlb: Tlb;
  private readonly second: IndexedTlb | null;
  private readonly secondTlb: Tlb | null;
  /** Words of the numbers of smaller pages in TLBs that are asked before: of the first level, and of the second. */
  private readonly smallFirstCount: number;
  private readonly largeFirstCount: number;
  private readonly smallSecondCount: number;
  private readonly otherSecondCount: number;
  private readonly largeSecondCount: number;
  /** Words of the numbers of pages of 1 GiB in both levels. */
  private readonly hugeFirstCount: number;
  private readonly hugeSecondCount: number;
  /** Which sets of the first level are in step; by place in the real one, 1 for those that are not. */
  private readonly inStep: InStepSets;
  private readonly apart: Uint8Array;
  /** Uses that the TLBs without flushes are told of later: none of larger pages are. */
  private readonly firstUses: NotedUses;
  private readonly secondUses: NotedUses | null;
  /** By place in the real TLBs: where the same translation is in these (`NotedUses.twins`). */
  private readonly twins: Int32Array;
  private readonly secondTwins: Int32Array;
  /** Flushes that are noted, both of a place as one, and the side of this kind of access (arch/tlb/flush-notes.ts). */
  private readonly flushes: Uint32Array;
  private readonly besides: Float64Array;
  private readonly side: number;
  /** The real counter of cycles of walks: its cell, and what it was before the last walk. */
  private readonly walkCyclesCell: number;
  private readonly cyclesBefore = new Float64Array(1);

  /** The first level must have a TLB for pages of the size. */
  constructor(
    kind: number,
    size: number,
    attribution: FlushAttribution,
    mode: PagingMode,
    real: CpuArrays,
    realTlbs: TlbsOfKind,
  ) {
    const { arrays, unflushed, notes } = attribution;
    const ofKind = unflushed.tlbsByKind()[kind];
    const [first] = ofKind.first[size];
    const second = ofKind.second[size][0] ?? null;
    this.kind = kind;
    this.size = size;
    this.attribution = attribution;
    this.mode = mode;
    this.cells = arrays.cells;
    this.words = arrays.words;
    this.further = arrays.further;
    this.realCells = real.cells;
    this.realWords = real.words;
    this.requestCell = REQUESTED_LARGE_CELL + size - SIZE_2M;
    this.pageMask = SIZE_BYTES[size] / SIZE_BYTES[SIZE_4K] - 1;
    this.first = new (first.replacement.isTree ? TreeTlb : IndexedTlb)(first, arrays, this.requestCell);
    this.firstTlb = first;
    this.second = second === null ? null : new IndexedTlb(second, arrays, this.requestCell);
    this.secondTlb = second;
    const countOf = (tlb: Tlb | undefined, each: number) =>
      tlb === undefined || each >= size ? NO_COUNT : tlb.sizeAt + each;
    this.smallFirstCount = countOf(ofKind.first[SIZE_4K][0], SIZE_4K);
    this.largeFirstCount = countOf(ofKind.first[SIZE_2M][0], SIZE_2M);
    this.smallSecondCount = countOf(ofKind.second[SIZE_4K][0], SIZE_4K);
    this.otherSecondCount = countOf(ofKind.second[SIZE_4K][1], SIZE_4K);
    this.largeSecondCount = countOf(ofKind.second[SIZE_2M][0], SIZE_2M);
    const hugeCountOf = (tlb: Tlb | undefined) => (tlb === undefined ? NO_COUNT : tlb.sizeAt + SIZE_1G);
    this.hugeFirstCount = hugeCountOf(ofKind.first[SIZE_1G][0]);
    this.hugeSecondCount = hugeCountOf(ofKind.second[SIZE_1G][0]);
    this.inStep = attribution.setsOf(realTlbs.first[size][0]);
    this.apart = this.inStep.apart;
    this.firstUses = this.inStep.uses;
    this.secondUses = second === null ? null : attribution.setsOf(realTlbs.second[size][0]).uses;
    this.twins = this.firstUses.twins;
    this.secondTwins = (this.secondUses ?? this.firstUses).twins;
    this.flushes = notes.flushes;
    this.besides = notes.pairs;
    this.side = kind >> 1;
    this.walkCyclesCell = COUNTERS_CELL + counters.COUNT_WALK_CYCLES + kind;
  }

  /** Begins another context: no twin is known. */
  forget(): void {
    this.firstUses.forget();
    this.secondUses?.forget();
  }

  /**
   * A hit of the first level at `real`. No flush is noted for what the first level holds (unflushed-path.ts).
   * @param number bits 19:0 of the number of the 4 KiB page, and `ofSize` the number of the page of this size; so below
   */
  hitFirst(number: number, ofSize: number, real: number): void {
    if (this.apart[real] === 0) return;
    const place = this.twins[real];
    if (this.cells[place << CELL_SHIFT] !== this.realCells[real << CELL_SHIFT] || this.mayBeInSmallerOfFirst()) {
      this.tell(number, ofSize, real, 0);
      return;
    }
    if (this.firstUses.trailing !== 0) this.firstUses.leaveAtPlace(real);
    this.first.use(place);
  }

  /** A hit of the second level at `held`, which is at `real` of the first now. */
  hitSecond(number: number, ofSize: number, real: number, held: number): void {
    const { attribution, second } = this;
    if (attribution.onSecondLevelHit !== null) {
      attribution.onSecondLevelHit(this.kind, this.realCells[REQUESTED_PAGE_CELL]);
    }
    const place = this.secondTwins[held];
    const isApart = this.apart[real] !== 0;
    if (
      second === null ||
      !this.isTwin(place, held) ||
      (isApart && this.isInFirst(ofSize, real)) ||
      this.mayBeInSmallerOfSecond() ||
      this.isInLarger()
    ) {
      this.tell(number, ofSize, real, held);
      return;
    }
    if (this.secondUses !== null && this.secondUses.trailing !== 0) this.secondUses.leaveAtPlace(held);
    second.use(place);
    if (isApart) this.insertFirst(ofSize, real);
  }

  /** A walk begins: {@link refill} tells of it when it has found a translation. */
  beginWalk(): void {
    this.cyclesBefore[0] = this.realCells[this.walkCyclesCell];
  }

  /** A walk whose translation is at `real`. */
  refill(number: number, ofSize: number, real: number): void {
    const { attribution, kind, mode } = this;
    const page = this.realCells[REQUESTED_PAGE_CELL];
    if (attribution.onWalk !== null) attribution.onWalk(kind, page);
    if (this.isNowhere(ofSize, real)) {
      this.insert(ofSize, real);
      return;
    }
    this.partFrom(real);
    const cycles = this.realCells[this.walkCyclesCell] - this.cyclesBefore[0];
    attribution.refillOf(kind, page, mode.pcid, this.frameAt(number, real), this.flagsAt(real), cycles);
  }

  /** Whether no TLB holds the page at `real`, nor one that may be part of it or that it may be part of, and the second level may get it as it is. */
  private isNowhere(ofSize: number, real: number): boolean {
    const { second } = this;
    if (second === null || (this.apart[real] !== 0 && this.isInFirst(ofSize, real))) return false;
    this.cells[this.requestCell] = this.realCells[real << CELL_SHIFT];
    if (second.find(ofSize) !== 0 || this.mayBeInSmallerOfSecond() || this.isInLarger()) return false;
    return (this.flagsAt(real) & TR_GLOBAL) !== 0 || this.isPcidLast();
  }

  /** Puts the translation at `real` into both levels. */
  private insert(ofSize: number, real: number): void {
    const { second, besides, secondUses } = this;
    if (second === null) return;
    const record = real << WORD_SHIFT;
    const attributes = this.realWords[(record + WORD_ATTRIBUTES) | 0] & ~ATTRIBUTE_STORES;
    if (secondUses !== null && secondUses.trailing !== 0) secondUses.leaveAtNumber(ofSize);
    besides[second.insert(ofSize, this.realWords[(record + WORD_FRAME) | 0], attributes)] = 0;
    if (this.apart[real] !== 0) this.insertFirst(ofSize, real);
    this.attribution.insertedLarger();
  }

  /** Whether the entry at `place` of the second level, which was the twin of `held`, still is, is of a PCID used last, and no flush is noted there. */
  private isTwin(place: number, held: number): boolean {
    const attributes = this.realWords[((held << WORD_SHIFT) + WORD_ATTRIBUTES) | 0];
    return (
      this.cells[place << CELL_SHIFT] === this.realCells[held << CELL_SHIFT] &&
      this.words[((place << WORD_SHIFT) + WORD_ATTRIBUTES) | 0] === attributes &&
      this.flushes[(2 * place + this.side) | 0] === 0 &&
      ((attributes & TR_GLOBAL) !== 0 || this.isPcidLast())
    );
  }

  private isPcidLast(): boolean {
    const { secondTlb } = this;
    return secondTlb === null || !secondTlb.isLimited || secondTlb.lastPcid === this.mode.pcid;
  }

  /** Whether the first level without flushes holds what it does not hold with them: the page at `real`, or perhaps a smaller one. */
  private isInFirst(ofSize: number, real: number): boolean {
    this.cells[this.requestCell] = this.realCells[real << CELL_SHIFT];
    return this.first.find(ofSize) !== 0 || this.mayBeInSmallerOfFirst();
  }

  /** Whether the first level holds smaller pages that may be part of the page that is asked for. */
  private mayBeInSmallerOfFirst(): boolean {
    const { words } = this;
    return (words[this.smallFirstCount] | words[this.largeFirstCount]) !== 0 && this.isInSmaller();
  }

  private mayBeInSmallerOfSecond(): boolean {
    const { words } = this;
    const count = words[this.smallSecondCount] | words[this.otherSecondCount] | words[this.largeSecondCount];
    return count !== 0 && this.isInSmaller();
  }

  /** Whether some TLB holds a smaller page at the address that is asked for, of whatever context. */
  private isInSmaller(): boolean {
    const { attribution, size } = this;
    const page = this.realCells[REQUESTED_PAGE_CELL];
    for (let each = SIZE_4K as number; each < size; each++) if (attribution.isHeld(page, each)) return true;
    return false;
  }

  /** Whether some TLB holds a larger page at the address that is asked for, of whatever context: it may answer before the second level does. */
  private isInLarger(): boolean {
    const { words } = this;
    if (this.size === SIZE_1G || (words[this.hugeFirstCount] | words[this.hugeSecondCount]) === 0) return false;
    return this.attribution.isHeld(this.realCells[REQUESTED_PAGE_CELL], SIZE_1G);
  }

  private insertFirst(ofSize: number, real: number): void {
    const record = real << WORD_SHIFT;
    const attributes = this.realWords[(record + WORD_ATTRIBUTES) | 0] & ~ATTRIBUTE_STORES;
    if (this.firstUses.trailing !== 0) this.firstUses.leaveAtPlace(real);
    const place = this.first.insert(ofSize, this.realWords[(record + WORD_FRAME) | 0], attributes);
    this.besides[place] = 0;
    this.firstUses.setTwin(real, place);
  }

  /** Tells the attribution of a hit of either level, and learns where it has the entry. @param held where the second level has it; 0: hit of the first */
  private tell(number: number, ofSize: number, real: number, held: number): void {
    const { attribution, mode } = this;
    const page = this.realCells[REQUESTED_PAGE_CELL];
    this.partFrom(real);
    attribution.hitOf(this.kind, page, mode.pcid, this.frameAt(number, real), this.flagsAt(real));
    const { second, secondTlb, secondUses } = this;
    this.firstUses.setTwin(real, this.twinOf(this.first, this.firstTlb, ofSize, real));
    if (held !== 0 && second !== null && secondTlb !== null)
      secondUses?.setTwin(held, this.twinOf(second, secondTlb, ofSize, held));
  }

  /** Where the entry at `real` of a TLB is in the one without flushes; 0 where it is not, or another. */
  private twinOf(tlb: TreeTlb | IndexedTlb, { firstPlace }: Tlb, ofSize: number, real: number): number {
    const { cells, words, realWords } = this;
    cells[this.requestCell] = this.realCells[real << CELL_SHIFT];
    const place = tlb.find(ofSize);
    if (place < firstPlace) return 0;
    const at = (place << WORD_SHIFT) | WORD_ATTRIBUTES;
    const record = real << WORD_SHIFT;
    const isSame =
      words[(place << WORD_SHIFT) | WORD_FRAME] === realWords[record | WORD_FRAME] &&
      this.further[place] === 0 &&
      ((words[at] ^ realWords[record | WORD_ATTRIBUTES]) & ~(ATTRIBUTE_STORES | ATTRIBUTE_MEMORY)) === 0;
    if (!isSame) return 0;
    words[at] |= ATTRIBUTE_MEMORY;
    return place;
  }

  /** Has the set of the first level that was filled at `real` go on apart, without what it was filled with. */
  private partFrom(real: number): void {
    const slot = real - this.inStep.real.firstPlace;
    this.inStep.part(slot, slot);
  }

  private frameAt(number: number, real: number): number {
    return this.realWords[(real << WORD_SHIFT) | WORD_FRAME] + (number & this.pageMask);
  }

  private flagsAt(real: number): number {
    return this.realWords[(real << WORD_SHIFT) | WORD_ATTRIBUTES] & TR_MASK;
  }
}
