/**
 * A whole miss in one function, for many translations one after another (arch/cpu/bulk-touch.ts): no TLB holds the page, a remembered PDE is
 * cached, its PTE allows the access and needs no bit set, and all sets that get the translation are full of small pages. What it does is what
 * `AccessPath.translate` does by way of `TreeTlb`, `IndexedTlb` and `LeafWalk`, which say more of each step; only the fetch of the PTE is left to
 * the data caches for later, with those of other walks (`WalkCaches.deferral`). Anything else is left to `AccessPath.translate`: nothing has
 * changed then. A walk takes half of the host's time so, because nothing is loaded twice and no step waits for the one before it.
 */

import * as translation from "../isa/translation.ts";
import * as chunks from "../memory/physical-memory.ts";
import type { Preset } from "../presets/preset.ts";
import * as counters from "../time/perf-counters.ts";
import * as layout from "../tlb/cpu-arrays.ts";
import { LEVEL_PDE, structureTag } from "../tlb/paging-structure-caches.ts";
import type { Tlb } from "../tlb/tlb.ts";
import type { TlbsOfKind } from "../tlb/tlb-hierarchy.ts";
import type { WalkCaches } from "../tlb/walk-caches.ts";
import type { AccessPathParts } from "./access-path-parts.ts";
import type { KnownTables } from "./known-tables.ts";
import type { Permissions } from "./permissions.ts";

// The module's own constants, which V8 folds into the code (README.md, "Constants").
const { CHUNK_FRAME_MASK, CHUNK_FRAMES_SHIFT, FRAME_WORDS_SHIFT } = chunks;
const { ATTRIBUTE_SIZE_SHIFT, ATTRIBUTE_STORES, CELL_SHIFT, COUNTERS_CELL, LARGE_TRANSLATIONS_WORD } = layout;
const { LOAD_PREDICTIONS_WORD, PREDICTIONS_MASK, PREDICTIONS_SHIFT, REQUESTED_PAGE_CELL, WORD_ATTRIBUTES } = layout;
const { WORD_FRAME, WORD_LINK, WORD_NEXT, WORD_SHIFT, WORD_STATE, WORD_USE } = layout;
const { SIZE_4K } = translation;
/** The attributes that are an entry's size: none of them for `SIZE_4K`. */
const SIZE = 3 << ATTRIBUTE_SIZE_SHIFT;
const PDE_TAG = structureTag(LEVEL_PDE);
/** Low bits of a PTE that are no part of the frame, and bits of its high word that frames below 2^28 have. */
const PTE_LOW_ATTRIBUTES = 0xfff;
const HIGH_FRAME = 0xff;
/** Page tables are at frames below 2 to the power of this, so that the number of a line is an integer of 32 bits with a sign. */
const TABLE_FRAME_BITS = 25;
/** Costs are words. */
const CYCLES_END = 2 ** 31;
/** Ways of a first-level set, and their log2. */
const WAYS = 4;
const WAYS_SHIFT = 2;
const KIND_STORE = 1;

/** Whether {@link BulkWalk} does these TLBs and PDEs, with such costs: their sums are exact in any order. */
export function doesBulkWalks({ first, second }: TlbsOfKind, pdes: Tlb | null, preset: Preset): boolean {
  const [level1] = first[SIZE_4K];
  const level2 = second[SIZE_4K];
  const { costs, dataCaches, memory } = preset;
  const cycles = [
    costs.walk,
    costs.load,
    costs.store,
    costs.fetch,
    memory,
    ...dataCaches.map((each) => each.hitCycles),
  ];
  return (
    level1.replacement.isTree &&
    level2.length === 1 &&
    level2[0].replacement.logs === null &&
    pdes !== null &&
    !pdes.isLimited &&
    pdes.replacement.logs === null &&
    cycles.every(({ value }) => Number.isInteger(value) && value < CYCLES_END)
  );
}

/** Misses of one kind of access (load 0, store 1, fetch 2), where {@link doesBulkWalks}. */
export class BulkWalk {
  private readonly kind: number;
  private readonly cells: Float64Array;
  private readonly words: Int32Array;
  private readonly bytes: Uint8Array;
  private readonly clock: Float64Array;
  private readonly permissions: Permissions;
  private readonly tables: KnownTables;
  private readonly wholeChunks: Uint8Array;
  private readonly walkCaches: WalkCaches;
  /** Cycles of a walk but for the fetch of its PTE. */
  private readonly walkCycles: number;
  private readonly accessCycles: number;
  private readonly walksCell: number;
  private readonly walkCyclesCell: number;
  private readonly predictionsWord: number;
  private readonly fillAttribute: number;
  /** Of the first level, as in `TreeTlb`. */
  private readonly lowMask: number;
  private readonly hashShift: number;
  private readonly hashMask: number;
  private readonly countWord: number;
  private readonly marksWord: number;
  private readonly marksByte: number;
  private readonly markShift: number;
  private readonly rootWord: number;
  private readonly pairsAt: number;
  /** Of the second level, as in `IndexedTlb`. */
  private readonly headWord: number;
  private readonly headMask: number;
  private readonly secondLowMask: number;
  private readonly secondHashShift: number;
  private readonly secondHashMask: number;
  private readonly secondCountWord: number;
  private readonly filledWays: number;
  private readonly stateWord: number;
  private readonly fillsWord: number;
  private readonly secondPlace: number;
  private readonly ways: number;

  constructor(
    kind: number,
    { first: [[first]], second: [[second]] }: TlbsOfKind,
    permissions: Permissions,
    tables: KnownTables,
    { arrays, clock, memory, walkCaches, preset }: AccessPathParts,
  ) {
    const { costs } = preset;
    this.kind = kind;
    this.cells = arrays.cells;
    this.words = arrays.words;
    this.bytes = arrays.bytes;
    this.clock = clock;
    this.permissions = permissions;
    this.tables = tables;
    this.wholeChunks = memory.wholeChunks;
    this.walkCaches = walkCaches;
    this.walkCycles = costs.walk.value;
    this.accessCycles = [costs.load, costs.store, costs.fetch][kind].value;
    this.walksCell = COUNTERS_CELL + counters.COUNT_FAST_WALK + kind;
    this.walkCyclesCell = COUNTERS_CELL + counters.COUNT_WALK_CYCLES + kind;
    this.predictionsWord = LOAD_PREDICTIONS_WORD + (kind << PREDICTIONS_SHIFT);
    this.fillAttribute = kind === KIND_STORE ? ATTRIBUTE_STORES : 0;
    this.lowMask = first.lowMask;
    this.hashShift = first.hashShift;
    this.hashMask = first.hashMask;
    this.countWord = first.countAt;
    this.marksWord = first.marksAt >> 2;
    this.marksByte = first.marksAt - first.firstPlace;
    this.markShift = first.markShift;
    this.rootWord = first.replacement.rootsAt + (first.firstPlace >> WAYS_SHIFT);
    this.pairsAt = first.replacement.pairsAt;
    this.headWord = second.headAt;
    this.headMask = second.headMask;
    this.secondLowMask = second.lowMask;
    this.secondHashShift = second.hashShift;
    this.secondHashMask = second.hashMask;
    this.secondCountWord = second.countAt;
    this.filledWays = second.replacement.filledWays;
    this.stateWord = second.replacement.stateAt;
    this.fillsWord = second.replacement.fillsAt;
    this.secondPlace = second.firstPlace;
    this.ways = second.ways;
  }

  /** Does the whole miss of the page in `REQUESTED_PAGE_CELL`, or nothing (false). @param number bits 19:0 of the page number */
  walk(number: number): boolean {
    const { words, cells, tables, permissions } = this;
    const page = cells[REQUESTED_PAGE_CELL];
    if (words[LARGE_TRANSLATIONS_WORD] !== 0) return false;
    // A mark of the first level that fits is nearly always the page itself.
    const set = (number & this.lowMask) ^ ((number >>> this.hashShift) & this.hashMask);
    const marks = words[(this.marksWord + set) | 0] ^ Math.imul((number >>> this.markShift) & 255, 0x01010101);
    if (((marks - 0x01010101) & ~marks & 0x80808080) !== 0 || words[(this.countWord + set) | 0] !== WAYS) return false;
    let held = words[(this.headWord + (number & this.headMask)) | 0];
    while (held !== 0 && cells[held << CELL_SHIFT] !== page) held = words[((held << WORD_SHIFT) + WORD_NEXT) | 0];
    if (held !== 0) return false;
    const known = tables.indexOf(number);
    const index = number & 511;
    const place = tables.places[known];
    const pde = place << WORD_SHIFT;
    const table = tables.frames[known];
    if (cells[place << CELL_SHIFT] !== page - (index << 12) + PDE_TAG || words[(pde + WORD_FRAME) | 0] !== table)
      return false;
    const chunk = tables.chunks[known];
    const at = (((table & CHUNK_FRAME_MASK) << FRAME_WORDS_SHIFT) + (index << 1)) | 0;
    const low = chunk[at];
    const high = chunk[at | 1];
    const frame = ((high & HIGH_FRAME) << 20) | (low >>> 12);
    if (
      (low & PTE_LOW_ATTRIBUTES) !== permissions.allowedPteLow ||
      (high & ~HIGH_FRAME) !== permissions.allowedPteHigh ||
      words[(pde + WORD_ATTRIBUTES) | 0] !== permissions.allowedPde ||
      this.wholeChunks[frame >>> CHUNK_FRAMES_SHIFT] !== 1 ||
      table >>> TABLE_FRAME_BITS !== 0 ||
      !this.fillSecond(number, page, frame)
    ) {
      return false;
    }
    const use = words[(pde + WORD_USE) | 0];
    const state = words[(pde + WORD_STATE) | 0];
    words[state] = (words[state] & (use >>> 16)) | (use & 0xffff);
    this.fillFirst(number, set, page, frame);
    this.clock[0] += this.walkCycles + this.accessCycles;
    cells[this.walkCyclesCell] += this.walkCycles;
    cells[this.walksCell]++;
    const { deferral } = this.walkCaches;
    deferral.add((table << 6) + (index >> 3), this.kind);
    if (deferral.isFull) this.walkCaches.makeDeferred();
    return true;
  }

  /** `IndexedTlb.insert` into a full set, in place of a small page; else nothing (false). */
  private fillSecond(number: number, page: number, frame: number): boolean {
    const { words, cells } = this;
    const set = (number & this.secondLowMask) ^ ((number >>> this.secondHashShift) & this.secondHashMask);
    const state = (this.stateWord + set) | 0;
    const filled = words[(this.fillsWord + words[state]) | 0];
    const place = (this.secondPlace + Math.imul(set, this.ways) + (filled & 0xff)) | 0;
    const record = place << WORD_SHIFT;
    if (words[(this.secondCountWord + set) | 0] !== this.filledWays) return false;
    if ((words[(record + WORD_ATTRIBUTES) | 0] & SIZE) !== 0) return false;
    words[state] = filled >> 8;
    const link = words[(record + WORD_LINK) | 0];
    const after = words[(record + WORD_NEXT) | 0];
    words[link] = after;
    words[((after << WORD_SHIFT) + WORD_LINK) | 0] = link;
    const head = (this.headWord + (number & this.headMask)) | 0;
    const next = words[head];
    words[(record + WORD_NEXT) | 0] = next;
    words[((next << WORD_SHIFT) + WORD_LINK) | 0] = record + WORD_NEXT;
    words[(record + WORD_LINK) | 0] = head;
    words[head] = place;
    cells[place << CELL_SHIFT] = page;
    words[(record + WORD_FRAME) | 0] = frame;
    words[(record + WORD_ATTRIBUTES) | 0] = this.permissions.pteAttributes;
    return true;
  }

  /** `TreeTlb.insert` into a full set, and the prediction of it. */
  private fillFirst(number: number, set: number, page: number, frame: number): void {
    const { words } = this;
    const root = (this.rootWord + set) | 0;
    const place = words[(this.pairsAt + ((words[root] ^ 2) >> 1)) | 0] ^ 1;
    words[root] = place;
    words[(this.pairsAt + (place >> 1)) | 0] = place;
    this.bytes[(this.marksByte + place) | 0] = number >>> this.markShift;
    this.cells[place << CELL_SHIFT] = page;
    words[((place << WORD_SHIFT) + WORD_FRAME) | 0] = frame;
    words[((place << WORD_SHIFT) + WORD_ATTRIBUTES) | 0] = this.permissions.pteAttributes | this.fillAttribute;
    words[((number & PREDICTIONS_MASK) + this.predictionsWord) | 0] = place;
  }
}
