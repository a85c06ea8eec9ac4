/**
 * The entries of one set-associative structure of cached translations: a TLB, or a paging-structure cache (tlb.ts puts them in). They lie
 * in the two typed arrays that all structures of a CPU share (cpu-arrays.ts); slot = set * ways + way, place = first place + slot.
 *
 * An entry's tag is the first linear address it covers plus a step for its size (translation.ts), which tells entries of different
 * sizes apart; its context (arch/isa/translation.ts) is the PCID, or the mark of a global translation, and the guest (Intel SDM vol.
 * 3A, 4.10.1, 4.10.2; vol. 3C, 29.4). What removes many entries is in tlb-sweeps.ts.
 */

import * as translation from "../isa/translation.ts";
import { setIndex } from "../presets/index-hash.ts";
import type { TlbGeometry } from "../presets/preset.ts";
import type { CpuArrays } from "./cpu-arrays.ts";
import * as layout from "./cpu-arrays.ts";
import { ReplacementState } from "./replacement-state.ts";

// The module's own constants, which V8 folds into the code (arch/fast-path/README.md, "Constants").
const { GLOBAL_CONTEXT, GUEST_CONTEXTS, GUEST_TAG, SIZE_TABLE, TR_GLOBAL, TR_GUEST_MASK, TR_MASK, TR_SIZE_SHIFT } =
  translation;
const { FURTHER_FRAME_HIGH, FURTHER_GUEST_SHIFT, FURTHER_NUMBER_SHIFT } = layout;
const { ATTRIBUTE_MEMORY, ATTRIBUTE_PCID_MASK, ATTRIBUTE_PCID_SHIFT, ATTRIBUTE_SIZE_SHIFT } = layout;
const { CELL_SHIFT, HELD_COUNT_MASK, HELD_EMPTY_SHIFT, LARGE_TRANSLATIONS_WORD, SET_HELD, SET_SHIFT } = layout;
const { WORD_ATTRIBUTES, WORD_FRAME, WORD_LINK, WORD_NEXT, WORD_SHIFT } = layout;

/** No size of page. */
const NO_SIZE = -1;
/** Paging-structure caches whose sets have more ways than this are searched through an index. */
const SCANNED_WAYS_MAX = 4;

/** Chains of the index by page number that a structure with so many slots has, a power of two. */
export function indexSize(slots: number): number {
  return 1 << (32 - Math.clz32(2 * slots - 1));
}

/** The entries of a structure of `sets * ways` slots. */
export class TlbSlots {
  /** The preset's name for it. */
  readonly name: string;
  /** Number of sets, a power of two. */
  readonly sets: number;
  /** Slots of a set. */
  readonly ways: number;
  /** Number of slots. */
  readonly slots: number;
  /** The CPU's arrays (cpu-arrays.ts), as cells. */
  readonly cells: Float64Array;
  /** The CPU's arrays, as words. */
  readonly words: Int32Array;
  protected readonly bytes: Uint8Array;
  protected readonly further: Int32Array;
  /** The place of slot 0. */
  readonly firstPlace: number;
  /** That place counted from the first of the CPU's (`CpuArrays.firstPlace`). */
  readonly firstOwnPlace: number;
  /** What is evicted next. */
  readonly replacement: ReplacementState;
  /** Word of the number of entries of size 0; those of the other sizes follow. */
  readonly sizeAt: number;
  /** Word of the number of translations of large pages in all structures of the CPU (`LARGE_TRANSLATIONS_WORD`). */
  readonly largeAt: number;
  /** Whether it may hold pieces of pages that are larger than its sizes. */
  mayHoldPieces = false;
  /** Told of every entry that is removed other than to make room; null for no listener. */
  onDrop: ((slot: number) => void) | null = null;
  /** What somebody keeps beside the entries, by place: a new entry begins with 0. Null where nobody does. */
  besides: Float64Array | null = null;

  /** The bits of a page number that choose the set as they are (arch/presets/index-hash.ts). */
  readonly lowMask: number;
  /** How far the bits are shifted that are XORed onto these. */
  readonly hashShift: number;
  /** Which these are, once shifted: none for the index hash `linear`. */
  readonly hashMask: number;
  /** log2 of the number of sets: the bits of a page number from there on are its mark. */
  readonly markShift: number;
  /** Word of the row of set 0 (`SET_*`). */
  readonly setsAt: number;
  /** Word of the first place of the first of the chains by page number; -1 when sets are scanned. */
  readonly headAt: number;
  /** The bits of a page number that choose its chain. */
  readonly headMask: number;

  /** @param level 1 or 2 of a TLB; none for a paging-structure cache */
  constructor(geometry: TlbGeometry, arrays: CpuArrays, level?: 1 | 2) {
    const { sets, ways } = geometry;
    const slots = sets * ways;
    const { lowMask, hashShift, hashMask } = setIndex(sets, geometry.indexHash);
    // V8 lays out an object in the order in which it gets its fields: those of walks first (`ReplacementState` says more).
    this.cells = arrays.cells;
    this.words = arrays.words;
    this.firstPlace = arrays.takePlaces(slots);
    this.ways = ways;
    this.lowMask = lowMask;
    this.hashShift = hashShift;
    this.hashMask = hashMask;
    this.setsAt = arrays.takeWords(sets << SET_SHIFT);
    this.sizeAt = arrays.takeSizes();
    this.largeAt = arrays.firstWord + LARGE_TRANSLATIONS_WORD;
    this.replacement = new ReplacementState(geometry, arrays, this.firstPlace, this.setsAt, level === 1);
    const isIndexed = level === undefined ? ways > SCANNED_WAYS_MAX : !this.replacement.isTree;
    this.headMask = indexSize(slots) - 1;
    this.headAt = isIndexed ? arrays.takeWords(this.headMask + 1) : -1;
    this.markShift = 31 - Math.clz32(sets);
    this.firstOwnPlace = this.firstPlace - arrays.firstPlace;
    this.name = geometry.name;
    this.sets = sets;
    this.slots = slots;
    this.bytes = arrays.bytes;
    this.further = arrays.further;
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
    const set = (number & this.lowMask) ^ ((number >>> this.hashShift) & this.hashMask);
    const first = firstPlace + set * this.ways;
    const end = first + this.ways;
    for (let place = first; place < end; place++) {
      if (cells[place << CELL_SHIFT] === tag && this.isOf(place, context)) return place - firstPlace;
    }
    return -1;
  }

  /** {@link find} of exactly this context: a global one only for that of global ones. */
  findOfContext(untagged: number, number: number, context: number): number {
    const { cells, words, firstPlace } = this;
    const tag = context < GUEST_CONTEXTS ? untagged : untagged + GUEST_TAG;
    if (this.headAt >= 0) {
      let place = words[this.headAt + (number & this.headMask)];
      while (place !== 0) {
        if (cells[place << CELL_SHIFT] === tag && this.contextOf(place - firstPlace) === context)
          return place - firstPlace;
        place = words[(place << WORD_SHIFT) | WORD_NEXT];
      }
      return -1;
    }
    const first = ((number & this.lowMask) ^ ((number >>> this.hashShift) & this.hashMask)) * this.ways;
    for (let slot = first; slot < first + this.ways; slot++) {
      if (cells[(firstPlace + slot) << CELL_SHIFT] === tag && this.contextOf(slot) === context) return slot;
    }
    return -1;
  }

  /**
   * Whether some slot has a tag, in whatever context.
   * @param number the page number, modulo 2^32
   * @param except a size (`SIZE_*`): of which page, or piece of one, it is not to be
   */
  holdsTag(tag: number, number: number, except = NO_SIZE): boolean {
    const { cells, words, firstPlace } = this;
    if (this.headAt >= 0) {
      let place = words[this.headAt + (number & this.headMask)];
      while (place !== 0 && (cells[place << CELL_SHIFT] !== tag || this.isOfPage(place, except)))
        place = words[(place << WORD_SHIFT) | WORD_NEXT];
      return place !== 0;
    }
    const first = ((number & this.lowMask) ^ ((number >>> this.hashShift) & this.hashMask)) * this.ways;
    for (let slot = first; slot < first + this.ways; slot++) {
      const place = firstPlace + slot;
      if (cells[place << CELL_SHIFT] === tag && !this.isOfPage(place, except)) return true;
    }
    return false;
  }

  /** Whether the entry at a place is all of a page of a size in the page tables, or a piece of one. */
  private isOfPage(place: number, size: number): boolean {
    return ((this.words[(place << WORD_SHIFT) | WORD_ATTRIBUTES] >> TR_SIZE_SHIFT) & 3) === size;
  }

  /** Number of entries. */
  get count(): number {
    const { words, sizeAt } = this;
    return words[sizeAt] + words[sizeAt + 1] + words[sizeAt + 2] + words[sizeAt + 3];
  }

  /** Whether it holds entries of tables. */
  get hasTables(): boolean {
    return this.words[this.sizeAt + SIZE_TABLE] !== 0;
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

  /** Whether the entry in `slot` is of a context: {@link contextOf}. */
  isInContext(slot: number, context: number): boolean {
    if (context >= GLOBAL_CONTEXT) return this.contextOf(slot) === context;
    const attributes = this.words[this.recordOf(slot) | WORD_ATTRIBUTES];
    if ((attributes & TR_GLOBAL) !== 0 || ((attributes >> ATTRIBUTE_PCID_SHIFT) & ATTRIBUTE_PCID_MASK) !== context)
      return false;
    return this.guestOf(slot) === 0;
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

  /** Removes the entry in `slot`, which is in `set`. */
  drop(slot: number, set = (slot / this.ways) | 0): void {
    if (this.onDrop !== null) this.onDrop(slot);
    if (this.headAt >= 0) this.unlink(this.firstPlace + slot);
    const size = this.sizeOf(slot);
    this.words[this.sizeAt + size]--;
    if (size !== 0) this.countLarge(size, -1);
    const count = this.countOf(set);
    const empty = this.words[this.heldOf(set)] >> HELD_EMPTY_SHIFT;
    const way = slot - set * this.ways;
    this.setHeld(set, count - 1, count >= this.replacement.filledWays ? way : Math.min(way, empty));
    this.cells[(this.firstPlace + slot) << CELL_SHIFT] = Number.NaN;
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

  /** Entries of a set. */
  countOf(set: number): number {
    return this.words[this.heldOf(set)] & HELD_COUNT_MASK;
  }

  /** Word of what a set holds. */
  protected heldOf(set: number): number {
    return (this.setsAt + (set << SET_SHIFT)) | SET_HELD;
  }

  /** A set has so many entries now, and none is empty below a way. */
  protected setHeld(set: number, count: number, emptyWay: number): void {
    this.words[this.heldOf(set)] = count < this.replacement.filledWays ? count | (emptyWay << HELD_EMPTY_SHIFT) : count;
  }

  protected recordOf(slot: number): number {
    return (this.firstPlace + slot) << WORD_SHIFT;
  }

  protected countLarge(size: number, change: number): void {
    if (size === 1 || size === 2) this.words[this.largeAt] += change;
  }

  /** Takes `place` out of its chain. */
  protected unlink(place: number): void {
    const { words } = this;
    const record = place << WORD_SHIFT;
    const link = words[record | WORD_LINK];
    const next = words[record | WORD_NEXT];
    words[link] = next;
    words[(next << WORD_SHIFT) | WORD_LINK] = link;
  }
}
