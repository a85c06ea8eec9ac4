/**
 * A walk on the fast path that begins above the PDE: no PDE is cached for the page, as after INVLPG on CPUs that then drop all entries of
 * tables. It goes from the deepest cached entry, or from CR3, to a PTE, where each entry on the way is one that needs no bit set. All of
 * them are read first, so that nothing has changed when one of them is not; then what the general walk (arch/walk/page-walk.ts) does at
 * each is done.
 */

import type { PagingMode } from "../isa/paging-mode.ts";
import * as pteBits from "../isa/pte.ts";
import * as translation from "../isa/translation.ts";
import * as chunks from "../memory/physical-memory.ts";
import * as layout from "../tlb/cpu-arrays.ts";
import type { PagingStructureCaches } from "../tlb/paging-structure-caches.ts";
import * as structureCaches from "../tlb/paging-structure-caches.ts";
import type { WalkCaches } from "../tlb/walk-caches.ts";
import * as walks from "../walk/page-walk.ts";
import { combineRights, tableIndex } from "../walk/page-walk.ts";
import type { AccessPathParts } from "./access-path-parts.ts";
import type { KnownChunks } from "./known-chunks.ts";
import type { LeafWalk } from "./leaf-walk.ts";
import * as results from "./results.ts";
import { type TableCache, tableCaches } from "./table-cache.ts";

// The module's own constants, which V8 folds into the code (README.md, "Constants").
const { PTE_ACCESSED, PTE_PAGE_SIZE, PTE_PRESENT } = pteBits;
const { SIZE_TABLE, TR_MASK } = translation;
const { CHUNK_FRAME_MASK, CHUNK_FRAMES_SHIFT, FRAME_WORDS_SHIFT } = chunks;
const { ATTRIBUTE_PCID_SHIFT, ATTRIBUTE_SIZE_SHIFT, REQUESTED_PAGE_CELL, RESERVED_BITS_WORD } = layout;
const { WORD_ATTRIBUTES, WORD_SHIFT } = layout;
const { GENERAL } = results;
const { ALL_RIGHTS } = walks;
const LEVELS = structureCaches.LEVEL_PML5E + 1;
/** Level of the entries above PDEs, which the walk has not found. */
const LEVEL_PDPTE = structureCaches.LEVEL_PDE + 1;
/** Of an entry that refers to a table and needs no bit set: the bits that tell, and those that are set. */
const TABLE_BITS = PTE_PRESENT | PTE_ACCESSED | PTE_PAGE_SIZE;
const TABLE = PTE_PRESENT | PTE_ACCESSED;
/** Tables are at frames below this: bits of an entry's high word that those have, and that only others have. */
const FRAMES = 2 ** 28;
const HIGH_FRAME = 0xff;
const HIGHER_FRAME = 0xfff00;
/** Attributes of a cached entry of a table beside its rights and its PCID. */
const TABLE_ATTRIBUTES = SIZE_TABLE << ATTRIBUTE_SIZE_SHIFT;

/**
 * Of the entries on the way of a walk, by level: the table that each is in, its index there, and the rights down to it. Those of all CPUs are kept here,
 * one after the other: what each CPU has of its own is out of the host's caches where there are many.
 */
const tables = new Int32Array(LEVELS);
const indices = new Int32Array(LEVELS);
const rights = new Int32Array(LEVELS);

/** Walks of one kind of access. */
export class UpperWalk {
  private readonly leafWalk: LeafWalk;
  private readonly cells: Float64Array;
  private readonly words: Int32Array;
  private readonly structures: PagingStructureCaches;
  /** The caches by level as the fast path does them; null where it does not. */
  private readonly caches: readonly (TableCache | null)[] | null;
  /** The first word of what the CPU has of the arrays. */
  private readonly base: number;
  private readonly walkCaches: WalkCaches;
  private readonly mode: PagingMode;
  private readonly knownChunks: KnownChunks;
  private readonly chunks: readonly Int32Array[];
  private readonly walkCycles: number;
  /** Word of the reserved bits of entries of level 0, if there were any. */
  private readonly reservedAt: number;

  constructor(leafWalk: LeafWalk, knownChunks: KnownChunks, parts: AccessPathParts) {
    const { arrays, structures, walkCaches, mode, memory, preset } = parts;
    this.leafWalk = leafWalk;
    this.knownChunks = knownChunks;
    this.chunks = memory.directory;
    this.cells = arrays.cells;
    this.words = arrays.words;
    this.reservedAt = arrays.firstWord + RESERVED_BITS_WORD;
    this.structures = structures;
    this.base = arrays.firstWord;
    this.caches = tableCaches(structures, arrays);
    this.walkCaches = walkCaches;
    this.mode = mode;
    this.walkCycles = preset.costs.walk.value;
  }

  /**
   * Walks for the page in `REQUESTED_PAGE_CELL`, a page of 48 bits of which no TLB holds a translation and no structure a PDE. Returns its
   * frame, and `Permissions.pteAttributes` has its attributes. `GENERAL` where the walk is left to the general path: then nothing has
   * changed.
   */
  walk(): number {
    const { structures, mode, caches } = this;
    if (caches !== null) return this.walkFrom(caches) | 0;
    const page = this.cells[REQUESTED_PAGE_CELL];
    const cached = structures.find(page, mode.pcid, mode.levels, LEVEL_PDPTE);
    const top = cached === 0 ? mode.levels : cached - 1;
    const table = cached === 0 ? mode.rootFrame : structures.frame;
    if (table >= FRAMES) return GENERAL;
    tables[top] = table;
    const frame = this.read(page, top, cached === 0 ? ALL_RIGHTS : structures.flags) | 0;
    if (frame < 0) return GENERAL;
    if (cached !== 0) structures.hit();
    this.carryOut(top, null);
    return frame;
  }

  /** {@link walk} with the caches that the fast path does. */
  private walkFrom(caches: readonly (TableCache | null)[]): number {
    const { mode, base } = this;
    const page = this.cells[REQUESTED_PAGE_CELL];
    let cache: TableCache | null = null;
    let place = 0;
    let top = mode.levels as number;
    for (let level = LEVEL_PDPTE; level <= mode.levels && place === 0; level++) {
      cache = caches[level];
      if (cache === null) continue;
      place = cache.find(base, mode.pcid) | 0;
      if (place !== 0) top = level - 1;
    }
    const table = place === 0 || cache === null ? mode.rootFrame : cache.frameOf(place);
    if (table < 0 || table >= FRAMES) return GENERAL;
    tables[top] = table;
    const above = place === 0 ? ALL_RIGHTS : this.words[((place << WORD_SHIFT) + WORD_ATTRIBUTES) | 0] & TR_MASK;
    const frame = this.read(page, top, above) | 0;
    if (frame < 0) return GENERAL;
    if (place !== 0 && cache !== null) cache.use(place);
    this.carryOut(top, caches);
    return frame;
  }

  /** Reads the entries from level `top` on. Returns the frame of the page; `GENERAL` where one of them is not such as this does. */
  private read(page: number, top: number, rightsAbove: number): number {
    const { mode, words } = this;
    const vpn = page / 4096;
    let combined = rightsAbove;
    for (let level = top; ; level--) {
      const table = tables[level];
      const index = tableIndex(vpn, level);
      if (!this.knownChunks.have(table)) return GENERAL;
      const chunk = this.chunks[table >>> CHUNK_FRAMES_SHIFT];
      const at = ((table & CHUNK_FRAME_MASK) << FRAME_WORDS_SHIFT) | (index << 1);
      const low = chunk[at];
      const high = chunk[at | 1];
      indices[level] = index;
      if (level === 1) return this.leafWalk.frameOf(low, high, this.attributesOf(combined)) | 0;
      if ((low & TABLE_BITS) !== TABLE) return GENERAL;
      if ((high & (mode.reservedHigh | HIGHER_FRAME)) !== 0 || (low & words[this.reservedAt + level]) !== 0)
        return GENERAL;
      combined = combineRights(combined, low, high);
      rights[level] = combined;
      tables[level - 1] = ((high & HIGH_FRAME) << 20) | (low >>> 12);
    }
  }

  /** Does what the walk does at the entries from level `top` on, which were read. */
  private carryOut(top: number, caches: readonly (TableCache | null)[] | null): void {
    const { structures, walkCaches, mode, base } = this;
    const page = this.cells[REQUESTED_PAGE_CELL];
    const { kind } = this.leafWalk;
    let cycles = this.walkCycles;
    for (let level = top; level > 1; level--) {
      cycles += walkCaches.fetchFor(kind, tables[level] * 64 + (indices[level] >> 3));
      if (caches === null) structures.insert(page, level, mode.pcid, tables[level - 1], rights[level]);
      else caches[level]?.insert(base, mode.pcid, tables[level - 1], rights[level]);
    }
    this.leafWalk.count(cycles + walkCaches.fetchFor(kind, tables[1] * 64 + (indices[1] >> 3)));
  }

  /** The attributes of a cached PDE with these rights. */
  private attributesOf(rights: number): number {
    return rights | (this.mode.pcid << ATTRIBUTE_PCID_SHIFT) | TABLE_ATTRIBUTES;
  }
}
