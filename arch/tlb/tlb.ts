/**
 * One set-associative structure of cached translations: a TLB, or a paging-structure cache. How its entries lie is in tlb-slots.ts; here
 * they are put in and evicted, by the replacement policy and by the number of PCIDs that the structure knows.
 */

import * as translation from "../isa/translation.ts";
import { isGlobalContext } from "../isa/translation.ts";
import type { TlbGeometry, TlbKindName } from "../presets/preset.ts";
import type { CommonArrays, CpuArrays } from "./cpu-arrays.ts";
import * as layout from "./cpu-arrays.ts";
import { replacementWords } from "./replacement-state.ts";
import { entryOf, type StructureCounts } from "./structure-counts.ts";
import { TableSlots } from "./table-slots.ts";
import { indexSize, TlbSlots } from "./tlb-slots.ts";
import { dropContext, pageSizeOf } from "./tlb-sweeps.ts";

// The module's own constants, which V8 folds into the code (arch/fast-path/README.md, "Constants").
const { GUEST_CONTEXTS, GUEST_TAG, SIZE_TABLE, TR_GLOBAL, TR_GUEST_MASK, TR_MASK } = translation;
const { ATTRIBUTE_PCID_MASK, ATTRIBUTE_PCID_SHIFT, ATTRIBUTE_SIZE_SHIFT, FURTHER_GUEST_SHIFT } = layout;
const { CELL_SHIFT, FURTHER_NUMBER_SHIFT, WORD_ATTRIBUTES, WORD_FRAME } = layout;
const { HELD_COUNT_MASK, HELD_EMPTY_SHIFT, SET_SHIFT, SIZES, WORD_LINK, WORD_NEXT, WORD_SHIFT } = layout;

/** Words that a structure takes at the most, beside its records. */
export function tlbWords(geometry: TlbGeometry): number {
  const { sets, ways } = geometry;
  return replacementWords(geometry) + (sets << SET_SHIFT) + SIZES + indexSize(sets * ways) + 32;
}

/** A structure of `sets * ways` entries. */
export class Tlb extends TlbSlots {
  /** Which accesses use it; none for a paging-structure cache. */
  readonly kinds: readonly TlbKindName[];
  /** Where it has entries of tables; used where it is a TLB. */
  readonly tables = new TableSlots(this);
  /** PCIDs that have entries here, the one used last first; null without a limit. */
  private readonly pcids: number[] | null;
  private readonly pcidCapacity: number;
  /** Whether the number of PCIDs is limited. */
  readonly isLimited: boolean;
  /** Whether it is a TLB, and no paging-structure cache. */
  private readonly isTlb: boolean;
  /** The PCID that an entry used last, where the number of PCIDs is limited; else -1. */
  lastPcid = -1;
  /** Whether entries are being removed since one more PCID is used than the structure knows. */
  isMakingRoom = false;
  private readonly common: CommonArrays;
  /** Counts fills and evictions; null while nobody wants them, and then the fast path makes some without this class. */
  counts: StructureCounts | null = null;

  constructor(geometry: TlbGeometry, arrays: CpuArrays, kinds: readonly TlbKindName[] = [], level?: 1 | 2) {
    super(geometry, arrays, level);
    this.common = arrays.common;
    this.pcidCapacity = geometry.pcidCapacity?.value ?? 0;
    this.pcids = this.pcidCapacity > 0 ? [] : null;
    this.isLimited = this.pcidCapacity > 0;
    this.isTlb = kinds.length > 0;
    this.kinds = kinds;
  }

  /** Records a hit of `slot` for the replacement policy. */
  touch(slot: number): void {
    this.replacement.hit(slot);
    if (this.pcids !== null) {
      const context = this.contextOf(slot);
      if (context !== this.lastPcid) this.usePcid(context);
    }
  }

  /**
   * Puts in an entry of a size (`SIZE_*`), evicting another when its set is full; returns its slot. There must be no equal one
   * in it. The PCID of a global translation does not matter. `tag` is that of an entry of the host.
   */
  insert(tag: number, number: number, context: number, size: number, frame: number, flags: number): number {
    const { words, firstPlace, replacement } = this;
    const isGlobal = (flags & TR_GLOBAL) !== 0;
    if (this.pcids !== null && !isGlobal && context !== this.lastPcid) this.usePcid(context);
    const set = (number & this.lowMask) ^ ((number >>> this.hashShift) & this.hashMask);
    const held = words[this.heldOf(set)];
    const used = held & HELD_COUNT_MASK;
    let slot = 0;
    if (used < replacement.filledWays) {
      const first = Math.imul(set, this.ways);
      slot = first + (held >> HELD_EMPTY_SHIFT);
      // As many entries as there are slots below are those: this one is empty, and need not be looked at, where the host's caches do not have it.
      if (used !== slot - first) while (this.isUsed(slot)) slot++;
      this.setHeld(set, used + 1, slot + 1 - first);
    } else {
      slot = replacement.victim(set);
      const evicted = this.sizeOf(slot);
      if (this.counts !== null)
        this.counts.evictions[entryOf(evicted, this.cells[(firstPlace + slot) << CELL_SHIFT])]++;
      words[this.sizeAt + evicted]--;
      if (evicted !== 0) this.countLarge(evicted, -1);
      if (this.headAt >= 0) this.unlink(firstPlace + slot);
    }
    replacement.fill(slot, set);
    if (this.counts !== null) this.counts.fills[entryOf(size, tag)]++;
    this.write(slot, tag, number, context, size, frame, flags);
    return slot;
  }

  /** Counts the entry in `slot` as one of a size: such an entry is written there next. */
  countAs(slot: number, size: number): void {
    const { words, sizeAt } = this;
    words[sizeAt + this.sizeOf(slot)]--;
    words[sizeAt + size]++;
    this.countLarge(this.sizeOf(slot), -1);
    this.countLarge(size, 1);
  }

  /** Writes an entry into `slot`, which is empty or whose entry was taken out of all counts and chains. */
  private write(
    slot: number,
    tag: number,
    number: number,
    context: number,
    size: number,
    frame: number,
    flags: number,
  ): void {
    const { cells, words, replacement } = this;
    const guest = context < GUEST_CONTEXTS ? 0 : Math.floor(context / GUEST_CONTEXTS);
    const isGlobal = (flags & TR_GLOBAL) !== 0;
    const place = this.firstPlace + slot;
    if (replacement.isTree) this.bytes[replacement.marksAt + slot] = number >>> this.markShift;
    const record = place << WORD_SHIFT;
    cells[place << CELL_SHIFT] = guest === 0 ? tag : tag + GUEST_TAG;
    words[record | WORD_FRAME] = frame | 0;
    words[record | WORD_ATTRIBUTES] =
      (flags & TR_MASK) |
      (isGlobal ? 0 : (context & ATTRIBUTE_PCID_MASK) << ATTRIBUTE_PCID_SHIFT) |
      (size << ATTRIBUTE_SIZE_SHIFT);
    const further =
      (frame < 0x1_0000_0000 ? 0 : Math.floor(frame / 0x1_0000_0000)) |
      ((flags & TR_GUEST_MASK) >> FURTHER_GUEST_SHIFT) |
      (guest << FURTHER_NUMBER_SHIFT);
    // All are 0 most often, and with many CPUs the host's caches have none of them.
    if (further !== 0 || this.common.hasFurther) {
      this.common.hasFurther = true;
      this.further[place] = further;
    }
    if (this.besides !== null) this.besides[place] = 0;
    words[this.sizeAt + size]++;
    if (size !== 0) this.countLarge(size, 1);
    if (size === SIZE_TABLE) {
      if (this.isTlb) this.tables.add(slot);
    } else if (size < pageSizeOf(flags)) {
      this.mayHoldPieces = true;
    }
    if (this.headAt >= 0) {
      const head = this.headAt + (number & this.headMask);
      const next = words[head];
      words[record | WORD_NEXT] = next;
      words[(next << WORD_SHIFT) | WORD_LINK] = record | WORD_NEXT;
      words[record | WORD_LINK] = head;
      words[head] = place;
    }
  }

  /** {@link insert} into an empty slot that is given, without a trace in the replacement state and the PCIDs: for saved states. */
  putBack(
    slot: number,
    tag: number,
    number: number,
    context: number,
    size: number,
    frame: number,
    flags: number,
  ): void {
    const set = (slot / this.ways) | 0;
    this.setHeld(set, this.countOf(set) + 1, this.words[this.heldOf(set)] >> HELD_EMPTY_SHIFT);
    this.write(slot, tag, number, context, size, frame, flags);
  }

  /** The PCIDs that it knows, the latest used first; empty where their number is not limited. */
  recentPcids(): readonly number[] {
    return this.pcids ?? [];
  }

  /** Replaces them. */
  setRecentPcids(pcids: Iterable<number>): void {
    this.pcids?.splice(0, this.pcids.length, ...pcids);
    this.lastPcid = this.pcids?.[0] ?? -1;
  }

  /** Removes everything. */
  clear(): void {
    const { words, cells, ways, firstPlace } = this;
    let left = this.count;
    if (left === 0) return;
    for (let set = 0; left > 0; set++) {
      const count = this.countOf(set);
      if (count === 0) continue;
      left -= count;
      this.setHeld(set, 0, 0);
      for (let slot = set * ways; slot < (set + 1) * ways; slot++) {
        if (this.onDrop !== null && this.isUsed(slot)) this.onDrop(slot);
        cells[(firstPlace + slot) << CELL_SHIFT] = Number.NaN;
      }
    }
    words[this.largeAt] -= words[this.sizeAt + 1] + words[this.sizeAt + 2];
    for (let size = 0; size < SIZES; size++) words[this.sizeAt + size] = 0;
    if (this.headAt >= 0) words.fill(0, this.headAt, this.headAt + this.headMask + 1);
    if (this.pcids !== null) this.pcids.length = 0;
    this.tables.clear();
    this.mayHoldPieces = false;
    this.lastPcid = -1;
  }

  /** Keeps the PCIDs in order of use and, beyond the capacity, removes the entries of the one used least recently. */
  private usePcid(context: number): void {
    if (isGlobalContext(context) || this.pcids === null) return;
    this.lastPcid = context;
    const at = this.pcids.indexOf(context);
    if (at >= 0) this.pcids.splice(at, 1);
    this.pcids.unshift(context);
    if (this.pcids.length <= this.pcidCapacity) return;
    this.isMakingRoom = true;
    dropContext(this, this.pcids.pop() as number);
    this.isMakingRoom = false;
  }
}
