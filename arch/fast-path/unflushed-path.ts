/**
 * What a flush attribution (arch/tlb/flush-attribution.ts) has to see of the accesses that the fast path does, for one kind of access to
 * pages of one size: its TLBs without flushes are looked up, filled and predicted with the code that does the real ones. What that code
 * does not do goes to the attribution itself, with the same outcome. Accesses are told by where the real first level has the page now: an
 * address that is an argument of a call may be put on the heap. `number` is that of the page of this size, of 4 KiB pages its bits 19:0.
 */

import type { PagingMode } from "../isa/paging-mode.ts";
import * as translation from "../isa/translation.ts";
import * as counters from "../time/perf-counters.ts";
import type { CpuArrays } from "../tlb/cpu-arrays.ts";
import * as layout from "../tlb/cpu-arrays.ts";
import type { FlushAttribution } from "../tlb/flush-attribution.ts";
import type { InStepSets } from "../tlb/in-step-sets.ts";
import type { NotedUses } from "../tlb/noted-uses.ts";
import type { TlbsOfKind } from "../tlb/tlb-hierarchy.ts";
import { homeOfPieces } from "./page-pieces.ts";
import { UnflushedEntries } from "./unflushed-entries.ts";
import { UnflushedPieces } from "./unflushed-pieces.ts";
import { UnflushedSizes } from "./unflushed-sizes.ts";

// The module's own constants, which V8 folds into the code (README.md, "Constants").
const { SIZE_BYTES, TR_MASK } = translation;
const { ATTRIBUTE_STORES, CELL_SHIFT, COUNTERS_CELL, REQUESTED_PAGE_CELL } = layout;
const { WORD_ATTRIBUTES, WORD_FRAME, WORD_SHIFT } = layout;

/** Bits of the numbers of pages that the fast path is given: of 4 KiB pages, and of others. */
const SMALL_NUMBER_MASK = 2 ** 20 - 1;
const LARGE_NUMBER_MASK = -1;
const SMALL_BYTES = 4096;

/** The TLBs without flushes, for loads (kind 0), stores (1) or fetches (2) of pages of one size. */
export class UnflushedPath extends UnflushedSizes {
  private readonly kind: number;
  private readonly bytes: number;
  private readonly numberMask: number;
  private readonly attribution: FlushAttribution;
  private readonly mode: PagingMode;
  private readonly cells: Float64Array;
  /** The first place of the CPU's, from which on places of the real TLBs are counted here; and where these are asked for pages. */
  private readonly firstReal: number;
  private readonly requested: Float64Array;
  /** The real TLBs' numbers. */
  private readonly realCells: Float64Array;
  private readonly realWords: Int32Array;
  private readonly entries: UnflushedEntries;
  /** Which sets of the first level are in step, so that only the real one is kept; by place in the real one, 1 for those that are not. */
  private readonly inStep: InStepSets;
  private readonly apart: Uint8Array;
  /** When entries were used of which these TLBs are told later, by place in the real ones; less than 0: they are told at once. */
  private readonly times: Float64Array;
  private readonly now: Float64Array;
  /** What is known of these uses, by TLB. */
  private readonly firstUses: NotedUses;
  private readonly secondUses: NotedUses;
  private readonly otherUses: NotedUses;
  /** Whether this kind of access notes hits of the second level. */
  private readonly notesSecond: boolean;
  /** By place in the real TLBs: where the same translation is in these, as far as is known. Compared with what is there, as predictions are. */
  private readonly twins: Int32Array;
  private readonly secondTwins: Int32Array;
  private readonly otherTwins: Int32Array;
  /** The real counter of cycles of walks: its cell, and what it was before the last walk. */
  private readonly walkCyclesCell: number;
  private readonly cyclesBefore = new Float64Array(1);

  /** The shape of the TLBs must be one that `AccessPath` does, and the first level must have one for pages of the size. */
  constructor(
    kind: number,
    size: number,
    attribution: FlushAttribution,
    mode: PagingMode,
    real: CpuArrays,
    realTlbs: TlbsOfKind,
  ) {
    const { arrays, unflushed, useTimes } = attribution;
    super(size, arrays, unflushed.tlbsByKind()[kind]);
    const realHome = homeOfPieces(size, realTlbs.second);
    const home = homeOfPieces(size, unflushed.tlbsByKind()[kind].second);
    const realSecond = realHome === null ? realTlbs.second[size] : [realHome.tlb];
    this.kind = kind;
    this.bytes = SIZE_BYTES[size];
    this.numberMask = this.isSmall ? SMALL_NUMBER_MASK : LARGE_NUMBER_MASK;
    this.attribution = attribution;
    this.mode = mode;
    this.cells = arrays.cells;
    this.firstReal = real.firstPlace;
    this.requested = real.cells;
    this.realCells = real.ownCells;
    this.realWords = real.ownWords;
    this.entries =
      home === null
        ? new UnflushedEntries(kind, size, attribution, mode, real, null)
        : new UnflushedPieces(kind, size, home, attribution, mode, real);
    this.inStep = attribution.setsOf(realTlbs.first[size][0]);
    this.apart = this.inStep.apart;
    this.times = useTimes.times;
    this.now = useTimes.now;
    const usesOf = (i: number) => (realSecond.length > i ? attribution.setsOf(realSecond[i]).uses : null);
    this.firstUses = this.inStep.uses;
    this.secondUses = usesOf(0) ?? this.firstUses;
    this.otherUses = usesOf(1) ?? this.secondUses;
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
    this.otherUses.forget();
  }

  /**
   * A hit of the first level at `place`, of a page of 4 KiB. No flush is noted for what the first level holds: an invalidation removes it
   * there too, and who fills it takes the note.
   */
  hitFirst(place: number): void {
    const { times, now } = this;
    const real = place - this.firstReal;
    if (times[real] < 0) this.hitFirstTold(real);
    else times[real] = ++now[0];
  }

  /** Whether all that has to be seen of a hit of the first level at `place`, of a larger page, is {@link note}. */
  isNoted(place: number): boolean {
    return this.times[place - this.firstReal] >= 0 && !this.areSmallerInFirst();
  }

  /** The entry at `place` is hit: these TLBs are told later. */
  note(place: number): void {
    this.times[place - this.firstReal] = ++this.now[0];
  }

  /** A larger page, which is at `place`, is about to be hit in the first level. */
  beforeHitFirst(place: number): void {
    if (this.isSmallerInFirstAt(this.requested[REQUESTED_PAGE_CELL])) this.hitSmaller(place - this.firstReal);
    else this.hitFirst(place);
  }

  /**
   * Whether a hit of the second level at `held` may be one of an entry of another size without flushes: then {@link beforeFill} is to be asked.
   * A use that is noted is one of an entry of this size if none is asked for before.
   */
  mayHitOther(held: number): boolean {
    return this.areAskedBefore() || (this.times[held - this.firstReal] < 0 && this.mayFindOther());
  }

  /**
   * The first level is about to be filled with the page that is asked for. Returns whether it may be one of another size that answers without
   * flushes: the set that is filled is apart then.
   */
  beforeFill(number: number): boolean {
    if (!this.areOthersAt(this.requested[REQUESTED_PAGE_CELL])) return false;
    this.inStep.partAtNumber(number);
    return true;
  }

  /** A walk begins: {@link refill} tells of it when it has found a translation. */
  beginWalk(): void {
    this.cyclesBefore[0] = this.realCells[this.walkCyclesCell];
  }

  /** A hit of the second level at `heldAt`, which is at `place` of the first now. */
  hitSecond(number: number, place: number, heldAt: number): void {
    const { attribution, times, now } = this;
    const real = place - this.firstReal;
    const held = heldAt - this.firstReal;
    if (attribution.onSecondLevelHit !== null || this.apart[real] !== 0 || times[held] < 0 || !this.notesSecond)
      this.hitSecondTold(number, real, held);
    else times[held] = ++now[0];
  }

  /** {@link hitSecond} of a page that may be part of one of another size, or have such parts: {@link beforeFill} has said so. */
  hitSecondOther(place: number): void {
    const { attribution } = this;
    const real = place - this.firstReal;
    if (attribution.onSecondLevelHit !== null) attribution.onSecondLevelHit(this.kind, this.pageAt(real));
    this.hitOther(real);
  }

  /** A walk whose translation is at `filled`. */
  refill(number: number, filled: number): void {
    const { attribution, entries } = this;
    const real = filled - this.firstReal;
    // What is rare leaves by `return` (README.md).
    if (attribution.onWalk !== null || this.apart[real] !== 0 || this.isTrailing(number)) {
      this.refillTold(number, real);
      return;
    }
    const place = entries.findInSecond(number, real) | 0;
    if (place !== 0 || !entries.mayInsert(real)) this.refillHeld(number, place, real, false);
    else this.insertInSecond(number, real);
  }

  /** {@link refill} of a page that may be part of one of another size, or have such parts: {@link beforeFill} has said so. */
  refillOther(filled: number): void {
    const real = filled - this.firstReal;
    if (this.attribution.onWalk !== null) this.attribution.onWalk(this.kind, this.pageAt(real));
    this.refillUnknown(real);
  }

  /** {@link refill} where somebody observes walks, the set of the first level is apart or that of the second trails. */
  private refillTold(number: number, real: number): void {
    const { attribution, entries } = this;
    if (attribution.onWalk !== null) attribution.onWalk(this.kind, this.pageAt(real));
    const isApart = this.apart[real] !== 0;
    if (isApart && this.times[real] >= 0) this.firstUses.leaveAtPlace(real);
    const place = this.find(number, real, isApart) | 0;
    if (place === 0 && entries.mayInsert(real)) this.insert(number, real, isApart);
    else this.refillHeld(number, place, real, isApart);
  }

  /** A walk for what these have at `place`, or may have. */
  private refillHeld(number: number, place: number, real: number, isApart: boolean): void {
    const { entries } = this;
    if (place > 0 && entries.isSame(place, real) && entries.isPcidLast()) this.refillFrom(number, place, real, isApart);
    else this.refillUnknown(real);
  }

  /** A walk for what these have at `place`. */
  private refillFrom(number: number, place: number, real: number, isApart: boolean): void {
    const { entries } = this;
    const flush = entries.takeNote(place, real);
    // The walk has filled the real second level, whose set may trail.
    this.catchUpSecond(number);
    if (entries.isInFirst(place)) this.useFirst(place, real);
    else this.useSecond(number, place, real, isApart);
    this.attribution.explain(flush, this.walkCycles());
  }

  /** Cycles of the walk that began last. */
  private walkCycles(): number {
    return this.realCells[this.walkCyclesCell] - this.cyclesBefore[0];
  }

  private refillUnknown(real: number): void {
    const { attribution, kind, mode } = this;
    this.partFrom(real);
    const flags = this.realWords[(real << WORD_SHIFT) | WORD_ATTRIBUTES] & TR_MASK;
    attribution.refillOf(kind, this.pageAt(real), mode.pcid, this.frameAt(real), flags, this.walkCycles());
  }

  /** A hit of the first level at `real`, whose set is apart, and of which these TLBs are told at once. */
  private hitFirstTold(real: number): void {
    const place = this.twins[real];
    const tag = this.realCells[real << CELL_SHIFT];
    if (this.cells[place << CELL_SHIFT] === tag) {
      this.entries.useInFirst(place);
      this.firstUses.told(real, this.mode.pcid);
    } else {
      const number = (tag / this.bytes) & this.numberMask;
      // An entry of another size may answer if the first level has none of this one.
      const isOther = this.entries.findInFirst(number, real) === 0 && this.areOthersAt(this.pageAt(real));
      if (isOther) this.hitOther(real);
      else this.hitApart(number, real);
    }
  }

  /** A hit of the first level at `real`, of a page of which these TLBs hold a smaller part. */
  private hitSmaller(real: number): void {
    this.inStep.part(real - this.inStep.real.firstOwnPlace);
    this.hitOther(real);
  }

  /** A hit of the second level at `held`, of which somebody is told at once. */
  private hitSecondTold(number: number, real: number, held: number): void {
    const { attribution, entries, times } = this;
    if (attribution.onSecondLevelHit !== null) attribution.onSecondLevelHit(this.kind, this.pageAt(real));
    if (this.apart[real] !== 0) {
      this.hitApart(number, real);
      return;
    }
    if (times[held] >= 0 && this.notesSecond) {
      this.times[held] = ++this.now[0];
      return;
    }
    const isInOther = entries.isInOther(held);
    const uses = isInOther ? this.otherUses : this.secondUses;
    if (uses.trailing !== 0) uses.leaveAtPlace(held);
    const place = (isInOther ? this.otherTwins : this.secondTwins)[held];
    if (!entries.isTwin(place, held)) {
      this.hit(number, real, held);
      return;
    }
    entries.useInSecond(place);
    if (this.notesSecond) uses.told(held, this.mode.pcid);
  }

  /** A hit of the second level at `held` whose set of the first level, which it filled at `real`, is in step. */
  private hit(number: number, real: number, held: number): void {
    const { entries } = this;
    const place = entries.findInSecond(number, real) | 0;
    if (place === 0) {
      if (entries.mayInsert(real)) this.insert(number, real, false);
      else this.hitOther(real);
    } else if (place < 0 || !entries.isOfContext(place, real)) {
      this.hitOther(real);
    } else {
      entries.takeNote(place, real);
      this.useSecond(number, place, real, false);
      (entries.isInOther(held) ? this.otherUses : this.secondUses).setTwin(held, place);
    }
  }

  /** A hit of either level whose set of the first level, where it is at `real` now, is apart. */
  private hitApart(number: number, real: number): void {
    const { entries } = this;
    if (this.times[real] >= 0) this.firstUses.leaveAtPlace(real);
    const place = this.find(number, real, true) | 0;
    if (place === 0) {
      if (entries.mayInsert(real)) this.insert(number, real, true);
      else this.hitOther(real);
    } else if (place < 0 || !entries.isOfContext(place, real)) {
      this.hitOther(real);
    } else {
      entries.takeNote(place, real);
      if (entries.isInFirst(place)) this.useFirst(place, real);
      else this.useSecond(number, place, real, true);
    }
  }

  /** The place of the page that is at `real`, of either level; 0 where nothing translates it. @param isApart whether it may be in the first */
  private find(number: number, real: number, isApart: boolean): number {
    const { entries } = this;
    const inFirst = isApart ? entries.findInFirst(number, real) | 0 : 0;
    return inFirst !== 0 ? inFirst : entries.findInSecond(number, real) | 0;
  }

  /** Has the set of the first level that was filled at `real` go on apart, without what it was filled with. */
  private partFrom(real: number): void {
    const slot = real - this.inStep.real.firstOwnPlace;
    this.inStep.part(slot, slot);
  }

  private hitOther(real: number): void {
    this.partFrom(real);
    const flags = this.realWords[(real << WORD_SHIFT) | WORD_ATTRIBUTES] & TR_MASK;
    this.attribution.hitOf(this.kind, this.pageAt(real), this.mode.pcid, this.frameAt(real), flags);
  }

  /** The first address of the 4 KiB page that is asked for, which the entry at `real` translates. */
  private pageAt(real: number): number {
    return this.isSmall ? this.realCells[real << CELL_SHIFT] : this.requested[REQUESTED_PAGE_CELL];
  }

  /** The frame of that page. */
  private frameAt(real: number): number {
    const frame = this.realWords[(real << WORD_SHIFT) | WORD_FRAME];
    return this.isSmall ? frame : frame + (this.requested[REQUESTED_PAGE_CELL] % this.bytes) / SMALL_BYTES;
  }

  /** Puts the translation at `real` into both levels. @param isApart whether the set of the first level is */
  private insert(number: number, real: number, isApart: boolean): void {
    this.catchUpSecond(number);
    this.insertInSecond(number, real);
    if (!isApart) return;
    const record = real << WORD_SHIFT;
    const attributes = this.realWords[(record + WORD_ATTRIBUTES) | 0] & ~ATTRIBUTE_STORES;
    this.insertFirst(number, real, this.realWords[(record + WORD_FRAME) | 0], attributes);
  }

  /** Puts the translation at `real` into the second level, of which no set trails that it goes into. */
  private insertInSecond(number: number, real: number): void {
    const frame = this.realWords[((real << WORD_SHIFT) + WORD_FRAME) | 0];
    const attributes = this.realWords[((real << WORD_SHIFT) + WORD_ATTRIBUTES) | 0] & ~ATTRIBUTE_STORES;
    this.entries.insertInSecond(number, real, frame, attributes);
  }

  private insertFirst(number: number, real: number, frame: number, attributes: number): void {
    this.firstUses.setTwin(real, this.entries.insertInFirst(number, real, frame, attributes));
    this.inStep.filled(this.inStep.setOf[real]);
  }

  /** Whether sets of the TLB of the second level that a page goes into trail. */
  private isTrailing(number: number): boolean {
    return (this.entries.goesIntoOther(number) ? this.otherUses : this.secondUses).trailing !== 0;
  }

  /** The set of a TLB of the second level that a page goes into trails no more. */
  private catchUpSecond(number: number): void {
    const uses = this.entries.goesIntoOther(number) ? this.otherUses : this.secondUses;
    if (uses.trailing !== 0) uses.leaveAtNumber(this.entries.numberInSecond(number));
  }

  private useFirst(place: number, real: number): void {
    this.entries.useInFirst(place);
    this.firstUses.setTwin(real, place);
  }

  private useSecond(number: number, place: number, real: number, isApart: boolean): void {
    const { entries } = this;
    this.catchUpSecond(number);
    entries.useInSecond(place);
    if (isApart) this.insertFirst(number, real, entries.pageFrame(place), entries.pageAttributes(place));
  }
}
