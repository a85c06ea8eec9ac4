/**
 * One set-associative structure of cached translations: a TLB, or a paging-structure cache. Its entries lie in the two typed
 * arrays that all structures of a CPU share (cpu-arrays.ts); slot = set * ways + way, place = first place + slot.
 *
 * An entry's tag is the first linear address it covers plus a step for its size (translation.ts), which tells entries of different
 * sizes apart; its context (arch/isa/translation.ts) is the PCID, or the mark of a global translation, and the guest (Intel SDM vol.
 * 3A, 4.10.1, 4.10.2; vol. 3C, 29.4). What removes many entries is in tlb-sweeps.ts.
 */

import * as translation from "../isa/translation.ts";
import { isGlobalContext } from "../isa/translation.ts";
import type { TlbGeometry, TlbKindName } from "../presets/preset.ts";
import type { CpuArrays } from "./cpu-arrays.ts";
import * as layout from "./cpu-arrays.ts";
import { ReplacementState, replacementWords } from "./replacement-state.ts";
import { TableSlots } from "./table-slots.ts";
import { dropContext, pageSizeOf } from "./tlb-sweeps.ts";

// The module's own constants, which V8 folds into the code (arch/fast-path/README.md, "Constants").
const { GLOBAL_CONTEXT, GUEST_CONTEXTS, GUEST_TAG, SIZE_TABLE, TR_GLOBAL, TR_GUEST_MASK, TR_MASK } = translation;
const { FURTHER_FRAME_HIGH, FURTHER_GUEST_SHIFT, FURTHER_NUMBER_SHIFT } = layout;
const { ATTRIBUTE_MEMORY, ATTRIBUTE_PCID_MASK, ATTRIBUTE_PCID_SHIFT, ATTRIBUTE_SIZE_SHIFT } = layout;
const { CELL_SHIFT, LARGE_TRANSLATIONS_WORD, WORD_ATTRIBUTES, WORD_FRAME, WORD_LINK, WORD_NEXT, WORD_SHIFT } = layout;

/** Paging-structure caches whose sets have more ways than this are searched through an index. */
const SCANNED_WAYS_MAX = 4;

const SIZES = 4;

/** Words that a structure takes at the most, beside its records. */
export function tlbWords(geometry: TlbGeometry): number {
  const { sets, ways } = geometry;
  return replacementWords(geometry) + 2 * sets + 4 + indexSize(sets * ways) + 32;
}

function indexSize(slots: number): number {
  return 1 << (32 - Math.clz32(2 * slots - 1));
}

/** A structure of `sets * ways` entries. */
export class Tlb {
  /** The preset's name for it. */
  readonly name: string;
  /** Number of sets, a power of two. */
  readonly sets: number;
  /** Slots of a set. */
  readonly ways: number;
  /** Number of slots. */
  readonly slots: number;
  /** Which accesses use it; none for a paging-structure cache. */
  readonly kinds: readonly TlbKindName[];
  /** The CPU's arrays (cpu-arrays.ts), as cells. */
  readonly cells: Float64Array;
  /** The CPU's arrays, as words. */
  readonly words: Int32Array;
  private readonly bytes: Uint8Array;
  private readonly further: Int32Array;
  /** The place of slot 0. */
  readonly firstPlace: number;
  /** What is evicted next. */
  readonly replacement: ReplacementState;
  /** Byte of the mark of slot 0: the eight bits of its page number above those that choose the set. */
  readonly marksAt: number;
  /** Word of the number of entries of size 0; those of the other sizes follow. */
  readonly sizeAt: number;
  /** Whether it may hold pieces of pages that are larger than its sizes. */
  mayHoldPieces = false;
  /** Where it has entries of tables; used where it is a TLB. */
  readonly tables = new TableSlots(this);
  /** Told of every entry that is removed other than to make room; null for no listener. */
  onDrop: ((tlb: Tlb, slot: number) => void) | null = null;

  /** The bits of a page number, once hashed, that choose the set. */
  readonly setMask: number;
  /** log2 of the number of sets. */
  readonly hashShift: number;
  /** Which bits above the set's are XORed onto it: all for the index hash `xor`, none for `linear`. */
  readonly hashMask: number;
  /** Word of the number of entries of set 0. */
  readonly countAt: number;
  /** Word of the first place of the first of the chains by page number; -1 when sets are scanned. */
  readonly headAt: number;
  /** The bits of a page number that choose its chain. */
  readonly headMask: number;
  /** PCIDs that have entries here, the one used last first; null without a limit. */
  private readonly pcids: number[] | null;
  private readonly pcidCapacity: number;
  /** Whether the number of PCIDs is limited. */
  readonly isLimited: boolean;
  /** The PCID that an entry used last, where the number of PCIDs is limited; else -1. */
  lastPcid = -1;

  constructor(geometry: TlbGeometry, arrays: CpuArrays, kinds: readonly TlbKindName[] = [], level?: 1 | 2) {
    const { sets, ways } = geometry;
    const slots = sets * ways;
    this.name = geometry.name;
    this.kinds = kinds;
    this.sets = sets;
    this.ways = ways;
    this.slots = slots;
    this.cells = arrays.cells;
    this.words = arrays.words;
    this.bytes = arrays.bytes;
    this.further = arrays.further;
    this.firstPlace = arrays.takePlaces(slots);
    this.replacement = new ReplacementState(geometry, arrays, this.firstPlace, level === 1);
    this.marksAt = this.replacement.isTree ? arrays.takeWords(sets) << 2 : -1;
    this.countAt = arrays.takeWords(sets);
    this.sizeAt = arrays.takeWords(4);
    this.setMask = sets - 1;
    this.hashShift = 31 - Math.clz32(sets);
    this.hashMask = geometry.indexHash === "xor" ? sets - 1 : 0;
    const isIndexed = level === undefined ? ways > SCANNED_WAYS_MAX : !this.replacement.isTree;
    this.headMask = indexSize(slots) - 1;
    this.headAt = isIndexed ? arrays.takeWords(this.headMask + 1) : -1;
    this.pcidCapacity = geometry.pcidCapacity?.value ?? 0;
    this.pcids = this.pcidCapacity > 0 ? [] : null;
    this.isLimited = this.pcidCapacity > 0;
  }

  /**
   * The slot that holds `untagged`, the tag of an entry of the host, in a context, or global in that of its guest; or -1. Changes
   * nothing.
   * @param number the page number, modulo 2^32
   */
  find(untagged: number, number: number, context: number): number {
    const { cells, words, firstPlace } = this;
    const tag = context < GUEST_CONTEXTS ? untagged : untagged + GUEST_TAG;
    if (this.headAt >= 0) {
      let place = words[this.headAt + (number & this.headMask)];
      while (place !== 0) {
        if (cells[place << CELL_SHIFT] === tag && this.isOf(place, context)) return place - firstPlace;
        place = words[(place << WORD_SHIFT) | WORD_NEXT];
      }
      return -1;
    }
    const set = (number ^ ((number >>> this.hashShift) & this.hashMask)) & this.setMask;
    const first = firstPlace + set * this.ways;
    const end = first + this.ways;
    for (let place = first; place < end; place++) {
      if (cells[place << CELL_SHIFT] === tag && this.isOf(place, context)) return place - firstPlace;
    }
    return -1;
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
    const set = (number ^ ((number >>> this.hashShift) & this.hashMask)) & this.setMask;
    const first = set * this.ways;
    let slot = first;
    if (words[this.countAt + set] < this.ways) {
      while (this.isUsed(slot)) slot++;
      words[this.countAt + set]++;
    } else {
      slot = replacement.victim(set);
      const evicted = this.sizeOf(slot);
      words[this.sizeAt + evicted]--;
      if (evicted !== 0) this.countLarge(evicted, -1);
      if (this.headAt >= 0) this.unlink(firstPlace + slot);
    }
    replacement.fill(slot);
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
    const guest = Math.floor(context / GUEST_CONTEXTS);
    const isGlobal = (flags & TR_GLOBAL) !== 0;
    const place = this.firstPlace + slot;
    if (replacement.isTree) this.bytes[this.marksAt + slot] = number >>> this.hashShift;
    const record = place << WORD_SHIFT;
    cells[place << CELL_SHIFT] = guest === 0 ? tag : tag + GUEST_TAG;
    words[record | WORD_FRAME] = frame | 0;
    words[record | WORD_ATTRIBUTES] =
      (flags & TR_MASK) |
      (isGlobal ? 0 : (context & ATTRIBUTE_PCID_MASK) << ATTRIBUTE_PCID_SHIFT) |
      (size << ATTRIBUTE_SIZE_SHIFT);
    this.further[place] =
      Math.floor(frame / 0x1_0000_0000) |
      ((flags & TR_GUEST_MASK) >> FURTHER_GUEST_SHIFT) |
      (guest << FURTHER_NUMBER_SHIFT);
    words[this.sizeAt + size]++;
    if (size !== 0) this.countLarge(size, 1);
    if (size < pageSizeOf(flags)) this.mayHoldPieces = true;
    if (size === SIZE_TABLE && this.kinds.length > 0) this.tables.add(slot);
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
    this.words[this.countAt + ((slot / this.ways) | 0)]++;
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

  /** Removes the entry in `slot`. */
  drop(slot: number): void {
    if (this.onDrop !== null) this.onDrop(this, slot);
    if (this.headAt >= 0) this.unlink(this.firstPlace + slot);
    this.words[this.sizeAt + this.sizeOf(slot)]--;
    this.countLarge(this.sizeOf(slot), -1);
    this.words[this.countAt + ((slot / this.ways) | 0)]--;
    this.cells[(this.firstPlace + slot) << CELL_SHIFT] = Number.NaN;
  }

  /** Removes everything. */
  clear(): void {
    const { words, cells, ways, firstPlace, countAt } = this;
    let left = this.count;
    if (left === 0) return;
    for (let set = 0; left > 0; set++) {
      if (words[countAt + set] === 0) continue;
      left -= words[countAt + set];
      words[countAt + set] = 0;
      for (let slot = set * ways; slot < (set + 1) * ways; slot++) {
        if (this.onDrop !== null && this.isUsed(slot)) this.onDrop(this, slot);
        cells[(firstPlace + slot) << CELL_SHIFT] = Number.NaN;
      }
    }
    words[LARGE_TRANSLATIONS_WORD] -= words[this.sizeAt + 1] + words[this.sizeAt + 2];
    for (let size = 0; size < SIZES; size++) words[this.sizeAt + size] = 0;
    if (this.headAt >= 0) words.fill(0, this.headAt, this.headAt + this.headMask + 1);
    if (this.pcids !== null) this.pcids.length = 0;
    this.tables.clear();
    this.mayHoldPieces = false;
    this.lastPcid = -1;
  }

  /** Number of entries. */
  get count(): number {
    const { words, sizeAt } = this;
    return words[sizeAt] + words[sizeAt + 1] + words[sizeAt + 2] + words[sizeAt + 3];
  }

  /** Whether it holds no entry. */
  get isEmpty(): boolean {
    return this.count === 0;
  }

  /** Whether `slot` holds an entry. */
  isUsed(slot: number): boolean {
    return !Number.isNaN(this.cells[(this.firstPlace + slot) << CELL_SHIFT]);
  }

  /** The first linear address that the entry in `slot` covers. */
  addressOf(slot: number): number {
    return Math.floor(this.cells[(this.firstPlace + slot) << CELL_SHIFT] / 4096) * 4096;
  }

  /** The size (`SIZE_*`) of the entry in `slot`. */
  sizeOf(slot: number): number {
    return (this.words[this.recordOf(slot) | WORD_ATTRIBUTES] >> ATTRIBUTE_SIZE_SHIFT) & 3;
  }

  /** The PCID of the entry in `slot`, or `GLOBAL_CONTEXT`; of whichever guest. */
  pcidOf(slot: number): number {
    const attributes = this.words[this.recordOf(slot) | WORD_ATTRIBUTES];
    return (attributes & TR_GLOBAL) !== 0 ? GLOBAL_CONTEXT : (attributes >> ATTRIBUTE_PCID_SHIFT) & ATTRIBUTE_PCID_MASK;
  }

  /** The number of the guest whose entry is in `slot`; 0: the host. */
  guestOf(slot: number): number {
    const isOfHost = (this.words[this.recordOf(slot) | WORD_ATTRIBUTES] & ATTRIBUTE_MEMORY) !== 0;
    return isOfHost ? 0 : this.further[this.firstPlace + slot] >>> FURTHER_NUMBER_SHIFT;
  }

  /** Whose entry is in `slot` (arch/isa/translation.ts). */
  contextOf(slot: number): number {
    return this.guestOf(slot) * GUEST_CONTEXTS + this.pcidOf(slot);
  }

  /** The first 4 KiB frame of the page, or the frame of the table, of the entry in `slot`. */
  frameOf(slot: number): number {
    const record = this.recordOf(slot);
    const low = this.words[record | WORD_FRAME] >>> 0;
    if ((this.words[record | WORD_ATTRIBUTES] & ATTRIBUTE_MEMORY) !== 0) return low;
    return low + (this.further[this.firstPlace + slot] & FURTHER_FRAME_HIGH) * 0x1_0000_0000;
  }

  /** Notes that there is a chunk of memory for the frame of the 4 KiB page in `slot`. */
  markMemory(slot: number): void {
    this.words[this.recordOf(slot) | WORD_ATTRIBUTES] |= ATTRIBUTE_MEMORY;
  }

  /** Its tag; that of an entry of a guest is `GUEST_TAG` more than the host's. */
  tagOf(slot: number): number {
    return this.cells[(this.firstPlace + slot) << CELL_SHIFT];
  }

  /** Rights and attributes (`TR_*`) of the entry in `slot`. */
  flagsOf(slot: number): number {
    const attributes = this.words[this.recordOf(slot) | WORD_ATTRIBUTES];
    // The fast path, which is for the host only, leaves what is in `further`.
    if ((attributes & ATTRIBUTE_MEMORY) !== 0) return attributes & TR_MASK;
    const further = this.further[this.firstPlace + slot];
    return (attributes & TR_MASK) | ((further << FURTHER_GUEST_SHIFT) & TR_GUEST_MASK);
  }

  /** Whether the entry at `place`, which has the tag of a context's host or guest, is of that context or global. */
  private isOf(place: number, context: number): boolean {
    const attributes = this.words[(place << WORD_SHIFT) | WORD_ATTRIBUTES];
    const pcid = (attributes >> ATTRIBUTE_PCID_SHIFT) & ATTRIBUTE_PCID_MASK;
    if ((attributes & TR_GLOBAL) === 0 && pcid !== (context & ATTRIBUTE_PCID_MASK)) return false;
    return (
      context < GUEST_CONTEXTS || this.further[place] >>> FURTHER_NUMBER_SHIFT === ((context / GUEST_CONTEXTS) | 0)
    );
  }

  private recordOf(slot: number): number {
    return (this.firstPlace + slot) << WORD_SHIFT;
  }

  /** Keeps the PCIDs in order of use and, beyond the capacity, removes the entries of the one used least recently. */
  private usePcid(context: number): void {
    if (isGlobalContext(context) || this.pcids === null) return;
    this.lastPcid = context;
    const at = this.pcids.indexOf(context);
    if (at >= 0) this.pcids.splice(at, 1);
    this.pcids.unshift(context);
    if (this.pcids.length > this.pcidCapacity) dropContext(this, this.pcids.pop() as number);
  }

  private countLarge(size: number, change: number): void {
    if (size === 1 || size === 2) this.words[LARGE_TRANSLATIONS_WORD] += change;
  }

  /** Takes `place` out of its chain. */
  private unlink(place: number): void {
    const { words } = this;
    const record = place << WORD_SHIFT;
    const link = words[record | WORD_LINK];
    const next = words[record | WORD_NEXT];
    words[link] = next;
    words[(next << WORD_SHIFT) | WORD_LINK] = link;
  }
}
