/**
 * Which page walks a flush made necessary. Beside the TLBs of a CPU, a second set of TLBs of the same shape sees the same
 * accesses but no flush: what it holds, the real ones would hold too if there had been no flush. A walk for a translation that
 * the second set holds with the same frame refills what a flush removed, and is charged to the last flush that removed it; a
 * walk for one that it does not hold is due to capacity; one that finds another frame is for a new mapping.
 */

import type { Preset } from "../presets/preset.ts";
import { allocateArrays } from "./allocate-arrays.ts";
import type { CpuArrays } from "./cpu-arrays.ts";
import { FlushNotes } from "./flush-notes.ts";
import type { Tlb } from "./tlb.ts";
import { TlbHierarchy } from "./tlb-hierarchy.ts";

/** What the refills after one flush cost on one CPU. */
export interface RefillCost {
  /** Walks. */
  refills: number;
  /** Their cycles. */
  walkCycles: number;
}

/** Attribution of refills on one CPU. Set `currentFlush` around the invalidations of a flush. */
export class FlushAttribution {
  /** Number of the flush that the invalidations made now belong to, chosen by the kernel; 0 for none. */
  currentFlush = 0;
  /** Is told of each walk that found a translation, with its address or its page; null for nobody. */
  onWalk: ((kind: number, la: number) => void) | null = null;
  /** Is told of each hit of the second level, likewise. */
  onSecondLevelHit: ((kind: number, la: number) => void) | null = null;
  /** Walks that no flush of a known number, no lack of room and no new mapping explains. */
  unexplainedWalks = 0;
  /** What the last walk was charged to; null before the next. For whoever finds that it held up the CPU for less than its length. */
  lastCharged: RefillCost | null = null;

  /** The TLBs that see no flush, and where their numbers lie. */
  readonly unflushed: TlbHierarchy;
  readonly arrays: CpuArrays;
  /** Which flush removed what they hold. */
  readonly notes: FlushNotes;
  private readonly tlbs: TlbHierarchy;
  /** What refills have cost so far, by the number of the flush. */
  readonly costs = new Map<number, RefillCost>();

  constructor(preset: Preset, tlbs: TlbHierarchy) {
    this.tlbs = tlbs;
    this.arrays = allocateArrays(preset);
    this.unflushed = new TlbHierarchy(preset, this.arrays);
    this.notes = new FlushNotes(this.unflushedTlbs(), this.arrays.further.length);
    for (const tlb of [...tlbs.first, ...tlbs.second]) tlb.onDrop = (slot) => this.dropped(tlb, slot);
  }

  /** What refills after a flush have cost so far on this CPU. */
  costOf(flush: number): Readonly<RefillCost> {
    return this.costs.get(flush) ?? { refills: 0, walkCycles: 0 };
  }

  /** All flushes that have caused refills, with their cost. */
  allCosts(): IterableIterator<[number, Readonly<RefillCost>]> {
    return this.costs.entries();
  }

  /** An access of `kind` that the TLBs translated. @param pcid with the number of the guest, as `PagingMode.pcid` has it; so below */
  hit(kind: number, la: number, pcid: number): void {
    const { tlbs } = this;
    if (tlbs.wasSecondLevel && this.onSecondLevelHit !== null) this.onSecondLevelHit(kind, la);
    this.hitOf(kind, la, pcid, tlbs.currentFrame(la), tlbs.currentFlags());
  }

  /** An access of `kind` that the TLBs translated so. */
  hitOf(kind: number, la: number, pcid: number, frame: number, flags: number): void {
    const { unflushed } = this;
    if (unflushed.lookup(kind, la, pcid)) this.takeNote(kind, flags);
    else unflushed.insert(kind, la, pcid, frame, flags);
  }

  /** A walk of an access of `kind` that found a translation. */
  refill(kind: number, la: number, pcid: number, frame: number, flags: number, cycles: number): void {
    if (this.onWalk !== null) this.onWalk(kind, la);
    this.refillOf(kind, la, pcid, frame, flags, cycles);
  }

  /** {@link refill} that `onWalk` has been told of. */
  refillOf(kind: number, la: number, pcid: number, frame: number, flags: number, cycles: number): void {
    const { unflushed } = this;
    if (!unflushed.lookup(kind, la, pcid)) {
      unflushed.insert(kind, la, pcid, frame, flags);
      return;
    }
    const flush = this.takeNote(kind, flags);
    const sameFrame = unflushed.currentFrame(la) === frame;
    const same = sameFrame && unflushed.currentFlags() === flags;
    if (sameFrame && (flush !== 0 || same)) this.explain(flush, cycles);
    if (!same) {
      unflushed.dropPage(la, pcid, true);
      unflushed.insert(kind, la, pcid, frame, flags);
    }
  }

  /** A walk that would not have been without flushes: it is due to `flush`; 0: to none that is known. */
  explain(flush: number, cycles: number): void {
    if (flush !== 0) this.charge(flush, cycles);
    else this.unexplainedWalks++;
  }

  /**
   * The flush that is noted as the last to have removed the translation that the unflushed TLBs have found, and that is there again with
   * such flags; 0 for none. The note goes.
   */
  private takeNote(kind: number, flags: number): number {
    const { tlb, slot } = this.unflushed.foundAt();
    return this.notes.take(kind, tlb, slot, flags);
  }

  /** The TLBs that see no flush, both levels. */
  unflushedTlbs(): readonly Tlb[] {
    return [...this.unflushed.first, ...this.unflushed.second];
  }

  /** Forgets all flushes and their costs, for saved states. */
  clear(): void {
    this.notes.clear();
    this.costs.clear();
  }

  /** Notes what refills after a flush have cost, for saved states. */
  putBackCost(flush: number, cost: Readonly<RefillCost>): void {
    this.costs.set(flush, { ...cost });
  }

  private charge(flush: number, cycles: number): void {
    let cost = this.costs.get(flush);
    if (cost === undefined) {
      cost = { refills: 1, walkCycles: cycles };
      this.costs.set(flush, cost);
    } else {
      cost.refills++;
      cost.walkCycles += cycles;
    }
    this.lastCharged = cost;
  }

  private dropped(tlb: Tlb, slot: number): void {
    if (this.currentFlush !== 0) this.notes.add(tlb, slot, this.currentFlush);
  }
}
