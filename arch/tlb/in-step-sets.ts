/**
 * Sets of a TLB that have the same entries with flushes and without (flush-attribution.ts): they are in step. What happens to
 * one of the two then happens to the other, so that only the real one is kept, and the unflushed one is empty. Before a flush removes an
 * entry of the real one, the unflushed one gets a copy of it and goes on apart. They are in step again once both are full, with the same
 * entries in the order in which fills would evict them: whatever comes then, both evict the same. The ways of these entries may be others
 * in the two, but which corresponds to which does not change while they are in step.
 */

import * as translation from "../isa/translation.ts";
import type { ReplacementName } from "../presets/replacement/index.ts";
import * as layout from "./cpu-arrays.ts";
import type { NotedUses } from "./noted-uses.ts";
import type { Tlb } from "./tlb.ts";

// The module's own constants, which V8 folds into the code (arch/fast-path/README.md, "Constants").
const { GUEST_TAG, SIZE_BYTES } = translation;
const { ATTRIBUTE_STORES, WORD_ATTRIBUTES, WORD_SHIFT } = layout;

/** No slot. */
const NONE = -1;
/**
 * Fills of an unflushed set, by way, until it is looked whether it is in step again: to leave step and come back costs as much as some ten
 * fills of each way, which is to be little where flushes follow each other quickly.
 */
const FILLS_PER_WAY = 8;

/**
 * Whether two full sets of a policy that evict the same entries in the same order behave alike from then on, whatever ways these are in:
 * of other policies it is not known.
 */
export function isToldByOrder(name: ReplacementName, ways: number): boolean {
  if (name === "tree-plru") return (ways & (ways - 1)) === 0;
  return name === "lru" || name === "mru3-plru2";
}

/** The sets of one TLB. */
export class InStepSets {
  /** The TLB with flushes, and the one without. */
  readonly real: Tlb;
  private readonly unflushed: Tlb;
  /** By place: 1 where the set of the place is apart. */
  readonly apart: Uint8Array;
  /** By place: the set. */
  readonly setOf: Int32Array;
  /** Uses of the real one that the unflushed one is told of later. */
  readonly uses: NotedUses;
  /** By set: fills of the unflushed one until it is looked whether it is in step again. */
  private readonly fillsLeft: Int32Array;
  private readonly mayJoin: boolean;
  /** By slot of the real TLB: the unflushed one's slot that corresponds to it; and by set: 1 where that is another. */
  private readonly homes: Int32Array;
  private readonly isPermuted: Uint8Array;
  private readonly realOrder: Int32Array;
  private readonly unflushedOrder: Int32Array;

  /** The sets are in step from the beginning if the real TLB is empty, as the unflushed one is. */
  constructor(real: Tlb, unflushed: Tlb, replacement: ReplacementName, uses: NotedUses) {
    const { firstOwnPlace, slots, ways, sets } = real;
    this.real = real;
    this.unflushed = unflushed;
    this.uses = uses;
    this.apart = new Uint8Array(firstOwnPlace + slots);
    this.setOf = Int32Array.from({ length: firstOwnPlace + slots }, (_, place) =>
      Math.floor((place - firstOwnPlace) / ways),
    );
    this.fillsLeft = new Int32Array(sets).fill(FILLS_PER_WAY * ways);
    this.mayJoin = !real.isLimited && isToldByOrder(replacement, ways);
    this.homes = Int32Array.from({ length: slots }, (_, slot) => slot);
    this.isPermuted = new Uint8Array(sets);
    this.realOrder = new Int32Array(ways);
    this.unflushedOrder = new Int32Array(ways);
    if (!real.isEmpty) this.apart.fill(1);
    else for (let set = 0; set < sets; set++) uses.setInStep(set);
  }

  /** Whether the set of a slot is in step. */
  has(slot: number): boolean {
    return this.apart[this.real.firstOwnPlace + slot] === 0;
  }

  /** Has the set of a slot go on apart. @param except a slot whose entry the unflushed set does not get: it was just filled */
  part(slot: number, except = NONE): void {
    if (!this.has(slot)) return;
    const { real, apart } = this;
    const first = Math.floor(slot / real.ways) * real.ways;
    apart.fill(1, real.firstOwnPlace + first, real.firstOwnPlace + first + real.ways);
    for (let each = first; each < first + real.ways; each++) if (each !== except) this.copy(each);
    this.copyReplacement(first / real.ways);
    this.uses.setApart(first / real.ways);
  }

  /** {@link part} for the sets that pages at an address go into. */
  partAt(la: number): void {
    const { real } = this;
    if (real.mayHoldPieces) {
      this.partAll();
      return;
    }
    for (const bytes of SIZE_BYTES) this.partAtNumber((la / bytes) | 0);
  }

  /** {@link part} for the set that the page with a number, modulo 2^32, goes into. */
  partAtNumber(number: number): void {
    const { real } = this;
    this.part(((number & real.lowMask) ^ ((number >>> real.hashShift) & real.hashMask)) * real.ways);
  }

  /** {@link part} for all sets. */
  partAll(): void {
    this.unflushed.setRecentPcids(this.real.recentPcids());
    for (let set = 0; set < this.real.sets; set++) this.part(set * this.real.ways);
  }

  /** A slot of an unflushed set that is apart was filled: after some of these it is looked whether it is in step again. */
  filled(set: number): void {
    if (--this.fillsLeft[set] === 0) this.tryToJoin(set);
  }

  private tryToJoin(set: number): void {
    const { real, unflushed, apart } = this;
    const { ways, firstOwnPlace } = real;
    this.fillsLeft[set] = FILLS_PER_WAY * ways;
    if (!this.mayJoin || !this.isSame(set)) return;
    for (let slot = set * ways; slot < (set + 1) * ways; slot++) unflushed.drop(slot, set);
    for (let i = 0; i < ways; i++) this.homes[this.realOrder[i]] = this.unflushedOrder[i];
    this.isPermuted[set] = 1;
    this.uses.setInStep(set);
    apart.fill(0, firstOwnPlace + set * ways, firstOwnPlace + (set + 1) * ways);
  }

  private isSame(set: number): boolean {
    const { real, unflushed, realOrder, unflushedOrder } = this;
    if (real.countOf(set) !== real.ways || unflushed.countOf(set) !== real.ways) return false;
    real.replacement.evictionOrder(set, realOrder);
    unflushed.replacement.evictionOrder(set, unflushedOrder);
    for (let i = 0; i < real.ways; i++) {
      if (!this.isSameEntry(realOrder[i], unflushedOrder[i])) return false;
    }
    return true;
  }

  /** Whether a slot of each has the same entry, and no flush is noted at the unflushed one. */
  private isSameEntry(slot: number, other: number): boolean {
    const { real, unflushed } = this;
    return (
      real.tagOf(slot) === unflushed.tagOf(other) &&
      real.contextOf(slot) === unflushed.contextOf(other) &&
      real.frameOf(slot) === unflushed.frameOf(other) &&
      real.flagsOf(slot) === unflushed.flagsOf(other) &&
      unflushed.besides?.[unflushed.firstPlace + other] === 0
    );
  }

  private copy(slot: number): void {
    const { real, unflushed } = this;
    if (!real.isUsed(slot)) return;
    const home = this.homes[slot];
    const size = real.sizeOf(slot);
    const tag = real.guestOf(slot) === 0 ? real.tagOf(slot) : real.tagOf(slot) - GUEST_TAG;
    const number = (real.addressOf(slot) / SIZE_BYTES[size]) | 0;
    unflushed.putBack(home, tag, number, real.contextOf(slot), size, real.frameOf(slot), real.flagsOf(slot));
    unflushed.words[((unflushed.firstPlace + home) << WORD_SHIFT) | WORD_ATTRIBUTES] =
      real.words[((real.firstPlace + slot) << WORD_SHIFT) | WORD_ATTRIBUTES] & ~ATTRIBUTE_STORES;
  }

  /** Gives the unflushed set the replacement state that corresponds to that of the real one. */
  private copyReplacement(set: number): void {
    const { real, unflushed, realOrder, homes } = this;
    if (this.isPermuted[set] === 0) {
      unflushed.replacement.copySet(real.replacement, set);
      return;
    }
    // Uses from the entry that is evicted first to the one that is evicted last leave this order behind.
    real.replacement.evictionOrder(set, realOrder);
    for (let i = 0; i < real.ways; i++) unflushed.replacement.hit(homes[realOrder[i]]);
  }
}
