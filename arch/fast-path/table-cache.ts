/**
 * Paging-structure caches as walks on the fast path use them: for the page in `REQUESTED_PAGE_CELL`. CPUs that have parts of the same arrays have one of each in
 * common, as of TLBs (indexed-tlb.ts).
 */

import * as addresses from "../isa/linear-address.ts";
import * as translation from "../isa/translation.ts";
import { afterUse } from "../presets/replacement/policy.ts";
import type { CommonArrays, CpuArrays } from "../tlb/cpu-arrays.ts";
import * as layout from "../tlb/cpu-arrays.ts";
import type { LruLogs } from "../tlb/lru-logs.ts";
import type { PagingStructureCaches } from "../tlb/paging-structure-caches.ts";
import * as structureCaches from "../tlb/paging-structure-caches.ts";
import type { Tlb } from "../tlb/tlb.ts";
import { takeEmptySlot } from "./empty-slots.ts";
import { recordUse } from "./recorded-use.ts";
import * as results from "./results.ts";

// The module's own constants, which V8 folds into the code (README.md, "Constants").
const { LEVEL_BYTES } = addresses;
const { SIZE_TABLE, TR_GLOBAL } = translation;
const { ATTRIBUTE_PCID_MASK, ATTRIBUTE_PCID_SHIFT, ATTRIBUTE_SIZE_SHIFT, CELL_SHIFT, REQUESTED_PAGE_CELL } = layout;
const { SET_HELD, SET_SHIFT, SET_STATE } = layout;
const { WORD_ATTRIBUTES, WORD_FRAME, WORD_LINK, WORD_NEXT, WORD_SHIFT } = layout;
const { LEVEL_PDE, LEVEL_PML5E, structureTag } = structureCaches;
const { GENERAL } = results;
/** Attributes of an entry beside its rights and its PCID. */
const TABLE_ATTRIBUTES = SIZE_TABLE << ATTRIBUTE_SIZE_SHIFT;

/** The cache of the entries of one level. `base` is the first word of the CPU's part of the arrays. */
export class TableCache {
  private readonly cells: Float64Array;
  private readonly words: Int32Array;
  private readonly common: CommonArrays;
  /** Bytes that an entry leads to, one divided by them, and what is added to its first address in a tag. */
  private readonly bytes: number;
  private readonly share: number;
  private readonly tagStep: number;
  private readonly sizeAt: number;
  private readonly firstPlace: number;
  private readonly ways: number;
  private readonly setMask: number;
  private readonly setsAt: number;
  /** Word of the first of the chains by number; -1 when sets are scanned. */
  private readonly headWord: number;
  private readonly headMask: number;
  /** Entries of a full set. */
  private readonly filledWays: number;
  private readonly fills: Int32Array;
  private readonly fillUse: Int32Array;
  private readonly logs: LruLogs | null;

  constructor(level: number, tlb: Tlb, arrays: CpuArrays) {
    this.cells = arrays.cells;
    this.words = arrays.words;
    this.common = arrays.common;
    this.bytes = LEVEL_BYTES[level];
    this.share = 1 / LEVEL_BYTES[level];
    this.tagStep = structureTag(level);
    this.sizeAt = tlb.sizeAt - arrays.firstWord;
    this.firstPlace = tlb.firstPlace - arrays.firstPlace;
    this.ways = tlb.ways;
    this.setMask = tlb.lowMask;
    this.setsAt = tlb.setsAt - arrays.firstWord;
    this.headWord = tlb.headAt < 0 ? -1 : tlb.headAt - arrays.firstWord;
    this.headMask = tlb.headMask;
    this.filledWays = tlb.replacement.filledWays;
    this.fills = tlb.replacement.fills;
    this.fillUse = tlb.replacement.fillUse;
    this.logs = tlb.replacement.logs;
  }

  /** The place of the entry that leads to the page, under a PCID; 0 when there is none. Changes nothing. */
  find(base: number, pcid: number): number {
    const { words, cells } = this;
    if (words[(base + this.sizeAt + SIZE_TABLE) | 0] === 0) return 0;
    const number = (cells[REQUESTED_PAGE_CELL] * this.share) | 0;
    const tag = number * this.bytes + this.tagStep;
    if (this.headWord >= 0)
      return this.findInChain(words[(base + this.headWord + (number & this.headMask)) | 0], tag, pcid) | 0;
    const first = (this.firstPlace + (base >> WORD_SHIFT) + Math.imul(number & this.setMask, this.ways)) | 0;
    const end = (first + this.ways) | 0;
    for (let place = first; place < end; place++)
      if (cells[place << CELL_SHIFT] === tag && this.isOf(place, pcid)) return place;
    return 0;
  }

  /** Records a hit of `place` for the replacement policy. */
  use(place: number): void {
    recordUse(this.words, this.logs, place);
  }

  /** The frame of the table that the entry at `place` names; `GENERAL` from 2^31 on. */
  frameOf(place: number): number {
    const { common } = this;
    if (common.hasFurther && common.further[place] !== 0) return GENERAL;
    const frame = this.words[((place << WORD_SHIFT) + WORD_FRAME) | 0];
    return frame < 0 ? GENERAL : frame;
  }

  /** Puts in an entry for the page: there must be none. @param frame below 2^31 */
  insert(base: number, pcid: number, frame: number, rights: number): void {
    const { words, cells, common } = this;
    const number = (cells[REQUESTED_PAGE_CELL] * this.share) | 0;
    const set = number & this.setMask;
    const row = (this.setsAt + base + (set << SET_SHIFT)) | 0;
    const first = (this.firstPlace + (base >> WORD_SHIFT) + Math.imul(set, this.ways)) | 0;
    const place = this.take(base, row, first) | 0;
    const record = place << WORD_SHIFT;
    cells[place << CELL_SHIFT] = number * this.bytes + this.tagStep;
    words[(record + WORD_FRAME) | 0] = frame;
    words[(record + WORD_ATTRIBUTES) | 0] = rights | (pcid << ATTRIBUTE_PCID_SHIFT) | TABLE_ATTRIBUTES;
    if (common.hasFurther) common.further[place] = 0;
    if (this.headWord >= 0) this.link(place, (base + this.headWord + (number & this.headMask)) | 0);
  }

  /** The place that a new entry gets, which counts as used. */
  private take(base: number, row: number, first: number): number {
    const { words, logs } = this;
    if (words[(row + SET_HELD) | 0] === this.filledWays) return this.evict(row, first) | 0;
    const place = takeEmptySlot(this.cells, words, row, first, this.filledWays) | 0;
    words[(base + this.sizeAt + SIZE_TABLE) | 0]++;
    if (logs !== null) logs.use(place);
    else words[(row + SET_STATE) | 0] = afterUse(words[(row + SET_STATE) | 0], this.fillUse[place - first]);
    return place;
  }

  private evict(row: number, first: number): number {
    const { words, logs } = this;
    let place = 0;
    if (logs !== null) {
      place = logs.oldest(first);
      logs.use(place);
    } else {
      const filled = this.fills[words[(row + SET_STATE) | 0]];
      words[(row + SET_STATE) | 0] = filled >> 8;
      place = (first + (filled & 0xff)) | 0;
    }
    if (this.headWord >= 0) {
      const link = words[((place << WORD_SHIFT) + WORD_LINK) | 0];
      const after = words[((place << WORD_SHIFT) + WORD_NEXT) | 0];
      words[link] = after;
      words[((after << WORD_SHIFT) + WORD_LINK) | 0] = link;
    }
    return place;
  }

  private link(place: number, head: number): void {
    const { words } = this;
    const record = place << WORD_SHIFT;
    const next = words[head];
    words[(record + WORD_NEXT) | 0] = next;
    words[((next << WORD_SHIFT) + WORD_LINK) | 0] = record + WORD_NEXT;
    words[(record + WORD_LINK) | 0] = head;
    words[head] = place;
  }

  private findInChain(first: number, tag: number, pcid: number): number {
    const { words, cells } = this;
    let place = first;
    while (place !== 0 && !(cells[place << CELL_SHIFT] === tag && this.isOf(place, pcid)))
      place = words[((place << WORD_SHIFT) + WORD_NEXT) | 0];
    return place;
  }

  private isOf(place: number, pcid: number): boolean {
    const attributes = this.words[((place << WORD_SHIFT) + WORD_ATTRIBUTES) | 0];
    return (attributes & TR_GLOBAL) !== 0 || ((attributes >> ATTRIBUTE_PCID_SHIFT) & ATTRIBUTE_PCID_MASK) === pcid;
  }
}

const madeOf = new WeakMap<CommonArrays, readonly (TableCache | null)[] | null>();

/**
 * The caches by level, null at those that are not cached. Null where some are in TLBs, or hold a limited number of PCIDs, whose insertions have to be told to
 * others, or are another CPU's (of which this is a virtual one): those are left to `PagingStructureCaches`.
 */
export function tableCaches(
  structures: PagingStructureCaches,
  arrays: CpuArrays,
): readonly (TableCache | null)[] | null {
  let made = madeOf.get(arrays.common);
  if (made === undefined) {
    const all = structures.all();
    const areKnown = all.every(
      ({ isLimited, kinds, hashMask, words }) =>
        !isLimited && kinds.length === 0 && hashMask === 0 && words === arrays.words,
    );
    made = areKnown ? cachesByLevel(structures, arrays) : null;
    madeOf.set(arrays.common, made);
  }
  return made;
}

function cachesByLevel(structures: PagingStructureCaches, arrays: CpuArrays): readonly (TableCache | null)[] {
  return Array.from({ length: LEVEL_PML5E + 1 }, (_, level) => {
    const tlb = level < LEVEL_PDE ? null : structures.ofLevel(level);
    return tlb === null ? null : new TableCache(level, tlb, arrays);
  });
}
