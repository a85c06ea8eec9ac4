/**
 * The TLBs of one CPU and how translations move between them: a walk fills the first and the second level; a hit in the
 * second level fills the first; nothing moves from the first level to the second (TLB;DR, section 5). A level that cannot
 * hold a page's size holds the piece of the page that was used (Intel SDM vol. 3A, 4.10.2.3).
 *
 * This is the general path. What is most frequent goes by the fast path (arch/fast-path/README.md), which leaves the same state.
 */

import * as translation from "../isa/translation.ts";
import { type Preset, TLB_KINDS, TLB_PAGE_SIZES, type TlbPreset } from "../presets/preset.ts";
import type { CpuArrays } from "./cpu-arrays.ts";
import * as layout from "./cpu-arrays.ts";
import * as structureCounts from "./structure-counts.ts";
import { Tlb } from "./tlb.ts";
import { dropContext, dropGuest, dropPieces, dropTag } from "./tlb-sweeps.ts";

// The module's own constants, which V8 folds into the code (arch/fast-path/README.md, "Constants").
const { ANY_PAGE } = structureCounts;
const { ACCESSES_WATCHED } = layout;
const { GUEST_TAG, SIZE_1G, SIZE_2M, SIZE_4K, SIZE_BYTES, TAG_SIZE_STEP, TR_SIZE_SHIFT } = translation;

/** One size in one TLB. */
interface Holder {
  readonly tlb: Tlb;
  /** Which TLB of its level it is. */
  readonly index: number;
  readonly size: number;
}

/** The TLBs that one kind of access uses, by size of the pages that they hold (`SIZE_*`). */
export interface TlbsOfKind {
  /** Those of the first level; 4 KiB pages have one. */
  readonly first: readonly (readonly Tlb[])[];
  /** Those of the second level. */
  readonly second: readonly (readonly Tlb[])[];
}

/** The TLBs that one kind of access uses. */
class KindTlbs {
  /** The first-level TLB of 4 KiB pages, and which of its level it is. */
  readonly small: Tlb;
  readonly smallIndex: number;
  /** The second-level TLBs of 4 KiB pages. */
  readonly secondSmall: readonly Tlb[];
  /** Where larger pages can be. */
  readonly large: readonly Holder[];
  readonly secondLarge: readonly Holder[];
  /** All of the first level, and of the second. */
  readonly first: readonly Tlb[];
  readonly second: readonly Tlb[];
  /** Where a page of each size is put. */
  readonly homes: readonly (readonly Holder[])[];
  readonly secondHomes: readonly (readonly Holder[])[];

  constructor(first: readonly Holder[], second: readonly Holder[]) {
    const [small] = first.filter(({ size }) => size === SIZE_4K);
    this.small = small.tlb;
    this.smallIndex = small.index;
    this.secondSmall = second.filter(({ size }) => size === SIZE_4K).map(({ tlb }) => tlb);
    this.large = first.filter(({ size }) => size !== SIZE_4K);
    this.secondLarge = second.filter(({ size }) => size !== SIZE_4K);
    this.first = [...new Set(first.map(({ tlb }) => tlb))];
    this.second = [...new Set(second.map(({ tlb }) => tlb))];
    this.homes = homesOf(first);
    this.secondHomes = homesOf(second);
  }
}

/** All TLBs of a CPU. */
export class TlbHierarchy {
  /** The TLBs of the first level. */
  readonly first: readonly Tlb[];
  /** The TLBs of the second level. */
  readonly second: readonly Tlb[];
  /** Whether the last lookup found its translation in the second level. */
  wasSecondLevel = false;
  /** After an insertion or a hit: the slot that now holds the translation in the first level. */
  slot = 0;
  /** Which TLB of the first level it is in. */
  private index = 0;
  /** Whether lookups are counted in `Tlb.counts`, which all TLBs have then. */
  isCounted = false;
  /** Is told of what a lookup has found in the second level, before it fills the first: the address, the translation's flags; null for nobody. */
  onFillFromSecond: ((la: number, flags: number) => void) | null = null;
  /** After a hit of the second level: its TLB, the entry's slot there, and its size. */
  private secondTlb: Tlb | null = null;
  private secondSlot = 0;
  private secondSize = 0;

  /** Both levels. */
  private readonly all: readonly Tlb[];
  /** Those that hold pages of each size (`SIZE_*`). */
  private readonly bySize: readonly (readonly Tlb[])[];
  private readonly words: Int32Array;
  /** By kind of access: loads, stores, fetches. */
  private readonly byKind: readonly [KindTlbs, KindTlbs, KindTlbs];

  constructor(preset: Preset, arrays: CpuArrays) {
    const make = (level: 1 | 2) =>
      tlbsOf(preset, level).map((shape) => ({ shape, tlb: new Tlb(shape, arrays, shape.kinds, level) }));
    const first = make(1);
    const second = make(2);
    this.first = first.map(({ tlb }) => tlb);
    this.second = second.map(({ tlb }) => tlb);
    this.all = [...this.first, ...this.second];
    this.bySize = TLB_PAGE_SIZES.map((size) =>
      [...first, ...second].filter(({ shape }) => shape.pageSizes.includes(size)).map(({ tlb }) => tlb),
    );
    this.words = arrays.words;
    const ofKind = (kind: number) => new KindTlbs(holdersOf(first, kind), holdersOf(second, kind));
    this.byKind = [ofKind(0), ofKind(1), ofKind(2)];
  }

  /** After an insertion or a hit: the TLB that now holds the translation in the first level. */
  get tlb(): Tlb {
    return this.first[this.index];
  }

  /** Whether the kind's first level or, if not, its second level translates `la` under `pcid`; a second-level hit fills the first. */
  lookup(kind: number, la: number, pcid: number): boolean {
    const isFound = this.search(kind, la, pcid);
    if (this.isCounted) this.countLookup(this.byKind[kind], isFound);
    return isFound;
  }

  /** Removes all translations of the page of `la`: the one that {@link lookup} has found does not allow the access, and counts as a miss. */
  dropRefused(kind: number, la: number, pcid: number): void {
    if (this.isCounted) this.countRefusal(this.byKind[kind]);
    this.dropPage(la, pcid, true);
  }

  private search(kind: number, la: number, pcid: number): boolean {
    const ofKind = this.byKind[kind];
    const page = la - ((la | 0) & 4095);
    const number = (la / 4096) | 0;
    const { small } = ofKind;
    this.wasSecondLevel = false;
    const slot = small.find(page, number, pcid);
    if (slot >= 0) {
      small.touch(slot);
      this.index = ofKind.smallIndex;
      this.slot = slot;
      return true;
    }
    for (let i = 0; i < ofKind.large.length; i++) {
      const holder = ofKind.large[i];
      const { tlb, size } = holder;
      if (tlb.words[tlb.sizeAt + size] !== 0 && this.lookupLarge(holder, la, pcid)) return true;
    }
    for (let i = 0; i < ofKind.secondSmall.length; i++) {
      const tlb = ofKind.secondSmall[i];
      const found = tlb.find(page, number, pcid);
      if (found < 0) continue;
      if (this.onFillFromSecond !== null) this.onFillFromSecond(la, tlb.flagsOf(found));
      tlb.touch(found);
      this.foundInSecond(tlb, found, SIZE_4K);
      this.insertFirst(ofKind, la, tlb.contextOf(found), tlb.frameOf(found), tlb.flagsOf(found));
      return true;
    }
    for (let i = 0; i < ofKind.secondLarge.length; i++) {
      const { tlb, size } = ofKind.secondLarge[i];
      if (tlb.words[tlb.sizeAt + size] !== 0 && this.lookupSecondLarge(ofKind, tlb, size, la, pcid)) return true;
    }
    return false;
  }

  /** Puts the translation that a walk found for `kind` into both levels: `frame` is that of the 4 KiB page. */
  insert(kind: number, la: number, pcid: number, frame: number, flags: number): void {
    const ofKind = this.byKind[kind];
    const homes = ofKind.secondHomes[(flags >> TR_SIZE_SHIFT) & 3];
    if (homes.length > 0) {
      const { tlb, size } = homeOf(homes, la);
      insertInto(tlb, size, la, pcid, frame, flags);
    }
    this.insertFirst(ofKind, la, pcid, frame, flags);
  }

  /** The TLBs by kind of access (load, store, fetch). */
  tlbsByKind(): TlbsOfKind[] {
    const ofSize = (holders: readonly Holder[], size: number) =>
      holders.filter((holder) => holder.size === size).map(({ tlb }) => tlb);
    return this.byKind.map(({ small, secondSmall, large, secondLarge }) => ({
      first: [[small], ofSize(large, SIZE_2M), ofSize(large, SIZE_1G)],
      second: [secondSmall, ofSize(secondLarge, SIZE_2M), ofSize(secondLarge, SIZE_1G)],
    }));
  }

  /** Whether some entry of a larger page, in either level, translates `la` for accesses of `kind`. Changes nothing. */
  isInLarge(kind: number, la: number, pcid: number): boolean {
    const { large, secondLarge } = this.byKind[kind];
    return isHeldByOneOf(large, la, pcid) || isHeldByOneOf(secondLarge, la, pcid);
  }

  /** Whether some TLB holds pages of 2 MiB or 1 GiB. */
  get hasLarge(): boolean {
    return (this.words[this.all[0].largeAt] & (ACCESSES_WATCHED - 1)) !== 0;
  }

  /** Whether some TLB, for accesses of whatever kind, holds an entry of a size at an address, of whatever context. Changes nothing. */
  holdsSize(la: number, size: number): boolean {
    const number = Math.floor(la / SIZE_BYTES[size]);
    const tag = number * SIZE_BYTES[size] + size * TAG_SIZE_STEP;
    for (const tlb of this.bySize[size]) {
      if (tlb.words[tlb.sizeAt + size] === 0) continue;
      if (tlb.holdsTag(tag, number | 0) || tlb.holdsTag(tag + GUEST_TAG, number | 0)) return true;
    }
    return false;
  }

  /** After a hit: where the translation was found, in either level. */
  foundAt(): { readonly tlb: Tlb; readonly slot: number } {
    const { secondTlb } = this;
    return this.wasSecondLevel && secondTlb !== null ? { tlb: secondTlb, slot: this.secondSlot } : this;
  }

  /** Rights and attributes of the translation found or inserted last. */
  currentFlags(): number {
    return this.tlb.flagsOf(this.slot);
  }

  /** The frame of the 4 KiB page at `la` by the translation found or inserted last. */
  currentFrame(la: number): number {
    const { tlb, slot } = this;
    const frame = tlb.frameOf(slot);
    const size = tlb.sizeOf(slot);
    return size === SIZE_4K ? frame : frame + Math.floor((la - tlb.addressOf(slot)) / 4096);
  }

  /** Whether the entry found or inserted last is one of 4 KiB. */
  isSmall(): boolean {
    return this.tlb.sizeOf(this.slot) === SIZE_4K;
  }

  /** Whether a translation of `la` for one of `kinds` is held, under `pcid` or global. Changes nothing. */
  holds(kinds: readonly number[], la: number, pcid: number): boolean {
    return kinds.some((kind) => {
      const { small, secondSmall, large, secondLarge } = this.byKind[kind];
      const smalls = [small, ...secondSmall].map((tlb) => ({ tlb, size: SIZE_4K as number }));
      return [...smalls, ...large, ...secondLarge].some(({ tlb, size }) => findIn(tlb, size, la, pcid) >= 0);
    });
  }

  /**
   * Removes the translations of the page of `la`, of every size: those of one PCID, or of all (`EVERY_PCID`), of a guest or the host,
   * and global ones when asked to.
   */
  dropPage(la: number, pcid: number, globals: boolean): void {
    const { all, bySize, words } = this;
    const small = bySize[SIZE_4K];
    const page = la - ((la | 0) & 4095);
    const number = (la / 4096) | 0;
    for (let i = 0; i < small.length; i++) {
      const tlb = small[i];
      if (words[tlb.sizeAt] !== 0) dropTag(tlb, page, number, pcid, globals);
    }
    for (let i = 0; i < all.length; i++) if (all[i].mayHoldPieces) dropPieces(all[i], la, pcid, globals);
    if ((words[this.all[0].largeAt] & (ACCESSES_WATCHED - 1)) === 0) return;
    for (let size = SIZE_2M; size <= SIZE_1G; size++) dropLarge(bySize[size], size, la, pcid, globals);
  }

  /** Removes everything, paging-structure entries kept in TLBs included. */
  clear(): void {
    for (const tlb of this.first) tlb.clear();
    for (const tlb of this.second) tlb.clear();
  }

  /** Removes the entries of a guest, or of the host (0), of all PCIDs, and paging-structure entries kept in TLBs; global ones if asked to. */
  dropGuest(guest: number, globals: boolean): void {
    for (const tlb of this.all) dropGuest(tlb, guest, globals);
  }

  /** Removes the entries of one context (arch/isa/translation.ts): global ones stay, or go alone with `GLOBAL_CONTEXT`. */
  dropPcid(context: number): void {
    for (const tlb of this.all) dropContext(tlb, context);
  }

  private foundInSecond(tlb: Tlb, slot: number, size: number): void {
    this.wasSecondLevel = true;
    this.secondTlb = tlb;
    this.secondSlot = slot;
    this.secondSize = size;
  }

  /** An access asks all TLBs of its kind of the first level at once, and if none has the page, those of the second. */
  private countLookup({ first, second }: KindTlbs, isFound: boolean): void {
    countLookups(first);
    if (isFound && !this.wasSecondLevel) {
      countHits(this.tlb, this.tlb.sizeOf(this.slot), 1);
      return;
    }
    countLookups(second);
    if (isFound) countHits(this.secondTlb, this.secondSize, 1);
  }

  private countRefusal({ second }: KindTlbs): void {
    if (this.wasSecondLevel) {
      countHits(this.secondTlb, this.secondSize, -1);
      return;
    }
    countHits(this.tlb, this.tlb.sizeOf(this.slot), -1);
    countLookups(second);
  }

  private insertFirst(ofKind: KindTlbs, la: number, pcid: number, frame: number, flags: number): void {
    const homes = ofKind.homes[(flags >> TR_SIZE_SHIFT) & 3];
    const { tlb, index, size } = homeOf(homes, la);
    this.index = index;
    this.slot = insertInto(tlb, size, la, pcid, frame, flags);
  }

  private lookupLarge({ tlb, index, size }: Holder, la: number, pcid: number): boolean {
    const slot = findIn(tlb, size, la, pcid);
    if (slot < 0) return false;
    tlb.touch(slot);
    this.index = index;
    this.slot = slot;
    return true;
  }

  private lookupSecondLarge(ofKind: KindTlbs, tlb: Tlb, size: number, la: number, pcid: number): boolean {
    const slot = findIn(tlb, size, la, pcid);
    if (slot < 0) return false;
    if (this.onFillFromSecond !== null) this.onFillFromSecond(la, tlb.flagsOf(slot));
    tlb.touch(slot);
    this.foundInSecond(tlb, slot, size);
    const frame = tlb.frameOf(slot) + Math.floor((la - tlb.addressOf(slot)) / 4096);
    this.insertFirst(ofKind, la, tlb.contextOf(slot), frame, tlb.flagsOf(slot));
    return true;
  }
}

function countLookups(tlbs: readonly Tlb[]): void {
  for (const { counts } of tlbs) if (counts !== null) counts.lookups[ANY_PAGE]++;
}

function countHits(tlb: Tlb | null, size: number, hits: number): void {
  if (tlb !== null && tlb.counts !== null) tlb.counts.hits[size] += hits;
}

function tlbsOf(preset: Preset, level: 1 | 2): TlbPreset[] {
  return preset.tlbs.filter((shape) => shape.level === level);
}

/** Of several TLBs of one level that can hold a page, the address chooses one. */
function homeOf(homes: readonly Holder[], la: number): Holder {
  if (homes.length === 1) return homes[0];
  const { tlb, size } = homes[0];
  return homes[Math.floor(la / SIZE_BYTES[size] / tlb.sets) % homes.length];
}

function insertInto(tlb: Tlb, size: number, la: number, pcid: number, frame: number, flags: number): number {
  if (size === SIZE_4K) return tlb.insert(la - ((la | 0) & 4095), (la / 4096) | 0, pcid, size, frame, flags);
  const inPage = la % SIZE_BYTES[size];
  const base = la - inPage;
  const first = frame - Math.floor(inPage / 4096);
  const number = (base / SIZE_BYTES[size]) | 0;
  return tlb.insert(base + size * TAG_SIZE_STEP, number, pcid, size, first, flags);
}

function findIn(tlb: Tlb, size: number, la: number, pcid: number): number {
  const number = Math.floor(la / SIZE_BYTES[size]);
  return tlb.find(number * SIZE_BYTES[size] + size * TAG_SIZE_STEP, number | 0, pcid);
}

function isHeldByOneOf(holders: readonly Holder[], la: number, pcid: number): boolean {
  for (let i = 0; i < holders.length; i++) {
    const { tlb, size } = holders[i];
    if (tlb.words[tlb.sizeAt + size] !== 0 && findIn(tlb, size, la, pcid) >= 0) return true;
  }
  return false;
}

function dropLarge(tlbs: readonly Tlb[], size: number, la: number, pcid: number, globals: boolean): void {
  const number = Math.floor(la / SIZE_BYTES[size]);
  const tag = number * SIZE_BYTES[size] + size * TAG_SIZE_STEP;
  for (let i = 0; i < tlbs.length; i++) {
    const tlb = tlbs[i];
    if (tlb.words[tlb.sizeAt + size] !== 0) dropTag(tlb, tag, number | 0, pcid, globals);
  }
}

function holdersOf(tlbs: readonly { shape: TlbPreset; tlb: Tlb }[], kind: number): Holder[] {
  const all = tlbs.map(({ tlb }) => tlb);
  return [SIZE_4K, SIZE_2M, SIZE_1G].flatMap((size) =>
    tlbs
      .filter(({ shape }) => shape.kinds.includes(TLB_KINDS[kind]) && shape.pageSizes.includes(TLB_PAGE_SIZES[size]))
      .map(({ tlb }) => ({ tlb, index: all.indexOf(tlb), size })),
  );
}

/** For each page size, the holders of the largest size that is not larger. */
function homesOf(holders: readonly Holder[]): Holder[][] {
  return [SIZE_4K, SIZE_2M, SIZE_1G].map((pageSize) => {
    for (let size = pageSize as number; size >= 0; size--) {
      const homes = holders.filter((holder) => holder.size === size);
      if (homes.length > 0) return homes;
    }
    return [];
  });
}
