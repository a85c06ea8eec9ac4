/**
 * Cached guest-physical mappings (Intel SDM vol. 3C, 29.4.1): what the second stage makes of guest-physical addresses, whatever linear
 * addresses lead there. There are pages, and entries that refer to tables of the second stage. They are tagged by the number of a guest
 * (guest-numbers.ts): with Intel, the first that has the EPTP's root; with AMD, the one of the ASID.
 */

import { LEVEL_BYTES } from "../isa/linear-address.ts";
import {
  EVERY_PCID,
  GUEST_CONTEXTS,
  SIZE_1G,
  SIZE_4K,
  SIZE_BYTES,
  SIZE_TABLE,
  TAG_SIZE_STEP,
} from "../isa/translation.ts";
import type { GuestPhysicalCachesPreset } from "../presets/virtualization.ts";
import { CpuArrays } from "./cpu-arrays.ts";
import { structureTag } from "./paging-structure-caches.ts";
import { ANY_PAGE, tableEntry } from "./structure-counts.ts";
import { Tlb, tlbWords } from "./tlb.ts";
import { dropGuest, dropTag } from "./tlb-sweeps.ts";

const LOWEST_LEVEL = 2;
const STRUCTURE_NAMES = ["pde", "pdpte", "pml4e", "pml5e"] as const;
/** Addresses from here on are not cached: a tag has room for 48 bits. */
const CACHED_FRAMES_END = 2 ** 36;

/** The caches of one CPU. */
export class GuestPhysicalCaches {
  /** After a lookup that hit: frame of the 4 KiB page, or of the table. */
  frame = 0;
  /** After a lookup that hit: rights (arch/walk/second-stage.ts). */
  rights = 0;
  /** After a lookup of a page that hit: its size (`SIZE_*`). */
  size = SIZE_4K as number;

  /** What holds pages; null on a part that caches none. */
  readonly ofPages: Tlb | null;
  /** What holds entries that refer to tables, from level 2 on. */
  readonly ofTables: readonly Tlb[];
  /** By level of an entry: what holds such entries; null where nothing does. */
  private readonly levels: readonly (Tlb | null)[];

  constructor(preset: GuestPhysicalCachesPreset) {
    const names = preset.pages.ways.value === 0 ? STRUCTURE_NAMES : (["pages", ...STRUCTURE_NAMES] as const);
    const shapes = names.map((name) => ({
      name: `guest-physical ${name}`,
      sets: preset[name].sets.value,
      ways: preset[name].ways.value,
      indexHash: "linear" as const,
      replacement: "lru" as const,
    }));
    const places = shapes.reduce((sum, { sets, ways }) => sum + sets * ways, 0);
    const words = shapes.reduce((sum, shape) => sum + tlbWords(shape), 0);
    const arrays = new CpuArrays(shapes.length, places, words);
    const tlbs = shapes.map((shape) => new Tlb(shape, arrays));
    this.ofTables = tlbs.slice(-STRUCTURE_NAMES.length);
    this.ofPages = tlbs.length > STRUCTURE_NAMES.length ? tlbs[0] : null;
    this.levels = [null, null, ...this.ofTables];
  }

  /** Whether the page of a guest-physical frame is cached for a guest; which, is in the fields then. */
  lookupPage(guestFrame: number, guest: number): boolean {
    const pages = this.ofPages;
    if (pages === null || guestFrame >= CACHED_FRAMES_END) return false;
    const address = guestFrame * 4096;
    if (pages.counts !== null) pages.counts.lookups[ANY_PAGE]++;
    for (let size = SIZE_4K as number; size <= SIZE_1G; size++) {
      if (pages.words[pages.sizeAt + size] === 0) continue;
      const number = Math.floor(address / SIZE_BYTES[size]);
      const slot = pages.find(number * SIZE_BYTES[size] + size * TAG_SIZE_STEP, number | 0, guest * GUEST_CONTEXTS);
      if (slot < 0) continue;
      pages.touch(slot);
      if (pages.counts !== null) pages.counts.hits[size]++;
      this.frame = pages.frameOf(slot) + guestFrame - pages.addressOf(slot) / 4096;
      this.rights = pages.flagsOf(slot);
      this.size = size;
      return true;
    }
    return false;
  }

  /** Removes a page that {@link lookupPage} has found, and that does not allow the access: a miss. */
  dropRefused(guestFrame: number, guest: number): void {
    const counts = this.ofPages?.counts;
    if (counts) counts.hits[this.size]--;
    this.dropPage(guestFrame, guest);
  }

  /** Puts in a page, of which `frame` is that of the 4 KiB page at `guestFrame`. There must be none of this size for it. */
  insertPage(guestFrame: number, guest: number, frame: number, size: number, rights: number): void {
    const pages = this.ofPages;
    if (pages === null || guestFrame >= CACHED_FRAMES_END) return;
    const number = Math.floor((guestFrame * 4096) / SIZE_BYTES[size]);
    const first = frame - (guestFrame - (number * SIZE_BYTES[size]) / 4096);
    const tag = number * SIZE_BYTES[size] + size * TAG_SIZE_STEP;
    pages.insert(tag, number | 0, guest * GUEST_CONTEXTS, size, first, rights);
  }

  /** The level of the deepest cached entry for a guest-physical frame, 2 to `levels`; 0 when there is none. */
  lookupTable(guestFrame: number, guest: number, levels: number): number {
    if (guestFrame >= CACHED_FRAMES_END) return 0;
    for (let level = LOWEST_LEVEL; level <= levels; level++) {
      const tlb = this.levels[level] as Tlb;
      const number = numberAt(guestFrame, level);
      const slot = tlb.find(number * LEVEL_BYTES[level] + structureTag(level), number | 0, guest * GUEST_CONTEXTS);
      if (tlb.counts !== null) tlb.counts.lookups[tableEntry(level)]++;
      if (slot < 0) continue;
      if (tlb.counts !== null) tlb.counts.hits[tableEntry(level)]++;
      tlb.touch(slot);
      this.frame = tlb.frameOf(slot);
      this.rights = tlb.flagsOf(slot);
      return level;
    }
    return 0;
  }

  /** Puts in the entry of `level` that a walk for a guest-physical frame used. There must be none for it. */
  insertTable(guestFrame: number, level: number, guest: number, frame: number, rights: number): void {
    if (guestFrame >= CACHED_FRAMES_END) return;
    const tlb = this.levels[level] as Tlb;
    const number = numberAt(guestFrame, level);
    const tag = number * LEVEL_BYTES[level] + structureTag(level);
    tlb.insert(tag, number | 0, guest * GUEST_CONTEXTS, SIZE_TABLE, frame, rights);
  }

  /** Removes what translates a guest-physical frame for a guest. */
  dropFrame(guestFrame: number, guest: number): void {
    if (guestFrame >= CACHED_FRAMES_END) return;
    this.dropPage(guestFrame, guest);
    const every = guest * GUEST_CONTEXTS + EVERY_PCID;
    for (let level = LOWEST_LEVEL; level < this.levels.length; level++) {
      const number = numberAt(guestFrame, level);
      const tag = number * LEVEL_BYTES[level] + structureTag(level);
      dropTag(this.levels[level] as Tlb, tag, number | 0, every, true);
    }
  }

  /** Removes the page of a guest-physical frame for a guest, of every size; tables stay. */
  dropPage(guestFrame: number, guest: number): void {
    const pages = this.ofPages;
    if (pages === null || guestFrame >= CACHED_FRAMES_END) return;
    const every = guest * GUEST_CONTEXTS + EVERY_PCID;
    for (let size = SIZE_4K as number; size <= SIZE_1G; size++) {
      const number = Math.floor((guestFrame * 4096) / SIZE_BYTES[size]);
      dropTag(pages, number * SIZE_BYTES[size] + size * TAG_SIZE_STEP, number | 0, every, true);
    }
  }

  /** Removes everything of a guest. */
  dropGuest(guest: number): void {
    for (const tlb of this.all()) dropGuest(tlb, guest, true);
  }

  /** Removes everything. */
  clear(): void {
    for (const tlb of this.all()) tlb.clear();
  }

  /** {@link ofPages} where there is one, then {@link ofTables}. */
  all(): readonly Tlb[] {
    return this.ofPages === null ? this.ofTables : [this.ofPages, ...this.ofTables];
  }
}

function numberAt(guestFrame: number, level: number): number {
  return Math.floor((guestFrame * 4096) / LEVEL_BYTES[level]);
}
