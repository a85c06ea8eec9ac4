/**
 * Walks of many loads and stores (bulk-walk.ts) that begin at a cached PDPTE, where no PDE is cached for the page: what `UpperWalk` does, where
 * the PDE needs nothing done to it, and takes the place of another in a full set of its cache. As there, all is read before anything changes.
 */

import type { PagingMode } from "../isa/paging-mode.ts";
import * as pteBits from "../isa/pte.ts";
import * as translation from "../isa/translation.ts";
import type { PhysicalMemory } from "../memory/physical-memory.ts";
import * as chunks from "../memory/physical-memory.ts";
import * as layout from "../tlb/cpu-arrays.ts";
import type { PagingStructureCaches } from "../tlb/paging-structure-caches.ts";
import * as structureCaches from "../tlb/paging-structure-caches.ts";
import type { Tlb } from "../tlb/tlb.ts";
import type { WalkCaches } from "../tlb/walk-caches.ts";
import { combineRights } from "../walk/page-walk.ts";
import type { WalkParts } from "./access-path-parts.ts";
import type { KnownTables } from "./known-tables.ts";
import type { Permissions } from "./permissions.ts";
import * as results from "./results.ts";

// The module's own constants, which V8 folds into the code (README.md, "Constants").
const { PTE_ACCESSED, PTE_PAGE_SIZE, PTE_PRESENT } = pteBits;
const { SIZE_TABLE, TR_MASK } = translation;
const { CHUNK_FRAME_MASK, CHUNK_FRAMES_SHIFT, FRAME_WORDS_SHIFT } = chunks;
const { ATTRIBUTE_PCID_MASK, ATTRIBUTE_PCID_SHIFT, ATTRIBUTE_SIZE_SHIFT, CELL_SHIFT, RESERVED_BITS_WORD } = layout;
const { SET_HELD, SET_SHIFT, SET_STATE } = layout;
const { WORD_ATTRIBUTES, WORD_FRAME, WORD_LINK, WORD_NEXT, WORD_SHIFT, WORD_STATE, WORD_USE } = layout;
const { GENERAL } = results;
const LEVEL_PDE = structureCaches.LEVEL_PDE;
const LEVEL_PDPTE = LEVEL_PDE + 1;
const PDE_TAG = structureCaches.structureTag(LEVEL_PDE);
const PDPTE_TAG = structureCaches.structureTag(LEVEL_PDPTE);
/** Of an entry that refers to a table and needs no bit set: the bits that tell, and those that are set. */
const TABLE_BITS = PTE_PRESENT | PTE_ACCESSED | PTE_PAGE_SIZE;
const TABLE = PTE_PRESENT | PTE_ACCESSED;
const TABLE_ATTRIBUTES = SIZE_TABLE << ATTRIBUTE_SIZE_SHIFT;
const PCID = ATTRIBUTE_PCID_MASK << ATTRIBUTE_PCID_SHIFT;
/** Low bits of an entry that are no part of the frame; bits of its high word that frames below 2^28 have, and that only others have. */
const LOW_ATTRIBUTES = 0xfff;
const HIGH_FRAME = 0xff;
const HIGHER_FRAME = 0xfff00;
/** Tables are at frames below 2 to the power of this, so that the number of a line is an integer of 32 bits with a sign. */
const TABLE_FRAME_BITS = 25;
const INDEX_MASK = 511;
const INDEX_BITS = 9;
const PAGE_SHIFT = 12;
/** Offsets in a GiB, and what a linear address is multiplied by for the number of its GiB. */
const GIB_MASK = 2 ** 30 - 1;
const PER_GIB = 2 ** -30;
/** Slots of a cache at the most: the bits of page numbers that are at hand choose its sets and chains. */
const SLOTS_MAX = 1024;
/** How many PDPTEs are remembered; a power of two. */
const REMEMBERED = 16;

/** Whether {@link BulkUpperWalk} does these caches: each of its own, and with replacement states that are a table. */
export function doesUpperWalks(structures: PagingStructureCaches): boolean {
  const pdes = structures.ofLevel(LEVEL_PDE);
  const pdptes = structures.ofLevel(LEVEL_PDPTE);
  return pdes !== null && pdptes !== null && pdes !== pdptes && isSimple(pdes) && isSimple(pdptes);
}

function isSimple({ isLimited, replacement, kinds, hashMask, slots }: Tlb): boolean {
  return !isLimited && replacement.logs === null && kinds.length === 0 && hashMask === 0 && slots <= SLOTS_MAX;
}

/** Such walks of one CPU. */
export class BulkUpperWalk {
  private readonly pdes: Tlb;
  private readonly pdptes: Tlb;
  private readonly cells: Float64Array;
  private readonly words: Int32Array;
  private readonly further: Int32Array;
  /** Word of the reserved bits of PDEs. */
  private readonly reservedAt: number;
  private readonly mode: PagingMode;
  private readonly tables: KnownTables;
  private readonly walkCaches: WalkCaches;
  private readonly directory: PhysicalMemory["directory"];
  private readonly wholeChunks: Uint8Array;
  /** Places of PDPTEs that walks began at, by the low bits of the numbers of their GiB; 0 where there is none. Compared before they are used. */
  private readonly places = new Int32Array(REMEMBERED);

  constructor({ arrays, structures, mode, tables, walkCaches, memory }: WalkParts) {
    this.pdes = structures.ofLevel(LEVEL_PDE) as Tlb;
    this.pdptes = structures.ofLevel(LEVEL_PDPTE) as Tlb;
    this.cells = arrays.cells;
    this.words = arrays.words;
    this.reservedAt = arrays.firstWord + RESERVED_BITS_WORD + LEVEL_PDE;
    this.further = arrays.further;
    this.mode = mode;
    this.tables = tables;
    this.walkCaches = walkCaches;
    this.directory = memory.directory;
    this.wholeChunks = memory.wholeChunks;
  }

  /**
   * The frame of a page, with all that the walk does but for what it costs beside the fetches, which are left for later, and for the fills of
   * TLBs; `GENERAL` where it is not done here, and nothing has changed.
   * @param number bits 19:0 of the page number
   */
  walk(number: number, page: number, kind: number, permissions: Permissions): number {
    const { words, cells, directory, wholeChunks, mode } = this;
    const pdeTag = page - ((number & INDEX_MASK) << PAGE_SHIFT) + PDE_TAG;
    const victim = this.victim(number >>> INDEX_BITS, pdeTag) | 0;
    if (victim === 0) return GENERAL;
    const place = this.pdpteOf(number, page) | 0;
    const record = place << WORD_SHIFT;
    const directoryFrame = words[(record + WORD_FRAME) | 0];
    if (place === 0 || this.further[place] !== 0 || !this.isTable(directoryFrame)) return GENERAL;
    const directoryIndex = (number >>> INDEX_BITS) & INDEX_MASK;
    const pdes = directory[directoryFrame >>> CHUNK_FRAMES_SHIFT];
    const pdeAt = (((directoryFrame & CHUNK_FRAME_MASK) << FRAME_WORDS_SHIFT) + (directoryIndex << 1)) | 0;
    const pdeLow = pdes[pdeAt];
    const pdeHigh = pdes[pdeAt | 1];
    if ((pdeLow & TABLE_BITS) !== TABLE || (pdeLow & words[this.reservedAt]) !== 0) return GENERAL;
    if ((pdeHigh & (mode.reservedHigh | HIGHER_FRAME)) !== 0) return GENERAL;
    const attributes = words[(record + WORD_ATTRIBUTES) | 0];
    const rights = combineRights(attributes & TR_MASK, pdeLow, pdeHigh) | (attributes & PCID) | TABLE_ATTRIBUTES;
    const table = ((pdeHigh & HIGH_FRAME) << 20) | (pdeLow >>> PAGE_SHIFT);
    if (rights !== permissions.allowedPde || !this.isTable(table)) return GENERAL;
    const ptes = directory[table >>> CHUNK_FRAMES_SHIFT];
    const pteAt = (((table & CHUNK_FRAME_MASK) << FRAME_WORDS_SHIFT) + ((number & INDEX_MASK) << 1)) | 0;
    const low = ptes[pteAt];
    const high = ptes[pteAt | 1];
    if ((low & LOW_ATTRIBUTES) !== permissions.allowedPteLow) return GENERAL;
    if ((high & ~HIGH_FRAME) !== permissions.allowedPteHigh) return GENERAL;
    const frame = ((high & HIGH_FRAME) << 20) | (low >>> PAGE_SHIFT);
    if (wholeChunks[frame >>> CHUNK_FRAMES_SHIFT] !== 1) return GENERAL;

    const use = words[(record + WORD_USE) | 0];
    const state = words[(record + WORD_STATE) | 0];
    words[state] = (words[state] & (use >>> 16)) | (use & 0xffff);
    this.walkCaches.leave(kind, (directoryFrame << 6) + (directoryIndex >> 3));
    this.insertPde(victim, number >>> INDEX_BITS);
    cells[victim << CELL_SHIFT] = pdeTag;
    words[((victim << WORD_SHIFT) + WORD_FRAME) | 0] = table;
    words[((victim << WORD_SHIFT) + WORD_ATTRIBUTES) | 0] = rights;
    this.further[victim] = 0;
    this.tables.remember(number, victim, table);
    this.walkCaches.leave(kind, (table << 6) + ((number & INDEX_MASK) >> 3));
    return frame;
  }

  /** Whether there can be a table at a frame: in memory, and low enough. */
  private isTable(frame: number): boolean {
    return frame >>> TABLE_FRAME_BITS === 0 && this.wholeChunks[frame >>> CHUNK_FRAMES_SHIFT] === 1;
  }

  /** The place that the PDE with a tag gets, if none has that tag and its set is full; else 0. @param number low bits of that of the 2 MiB */
  private victim(number: number, tag: number): number {
    const { words, cells } = this;
    const { lowMask, ways, firstPlace, setsAt, replacement } = this.pdes;
    const set = number & lowMask;
    const row = (setsAt + (set << SET_SHIFT)) | 0;
    if (words[(row + SET_HELD) | 0] !== replacement.filledWays) return 0;
    const first = (firstPlace + Math.imul(set, ways)) | 0;
    for (let place = first; place < first + ways; place++) if (cells[place << CELL_SHIFT] === tag) return 0;
    return first + (replacement.fills[words[(row + SET_STATE) | 0]] & 0xff);
  }

  /** The place of the cached PDPTE of a page; 0 where there is none. One that is remembered may be of another PCID: its attributes say so. */
  private pdpteOf(number: number, page: number): number {
    const gib = (page * PER_GIB) | 0;
    const place = this.places[gib & (REMEMBERED - 1)];
    const tag = page - ((number << PAGE_SHIFT) & GIB_MASK) + PDPTE_TAG;
    if (this.cells[place << CELL_SHIFT] === tag) return place;
    const { pdptes, places } = this;
    const slot = pdptes.find(tag, gib, this.mode.pcid);
    if (slot < 0) return 0;
    places[gib & (REMEMBERED - 1)] = pdptes.firstPlace + slot;
    return pdptes.firstPlace + slot;
  }

  /** What `Tlb.insert` does to the replacement state and the chains where it evicts the entry at `place`. */
  private insertPde(place: number, number: number): void {
    const { words } = this;
    const { headAt, headMask, replacement } = this.pdes;
    const record = place << WORD_SHIFT;
    const state = words[(record + WORD_STATE) | 0];
    words[state] = replacement.fills[words[state]] >> 8;
    if (headAt < 0) return;
    const link = words[(record + WORD_LINK) | 0];
    const after = words[(record + WORD_NEXT) | 0];
    words[link] = after;
    words[((after << WORD_SHIFT) + WORD_LINK) | 0] = link;
    const head = (headAt + (number & headMask)) | 0;
    const next = words[head];
    words[(record + WORD_NEXT) | 0] = next;
    words[((next << WORD_SHIFT) + WORD_LINK) | 0] = record + WORD_NEXT;
    words[(record + WORD_LINK) | 0] = head;
    words[head] = place;
  }
}
