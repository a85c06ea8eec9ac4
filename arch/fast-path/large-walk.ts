/**
 * The last step of a page walk to a page of 2 MiB or 1 GiB on the fast path: from the cached entry above it, where no entry below is
 * cached, to an entry that maps the page, allows the access and needs no bit set. Otherwise as leaf-walk.ts.
 */

import * as addresses from "../isa/linear-address.ts";
import type { PagingMode } from "../isa/paging-mode.ts";
import * as pteBits from "../isa/pte.ts";
import * as translation from "../isa/translation.ts";
import type { PhysicalMemory } from "../memory/physical-memory.ts";
import * as chunks from "../memory/physical-memory.ts";
import * as counters from "../time/perf-counters.ts";
import * as layout from "../tlb/cpu-arrays.ts";
import { structureTag } from "../tlb/paging-structure-caches.ts";
import type { Tlb } from "../tlb/tlb.ts";
import type { WalkCaches } from "../tlb/walk-caches.ts";
import { leafFlags } from "../walk/page-walk.ts";
import type { AccessPathParts } from "./access-path-parts.ts";
import type { Permissions } from "./permissions.ts";

// The module's own constants, which V8 folds into the code (README.md, "Constants").
const { LEVEL_BYTES } = addresses;
const { PTE_ACCESSED, PTE_PAGE_SIZE, PTE_PRESENT } = pteBits;
const { TR_GLOBAL, TR_MASK } = translation;
const { CHUNK_FRAME_MASK, FRAME_WORDS_SHIFT } = chunks;
const { ATTRIBUTE_MEMORY, ATTRIBUTE_PCID_SHIFT, ATTRIBUTE_SIZE_SHIFT } = layout;
const { COUNTERS_CELL, REQUESTED_PAGE_CELL } = layout;
const LEAF = PTE_PRESENT | PTE_ACCESSED | PTE_PAGE_SIZE;
const LEVEL_PDE = 2;
/** Low bits of an entry that maps a larger page that are no part of the frame, and bits of the high word that frames from 2^28 on have. */
const LOW_ATTRIBUTES = 0x1fff;
const HIGH_FRAME = 0xff;
const HIGHER_FRAME = 0xfff00;
/** No entry: its low bits are all set. */
const NO_ENTRY = -1;
const NOT_DONE = -1;

/** What a path of larger pages needs to know of its access. */
export interface LargeAccess {
  /** Load 0, store 1, fetch 2. */
  readonly kind: number;
  /** 2 MiB or 1 GiB (`SIZE_*`). */
  readonly size: number;
  /** Which TLBs hold pages of the size, of the first level and of the second; null where none does. */
  readonly first: Tlb | null;
  readonly second: Tlb | null;
  readonly permissions: Permissions;
  /** Cells of the counters of first-level and second-level hits. */
  readonly hitsCell: number;
  readonly secondLevelHitsCell: number;
  readonly accessCycles: number;
}

/** Walks of one kind of access to pages of one size. */
export class LargeWalk {
  /** Attributes of the translation that was walked to last. */
  attributes = 0;
  private readonly permissions: Permissions;
  /** Caches of the entries that must not be there: below the one that the walk starts at; and of that one. */
  private readonly below: (Tlb | null)[];
  private readonly above: Tlb | null;
  private readonly cells: Float64Array;
  private readonly clock: Float64Array;
  private readonly mode: PagingMode;
  private readonly memory: PhysicalMemory;
  private readonly walkCaches: WalkCaches;
  /** Level of the entry that maps the page. */
  private readonly level: number;
  private readonly size: number;
  /** Low bits of a frame that are reserved. */
  private readonly reservedLow: number;
  private readonly accessCycles: number;
  private readonly walkCycles: number;
  private readonly walksCell: number;
  private readonly accessesCell: number;
  private readonly walkCyclesCell: number;
  /** The attributes of the entry that was found allowed last, those of the one above it, and the translation's. */
  private allowedLow = NO_ENTRY;
  private allowedHigh = 0;
  private allowedAbove = 0;

  constructor({ kind, size, permissions, hitsCell, accessCycles }: LargeAccess, parts: AccessPathParts) {
    const { arrays, clock, structures, mode, memory, walkCaches, preset } = parts;
    const level = size + 1;
    const above = structures.ofLevel(level + 1);
    this.permissions = permissions;
    this.below = [];
    for (let each = LEVEL_PDE; each <= level; each++) this.below.push(structures.ofLevel(each));
    this.above = above?.isLimited ? null : above;
    this.cells = arrays.cells;
    this.clock = clock;
    this.mode = mode;
    this.memory = memory;
    this.walkCaches = walkCaches;
    this.level = level;
    this.size = size;
    this.reservedLow = LEVEL_BYTES[level] / 4096 - 1;
    this.accessCycles = accessCycles;
    this.walkCycles = preset.costs.walk.value;
    this.walksCell = COUNTERS_CELL + counters.COUNT_WALK + kind * 3 + size;
    this.accessesCell = hitsCell;
    this.walkCyclesCell = COUNTERS_CELL + counters.COUNT_WALK_CYCLES + kind;
  }

  /** Begins another context. */
  forget(): void {
    this.allowedLow = NO_ENTRY;
  }

  /**
   * Walks for the page of this size with a number, which that in `REQUESTED_PAGE_CELL` is part of. Returns its first frame, and
   * `attributes` has its attributes; -1 where the walk is left to the general path, and then nothing has changed.
   */
  walk(number: number): number {
    const { above, cells, level, memory, mode } = this;
    const page = cells[REQUESTED_PAGE_CELL];
    if (above === null || page !== Math.floor(page) || this.hasBelow(page)) return NOT_DONE;
    const bytes = LEVEL_BYTES[level + 1];
    const aboveNumber = Math.floor(page / bytes);
    const slot = above.find(aboveNumber * bytes + structureTag(level + 1), aboveNumber | 0, mode.pcid);
    if (slot < 0) return NOT_DONE;
    const tableFrame = above.frameOf(slot);
    if (!memory.has(tableFrame)) return NOT_DONE;
    const chunk = memory.chunkForRead(tableFrame);
    const index = number & 511;
    const at = ((tableFrame & CHUNK_FRAME_MASK) << FRAME_WORDS_SHIFT) + (index << 1);
    const low = chunk[at];
    const high = chunk[at + 1];
    if (!this.isAllowed(low, high, above.flagsOf(slot))) return NOT_DONE;
    const frame = (((high & HIGH_FRAME) << 20) | (low >>> 12)) & ~1;
    if (memory.chunkAt(frame + ((cells[REQUESTED_PAGE_CELL] / 4096) & this.reservedLow)) === null) return NOT_DONE;
    above.touch(slot);
    const cycles = this.walkCycles + this.walkCaches.fetch(tableFrame * 64 + (index >> 3));
    this.clock[0] += cycles + this.accessCycles;
    cells[this.walkCyclesCell] += cycles;
    cells[this.walksCell]++;
    cells[this.accessesCell]++;
    return frame;
  }

  /** Whether an entry that a walk to `page` would start at before is cached. */
  private hasBelow(page: number): boolean {
    const { below, mode } = this;
    for (let i = 0; i < below.length; i++) {
      const tlb = below[i];
      if (tlb === null) continue;
      const bytes = LEVEL_BYTES[LEVEL_PDE + i];
      const number = Math.floor(page / bytes);
      if (tlb.find(number * bytes + structureTag(LEVEL_PDE + i), number | 0, mode.pcid) >= 0) return true;
    }
    return false;
  }

  /** Whether an entry below one with the rights `above` maps a page of this size and lets the access use it; then `attributes` are its. */
  private isAllowed(low: number, high: number, above: number): boolean {
    const lowAttributes = low & LOW_ATTRIBUTES;
    const isKnown =
      lowAttributes === this.allowedLow && (high & ~HIGH_FRAME) === this.allowedHigh && above === this.allowedAbove;
    if (isKnown) return (low & this.mode.reservedLowOf(low, this.level)) === 0;
    const { mode, permissions, size } = this;
    if ((low & LEAF) !== LEAF || (low & mode.reservedLowOf(low, this.level)) !== 0) return false;
    if ((high & (mode.reservedHigh | HIGHER_FRAME)) !== 0) return false;
    const flags = leafFlags(above, low, high, this.level, mode.globalPages) & TR_MASK;
    const isGlobal = (flags & TR_GLOBAL) !== 0;
    if ((!isGlobal && mode.pcid !== permissions.pcid) || !permissions.rulesAllow(flags)) return false;
    this.allowedLow = lowAttributes;
    this.allowedHigh = high & ~HIGH_FRAME;
    this.allowedAbove = above;
    this.attributes =
      flags | (isGlobal ? 0 : mode.pcid << ATTRIBUTE_PCID_SHIFT) | (size << ATTRIBUTE_SIZE_SHIFT) | ATTRIBUTE_MEMORY;
    return true;
  }
}
