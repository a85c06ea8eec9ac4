/**
 * The last step of a page walk to a page of 2 MiB or 1 GiB on the fast path: from the cached entry above it to an entry that maps the
 * page, allows the access and needs no bit set. Otherwise as leaf-walk.ts, which has found no cached entry below.
 */

import * as addresses from "../isa/linear-address.ts";
import type { PagingMode } from "../isa/paging-mode.ts";
import * as pteBits from "../isa/pte.ts";
import * as translation from "../isa/translation.ts";
import type { PhysicalMemory } from "../memory/physical-memory.ts";
import * as chunks from "../memory/physical-memory.ts";
import * as counters from "../time/perf-counters.ts";
import * as layout from "../tlb/cpu-arrays.ts";
import type { LruLogs } from "../tlb/lru-logs.ts";
import { structureTag } from "../tlb/paging-structure-caches.ts";
import type { Tlb } from "../tlb/tlb.ts";
import type { WalkCaches } from "../tlb/walk-caches.ts";
import { leafFlags } from "../walk/page-walk.ts";
import type { AccessPathParts } from "./access-path-parts.ts";
import type { KnownChunks } from "./known-chunks.ts";
import type { Permissions } from "./permissions.ts";
import * as results from "./results.ts";

// The module's own constants, which V8 folds into the code (README.md, "Constants").
const { LEVEL_BYTES } = addresses;
const { PTE_ACCESSED, PTE_PAGE_SIZE, PTE_PRESENT } = pteBits;
const { SIZE_2M, SIZE_BYTES, SIZE_TABLE, TAG_SIZE_STEP, TR_GLOBAL, TR_MASK } = translation;
const { CHUNK_FRAME_MASK, FRAME_WORDS_SHIFT } = chunks;
const { ATTRIBUTE_MEMORY, ATTRIBUTE_PCID_SHIFT, ATTRIBUTE_SIZE_SHIFT, CELL_SHIFT, COUNTERS_CELL } = layout;
const { REQUESTED_LARGE_CELL, WORD_ATTRIBUTES, WORD_FRAME, WORD_SHIFT, WORD_STATE, WORD_USE } = layout;
const { GENERAL, NOT_CACHED } = results;
const LEAF = PTE_PRESENT | PTE_ACCESSED | PTE_PAGE_SIZE;
/** Low bits of an entry that maps a larger page that are no part of the frame, and bits of the high word that frames from 2^28 on have. */
const LOW_ATTRIBUTES = 0x1fff;
const HIGH_FRAME = 0xff;
const HIGHER_FRAME = 0xfff00;
/** Bit 0 of the frame of such an entry is the PAT bit. */
const PAT_IN_FRAME = 1;
/** No entry: its low bits are all set. */
const NO_ENTRY = -1;
const NO_CHUNK = new Int32Array(0);

/** The TLB of the second level that holds pieces of a size. */
export interface PiecesHome {
  readonly tlb: Tlb;
  /** 4 KiB or 2 MiB (`SIZE_*`). */
  readonly size: number;
}

/** What a path of larger pages needs to know of its access. */
export interface LargeAccess {
  /** Load 0, store 1, fetch 2. */
  readonly kind: number;
  /** 2 MiB or 1 GiB (`SIZE_*`). */
  readonly size: number;
  /** Which TLBs hold pages of the size, of the first level and of the second; null where none does. */
  readonly first: Tlb | null;
  readonly second: Tlb | null;
  /** Where the second level holds pieces of it, and only the first level pages; else null. */
  readonly pieces: PiecesHome | null;
  readonly permissions: Permissions;
  /** Cells of the counters of first-level and second-level hits. */
  readonly hitsCell: number;
  readonly secondLevelHitsCell: number;
  readonly accessCycles: number;
  /** Which chunks of memory exist. */
  readonly knownChunks: KnownChunks;
}

/** Walks of one kind of access to pages of one size. */
export class LargeWalk {
  /** Attributes of the translation that was walked to last. */
  attributes = 0;
  private readonly permissions: Permissions;
  /** The cache of the entries above; null where they are not cached, or in a TLB with a limited number of PCIDs. */
  private readonly above: Tlb | null;
  /** The logs of its uses, if that is how its replacement state is kept. */
  private readonly logs: LruLogs | null;
  /** What a walk returns where `above` is null. */
  private readonly withoutAbove: number;
  private readonly cells: Float64Array;
  private readonly words: Int32Array;
  private readonly clocks: Float64Array;
  private readonly cpu: number;
  private readonly mode: PagingMode;
  private readonly memory: PhysicalMemory;
  private readonly knownChunks: KnownChunks;
  private readonly walkCaches: WalkCaches;
  private readonly requestCell: number;
  /** Level of the entry that maps the page, the page's size and its bytes. */
  private readonly level: number;
  private readonly size: number;
  private readonly bytes: number;
  /** What the tag of the entry above is more than that of the first page below it, and the number of bytes below it. */
  private readonly aboveStep: number;
  private readonly aboveBytes: number;
  private readonly accessCycles: number;
  private readonly walkCycles: number;
  private readonly walksCell: number;
  private readonly accessesCell: number;
  private readonly walkCyclesCell: number;
  /** Place of the entry above of the last walk; its table: chunk of memory, frame, and word of its first entry in the chunk. */
  private abovePlace = 0;
  private table: Int32Array = NO_CHUNK;
  private tableFrame = 0;
  private tableBase = 0;
  /** The attributes of the entry that was found allowed last, those of the one above it, and the translation's. */
  private allowedLow = NO_ENTRY;
  private allowedHigh = 0;
  private allowedAbove = 0;

  constructor(access: LargeAccess, parts: AccessPathParts) {
    const { kind, size, permissions, hitsCell, accessCycles, knownChunks } = access;
    const { arrays, clocks, cpu, structures, mode, memory, walkCaches, preset } = parts;
    const level = size + 1;
    const above = structures.ofLevel(level + 1);
    this.permissions = permissions;
    this.above = above?.isLimited ? null : above;
    this.logs = above?.replacement.logs ?? null;
    this.withoutAbove = above === null ? NOT_CACHED : GENERAL;
    this.cells = arrays.cells;
    this.words = arrays.words;
    this.clocks = clocks;
    this.cpu = cpu;
    this.mode = mode;
    this.memory = memory;
    this.knownChunks = knownChunks;
    this.walkCaches = walkCaches;
    this.requestCell = REQUESTED_LARGE_CELL + size - SIZE_2M;
    this.level = level;
    this.size = size;
    this.bytes = SIZE_BYTES[size];
    this.aboveStep = structureTag(level + 1) - size * TAG_SIZE_STEP;
    this.aboveBytes = LEVEL_BYTES[level + 1];
    this.accessCycles = accessCycles;
    this.walkCycles = preset.costs.walk.value;
    this.walksCell = arrays.firstCell + COUNTERS_CELL + counters.COUNT_WALK + kind * 3 + size;
    this.accessesCell = hitsCell;
    this.walkCyclesCell = arrays.firstCell + COUNTERS_CELL + counters.COUNT_WALK_CYCLES + kind;
  }

  /** Begins another context: the next walk looks the entry above up. */
  forget(): void {
    this.allowedLow = NO_ENTRY;
    this.abovePlace = 0;
  }

  /**
   * Walks for the page of this size whose tag is in its request cell. Returns its first frame, and `attributes` has its
   * attributes. `NOT_CACHED`, or `GENERAL` where the walk is left to the general path: then nothing has changed.
   * @param number the page's number
   * @param piece number of the 4 KiB page in it that is accessed
   */
  walk(number: number, piece: number): number {
    const { cells, words, abovePlace, tableFrame } = this;
    const index = number & 511;
    const record = abovePlace << WORD_SHIFT;
    if (cells[abovePlace << CELL_SHIFT] !== cells[this.requestCell] - index * this.bytes + this.aboveStep)
      return this.walkFromOther(number, piece) | 0;
    if (words[(record + WORD_FRAME) | 0] !== tableFrame) return this.walkFromOther(number, piece) | 0;
    const at = (this.tableBase + (index << 1)) | 0;
    const low = this.table[at];
    const high = this.table[at | 1];
    if (!this.isAllowed(low, high, words[(record + WORD_ATTRIBUTES) | 0])) return GENERAL;
    const frame = (((high & HIGH_FRAME) << 20) | (low >>> 12)) & ~PAT_IN_FRAME;
    if (this.size === SIZE_2M && !this.knownChunks.have(frame + piece)) return GENERAL;
    if (this.logs === null) {
      const use = words[(record + WORD_USE) | 0];
      const state = words[(record + WORD_STATE) | 0];
      words[state] = (words[state] & (use >>> 16)) | (use & 0xffff);
    } else {
      this.logs.use(abovePlace);
    }
    const cycles = this.walkCycles + this.walkCaches.fetch((tableFrame >>> 0) * 64 + (index >> 3));
    this.clocks[this.cpu] += cycles + this.accessCycles;
    cells[this.walkCyclesCell] += cycles;
    cells[this.walksCell]++;
    cells[this.accessesCell]++;
    return frame;
  }

  /** A walk from another cached entry than the last one. */
  private walkFromOther(number: number, piece: number): number {
    const { above, cells, words, mode } = this;
    if (above === null) return this.withoutAbove;
    if (words[above.sizeAt + SIZE_TABLE] === 0) return NOT_CACHED;
    const tag = cells[this.requestCell] - (number & 511) * this.bytes + this.aboveStep;
    const slot = above.find(tag, Math.floor(tag / this.aboveBytes) | 0, mode.pcid);
    if (slot < 0) return NOT_CACHED;
    const frame = above.frameOf(slot);
    const chunk = this.memory.chunkAt(frame);
    if (chunk === null) return GENERAL;
    this.abovePlace = above.firstPlace + slot;
    this.table = chunk;
    this.tableFrame = frame | 0;
    this.tableBase = (frame & CHUNK_FRAME_MASK) << FRAME_WORDS_SHIFT;
    return this.walk(number, piece) | 0;
  }

  /** Whether an entry below one with the attributes `above` maps a page of this size and lets the access use it; then `attributes` are its. */
  private isAllowed(low: number, high: number, above: number): boolean {
    if ((low & this.mode.reservedLowOf(low, this.level)) !== 0) return false;
    const isKnown =
      (low & LOW_ATTRIBUTES) === this.allowedLow &&
      (high & ~HIGH_FRAME) === this.allowedHigh &&
      above === this.allowedAbove;
    return isKnown || this.learn(low, high, above);
  }

  private learn(low: number, high: number, above: number): boolean {
    const { mode, permissions, size } = this;
    if ((low & LEAF) !== LEAF) return false;
    if ((high & (mode.reservedHigh | HIGHER_FRAME)) !== 0) return false;
    const flags = leafFlags(above & TR_MASK, low, high, this.level, mode.globalPages) & TR_MASK;
    const isGlobal = (flags & TR_GLOBAL) !== 0;
    if ((!isGlobal && mode.pcid !== permissions.pcid) || !permissions.rulesAllow(flags)) return false;
    this.allowedLow = low & LOW_ATTRIBUTES;
    this.allowedHigh = high & ~HIGH_FRAME;
    this.allowedAbove = above;
    this.attributes =
      flags | (isGlobal ? 0 : mode.pcid << ATTRIBUTE_PCID_SHIFT) | (size << ATTRIBUTE_SIZE_SHIFT) | ATTRIBUTE_MEMORY;
    return true;
  }
}
