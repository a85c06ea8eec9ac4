/**
 * The TLBs of one CPU and how translations move between them: a walk fills the first and the second level; a hit in the
 * second level fills the first; nothing moves from the first level to the second (TLB;DR, section 5). A level that cannot
 * hold a page's size holds the piece of the page that was used (Intel SDM vol. 3A, 4.10.2.3).
 */
import { HitCache } from "./hit-cache.ts";
import type { PhysicalMemory } from "./physical-memory.ts";
import { type Preset, TLB_KINDS, TLB_PAGE_SIZES, type TlbPreset } from "./preset.ts";
import { Tlb } from "./tlb.ts";
import {
  CONTEXT_PCID_MASK,
  CONTEXT_SIZE_SHIFT,
  GLOBAL_CONTEXT,
  SIZE_1G,
  SIZE_4K,
  SIZE_FRAMES,
  SIZE_TABLE,
  TR_GLOBAL,
  TR_SIZE_SHIFT,
} from "./translation.ts";

/** Where to look for, or to put, a translation: one size in one TLB. */
interface Place {
  readonly tlb: Tlb;
  readonly size: number;
}

/** Result of a lookup that found nothing. */
export const MISS = 0;
/** Found in a first-level TLB. */
export const HIT_FIRST_LEVEL = 1;
/** Found in a second-level TLB. */
export const HIT_SECOND_LEVEL = 2;

/** All TLBs of a CPU. */
export class TlbHierarchy {
  readonly first: readonly Tlb[];
  readonly second: readonly Tlb[];
  readonly hits: HitCache;
  /** After a lookup that hit, or an insertion: where the translation is in the first level. */
  tlb: Tlb;
  slot = 0;
  /** After a lookup that hit: rights and attributes, and the frame of the 4 KiB page looked up. */
  flags = 0;
  frame = 0;

  /** Where each kind's translations can be, by kind. */
  private readonly firstPlaces: readonly (readonly Place[])[];
  private readonly secondPlaces: readonly (readonly Place[])[];
  /** Where a translation is put, by kind * 3 + size of the page. */
  private readonly firstHomes: readonly (readonly Place[])[];
  private readonly secondHomes: readonly (readonly Place[])[];

  /** @param memory null for a model of the TLBs alone, whose hits nobody caches */
  constructor(preset: Preset, memory: PhysicalMemory | null) {
    const state = new Int32Array(preset.tlbs.reduce((total, tlb) => total + tlb.sets, 0));
    let stateBase = 0;
    const built = preset.tlbs.map((shape) => {
      const tlb = new Tlb(shape, state, stateBase, shape.kinds);
      stateBase += shape.sets;
      return { shape, tlb };
    });
    this.hits = new HitCache(memory, state);
    this.first = built.filter(({ shape }) => shape.level === 1).map(({ tlb }) => tlb);
    this.second = built.filter(({ shape }) => shape.level === 2).map(({ tlb }) => tlb);
    if (memory !== null) for (const tlb of this.first) this.hits.attach(tlb);
    const level = (wanted: 1 | 2) => built.filter(({ shape }) => shape.level === wanted);
    this.firstPlaces = TLB_KINDS.map((_, kind) => placesOf(level(1), kind));
    this.secondPlaces = TLB_KINDS.map((_, kind) => placesOf(level(2), kind));
    this.firstHomes = this.firstPlaces.flatMap(homesOf);
    this.secondHomes = this.secondPlaces.flatMap(homesOf);
    this.tlb = this.first[0];
  }

  /**
   * Looks page `vpn` up for accesses of `kind` (0 load, 1 store, 2 fetch) under `pcid`; a hit in the second level fills the
   * first. Returns one of {@link MISS}, {@link HIT_FIRST_LEVEL}, {@link HIT_SECOND_LEVEL}.
   */
  lookup(kind: number, vpn: number, pcid: number): number {
    const first = this.firstPlaces[kind];
    for (let i = 0; i < first.length; i++) {
      const { tlb, size } = first[i];
      if (tlb.sizeCount[size] === 0) continue;
      const slot = findPage(tlb, size, vpn, pcid);
      if (slot < 0) continue;
      tlb.touch(slot);
      this.take(tlb, slot, size, vpn);
      return HIT_FIRST_LEVEL;
    }
    const second = this.secondPlaces[kind];
    for (let i = 0; i < second.length; i++) {
      const { tlb, size } = second[i];
      if (tlb.sizeCount[size] === 0) continue;
      const slot = findPage(tlb, size, vpn, pcid);
      if (slot < 0) continue;
      tlb.touch(slot);
      this.take(tlb, slot, size, vpn);
      this.insertFirst(kind, vpn, tlb.context[slot] & CONTEXT_PCID_MASK);
      return HIT_SECOND_LEVEL;
    }
    return MISS;
  }

  /** Puts the translation that a walk found for `kind` into both levels. There must be none for the page. */
  insert(kind: number, vpn: number, pcid: number, frame: number, flags: number): void {
    const context = (flags & TR_GLOBAL) !== 0 ? GLOBAL_CONTEXT : pcid;
    this.frame = frame;
    this.flags = flags;
    const homes = this.secondHomes[kind * 3 + ((flags >> TR_SIZE_SHIFT) & 3)];
    if (homes.length > 0) putPage(homes, vpn, context, frame, flags);
    this.insertFirst(kind, vpn, context);
  }

  /** Whether a translation of page `vpn` for one of `kinds` is held, under `context` or global. Changes nothing. */
  holds(kinds: readonly number[], vpn: number, context: number): boolean {
    return kinds.some((kind) =>
      [...this.firstPlaces[kind], ...this.secondPlaces[kind]].some(
        ({ tlb, size }) => findPage(tlb, size, vpn, context) >= 0,
      ),
    );
  }

  /**
   * Removes the translations of the page of `vpn`, of every size: those of one PCID, or of all (-1), and global ones when
   * asked to.
   */
  dropPage(vpn: number, pcid: number, globals: boolean): void {
    for (let i = 0; i < this.first.length; i++) dropPageIn(this.first[i], vpn, pcid, globals);
    for (let i = 0; i < this.second.length; i++) dropPageIn(this.second[i], vpn, pcid, globals);
  }

  /** Removes everything, paging-structure entries kept in TLBs included. */
  clear(): void {
    for (const tlb of this.first) tlb.clear();
    for (const tlb of this.second) tlb.clear();
    this.hits.clear();
  }

  /** Removes every entry but the global ones. */
  dropNonGlobal(): void {
    for (const tlb of this.first) tlb.dropNonGlobal();
    for (const tlb of this.second) tlb.dropNonGlobal();
  }

  /** Removes the entries of one PCID; global ones stay. */
  dropPcid(pcid: number): void {
    for (const tlb of this.first) tlb.dropPcid(pcid);
    for (const tlb of this.second) tlb.dropPcid(pcid);
  }

  private take(tlb: Tlb, slot: number, size: number, vpn: number): void {
    this.tlb = tlb;
    this.slot = slot;
    this.flags = tlb.flags[slot];
    this.frame = size === SIZE_4K ? tlb.frame[slot] : tlb.frame[slot] + (vpn % SIZE_FRAMES[size]);
  }

  private insertFirst(kind: number, vpn: number, context: number): void {
    const homes = this.firstHomes[kind * 3 + ((this.flags >> TR_SIZE_SHIFT) & 3)];
    this.tlb = homeOf(homes, vpn).tlb;
    this.slot = putPage(homes, vpn, context, this.frame, this.flags);
  }
}

function findPage(tlb: Tlb, size: number, vpn: number, pcid: number): number {
  const sizeBits = size << CONTEXT_SIZE_SHIFT;
  const number = size === SIZE_4K ? vpn : Math.floor(vpn / SIZE_FRAMES[size]);
  return tlb.find(number, pcid | sizeBits, GLOBAL_CONTEXT | sizeBits);
}

/** Of several TLBs of one level that can hold a page, the address chooses one. */
function homeOf(homes: readonly Place[], vpn: number): Place {
  if (homes.length === 1) return homes[0];
  const { tlb, size } = homes[0];
  const number = size === SIZE_4K ? vpn : Math.floor(vpn / SIZE_FRAMES[size]);
  return homes[Math.floor(number / tlb.sets) % homes.length];
}

function putPage(homes: readonly Place[], vpn: number, context: number, frame: number, flags: number): number {
  const { tlb, size } = homeOf(homes, vpn);
  if (size === SIZE_4K) return tlb.insert(vpn, context, frame, flags);
  const inPage = vpn % SIZE_FRAMES[size];
  return tlb.insert((vpn - inPage) / SIZE_FRAMES[size], context | (size << CONTEXT_SIZE_SHIFT), frame - inPage, flags);
}

function dropPageIn(tlb: Tlb, vpn: number, pcid: number, globals: boolean): void {
  for (let size = SIZE_4K; size <= SIZE_1G; size++) {
    if (tlb.sizeCount[size] === 0) continue;
    tlb.dropNumber(size === SIZE_4K ? vpn : Math.floor(vpn / SIZE_FRAMES[size]), size, pcid, globals);
  }
  if (tlb.holdsPieces) dropPiecesIn(tlb, vpn, pcid, globals);
}

/** Removes the pieces of the larger page that contains `vpn`: INVLPG removes all of them (Intel SDM vol. 3A, 4.10.4.1). */
function dropPiecesIn(tlb: Tlb, vpn: number, pcid: number, globals: boolean): void {
  for (let slot = 0; slot < tlb.tag.length; slot++) {
    if (tlb.tag[slot] === -1) continue;
    const size = tlb.context[slot] >> CONTEXT_SIZE_SHIFT;
    const pageSize = (tlb.flags[slot] >> TR_SIZE_SHIFT) & 3;
    if (size === SIZE_TABLE || pageSize <= size) continue;
    const context = tlb.context[slot] & CONTEXT_PCID_MASK;
    if (context === GLOBAL_CONTEXT ? !globals : pcid !== -1 && context !== pcid) continue;
    const page = Math.floor((tlb.tag[slot] * SIZE_FRAMES[size]) / SIZE_FRAMES[pageSize]);
    if (page === Math.floor(vpn / SIZE_FRAMES[pageSize])) tlb.drop(slot);
  }
}

function placesOf(tlbs: readonly { shape: TlbPreset; tlb: Tlb }[], kind: number): Place[] {
  const places: Place[] = [];
  for (let size = SIZE_4K; size <= SIZE_1G; size++) {
    for (const { shape, tlb } of tlbs) {
      if (shape.kinds.includes(TLB_KINDS[kind]) && shape.pageSizes.includes(TLB_PAGE_SIZES[size])) {
        places.push({ tlb, size });
      }
    }
  }
  return places;
}

/** For each page size, the places of the largest size that is not larger. */
function homesOf(places: readonly Place[]): Place[][] {
  return [0, 1, 2].map((pageSize) => {
    for (let size = pageSize; size >= 0; size--) {
      const homes = places.filter((place) => place.size === size);
      if (homes.length === 0) continue;
      if (size < pageSize) for (const home of homes) home.tlb.holdsPieces = true;
      return homes;
    }
    return [];
  });
}
