/**
 * One set-associative structure of cached translations: a TLB, or a paging-structure cache. Its entries lie in two typed
 * arrays that all structures of a CPU share, so that code which works on several of them loads few arrays; slot = set *
 * ways + way.
 *
 * An entry's tag is the first linear address it covers plus a quarter of its size's number, which tells entries of different
 * sizes apart; its context is the PCID, or the mark of a global translation, with the size (Intel SDM vol. 3A, 4.10.1,
 * 4.10.2).
 */

import { type CpuArrays, FIRST_RECORDS_AT, FIRST_TAGS_AT, LARGE_AT } from "./cpu-arrays.ts";
import type { TlbGeometry, TlbKindName } from "./preset.ts";
import { replacementPolicy } from "./replacement.ts";
import { CONTEXT_PCID_MASK, CONTEXT_SIZE_SHIFT, GLOBAL_CONTEXT, LEVEL_BYTES, TABLE_TAG } from "./translation.ts";

// V8 folds a module's own constants into the code, but not those that it imports.
const GLOBAL = GLOBAL_CONTEXT;
const PCID_MASK = CONTEXT_PCID_MASK;
const SIZE_SHIFT = CONTEXT_SIZE_SHIFT;
const LARGE = LARGE_AT;

/** Sets of more ways than this are searched through an index. */
const SCANNED_WAYS_MAX = 4;

/** Cells that a structure takes beside those of the first level. */
export function tlbCells(geometry: TlbGeometry): number {
  return 2 * geometry.sets * geometry.ways;
}

/** Words that a structure takes at the most. */
export function tlbWords(geometry: TlbGeometry): number {
  const slots = geometry.sets * geometry.ways;
  return 4 * slots + 2 * geometry.sets + 4 + (slots + indexSize(slots)) + 2 * (slots + geometry.sets) + 32;
}

function indexSize(slots: number): number {
  return 1 << (32 - Math.clz32(2 * slots - 1));
}

/** A structure of `sets * ways` entries. */
export class Tlb {
  readonly name: string;
  readonly sets: number;
  readonly ways: number;
  readonly slots: number;
  /** Which accesses use it; none for a paging-structure cache. */
  readonly kinds: readonly TlbKindName[];
  readonly cells: Float64Array;
  readonly words: Int32Array;
  /** Cell of the tag, and of the frame, of slot 0. A tag is NaN when the slot is empty. */
  readonly tagAt: number;
  readonly frameAt: number;
  /**
   * Word of the record of slot 0, four words each: context, flags (`TR_*`), what a hit of the slot does to its set's
   * replacement state, and the word of that state, negative where replacement is a list.
   */
  readonly recordsAt: number;
  /** Word of the replacement state of set 0. */
  readonly stateAt: number;
  /** Word of the number of entries of size 0; those of the other sizes follow. */
  readonly sizeAt: number;
  /** Whether replacement is LRU kept as a list. */
  readonly isListed: boolean;
  /** Whether pages larger than its sizes are kept in pieces. */
  holdsPieces = false;
  /** Told of every entry that is removed other than to make room; null when nobody wants to know. */
  onDrop: ((tlb: Tlb, slot: number) => void) | null = null;

  /** Whether a fill changes the replacement state as a hit does. */
  readonly fillsLikeHits: boolean;
  /** The way to evict, by state of the set. */
  readonly victims: Uint8Array;
  private readonly fillUse: Int32Array;
  readonly setMask: number;
  readonly hashShift: number;
  readonly hashMask: number;
  /** Word of the number of entries of set 0. */
  readonly countAt: number;
  /** Word of the first of the chains by page number, and of slot 0's link, which is a slot + 1; -1 when sets are scanned. */
  readonly headAt: number;
  readonly nextAt: number;
  readonly headMask: number;
  /** Words of the LRU lists: the slot before and after each, and the first and last slot of each set. */
  private readonly listAt: number;
  private readonly endsAt: number;
  /** PCIDs that have entries here, the one used last first; null without a limit. */
  private readonly pcids: number[] | null;
  private readonly pcidCapacity: number;
  /** Whether the number of PCIDs is limited. */
  readonly isLimited: boolean;
  /** The PCID that an entry used last, where the number of PCIDs is limited; else -1. */
  lastPcid = -1;

  /** @param isFirst whether its slots are among those of the first level */
  constructor(geometry: TlbGeometry, arrays: CpuArrays, kinds: readonly TlbKindName[] = [], isFirst = false) {
    const { sets, ways } = geometry;
    const slots = sets * ways;
    const policy = replacementPolicy(geometry.replacement, ways);
    this.name = geometry.name;
    this.kinds = kinds;
    this.sets = sets;
    this.ways = ways;
    this.slots = slots;
    this.cells = arrays.cells;
    this.words = arrays.words;
    const firstSlot = isFirst ? arrays.takeFirstSlots(slots) : 0;
    this.tagAt = isFirst ? FIRST_TAGS_AT + firstSlot : arrays.takeCells(slots);
    this.frameAt = isFirst ? arrays.firstFramesAt + firstSlot : arrays.takeCells(slots);
    this.recordsAt = isFirst ? FIRST_RECORDS_AT + 4 * firstSlot : arrays.takeWords(4 * slots);
    this.stateAt = arrays.takeWords(sets);
    this.countAt = arrays.takeWords(sets);
    this.sizeAt = arrays.takeWords(4);
    this.fillUse = policy.fillUse;
    this.fillsLikeHits = policy.hitUse === policy.fillUse;
    this.isListed = policy.victims === null;
    this.victims = policy.victims ?? new Uint8Array(1);
    this.setMask = sets - 1;
    this.hashShift = 31 - Math.clz32(sets);
    this.hashMask = geometry.indexHash === "xor" ? sets - 1 : 0;
    const isIndexed = ways > SCANNED_WAYS_MAX;
    this.headMask = indexSize(slots) - 1;
    this.headAt = isIndexed ? arrays.takeWords(this.headMask + 1) : -1;
    this.nextAt = isIndexed ? arrays.takeWords(slots) : -1;
    this.listAt = this.isListed ? arrays.takeWords(2 * slots) : -1;
    this.endsAt = this.isListed ? arrays.takeWords(2 * sets) : -1;
    this.pcidCapacity = geometry.pcidCapacity ?? 0;
    this.pcids = this.pcidCapacity > 0 ? [] : null;
    this.isLimited = this.pcidCapacity > 0;
    this.cells.fill(Number.NaN, this.tagAt, this.tagAt + slots);
    for (let slot = 0; slot < slots; slot++) {
      const record = this.recordsAt + 4 * slot;
      this.words[record + 2] = policy.hitUse[slot % ways];
      this.words[record + 3] = this.isListed ? -1 : this.stateAt + Math.floor(slot / ways);
    }
    if (this.isListed) this.makeLists();
  }

  /** The slot that holds `tag`, with page number `number` (modulo 2^32), under `pcid` or global; or -1. Changes nothing. */
  find(tag: number, number: number, pcid: number): number {
    const { cells, words, tagAt, recordsAt } = this;
    if (this.headAt >= 0) {
      let link = words[this.headAt + (number & this.headMask)];
      while (link !== 0) {
        if (cells[tagAt + link - 1] === tag) {
          const context = words[recordsAt + ((link - 1) << 2)] & PCID_MASK;
          if (context === pcid || context === GLOBAL) return link - 1;
        }
        link = words[this.nextAt + link - 1];
      }
      return -1;
    }
    const set = (number ^ ((number >>> this.hashShift) & this.hashMask)) & this.setMask;
    const first = set * this.ways;
    const end = first + this.ways;
    for (let slot = first; slot < end; slot++) {
      if (cells[tagAt + slot] === tag) {
        const context = words[recordsAt + (slot << 2)] & PCID_MASK;
        if (context === pcid || context === GLOBAL) return slot;
      }
    }
    return -1;
  }

  /** Records a hit of `slot` for the replacement policy. */
  touch(slot: number): void {
    const { words } = this;
    const record = this.recordsAt + (slot << 2);
    const at = words[record + 3];
    if (at >= 0) {
      const use = words[record + 2];
      words[at] = (words[at] & (use >>> 16)) | (use & 0xffff);
    } else {
      this.moveToFront((slot / this.ways) | 0, slot);
    }
    if (this.pcids !== null) {
      const pcid = words[record] & PCID_MASK;
      if (pcid !== this.lastPcid) this.usePcid(pcid);
    }
  }

  /** Puts an entry in, evicting another when its set is full; returns its slot. There must be no equal one in it. */
  insert(tag: number, number: number, context: number, frame: number, flags: number): number {
    const { cells, words, tagAt } = this;
    if (this.pcids !== null && (context & PCID_MASK) !== this.lastPcid) this.usePcid(context & PCID_MASK);
    const set = (number ^ ((number >>> this.hashShift) & this.hashMask)) & this.setMask;
    const first = set * this.ways;
    const stateAt = this.stateAt + set;
    const { recordsAt } = this;
    let slot = first;
    if (words[this.countAt + set] < this.ways) {
      while (!Number.isNaN(cells[tagAt + slot])) slot++;
      words[this.countAt + set]++;
    } else {
      slot = this.isListed ? words[this.endsAt + (set << 1) + 1] : first + this.victims[words[stateAt]];
      const evicted = words[recordsAt + (slot << 2)] >> SIZE_SHIFT;
      words[this.sizeAt + evicted]--;
      if (evicted !== 0) this.countLarge(evicted, -1);
      if (this.headAt >= 0) this.unlink(slot);
    }
    const use = this.fillUse[slot - first];
    words[stateAt] = (words[stateAt] & (use >>> 16)) | (use & 0xffff);
    if (this.isListed) this.moveToFront(set, slot);
    cells[tagAt + slot] = tag;
    cells[this.frameAt + slot] = frame;
    words[recordsAt + (slot << 2)] = context;
    words[recordsAt + (slot << 2) + 1] = flags;
    words[this.sizeAt + (context >> SIZE_SHIFT)]++;
    if (context >> SIZE_SHIFT !== 0) this.countLarge(context >> SIZE_SHIFT, 1);
    if (this.headAt >= 0) {
      const head = this.headAt + (number & this.headMask);
      words[this.nextAt + slot] = words[head];
      words[head] = slot + 1;
    }
    return slot;
  }

  /** Removes the entry in `slot`. */
  drop(slot: number): void {
    if (this.onDrop !== null) this.onDrop(this, slot);
    if (this.headAt >= 0) this.unlink(slot);
    this.words[this.sizeAt + this.sizeOf(slot)]--;
    this.countLarge(this.sizeOf(slot), -1);
    this.words[this.countAt + ((slot / this.ways) | 0)]--;
    this.cells[this.tagAt + slot] = Number.NaN;
  }

  /** Removes everything. */
  clear(): void {
    if (this.isEmpty) return;
    const { words, cells, slots, sets } = this;
    if (this.onDrop !== null) for (let slot = 0; slot < slots; slot++) if (this.isUsed(slot)) this.onDrop(this, slot);
    cells.fill(Number.NaN, this.tagAt, this.tagAt + slots);
    words[LARGE] -= words[this.sizeAt + 1] + words[this.sizeAt + 2];
    words.fill(0, this.sizeAt, this.sizeAt + 4);
    words.fill(0, this.countAt, this.countAt + sets);
    if (this.headAt >= 0) words.fill(0, this.headAt, this.headAt + this.headMask + 1);
    if (this.pcids !== null) this.pcids.length = 0;
    this.lastPcid = -1;
  }

  /** Removes the entries of one size for `tag`, of one PCID or of all (-1), global ones only if asked to. */
  dropTag(tag: number, number: number, pcid: number, globals: boolean): void {
    const set = (number ^ ((number >>> this.hashShift) & this.hashMask)) & this.setMask;
    const first = set * this.ways;
    for (let slot = first; slot < first + this.ways; slot++) {
      if (this.cells[this.tagAt + slot] !== tag) continue;
      const context = this.pcidOf(slot);
      if (context === GLOBAL ? globals : pcid === -1 || context === pcid) this.drop(slot);
    }
  }

  /** Removes the entries of one PCID; global ones stay. */
  dropPcid(pcid: number): void {
    if (this.isEmpty) return;
    for (let slot = 0; slot < this.slots; slot++) if (this.isUsed(slot) && this.pcidOf(slot) === pcid) this.drop(slot);
  }

  /** Removes every entry but the global ones. */
  dropNonGlobal(): void {
    if (this.isEmpty) return;
    for (let slot = 0; slot < this.slots; slot++)
      if (this.isUsed(slot) && this.pcidOf(slot) !== GLOBAL) this.drop(slot);
  }

  /** Whether it holds no entry. */
  get isEmpty(): boolean {
    const { words, sizeAt } = this;
    return words[sizeAt] + words[sizeAt + 1] + words[sizeAt + 2] + words[sizeAt + 3] === 0;
  }

  /** Whether `slot` holds an entry. */
  isUsed(slot: number): boolean {
    return !Number.isNaN(this.cells[this.tagAt + slot]);
  }

  /** The first linear address that the entry in `slot` covers. */
  addressOf(slot: number): number {
    return Math.floor(this.cells[this.tagAt + slot]);
  }

  /** The size (`SIZE_*`) of the entry in `slot`. */
  sizeOf(slot: number): number {
    return this.words[this.recordsAt + (slot << 2)] >> SIZE_SHIFT;
  }

  /** The PCID of the entry in `slot`, or `GLOBAL_CONTEXT`. */
  pcidOf(slot: number): number {
    return this.words[this.recordsAt + (slot << 2)] & PCID_MASK;
  }

  /** The first 4 KiB frame of the page, or the frame of the table, of the entry in `slot`. */
  frameOf(slot: number): number {
    return this.cells[this.frameAt + slot];
  }

  /** Rights and attributes (`TR_*`) of the entry in `slot`. */
  flagsOf(slot: number): number {
    return this.words[this.recordsAt + (slot << 2) + 1];
  }

  /** Keeps the PCIDs in order of use and, beyond the capacity, removes the entries of the one used least recently. */
  private usePcid(pcid: number): void {
    if (pcid === GLOBAL || this.pcids === null) return;
    this.lastPcid = pcid;
    const at = this.pcids.indexOf(pcid);
    if (at >= 0) this.pcids.splice(at, 1);
    this.pcids.unshift(pcid);
    if (this.pcids.length > this.pcidCapacity) this.dropPcid(this.pcids.pop() as number);
  }

  private countLarge(size: number, change: number): void {
    if (size === 1 || size === 2) this.words[LARGE] += change;
  }

  /** Takes `slot` out of its chain. The page number is that of its tag in units of its size. */
  private unlink(slot: number): void {
    const { words, nextAt } = this;
    const tag = this.cells[this.tagAt + slot];
    const size = words[this.recordsAt + (slot << 2)] >> SIZE_SHIFT;
    const number = size === 0 ? (tag / 4096) | 0 : tagNumber(tag, size);
    let at = this.headAt + (number & this.headMask);
    while (words[at] !== slot + 1) at = nextAt + words[at] - 1;
    words[at] = words[nextAt + slot];
  }

  private makeLists(): void {
    const { words, listAt, endsAt, ways } = this;
    for (let slot = 0; slot < this.slots; slot++) {
      words[listAt + (slot << 1)] = slot % ways === 0 ? -1 : slot - 1;
      words[listAt + (slot << 1) + 1] = slot % ways === ways - 1 ? -1 : slot + 1;
    }
    for (let set = 0; set < this.sets; set++) {
      words[endsAt + (set << 1)] = set * ways;
      words[endsAt + (set << 1) + 1] = set * ways + ways - 1;
    }
  }

  private moveToFront(set: number, slot: number): void {
    const { words, listAt } = this;
    const ends = this.endsAt + (set << 1);
    const first = words[ends];
    if (first === slot) return;
    const before = words[listAt + (slot << 1)];
    const after = words[listAt + (slot << 1) + 1];
    words[listAt + (before << 1) + 1] = after;
    if (after >= 0) words[listAt + (after << 1)] = before;
    else words[ends + 1] = before;
    words[listAt + (slot << 1)] = -1;
    words[listAt + (slot << 1) + 1] = first;
    words[listAt + (first << 1)] = slot;
    words[ends] = slot;
  }
}

/** The number, modulo 2^32, of what a tag covers, in units of its size. */
function tagNumber(tag: number, size: number): number {
  if (size === 1) return (tag / 0x20_0000) | 0;
  if (size === 2) return (tag / 0x4000_0000) | 0;
  const level = (tag - Math.floor(tag) - TABLE_TAG) * 32;
  return (tag / LEVEL_BYTES[level]) | 0;
}
