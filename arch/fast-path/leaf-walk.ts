/**
 * The last step of a page walk on the fast path: from a cached PDE to a PTE that allows the access and needs no bit set. What
 * the general walk (arch/walk/page-walk.ts) does on its way is done here too: the hit of the cache of PDEs, the fetch of the
 * PTE's line, counters, cycles; the insertions into both levels of TLBs are left to the caller. Any other PTE, and a PDE that is not cached, is left to
 * the general path.
 */

import { LEVEL_BYTES } from "../isa/linear-address.ts";
import type { PagingMode } from "../isa/paging-mode.ts";
import * as pteBits from "../isa/pte.ts";
import * as translation from "../isa/translation.ts";
import type { PhysicalMemory } from "../memory/physical-memory.ts";
import * as chunks from "../memory/physical-memory.ts";
import * as counters from "../time/perf-counters.ts";
import * as layout from "../tlb/cpu-arrays.ts";
import type { LruLogs } from "../tlb/lru-logs.ts";
import { LEVEL_PDE, structureTag } from "../tlb/paging-structure-caches.ts";
import type { Tlb } from "../tlb/tlb.ts";
import type { WalkCaches } from "../tlb/walk-caches.ts";
import { leafFlags } from "../walk/page-walk.ts";
import type { WalkParts } from "./access-path-parts.ts";
import type { KnownChunks } from "./known-chunks.ts";
import type { KnownTables } from "./known-tables.ts";
import type { Permissions } from "./permissions.ts";
import * as results from "./results.ts";
import { type TableCache, tableCaches } from "./table-cache.ts";

// The module's own constants, which V8 folds into the code (README.md, "Constants").
const { PTE_ACCESSED, PTE_PRESENT } = pteBits;
const { SIZE_TABLE, TR_GLOBAL, TR_MASK } = translation;
const { CHUNK_FRAME_MASK, CHUNK_FRAMES_SHIFT, FRAME_WORDS_SHIFT } = chunks;
const { ATTRIBUTE_MEMORY, ATTRIBUTE_PCID_SHIFT, CELL_SHIFT } = layout;
const { COUNTERS_CELL, REQUESTED_PAGE_CELL, WORD_ATTRIBUTES, WORD_FRAME, WORD_SHIFT, WORD_STATE, WORD_USE } = layout;
const { GENERAL, NOT_CACHED } = results;
/** What the tag of a PDE adds to the first address of its 2 MiB. */
const PDE_TAG = structureTag(LEVEL_PDE);
const PDE_BYTES = LEVEL_BYTES[LEVEL_PDE];
const PDES = LEVEL_PDE;
/** Low bits of a PTE that are no part of the frame. */
const PTE_LOW_ATTRIBUTES = 0xfff;
/** Bits of the high word of a PTE that frames below 2^28 have, and those that only higher frames have. */
const HIGH_FRAME = 0xff;
const HIGHER_FRAME = 0xfff00;
const PRESENT_AND_ACCESSED = PTE_PRESENT | PTE_ACCESSED;
const NO_CHUNK = new Int32Array(0);

/** Walks of one kind of access (load 0, store 1, fetch 2). */
export class LeafWalk {
  /** The kind of access. */
  readonly kind: number;
  private readonly permissions: Permissions;
  /** The cache of PDEs, or the TLB that holds them; null where they are not cached, or in a TLB with a limited number of PCIDs. */
  private readonly pdes: Tlb | null;
  /** It as the fast path does it; null where it does not. */
  private readonly pdeCache: TableCache | null;
  /** The first word of what the CPU has of the arrays. */
  private readonly base: number;
  /** What a walk returns where it is null. */
  private readonly withoutPdes: number;
  /** The logs of its uses, if that is how its replacement state is kept. */
  private readonly logs: LruLogs | null;
  private readonly cells: Float64Array;
  private readonly words: Int32Array;
  /** The clocks of all CPUs, in cycles, and which is the CPU's. */
  private readonly clocks: Float64Array;
  private readonly cpu: number;
  private readonly mode: PagingMode;
  private readonly memory: PhysicalMemory;
  private readonly directory: PhysicalMemory["directory"];
  private readonly walkCaches: WalkCaches;
  private readonly accessCycles: number;
  private readonly walkCycles: number;
  /** Cells of the counters of completed walks and of their cycles. */
  private readonly walksCell: number;
  private readonly walkCyclesCell: number;
  /** Place of the PDE of the last walk. */
  private pdePlace = 0;
  /** The page table that it named then: its frame, its chunk of memory, and the word of that where it begins. */
  private tableFrame = -1;
  private table: Int32Array = NO_CHUNK;
  private tableBase = 0;
  /** Those of earlier walks. */
  private readonly knownTables: KnownTables;
  /** Chunks of memory that are known to exist. */
  private readonly knownChunks: KnownChunks;
  private readonly wholeChunks: Uint8Array;

  constructor(
    kind: number,
    permissions: Permissions,
    pdes: Tlb | null,
    accessCycles: number,
    knownChunks: KnownChunks,
    { arrays, clocks, cpu, mode, memory, walkCaches, preset, structures, tables }: WalkParts,
  ) {
    // What walks from above the PDE use comes first, as in `ReplacementState`.
    this.words = arrays.words;
    this.cells = arrays.cells;
    this.permissions = permissions;
    this.knownTables = tables;
    // Hits of a structure with a limited number of PCIDs change more than its replacement state.
    this.pdes = pdes?.isLimited ? null : pdes;
    this.mode = mode;
    this.base = arrays.firstWord;
    this.pdeCache = tableCaches(structures, arrays)?.[PDES] ?? null;
    this.knownChunks = knownChunks;
    this.kind = kind;
    this.clocks = clocks;
    this.cpu = cpu;
    this.accessCycles = accessCycles;
    this.walksCell = arrays.firstCell + COUNTERS_CELL + counters.COUNT_FAST_WALK + kind;
    this.walkCyclesCell = arrays.firstCell + COUNTERS_CELL + counters.COUNT_WALK_CYCLES + kind;
    this.walkCaches = walkCaches;
    this.walkCycles = preset.costs.walk.value;
    this.logs = pdes?.replacement.logs ?? null;
    this.wholeChunks = knownChunks.whole;
    this.directory = memory.directory;
    this.memory = memory;
    this.withoutPdes = pdes === null ? NOT_CACHED : GENERAL;
  }

  /** Whether {@link walk} may return anything but `NOT_CACHED`: some PDE is cached. */
  get hasPdes(): boolean {
    const { pdes } = this;
    return pdes === null ? this.withoutPdes !== NOT_CACHED : this.words[pdes.sizeAt + SIZE_TABLE] !== 0;
  }

  /** Begins another context: walks look their PDEs up. */
  forget(): void {
    this.pdePlace = 0;
  }

  /**
   * Walks for the page in `REQUESTED_PAGE_CELL`, which no TLB holds. Returns its frame, and `Permissions.pteAttributes` has its
   * attributes. `NOT_CACHED`, or `GENERAL` where the walk is left to the general path: then nothing has changed.
   * @param number bits 19:0 of the page number
   */
  walk(number: number): number {
    const { words, cells, pdePlace, permissions } = this;
    const index = number & 511;
    const record = pdePlace << WORD_SHIFT;
    if (cells[pdePlace << CELL_SHIFT] !== cells[REQUESTED_PAGE_CELL] - (index << 12) + PDE_TAG)
      return this.walkFromOtherPde(number) | 0;
    if (words[(record + WORD_FRAME) | 0] !== this.tableFrame) return this.walkFromOtherPde(number) | 0;
    const { table } = this;
    const at = (this.tableBase + (index << 1)) | 0;
    const low = table[at];
    const high = table[at | 1];
    if (
      (low & PTE_LOW_ATTRIBUTES) !== permissions.allowedPteLow ||
      (high & ~HIGH_FRAME) !== permissions.allowedPteHigh ||
      words[(record + WORD_ATTRIBUTES) | 0] !== permissions.allowedPde
    ) {
      return this.walkToOtherPte(number, low, high) | 0;
    }
    const frame = ((high & HIGH_FRAME) << 20) | (low >>> 12);
    if (this.wholeChunks[frame >>> CHUNK_FRAMES_SHIFT] !== 1) return this.walkToOtherChunk(number, frame) | 0;
    if (this.logs === null) {
      const use = words[(record + WORD_USE) | 0];
      const state = words[(record + WORD_STATE) | 0];
      words[state] = (words[state] & (use >>> 16)) | (use & 0xffff);
    } else {
      this.logs.use(pdePlace);
    }
    this.count(this.walkCycles + this.walkCaches.fetchFor(this.kind, (this.tableFrame >>> 0) * 64 + (index >> 3)));
    return frame;
  }

  /** A walk from a cached PDE other than that of the last walk, perhaps one that an earlier walk began at. */
  private walkFromOtherPde(number: number): number {
    const { cells, words, knownTables } = this;
    const at = knownTables.wordOf(number);
    const place = words[at];
    const frame = words[((place << WORD_SHIFT) + WORD_FRAME) | 0];
    if (
      cells[place << CELL_SHIFT] !== cells[REQUESTED_PAGE_CELL] - ((number & 511) << 12) + PDE_TAG ||
      frame !== words[at | 1]
    ) {
      return this.walkFromUnknownPde(number) | 0;
    }
    this.pdePlace = place;
    this.table = this.directory[frame >>> CHUNK_FRAMES_SHIFT];
    this.tableFrame = frame;
    this.tableBase = (frame & CHUNK_FRAME_MASK) << FRAME_WORDS_SHIFT;
    return this.walk(number) | 0;
  }

  /** A walk from a PDE that is looked up. */
  private walkFromUnknownPde(number: number): number {
    const { cells, words, pdes } = this;
    // What is no address is left to the general path, which says so. It hits nothing before: tags of pages are whole numbers.
    if (cells[REQUESTED_PAGE_CELL] !== Math.floor(cells[REQUESTED_PAGE_CELL])) return GENERAL;
    if (pdes === null) return this.withoutPdes;
    if (this.pdeCache !== null) return this.walkFromPde(number, this.pdeCache) | 0;
    if (words[pdes.sizeAt + SIZE_TABLE] === 0) return NOT_CACHED;
    const tag = cells[REQUESTED_PAGE_CELL] - ((number & 511) << 12) + PDE_TAG;
    const slot = pdes.find(tag, Math.floor(tag / PDE_BYTES) | 0, this.mode.pcid);
    if (slot < 0) return NOT_CACHED;
    return this.walkFromTable(number, pdes.firstPlace + slot, pdes.frameOf(slot)) | 0;
  }

  private walkFromPde(number: number, pdes: TableCache): number {
    const place = pdes.find(this.base, this.mode.pcid) | 0;
    return place === 0 ? NOT_CACHED : this.walkFromTable(number, place, pdes.frameOf(place)) | 0;
  }

  /** A walk from the PDE at `place`, which names the table at `frame`. */
  private walkFromTable(number: number, place: number, frame: number): number {
    const chunk = frame < 0 ? null : this.memory.chunkAt(frame);
    if (chunk === null) return GENERAL;
    this.pdePlace = place;
    this.table = chunk;
    this.tableFrame = frame | 0;
    this.tableBase = (frame & CHUNK_FRAME_MASK) << FRAME_WORDS_SHIFT;
    this.knownTables.remember(number, place, this.tableFrame);
    return this.walk(number) | 0;
  }

  /** A walk to a PTE with other attributes than the one that was found allowed last, or below a PDE with others. */
  private walkToOtherPte(number: number, low: number, high: number): number {
    const pde = this.words[(this.pdePlace << WORD_SHIFT) | WORD_ATTRIBUTES];
    return this.learn(low, high, pde) ? this.walk(number) | 0 : GENERAL;
  }

  /**
   * The frame of a page by its PTE below a PDE with such attributes, if the access is allowed there and needs no bit set;
   * `Permissions.pteAttributes` then has the translation's. Else `GENERAL`. Changes nothing.
   */
  frameOf(low: number, high: number, pde: number): number {
    const { permissions } = this;
    if (
      ((low & PTE_LOW_ATTRIBUTES) !== permissions.allowedPteLow ||
        (high & ~HIGH_FRAME) !== permissions.allowedPteHigh ||
        pde !== permissions.allowedPde) &&
      !this.learn(low, high, pde)
    ) {
      return GENERAL;
    }
    const frame = ((high & HIGH_FRAME) << 20) | (low >>> 12);
    return this.knownChunks.have(frame) ? frame : GENERAL;
  }

  /** Counts a walk of some cycles, and pays for it and for the access. */
  count(cycles: number): void {
    this.clocks[this.cpu] += cycles + this.accessCycles;
    this.cells[this.walkCyclesCell] += cycles;
    this.cells[this.walksCell]++;
  }

  /** Whether a PTE below a PDE with such attributes allows the access and needs no bit set: if so, it is the one found allowed last. */
  private learn(low: number, high: number, pde: number): boolean {
    const { mode, permissions } = this;
    if ((low & PRESENT_AND_ACCESSED) !== PRESENT_AND_ACCESSED) return false;
    if ((high & (mode.reservedHigh | HIGHER_FRAME)) !== 0) return false;
    const flags = leafFlags(pde & TR_MASK, low, high, 1, mode.globalPages);
    const isGlobal = (flags & TR_GLOBAL) !== 0;
    if ((!isGlobal && mode.pcid !== permissions.pcid) || !permissions.rulesAllow(flags)) return false;
    permissions.allowedPteLow = low & PTE_LOW_ATTRIBUTES;
    permissions.allowedPteHigh = high & ~HIGH_FRAME;
    permissions.allowedPde = pde;
    permissions.pteAttributes = flags | (isGlobal ? 0 : mode.pcid << ATTRIBUTE_PCID_SHIFT) | ATTRIBUTE_MEMORY;
    return true;
  }

  /** A walk to a page in a chunk of memory that is not known yet. */
  private walkToOtherChunk(number: number, frame: number): number {
    return this.knownChunks.have(frame) ? this.walk(number) | 0 : GENERAL;
  }
}
