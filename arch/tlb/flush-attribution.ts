/**
 * Which page walks a flush made necessary. Beside the TLBs of a CPU, a second set of TLBs of the same shape sees the same
 * accesses but no flush: what it holds, the real ones would hold too if there had been no flush. A walk for a translation that
 * the second set holds with the same frame refills what a flush removed, and is charged to the last flush that removed it; a
 * walk for one that it does not hold is due to capacity; one that finds another frame is for a new mapping.
 */

import type { Access } from "../isa/access.ts";
import type { PagingMode } from "../isa/paging-mode.ts";
import { SIZE_1G, SIZE_4K } from "../isa/translation.ts";
import type { Preset, TlbPreset } from "../presets/preset.ts";
import type { ReplacementName } from "../presets/replacement/index.ts";
import { allocateArrays } from "./allocate-arrays.ts";
import type { CpuArrays } from "./cpu-arrays.ts";
import { FlushNotes } from "./flush-notes.ts";
import { InStepSets } from "./in-step-sets.ts";
import { NotedUses, UseTimes } from "./noted-uses.ts";
import type { Tlb } from "./tlb.ts";
import { TlbHierarchy } from "./tlb-hierarchy.ts";

/** What the refills after one flush cost on one CPU. */
export interface RefillCost {
  /** Walks. */
  refills: number;
  /** Their cycles. */
  walkCycles: number;
}

/** Is told of an access: its kind, and its address or page. */
export type AccessObserver = (kind: number, la: number) => void;

/** Attribution of refills on one CPU. Set `currentFlush` around the invalidations of a flush. */
export class FlushAttribution {
  /** Number of the flush that the invalidations made now belong to, chosen by the kernel; 0 for none. */
  currentFlush = 0;
  /** Is told of each walk that found a translation, with its address or its page; null for nobody. */
  onWalk: AccessObserver | null = null;
  /** Is told of each hit of the second level, likewise. */
  onSecondLevelHit: AccessObserver | null = null;
  /** Walks that no flush of a known number, no lack of room and no new mapping explains. */
  unexplainedWalks = 0;
  /** What the last walk was charged to; null before the next. For whoever finds that it held up the CPU for less than its length. */
  lastCharged: RefillCost | null = null;

  /** The TLBs that see no flush, and where their numbers lie. */
  readonly unflushed: TlbHierarchy;
  readonly arrays: CpuArrays;
  /** Which flush removed what they hold. */
  readonly notes: FlushNotes;
  /** When entries were used of which the TLBs without flushes are told later. */
  readonly useTimes: UseTimes;
  /**
   * Whether nothing has been removed yet: what the TLBs with flushes hold is what those without would hold, and only those with flushes are
   * kept. Never where some hold entries of tables too.
   */
  private areInStep: boolean;
  /** What has to be done once they are not. */
  private readonly whenApart: (() => void)[] = [];
  /** Which sets of the TLBs without flushes need not be kept, by TLB of the first level and of the second. */
  private readonly inStep: readonly InStepSets[];
  /** Those of the first level, whose sets part from the real ones one by one, and may be in step again. */
  private readonly firstInStep: readonly InStepSets[];
  private readonly tlbs: TlbHierarchy;
  /** The access that is looked up, and the rules for it. */
  private access: Access = 0;
  private mode: PagingMode | null = null;
  /** What refills have cost so far, by the number of the flush. */
  readonly costs = new Map<number, RefillCost>();

  constructor(preset: Preset, tlbs: TlbHierarchy) {
    this.tlbs = tlbs;
    this.arrays = allocateArrays(preset);
    this.unflushed = new TlbHierarchy(preset, this.arrays);
    this.notes = new FlushNotes([...this.unflushed.first, ...this.unflushed.second], this.arrays.places);
    const all = [...tlbs.first, ...tlbs.second];
    const unflushed = [...this.unflushed.first, ...this.unflushed.second];
    this.useTimes = new UseTimes(this.arrays.places);
    this.inStep = all.map((tlb, i) => {
      const uses = new NotedUses(tlb, unflushed[i], this.useTimes, this.notes);
      return new InStepSets(tlb, unflushed[i], replacementOf(preset, tlb), uses);
    });
    this.firstInStep = this.inStep.slice(0, tlbs.first.length);
    this.areInStep = all.every(({ isEmpty }) => isEmpty) && !haveTables(preset);
    if (!this.areInStep) this.partSecond();
    all.forEach((tlb, i) => {
      const sets = this.inStep[i];
      const isFirst = i < tlbs.first.length;
      tlb.onDrop = (slot) => this.dropped(tlb, slot, sets, isFirst);
    });
    // What the second level has but does not allow fills the first for a moment, where another entry goes for it: TLBs without flushes see nothing of that.
    tlbs.onFillFromSecond = (la, flags) => {
      if (this.mode?.usable(this.access, flags) === false) this.partFirstAt(la);
    };
    // What only these have may be a page, or a piece of one, of another size than that of the set that has been filled with flushes.
    this.unflushed.onFillFromSecond = (la) => this.partFirstAt(la);
  }

  /** Calls `begin` as soon as the attribution has to see each access: at once, or before something is removed for the first time. */
  watchFrom(begin: () => void): void {
    if (this.areInStep) this.whenApart.push(begin);
    else begin();
  }

  /** Has an observer told of each walk, another of each hit of the second level. */
  observe(onWalk: AccessObserver, onSecondLevelHit: AccessObserver): void {
    this.onWalk = onWalk;
    this.onSecondLevelHit = onSecondLevelHit;
    this.part();
  }

  /** What refills after a flush have cost so far on this CPU. */
  costOf(flush: number): Readonly<RefillCost> {
    return this.costs.get(flush) ?? { refills: 0, walkCycles: 0 };
  }

  /** All flushes that have caused refills, with their cost. */
  allCosts(): IterableIterator<[number, Readonly<RefillCost>]> {
    return this.costs.entries();
  }

  /** An access to an address is looked up in the TLBs: by which rules. */
  beforeLookup(mode: PagingMode, access: Access, la: number): void {
    this.mode = mode;
    this.access = access;
    if (!this.areInStep && this.isHeldInSizes(la)) this.partFirstAt(la);
  }

  /** An access of `kind` that the TLBs translated. @param pcid with the number of the guest, as `PagingMode.pcid` has it; so below */
  hit(kind: number, la: number, pcid: number): void {
    const { tlbs } = this;
    if (tlbs.wasSecondLevel && this.onSecondLevelHit !== null) this.onSecondLevelHit(kind, la);
    if (this.areInStep) return;
    const inStep = this.setsOf(tlbs.tlb);
    if (inStep.has(tlbs.slot)) {
      if (!tlbs.wasSecondLevel) return;
      inStep.part(tlbs.slot, tlbs.slot);
    }
    this.hitOf(kind, la, pcid, tlbs.currentFrame(la), tlbs.currentFlags());
  }

  /** An access of `kind` that the TLBs translated so; the set of the first level that it filled, if any, is apart. */
  hitOf(kind: number, la: number, pcid: number, frame: number, flags: number): void {
    const { unflushed } = this;
    this.catchUpAt(la);
    if (unflushed.lookup(kind, la, pcid)) this.takeNote(kind, flags);
    else unflushed.insert(kind, la, pcid, frame, flags);
  }

  /** A walk of an access of `kind` that found a translation. */
  refill(kind: number, la: number, pcid: number, frame: number, flags: number, cycles: number): void {
    if (this.onWalk !== null) this.onWalk(kind, la);
    if (this.areInStep) return;
    const { tlb, slot } = this.tlbs;
    this.setsOf(tlb).part(slot, slot);
    this.refillOf(kind, la, pcid, frame, flags, cycles);
  }

  /** {@link refill} that `onWalk` has been told of; the set of the first level that it filled is apart. */
  refillOf(kind: number, la: number, pcid: number, frame: number, flags: number, cycles: number): void {
    const { unflushed } = this;
    this.catchUpAt(la);
    if (!unflushed.lookup(kind, la, pcid)) {
      unflushed.insert(kind, la, pcid, frame, flags);
      return;
    }
    const flush = this.takeNote(kind, flags);
    const sameFrame = unflushed.currentFrame(la) === frame;
    const same = sameFrame && unflushed.currentFlags() === flags;
    if (sameFrame && (flush !== 0 || same)) this.explain(flush, cycles);
    if (!same) {
      this.partFirstAt(la);
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

  /** Sets that pages at an address go into trail no more (noted-uses.ts). */
  private catchUpAt(la: number): void {
    const { inStep } = this;
    for (let i = 0; i < inStep.length; i++) inStep[i].uses.leaveAt(la);
  }

  /** Sets of the first level that pages at an address go into go on apart. */
  private partFirstAt(la: number): void {
    for (const sets of this.firstInStep) sets.partAt(la);
  }

  /**
   * Whether TLBs, with flushes or without, hold pages of several sizes at an address, of whatever context: then it may be one that answers
   * with flushes, and another without.
   */
  private isHeldInSizes(la: number): boolean {
    const { tlbs, unflushed } = this;
    if (!tlbs.hasLarge && !unflushed.hasLarge) return false;
    let sizes = 0;
    for (let size = SIZE_4K as number; size <= SIZE_1G; size++) {
      if (tlbs.holdsSize(la, size) || unflushed.holdsSize(la, size)) sizes++;
    }
    return sizes > 1;
  }

  /** The sets of a real TLB. */
  setsOf(tlb: Tlb): InStepSets {
    return this.inStep.find(({ real }) => real === tlb) as InStepSets;
  }

  /** The TLBs that see no flush, both levels, complete. */
  unflushedTlbs(): readonly Tlb[] {
    this.part();
    for (const sets of this.firstInStep) sets.partAll();
    for (const { uses } of this.inStep) uses.leaveAll();
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

  /** Something is removed for the first time: from now on the TLBs without flushes are kept, but for sets of the first level that are in step. */
  private part(): void {
    if (!this.areInStep) return;
    this.areInStep = false;
    this.partSecond();
    for (const begin of this.whenApart) begin();
  }

  /** Has the TLBs of the second level go on apart. */
  private partSecond(): void {
    for (const sets of this.inStep.slice(this.firstInStep.length)) sets.partAll();
  }

  private dropped(tlb: Tlb, slot: number, inStep: InStepSets, isFirst: boolean): void {
    // One more PCID than they know makes TLBs without flushes forget the same.
    if (this.areInStep && tlb.isMakingRoom) return;
    this.part();
    if (isFirst) inStep.part(slot);
    inStep.uses.leaveAtPlace(tlb.firstOwnPlace + slot);
    if (this.currentFlush !== 0) this.notes.add(tlb, slot, this.currentFlush);
  }
}

function replacementOf({ tlbs }: Preset, { name }: Tlb): ReplacementName {
  return (tlbs.find((shape) => shape.name === name) as TlbPreset).replacement;
}

/** Whether some TLB holds entries of tables too. */
function haveTables({ tlbs, pagingStructureCaches }: Preset): boolean {
  const shared = Object.values(pagingStructureCaches).map((shape) => ("sharedWith" in shape ? shape.sharedWith : ""));
  return tlbs.some(({ name }) => shared.includes(name));
}
