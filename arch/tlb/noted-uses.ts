/**
 * Uses of a TLB that the one without flushes (flush-attribution.ts) is told of later. After a flush the unflushed set often holds all that
 * comes back into the real one, and something else besides. A set whose pages are all known to be in the unflushed set trails: a hit there
 * is nothing but a use of the same entry in both, and only the time of the last use of each entry is noted. Before anything else
 * happens to one of the two sets, the unflushed one catches up: it is given the last use of each entry, in their order. That leaves the
 * state that all uses would have left, as a use replaces some bits of it (arch/presets/replacement/policy.ts) or an entry's place in an order:
 * what counts of each is the last.
 */

import * as translation from "../isa/translation.ts";
import { isGlobalContext } from "../isa/translation.ts";
import type { FlushNotes } from "./flush-notes.ts";
import type { Tlb } from "./tlb.ts";

// The module's own constants, which V8 folds into the code (arch/fast-path/README.md, "Constants").
const { SIZE_BYTES, SIZE_TABLE } = translation;

/** No slot. */
const NONE = -1;
/** In place of a time: a use has to be told at once. */
const TOLD = -1;
/**
 * Uses of a set, by way, that are told until it is looked whether the set may trail: to begin and to catch up costs as much as some three
 * uses of each way.
 */
const USES_PER_WAY = 16;

/** When the entries of a CPU's TLBs were used. */
export class UseTimes {
  /** By place in the real TLBs: when the entry was used last since its unflushed set caught up, 0 for never; -1: uses are told at once. */
  readonly times: Float64Array;
  /** The number of uses noted so far. */
  readonly now = new Float64Array(1);

  /** @param places one more than the last place of the TLBs */
  constructor(places: number) {
    this.times = new Float64Array(places).fill(TOLD);
  }
}

/** Which sets of one TLB trail, and where the real one's entries are in the unflushed one. */
export class NotedUses {
  /** Number of sets that trail. */
  trailing = 0;
  /** By place of the real TLB: where the translation is in the unflushed one, as far as is known; to be compared with what is there. */
  readonly twins: Int32Array;
  /** Whether any is known. */
  private hasTwins = false;
  private readonly real: Tlb;
  private readonly unflushed: Tlb;
  private readonly times: Float64Array;
  private readonly notes: FlushNotes;
  /** Which side's flushes may not be noted at an entry of a set that trails; fetches of a TLB that data share are always told. */
  private readonly side: 0 | 1;
  /** By set: 1 for those that trail; uses that are told until it is looked whether it may. */
  private readonly isTrailing: Uint8Array;
  private readonly usesLeft: Int32Array;
  /** By slot, of sets that trail: the entry's slot in the unflushed TLB. */
  private readonly homes: Int32Array;
  private readonly order: Int32Array;

  constructor(real: Tlb, unflushed: Tlb, useTimes: UseTimes, notes: FlushNotes) {
    const { firstOwnPlace, slots, ways, sets } = real;
    this.real = real;
    this.unflushed = unflushed;
    this.times = useTimes.times;
    this.notes = notes;
    this.side = this.isOfData ? 0 : 1;
    this.twins = new Int32Array(firstOwnPlace + slots);
    this.isTrailing = new Uint8Array(sets);
    this.usesLeft = new Int32Array(sets).fill(USES_PER_WAY * ways);
    this.homes = new Int32Array(slots).fill(NONE);
    this.order = new Int32Array(ways);
  }

  /** Whether accesses of a kind (load 0, store 1, fetch 2) note uses. */
  notesKind(kind: number): boolean {
    return kind >> 1 === this.side;
  }

  /** The translation at a place of the real TLB is at `twin` of the unflushed one. */
  setTwin(place: number, twin: number): void {
    this.twins[place] = twin;
    this.hasTwins = true;
  }

  /** Of a set that is in step (in-step-sets.ts) uses are noted too, for nothing, as nobody need be told of them. */
  setInStep(set: number): void {
    this.setTimes(set, 0);
  }

  /** Of a set that is not in step any more uses are told. */
  setApart(set: number): void {
    this.setTimes(set, TOLD);
  }

  /**
   * A use at `place` was told, of an entry whose twin was known: after some of these it is looked whether the set may trail.
   * @param pcid the current one
   */
  told(place: number, pcid: number): void {
    const set = ((place - this.real.firstOwnPlace) / this.real.ways) | 0;
    if (--this.usesLeft[set] === 0) this.tryToTrail(set, pcid);
  }

  /** Another context begins. A TLB with a limited number of PCIDs has to be told of the first use by another. */
  forget(): void {
    if (this.real.isLimited) this.leaveAll();
    else this.forgetTwins();
  }

  /** The set of a place trails no more. */
  leaveAtPlace(place: number): void {
    if (this.trailing !== 0) this.leave(((place - this.real.firstOwnPlace) / this.real.ways) | 0);
  }

  /** The set that the page with a number, modulo 2^32, goes into trails no more. */
  leaveAtNumber(number: number): void {
    const { lowMask, hashShift, hashMask } = this.real;
    this.leave((number & lowMask) ^ ((number >>> hashShift) & hashMask));
  }

  /** The sets that pages at an address go into trail no more. */
  leaveAt(la: number): void {
    if (this.trailing === 0) return;
    if (this.real.mayHoldPieces || this.unflushed.mayHoldPieces) {
      this.leaveAll();
      return;
    }
    for (const bytes of SIZE_BYTES) this.leaveAtNumber((la / bytes) | 0);
  }

  /** No set trails any more, and no twin is known. */
  leaveAll(): void {
    for (let set = 0; set < this.real.sets && this.trailing > 0; set++) this.leave(set);
    this.forgetTwins();
  }

  /** A set trails no more: the unflushed one is given the uses that were noted. */
  leave(set: number): void {
    if (this.isTrailing[set] === 0) return;
    const { real, times, order } = this;
    const { ways, firstOwnPlace } = real;
    let count = 0;
    for (let slot = set * ways; slot < (set + 1) * ways; slot++) {
      const time = times[firstOwnPlace + slot];
      if (time <= 0) continue;
      let at = count++;
      for (; at > 0 && times[firstOwnPlace + order[at - 1]] > time; at--) order[at] = order[at - 1];
      order[at] = slot;
    }
    for (let i = 0; i < count; i++) this.unflushed.replacement.hit(this.homes[order[i]]);
    this.isTrailing[set] = 0;
    this.trailing--;
    this.usesLeft[set] = USES_PER_WAY * ways;
    this.setApart(set);
  }

  private forgetTwins(): void {
    if (this.hasTwins) this.twins.fill(0);
    this.hasTwins = false;
  }

  private get isOfData(): boolean {
    const { kinds } = this.real;
    return kinds.includes("load") || kinds.includes("store");
  }

  private tryToTrail(set: number, pcid: number): void {
    const { real, unflushed, homes } = this;
    const { ways } = real;
    this.usesLeft[set] = USES_PER_WAY * ways;
    const knowsPcid = !real.isLimited || unflushed.lastPcid === pcid;
    if (real.mayHoldPieces || unflushed.mayHoldPieces) return;
    for (let slot = set * ways; slot < (set + 1) * ways; slot++) {
      homes[slot] = NONE;
      // Tables are hit by nobody.
      if (!real.isUsed(slot) || real.sizeOf(slot) === SIZE_TABLE) continue;
      if (knowsPcid || isGlobalContext(real.contextOf(slot))) homes[slot] = this.homeOf(slot, set);
      if (homes[slot] === NONE) return;
    }
    this.isTrailing[set] = 1;
    this.trailing++;
    this.setTimes(set, 0);
  }

  /** The slot of the unflushed set that a hit of `slot` is a hit of too, whatever the context, and nothing else; or `NONE`. */
  private homeOf(slot: number, set: number): number {
    const { real, unflushed, notes, side } = this;
    const tag = real.tagOf(slot);
    let home = NONE;
    for (let other = set * real.ways; other < (set + 1) * real.ways; other++) {
      if (unflushed.tagOf(other) !== tag) continue;
      if (home !== NONE) return NONE;
      home = other;
    }
    if (home === NONE || notes.flushes[2 * (unflushed.firstPlace + home) + side] !== 0) return NONE;
    const isSame =
      real.contextOf(slot) === unflushed.contextOf(home) &&
      real.frameOf(slot) === unflushed.frameOf(home) &&
      real.flagsOf(slot) === unflushed.flagsOf(home);
    return isSame ? home : NONE;
  }

  private setTimes(set: number, time: number): void {
    const first = this.real.firstOwnPlace + set * this.real.ways;
    this.times.fill(time, first, first + this.real.ways);
  }
}
