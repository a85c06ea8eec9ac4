/**
 * Caches of the entries that refer to page tables, tagged by PCID (Intel SDM vol. 3A, 4.10.3 "Paging-Structure Caches"): a
 * walk starts at the deepest table that one of them names, and does not fetch the entries above. An entry holds the frame of
 * the table it names and the rights that the entries so far combine to.
 */
import type { PagingStructureCachePreset, Preset } from "./preset.ts";
import { Tlb } from "./tlb.ts";
import type { TlbHierarchy } from "./tlb-hierarchy.ts";
import { CONTEXT_SIZE_SHIFT, SIZE_TABLE } from "./translation.ts";

const TABLE_CONTEXT = SIZE_TABLE << CONTEXT_SIZE_SHIFT;
/** Keeps the numbers of different levels apart where levels share a structure; above the bits that index. */
const LEVEL_TAG = 2 ** 40;
/** What a page number is divided by for the entry of level 2 (PDE) to 5 (PML5E, which sees only bit 47). */
const LEVEL_PAGES = [0, 1, 512, 512 ** 2, 512 ** 3, 2 ** 35];

/** Level of a page-directory entry, and of the entries above it. */
export const LEVEL_PDE = 2;
export const LEVEL_PML5E = 5;

/** The caches of one CPU. */
export class PagingStructureCaches {
  /** After a lookup that hit: frame of the table, and combined rights (`TR_*`). */
  frame = 0;
  flags = 0;
  /** By level of the entries; null where a level is not cached. */
  private readonly levels: (Tlb | null)[] = [null, null, null, null, null, null];
  /** Those that are not part of a TLB. */
  private readonly own: Tlb[] = [];
  /** Second-level TLBs that hold entries of tables. */
  private readonly shared: Tlb[] = [];

  constructor(preset: Preset, tlbs: TlbHierarchy) {
    const { pde, pdpte, pml4e, pml5e } = preset.pagingStructureCaches;
    const shapes: [string, PagingStructureCachePreset | undefined][] = [
      ["pde", pde],
      ["pdpte", pdpte],
      ["pml4e", pml4e],
      ["pml5e", pml5e],
    ];
    shapes.forEach(([name, shape], index) => {
      if (shape !== undefined) this.levels[index + 2] = this.build(name, shape, tlbs);
    });
  }

  /** The level of the deepest cached entry for page `vpn`, 2 (PDE) to `levels`; 0 when there is none. */
  lookup(vpn: number, pcid: number, levels: number): number {
    for (let level = LEVEL_PDE; level <= levels; level++) {
      const tlb = this.levels[level];
      if (tlb === null) continue;
      const slot = tlb.find(numberOf(vpn, level), pcid | TABLE_CONTEXT, pcid | TABLE_CONTEXT);
      if (slot < 0) continue;
      tlb.touch(slot);
      this.frame = tlb.frame[slot];
      this.flags = tlb.flags[slot];
      return level;
    }
    return 0;
  }

  /** Puts in the entry of `level` that a walk for `vpn` used. There must be none for it. */
  insert(vpn: number, level: number, pcid: number, frame: number, flags: number): void {
    const tlb = this.levels[level];
    if (tlb !== null) tlb.insert(numberOf(vpn, level), pcid | TABLE_CONTEXT, frame, flags);
  }

  /** Removes the entries that would be used for `vpn` under `pcid`, as a page fault does. */
  dropPage(vpn: number, pcid: number): void {
    for (let level = LEVEL_PDE; level <= LEVEL_PML5E; level++) {
      const tlb = this.levels[level];
      if (tlb === null) continue;
      const slot = tlb.find(numberOf(vpn, level), pcid | TABLE_CONTEXT, pcid | TABLE_CONTEXT);
      if (slot >= 0) tlb.drop(slot);
    }
  }

  /** Removes all entries of one PCID. */
  dropPcid(pcid: number): void {
    for (const tlb of this.own) tlb.dropPcid(pcid);
    for (const tlb of this.shared) dropTables(tlb, pcid);
  }

  /** Removes all entries. */
  clear(): void {
    for (const tlb of this.own) if (!tlb.isEmpty) tlb.clear();
    for (const tlb of this.shared) dropTables(tlb, -1);
  }

  /** The structures that hold nothing else, for those who look at them. */
  structures(): readonly Tlb[] {
    return this.own;
  }

  private build(name: string, shape: PagingStructureCachePreset, tlbs: TlbHierarchy): Tlb {
    if (!("sharedWith" in shape)) {
      const tlb = new Tlb({ ...shape, name, indexHash: "linear" }, new Int32Array(shape.sets), 0);
      this.own.push(tlb);
      return tlb;
    }
    const other = this.own.find((tlb) => tlb.name === shape.sharedWith);
    if (other !== undefined) return other;
    const tlb = tlbs.second.find((candidate) => candidate.name === shape.sharedWith);
    if (tlb === undefined) throw new RangeError(`no structure named "${shape.sharedWith}" to hold ${name} entries`);
    if (!this.shared.includes(tlb)) this.shared.push(tlb);
    return tlb;
  }
}

function numberOf(vpn: number, level: number): number {
  return Math.floor(vpn / LEVEL_PAGES[level]) + level * LEVEL_TAG;
}

function dropTables(tlb: Tlb, pcid: number): void {
  if (tlb.sizeCount[SIZE_TABLE] === 0) return;
  for (let slot = 0; slot < tlb.tag.length; slot++) {
    const context = tlb.context[slot];
    if (tlb.tag[slot] === -1 || context >> CONTEXT_SIZE_SHIFT !== SIZE_TABLE) continue;
    if (pcid === -1 || (context & 0x1fff) === pcid) tlb.drop(slot);
  }
}
