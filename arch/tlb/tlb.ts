/**
 * One set-associative structure of cached translations: a TLB, or a paging-structure cache. Its entries lie in the two typed
 * arrays that all structures of a CPU share (cpu-arrays.ts); slot = set * ways + way, place = first place + slot.
 *
 * An entry's tag is the first linear address it covers plus a step for its size (translation.ts), which tells entries of different
 * sizes apart; its context is the PCID, or the mark of a global translation, with the size (Intel SDM vol. 3A, 4.10.1,
 * 4.10.2).
 */

import * as translation from "../isa/translation.ts";
import type { TlbGeometry, TlbKindName } from "../presets/preset.ts";
import type { CpuArrays } from "./cpu-arrays.ts";
import * as layout from "./cpu-arrays.ts";
import { ReplacementState, replacementWords } from "./replacement-state.ts";
import { TableSlots } from "./table-slots.ts";

// The module's own constants, which V8 folds into the code (arch/fast-path/README.md, "Constants").
const { GLOBAL_CONTEXT, SIZE_TABLE, TR_GLOBAL, TR_MASK, TR_SIZE_SHIFT } = translation;
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
  private readonly frameHigh: Uint8Array;
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
    this.frameHigh = arrays.frameHigh;
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

  /** The slot that holds `tag`, with page number `number` (modulo 2^32), under `pcid` or global; or -1. Changes nothing. */
  find(tag: number, number: number, pcid: number): number {
    const { cells, words, firstPlace } = this;
    if (this.headAt >= 0) {
      let place = words[this.headAt + (number & this.headMask)];
      while (place !== 0) {
        if (cells[place << CELL_SHIFT] === tag && this.isOf(place, pcid)) return place - firstPlace;
        place = words[(place << WORD_SHIFT) | WORD_NEXT];
      }
      return -1;
    }
    const set = (number ^ ((number >>> this.hashShift) & this.hashMask)) & this.setMask;
    const first = firstPlace + set * this.ways;
    const end = first + this.ways;
    for (let place = first; place < end; place++) {
      if (cells[place << CELL_SHIFT] === tag && this.isOf(place, pcid)) return place - firstPlace;
    }
    return -1;
  }

  /** Records a hit of `slot` for the replacement policy. */
  touch(slot: number): void {
    this.replacement.hit(slot);
    if (this.pcids !== null) {
      const pcid = this.pcidOf(slot);
      if (pcid !== this.lastPcid) this.usePcid(pcid);
    }
  }

  /**
   * Puts in an entry of a size (`SIZE_*`), evicting another when its set is full; returns its slot. There must be no equal one
   * in it. The PCID of a global translation does not matter.
   */
  insert(tag: number, number: number, pcid: number, size: number, frame: number, flags: number): number {
    const { words, firstPlace, replacement } = this;
    const isGlobal = (flags & TR_GLOBAL) !== 0;
    if (this.pcids !== null && !isGlobal && pcid !== this.lastPcid) this.usePcid(pcid);
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
    this.write(slot, tag, number, pcid, size, frame, flags);
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
    pcid: number,
    size: number,
    frame: number,
    flags: number,
  ): void {
    const { cells, words, replacement } = this;
    const isGlobal = (flags & TR_GLOBAL) !== 0;
    const place = this.firstPlace + slot;
    if (replacement.isTree) this.bytes[this.marksAt + slot] = number >>> this.hashShift;
    const record = place << WORD_SHIFT;
    cells[place << CELL_SHIFT] = tag;
    words[record | WORD_FRAME] = frame | 0;
    words[record | WORD_ATTRIBUTES] =
      flags | (isGlobal ? 0 : pcid << ATTRIBUTE_PCID_SHIFT) | (size << ATTRIBUTE_SIZE_SHIFT);
    this.frameHigh[place] = Math.floor(frame / 0x1_0000_0000);
    words[this.sizeAt + size]++;
    if (size !== 0) this.countLarge(size, 1);
    if (size < ((flags >> TR_SIZE_SHIFT) & 3)) this.mayHoldPieces = true;
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
  putBack(slot: number, tag: number, number: number, pcid: number, size: number, frame: number, flags: number): void {
    this.words[this.countAt + ((slot / this.ways) | 0)]++;
    this.write(slot, tag, number, pcid, size, frame, flags);
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

  /** Removes the entries of one size for `tag`, of one PCID or of all (-1), global ones only if asked to. */
  dropTag(tag: number, number: number, pcid: number, globals: boolean): void {
    const { cells, words, firstPlace } = this;
    if (this.headAt < 0) {
      const set = (number ^ ((number >>> this.hashShift) & this.hashMask)) & this.setMask;
      const first = firstPlace + set * this.ways;
      for (let place = first; place < first + this.ways; place++) {
        if (cells[place << CELL_SHIFT] === tag) this.dropIfOf(place - firstPlace, pcid, globals);
      }
      return;
    }
    let place = words[this.headAt + (number & this.headMask)];
    while (place !== 0) {
      const next = words[(place << WORD_SHIFT) | WORD_NEXT];
      if (cells[place << CELL_SHIFT] === tag) this.dropIfOf(place - firstPlace, pcid, globals);
      place = next;
    }
  }

  /** Removes the entries of one PCID; global ones stay. */
  dropPcid(pcid: number): void {
    const { words, countAt, ways } = this;
    let left = this.count;
    for (let set = 0; left > 0; set++) {
      if (words[countAt + set] === 0) continue;
      left -= words[countAt + set];
      const end = (set + 1) * ways;
      for (let slot = set * ways; slot < end; slot++) {
        if (this.isUsed(slot) && this.pcidOf(slot) === pcid) this.drop(slot);
      }
    }
  }

  /** Removes every entry but the global ones. */
  dropNonGlobal(): void {
    if (this.isEmpty) return;
    for (let slot = 0; slot < this.slots; slot++) {
      if (this.isUsed(slot) && this.pcidOf(slot) !== GLOBAL_CONTEXT) this.drop(slot);
    }
  }

  /** Removes the entry in `slot` if it is of one PCID, or of any (-1); a global one if asked to. */
  private dropIfOf(slot: number, pcid: number, globals: boolean): void {
    const context = this.pcidOf(slot);
    if (context === GLOBAL_CONTEXT ? globals : pcid === -1 || context === pcid) this.drop(slot);
  }

  /** Number of entries. */
  private get count(): number {
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

  /** The PCID of the entry in `slot`, or `GLOBAL_CONTEXT`. */
  pcidOf(slot: number): number {
    const attributes = this.words[this.recordOf(slot) | WORD_ATTRIBUTES];
    return (attributes & TR_GLOBAL) !== 0 ? GLOBAL_CONTEXT : (attributes >> ATTRIBUTE_PCID_SHIFT) & ATTRIBUTE_PCID_MASK;
  }

  /** The first 4 KiB frame of the page, or the frame of the table, of the entry in `slot`. */
  frameOf(slot: number): number {
    const record = this.recordOf(slot);
    const low = this.words[record | WORD_FRAME] >>> 0;
    if ((this.words[record | WORD_ATTRIBUTES] & ATTRIBUTE_MEMORY) !== 0) return low;
    return low + this.frameHigh[this.firstPlace + slot] * 0x1_0000_0000;
  }

  /** Notes that there is a chunk of memory for the frame of the 4 KiB page in `slot`. */
  markMemory(slot: number): void {
    this.words[this.recordOf(slot) | WORD_ATTRIBUTES] |= ATTRIBUTE_MEMORY;
  }

  /** Its tag. */
  tagOf(slot: number): number {
    return this.cells[(this.firstPlace + slot) << CELL_SHIFT];
  }

  /** Rights and attributes (`TR_*`) of the entry in `slot`. */
  flagsOf(slot: number): number {
    return this.words[this.recordOf(slot) | WORD_ATTRIBUTES] & TR_MASK;
  }

  private isOf(place: number, pcid: number): boolean {
    const attributes = this.words[(place << WORD_SHIFT) | WORD_ATTRIBUTES];
    return (attributes & TR_GLOBAL) !== 0 || ((attributes >> ATTRIBUTE_PCID_SHIFT) & ATTRIBUTE_PCID_MASK) === pcid;
  }

  private recordOf(slot: number): number {
    return (this.firstPlace + slot) << WORD_SHIFT;
  }

  /** Keeps the PCIDs in order of use and, beyond the capacity, removes the entries of the one used least recently. */
  private usePcid(pcid: number): void {
    if (pcid === GLOBAL_CONTEXT || this.pcids === null) return;
    this.lastPcid = pcid;
    const at = this.pcids.indexOf(pcid);
    if (at >= 0) this.pcids.splice(at, 1);
    this.pcids.unshift(pcid);
    if (this.pcids.length > this.pcidCapacity) this.dropPcid(this.pcids.pop() as number);
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
