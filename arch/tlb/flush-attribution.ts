/**
 * Which page walks a flush made necessary. Beside the TLBs of a CPU, a second set of TLBs of the same shape sees the same
 * accesses but no flush: what it holds, the real ones would hold too if there had been no flush. A walk for a translation that
 * the second set holds with the same frame refills what a flush removed, and is charged to the last flush that removed it; a
 * walk for one that it does not hold is due to capacity; one that finds another frame is for a new mapping.
 */

import { WIDE_PAGES } from "../isa/linear-address.ts";
import {
  GLOBAL_CONTEXT,
  GUEST_CONTEXTS,
  SIZE_BYTES,
  SIZE_TABLE,
  TR_GLOBAL,
  TR_SIZE_SHIFT,
} from "../isa/translation.ts";
import type { Preset } from "../presets/preset.ts";
import { allocateArrays } from "./allocate-arrays.ts";
import type { CpuArrays } from "./cpu-arrays.ts";
import type { Tlb } from "./tlb.ts";
import { TlbHierarchy } from "./tlb-hierarchy.ts";

/** What the refills after one flush cost on one CPU. */
export interface RefillCost {
  /** Walks. */
  refills: number;
  /** Their cycles. */
  walkCycles: number;
}

/**
 * A page (in units of its size in the page tables), its size, and its PCID or global mark in one: a bigint for wide pages, which are
 * not in a double's bits beside the rest.
 */
type PageKey = number | bigint;

/** The last flush of each tag, for data (0) and for instructions (1). */
type Flushes = readonly [Map<PageKey, number>, Map<PageKey, number>];

/** Tags whose flush is remembered, per side of the TLBs, before those that no longer matter are dropped. */
const REMEMBERED_MAX = 16_384;

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
  private readonly tlbs: TlbHierarchy;
  private readonly flushes: Flushes = [new Map(), new Map()];
  /** Those of guests, by the number of the guest (guest-numbers.ts). */
  private readonly guestFlushes = new Map<number, Flushes>();
  /** What refills have cost so far, by the number of the flush. */
  readonly costs = new Map<number, RefillCost>();

  constructor(preset: Preset, tlbs: TlbHierarchy) {
    this.tlbs = tlbs;
    this.arrays = allocateArrays(preset);
    this.unflushed = new TlbHierarchy(preset, this.arrays);
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
    this.takeNote(kind, la, pcid, flags);
    if (!unflushed.lookup(kind, la, pcid)) unflushed.insert(kind, la, pcid, frame, flags);
  }

  /** A walk of an access of `kind` that found a translation. */
  refill(kind: number, la: number, pcid: number, frame: number, flags: number, cycles: number): void {
    if (this.onWalk !== null) this.onWalk(kind, la);
    this.refillAfter(this.takeNote(kind, la, pcid, flags), kind, la, pcid, frame, flags, cycles);
  }

  /** {@link refill} of what `flush` was the last to remove; 0: none is known to have. */
  refillAfter(
    flush: number,
    kind: number,
    la: number,
    pcid: number,
    frame: number,
    flags: number,
    cycles: number,
  ): void {
    const { unflushed } = this;
    if (!unflushed.lookup(kind, la, pcid)) {
      unflushed.insert(kind, la, pcid, frame, flags);
      return;
    }
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

  /** Whether a flush is noted for any translation of the host, of an access of `kind`. */
  hasNotes(kind: number): boolean {
    return this.flushes[kind >> 1].size !== 0;
  }

  /** The flush that is noted as the last to have removed a translation, which is there again; 0 for none. The note goes. */
  takeNote(kind: number, la: number, pcid: number, flags: number): number {
    const side = this.flushesOf(pcid)[kind >> 1];
    if (side.size === 0) return 0;
    const key = keyOf(la, pcid % GUEST_CONTEXTS, flags);
    const flush = side.get(key);
    if (flush === undefined) return 0;
    side.delete(key);
    return flush;
  }

  /** The TLBs that see no flush, both levels. */
  unflushedTlbs(): readonly Tlb[] {
    return [...this.unflushed.first, ...this.unflushed.second];
  }

  /** Has `visit` called with each translation that a flush removed, for data (0) or instructions (1), guest by guest, in order of time. */
  forEachFlushed(side: 0 | 1, visit: (address: number, size: number, context: number, flush: number) => void): void {
    const visitAll = (guest: number, flushes: Flushes): void => {
      for (const [key, flush] of flushes[side]) {
        const { address, size, context } = pageOf(key);
        visit(address, size, guest * GUEST_CONTEXTS + context, flush);
      }
    };
    visitAll(0, this.flushes);
    for (const guest of [...this.guestFlushes.keys()].sort((a, b) => a - b)) {
      visitAll(guest, this.flushesOf(guest * GUEST_CONTEXTS));
    }
  }

  /** Forgets all flushes and their costs, for saved states. */
  clear(): void {
    for (const side of this.flushes) side.clear();
    this.guestFlushes.clear();
    this.costs.clear();
  }

  /** Notes the translation of a page as removed by a flush, for saved states. */
  putBackFlushed(side: 0 | 1, address: number, size: number, context: number, flush: number): void {
    this.flushesOf(context)[side].set(keyOfPage(address, size, context % GUEST_CONTEXTS), flush);
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
    if (this.currentFlush === 0 || tlb.sizeOf(slot) === SIZE_TABLE) return;
    const key = keyOf(tlb.addressOf(slot), tlb.pcidOf(slot), tlb.flagsOf(slot));
    const guest = tlb.guestOf(slot);
    if (tlb.kinds.includes("load") || tlb.kinds.includes("store")) this.remember(0, guest, key);
    if (tlb.kinds.includes("fetch")) this.remember(1, guest, key);
  }

  private remember(sideIndex: 0 | 1, guest: number, key: PageKey): void {
    const side = this.flushesOf(guest * GUEST_CONTEXTS)[sideIndex];
    side.set(key, this.currentFlush);
    if (side.size > REMEMBERED_MAX) {
      for (const other of side.keys()) if (!this.isHeld(sideIndex, guest, other)) side.delete(other);
    }
  }

  private flushesOf(context: number): Flushes {
    if (context < GUEST_CONTEXTS) return this.flushes;
    const guest = Math.floor(context / GUEST_CONTEXTS);
    let flushes = this.guestFlushes.get(guest);
    if (flushes === undefined) {
      flushes = [new Map(), new Map()];
      this.guestFlushes.set(guest, flushes);
    }
    return flushes;
  }

  /** Whether the unflushed TLBs hold the translation of a key. Changes nothing. */
  private isHeld(sideIndex: 0 | 1, guest: number, key: PageKey): boolean {
    const { address, context } = pageOf(key);
    return this.unflushed.holds(sideIndex === 0 ? [0, 1] : [2], address, guest * GUEST_CONTEXTS + context);
  }
}

function keyOf(la: number, pcid: number, flags: number): PageKey {
  const size = (flags >> TR_SIZE_SHIFT) & 3;
  const context = (flags & TR_GLOBAL) !== 0 ? GLOBAL_CONTEXT : pcid;
  return keyOfPage(la, size, context);
}

function keyOfPage(la: number, size: number, context: number): PageKey {
  const number = Math.floor(la / SIZE_BYTES[size]);
  if (la >= WIDE_PAGES) return BigInt(number) * 0x8000n + BigInt(size * 8192 + context);
  return (number * 4 + size) * 8192 + context;
}

/** First address, size and PCID or global mark that a key stands for. */
function pageOf(key: PageKey): { readonly address: number; readonly size: number; readonly context: number } {
  const low = typeof key === "bigint" ? Number(key & 0x7fffn) : key % 0x8000;
  const number = typeof key === "bigint" ? Number(key >> 15n) : Math.floor(key / 0x8000);
  const size = Math.floor(low / 8192);
  return { address: number * SIZE_BYTES[size], size, context: low % 8192 };
}
