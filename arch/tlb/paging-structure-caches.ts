/**
 * Caches of the entries that refer to page tables, tagged by PCID (Intel SDM vol. 3A, 4.10.3 "Paging-Structure Caches"): a
 * walk starts at the deepest table that one of them names, and does not fetch the entries above. An entry holds the frame of
 * the table it names and the rights that the entries so far combine to.
 */

import { MachineUsageError } from "../isa/errors.ts";
import * as addresses from "../isa/linear-address.ts";
import * as translation from "../isa/translation.ts";
import type { TableEntries } from "../isa/vendor.ts";
import type { PagingStructureCachePreset, Preset, TlbGeometry } from "../presets/preset.ts";
import type { CpuArrays } from "./cpu-arrays.ts";
import { tableEntry } from "./structure-counts.ts";
import { Tlb } from "./tlb.ts";
import type { TlbHierarchy } from "./tlb-hierarchy.ts";
import { dropContext, dropGuest, dropTag } from "./tlb-sweeps.ts";

// The module's own constants, which V8 folds into the code (arch/fast-path/README.md, "Constants").
const { LEVEL_BYTES, UPPER_HALF, WIDE_PAGES } = addresses;
const { EVERY_PCID, GUEST_CONTEXTS, SIZE_TABLE, TABLE_TAG, TAG_LEVEL_STEP } = translation;

/** One divided by them: powers of two, so that a product is exact, and quicker than a quotient. */
const LEVEL_SHARES = LEVEL_BYTES.map((bytes) => 1 / bytes);

const LOWEST_LEVEL = 2;
/** Level of page-directory entries. */
export const LEVEL_PDE = LOWEST_LEVEL;
const HIGHEST_LEVEL = 5;
/** Level of the highest entries. */
export const LEVEL_PML5E = HIGHEST_LEVEL;

/** Names of the caches, from level 2 on. */
const STRUCTURE_NAMES = ["pde", "pdpte", "pml4e", "pml5e"] as const;

/** Shapes of the caches of a preset that are not part of a TLB. */
export function ownStructures(preset: Preset): TlbGeometry[] {
  return STRUCTURE_NAMES.flatMap((name) => {
    const shape = preset.pagingStructureCaches[name];
    return shape === undefined || "sharedWith" in shape ? [] : [{ ...shape, name, indexHash: "linear" as const }];
  });
}

/** The caches of one CPU. */
export class PagingStructureCaches {
  /** After a lookup that hit: frame of the table, and combined rights (`TR_*`). */
  frame = 0;
  /** After a lookup that hit: rights (`TR_*`) over all levels down to that entry. */
  flags = 0;
  /** The entry that was found last. */
  private foundIn: Tlb | null = null;
  private foundSlot = 0;
  /** Whether lookups are counted in `Tlb.counts`, which all of them have then. */
  isCounted = false;
  /** Of each level of the entries; null where it is not cached. No list, which would be two more objects of the CPU. */
  private readonly pdes: Tlb | null;
  private readonly pdptes: Tlb | null;
  private readonly pml4es: Tlb | null;
  private readonly pml5es: Tlb | null;
  /** Those that are not part of a TLB. */
  private readonly own: Tlb[] = [];
  /** Second-level TLBs that hold entries of tables. */
  private readonly shared: Tlb[] = [];

  constructor(preset: Preset, arrays: CpuArrays, tlbs: TlbHierarchy) {
    const [pdes, pdptes, pml4es, pml5es] = STRUCTURE_NAMES.map((name) => {
      const shape = preset.pagingStructureCaches[name];
      return shape === undefined ? null : this.build(name, shape, arrays, tlbs);
    });
    this.pdes = pdes;
    this.pdptes = pdptes;
    this.pml4es = pml4es;
    this.pml5es = pml5es;
  }

  /** The level of the deepest cached entry for `la`, 2 (PDE) to `levels`, which counts as used; 0 when there is none. */
  lookup(la: number, pcid: number, levels: number): number {
    const level = this.find(la, pcid, levels);
    if (level !== 0) this.hit();
    if (this.isCounted) this.countLookup(level, levels);
    return level;
  }

  /** The caches are asked from the lowest level up, until one has an entry. */
  private countLookup(found: number, levels: number): void {
    for (let level = LOWEST_LEVEL; level <= (found === 0 ? levels : found); level++) {
      const counts = this.ofLevel(level)?.counts;
      if (!counts) continue;
      counts.lookups[tableEntry(level)]++;
      if (level === found) counts.hits[tableEntry(level)]++;
    }
  }

  /**
   * {@link lookup} without an effect on the caches, which {@link hit} has.
   * @param lowest below which level nothing is cached for `la`
   */
  find(la: number, pcid: number, levels: number, lowest = LOWEST_LEVEL): number {
    for (let level = lowest; level <= levels; level++) {
      const tlb = this.ofLevel(level);
      if (tlb === null || !tlb.hasTables) continue;
      const number = entryNumber(la, level);
      const slot = tlb.find(number * LEVEL_BYTES[level] + structureTag(level), number | 0, pcid);
      if (slot < 0) continue;
      this.foundIn = tlb;
      this.foundSlot = slot;
      this.frame = tlb.frameOf(slot);
      this.flags = tlb.flagsOf(slot);
      return level;
    }
    return 0;
  }

  /** Records a use of the entry that was found last. */
  hit(): void {
    this.foundIn?.touch(this.foundSlot);
  }

  /** Puts in the entry of `level` that a walk for `la` used. There must be none for it. */
  insert(la: number, level: number, pcid: number, frame: number, flags: number): void {
    const tlb = this.ofLevel(level);
    if (tlb === null) return;
    const number = entryNumber(la, level);
    tlb.insert(number * LEVEL_BYTES[level] + structureTag(level), number | 0, pcid, SIZE_TABLE, frame, flags);
  }

  /** Removes the entries that lead to the page of `la`, of a PCID or of all (`EVERY_PCID`) of a guest. */
  dropPage(la: number, pcid: number): void {
    for (let level = LOWEST_LEVEL; level <= HIGHEST_LEVEL; level++) {
      const tlb = this.ofLevel(level);
      if (tlb === null || !tlb.hasTables) continue;
      const number = entryNumber(la, level);
      dropTag(tlb, number * LEVEL_BYTES[level] + structureTag(level), number | 0, pcid, false);
    }
  }

  /** Removes what an invalidation of the page of `la` for a PCID, or for all (`EVERY_PCID`), of a guest removes. */
  dropTables(which: TableEntries, la: number, context: number): void {
    if (which === "of the page") this.dropPage(la, context);
    else if (which === "of the PCID" && context % GUEST_CONTEXTS !== EVERY_PCID) this.dropPcid(context);
    else if (which !== "none") this.dropGuest(Math.floor(context / GUEST_CONTEXTS));
  }

  /** Removes all entries of one context (arch/isa/translation.ts). */
  dropPcid(context: number): void {
    for (const tlb of this.own) dropContext(tlb, context);
    for (const tlb of this.shared) tlb.tables.drop(context);
  }

  /** Removes all entries of a guest, or of the host (0). */
  dropGuest(guest: number): void {
    for (const tlb of this.own) dropGuest(tlb, guest, true);
    for (const tlb of this.shared) tlb.tables.drop(guest * GUEST_CONTEXTS + EVERY_PCID);
  }

  /** Removes all entries. */
  clear(): void {
    for (const tlb of this.own) if (!tlb.isEmpty) tlb.clear();
    for (const tlb of this.shared) tlb.tables.dropAll();
  }

  /** The cache of the entries of a level, 2 (PDE) to 5, or the TLB that holds them too; null where they are not cached. */
  ofLevel(level: number): Tlb | null {
    if (level === LOWEST_LEVEL) return this.pdes;
    if (level === HIGHEST_LEVEL) return this.pml5es;
    return level === LOWEST_LEVEL + 1 ? this.pdptes : this.pml4es;
  }

  /** Every structure that may hold entries of tables: those of their own, and TLBs that hold pages too. */
  all(): readonly Tlb[] {
    return [...this.own, ...this.shared];
  }

  /** The structures that hold nothing else, for those who look at them. */
  structures(): readonly Tlb[] {
    return this.own;
  }

  private build(name: string, shape: PagingStructureCachePreset, arrays: CpuArrays, tlbs: TlbHierarchy): Tlb {
    if (!("sharedWith" in shape)) {
      const tlb = new Tlb({ ...shape, name, indexHash: "linear" }, arrays);
      this.own.push(tlb);
      return tlb;
    }
    const other = this.own.find((tlb) => tlb.name === shape.sharedWith);
    if (other !== undefined) return other;
    const tlb = tlbs.second.find((candidate) => candidate.name === shape.sharedWith);
    if (tlb === undefined) {
      throw new MachineUsageError(
        `preset: sharedWith of ${name}`,
        shape.sharedWith,
        "the name of a TLB of the second level",
      );
    }
    if (!this.shared.includes(tlb)) this.shared.push(tlb);
    return tlb;
  }
}

/**
 * The number of the entry of `level` that leads to `la`, counted in `LEVEL_BYTES`. A PML5E leads to 48-bit addresses and to wide pages:
 * its number is that of the 48-bit ones, where it has any.
 */
function entryNumber(la: number, level: number): number {
  if (level < HIGHEST_LEVEL || la < WIDE_PAGES) return Math.floor(la * LEVEL_SHARES[level]);
  const index = Math.floor((la - WIDE_PAGES) / 2 ** 48);
  if (index === 0) return 0;
  return index === 511
    ? UPPER_HALF / LEVEL_BYTES[HIGHEST_LEVEL]
    : (WIDE_PAGES + index * 2 ** 48) / LEVEL_BYTES[HIGHEST_LEVEL];
}

/** What the tag of an entry of `level` adds to the address. */
export function structureTag(level: number): number {
  return TABLE_TAG + level * TAG_LEVEL_STEP;
}

/** The level of the entry that a tag is of: 2 (PDE) to 5. */
export function structureLevel(tag: number): number {
  return (tag % (8 * TAG_LEVEL_STEP)) / TAG_LEVEL_STEP;
}
