/**
 * Many loads and stores one after another (arch/cpu/bulk-touch.ts), in one loop: predicted hits of all kinds, hits of either level, and whole misses
 * where a remembered PDE is cached, the PTE allows the access and needs no bit set, and all sets that get the translation are full of small
 * pages. What a reference does is what `AccessPath.translate` does by way of `TreeTlb`, `IndexedTlb` and `LeafWalk`, which say more of each step;
 * only the fetch of the PTE is left to the data caches for later, with those of other walks (`WalkCaches.deferral`). The loop calls nothing but what V8
 * puts into it: after a call it would load everything again, and there are some forty numbers.
 */

import * as pteBits from "../isa/pte.ts";
import * as translation from "../isa/translation.ts";
import type { PhysicalMemory } from "../memory/physical-memory.ts";
import * as chunks from "../memory/physical-memory.ts";
import type { Preset } from "../presets/preset.ts";
import * as counters from "../time/perf-counters.ts";
import * as layout from "../tlb/cpu-arrays.ts";
import { LEVEL_PDE, structureTag } from "../tlb/paging-structure-caches.ts";
import type { Tlb } from "../tlb/tlb.ts";
import type { TlbsOfKind } from "../tlb/tlb-hierarchy.ts";
import type { WalkCaches } from "../tlb/walk-caches.ts";
import type { AccessPath } from "./access-path.ts";
import type { WalkParts } from "./access-path-parts.ts";
import { BulkUpperWalk, doesUpperWalks } from "./bulk-upper-walk.ts";
import type { KnownTables } from "./known-tables.ts";
import type { Permissions } from "./permissions.ts";
import * as results from "./results.ts";

// The module's own constants, which V8 folds into the code (README.md, "Constants").
const { CHUNK_FRAME_MASK, CHUNK_FRAMES_SHIFT, FRAME_WORDS_SHIFT } = chunks;
const { ATTRIBUTE_SIZE_SHIFT, ATTRIBUTE_STORES, CELL_SHIFT, COUNTERS_CELL, RECORD_CELLS } = layout;
const { LOAD_PREDICTIONS_WORD, PREDICTIONS_MASK, PREDICTIONS_SHIFT, REQUESTED_PAGE_CELL, WORD_ATTRIBUTES } = layout;
const { SET_HELD, SET_SHIFT, SET_STATE } = layout;
const { WORD_FRAME, WORD_LINK, WORD_NEXT, WORD_SHIFT, WORD_STATE, WORD_USE } = layout;
const { GENERAL, MISSED } = results;
const { PTE_PRESENT } = pteBits;
const { SIZE_4K } = translation;
const HITS_CELL = COUNTERS_CELL + counters.COUNT_ACCESS;
const SECOND_LEVEL_HITS_CELL = COUNTERS_CELL + counters.COUNT_FAST_SECOND_LEVEL_HIT;
const WALKS_CELL = COUNTERS_CELL + counters.COUNT_FAST_WALK;
const WALK_CYCLES_CELL = COUNTERS_CELL + counters.COUNT_WALK_CYCLES;
/** The attributes that are an entry's size: none of them for `SIZE_4K`. */
const SIZE = 3 << ATTRIBUTE_SIZE_SHIFT;
const PDE_TAG = structureTag(LEVEL_PDE);
const PTE_INDEX_MASK = 511;
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
const KIND_MASK = 3;
const KIND_LOAD = 0;
const KIND_STORE = 1;
/** What a fill sets in the attributes is the kind shifted by so much: `ATTRIBUTE_STORES` for stores, else nothing. */
const STORES_BIT = 31;
/** Bits of a kind of which one is set where only a predicted hit is done here: fetches, and what must hit (arch/cpu/bulk-touch.ts). */
const ONLY_PREDICTED = 2 | 8;

/** Whether {@link BulkWalk} does these TLBs of loads and stores and these PDEs, with such costs: their sums are exact in any order. */
export function doesBulkWalks([loads, stores]: readonly TlbsOfKind[], pdes: Tlb | null, preset: Preset): boolean {
  const first = loads.first[SIZE_4K][0];
  const second = loads.second[SIZE_4K];
  const { costs, dataCaches, memory } = preset;
  const { load, store, fetch, walk, secondLevelHit } = costs;
  const cycles = [load, store, fetch, walk, secondLevelHit, memory, ...dataCaches.map((each) => each.hitCycles)];
  return (
    first.replacement.isTree &&
    first === stores.first[SIZE_4K][0] &&
    second.length === 1 &&
    second[0] === stores.second[SIZE_4K][0] &&
    second[0].replacement.logs === null &&
    pdes !== null &&
    !pdes.isLimited &&
    pdes.replacement.logs === null &&
    cycles.every(({ value }) => Number.isInteger(value) && value < CYCLES_END)
  );
}

/** The loads and stores of one CPU, where `doesBulkWalks` says so. */
export class BulkWalk {
  /** Whether {@link touch} has ended at a reference to a page that no TLB holds, whose walk is left to the general path. */
  isMiss = false;
  private readonly cells: Float64Array;
  private readonly words: Int32Array;
  /** Word of the first prediction, and cells of counters, of loads. */
  private readonly predictionsAt: number;
  private readonly hitsAt: number;
  private readonly secondLevelHitsAt: number;
  private readonly walksAt: number;
  private readonly walkCyclesAt: number;
  private readonly bytes: Uint8Array;
  private readonly clocks: Float64Array;
  private readonly cpu: number;
  private readonly loadPath: AccessPath;
  private readonly storePath: AccessPath;
  private readonly tables: KnownTables;
  private readonly wholeChunks: Uint8Array;
  private readonly directory: PhysicalMemory["directory"];
  private readonly walkCaches: WalkCaches;
  /** Walks from a cached PDPTE; null where these caches are not what it does. */
  private readonly upper: BulkUpperWalk | null;
  /** Cycles of a walk but for the fetch of its PTE, of a hit of the second level, and of each kind of access. */
  private readonly walkCycles: number;
  private readonly secondLevelCycles: number;
  private readonly accessCycles: Float64Array;
  /** The first level, as in `TreeTlb`. */
  private readonly first: ReturnType<typeof firstLevel>;
  /** The second level, as in `IndexedTlb`. */
  private readonly second: ReturnType<typeof secondLevel>;
  /** By kind of access: where a hit notes its place for the replacement state, or less than 0 (`ReplacementState.isTree`). */
  private readonly roots: Int32Array;
  private readonly pairs: Int32Array;

  /** @param byKind the TLBs of loads, stores and fetches; `paths` the paths of loads and of stores */
  constructor(byKind: readonly TlbsOfKind[], paths: readonly [AccessPath, AccessPath], parts: WalkParts) {
    const { arrays, clocks, cpu, memory, walkCaches, preset, tables } = parts;
    const { load, store, fetch, walk, secondLevelHit } = preset.costs;
    this.cells = arrays.cells;
    this.words = arrays.words;
    this.predictionsAt = arrays.firstWord + LOAD_PREDICTIONS_WORD;
    this.hitsAt = arrays.firstCell + HITS_CELL;
    this.secondLevelHitsAt = arrays.firstCell + SECOND_LEVEL_HITS_CELL;
    this.walksAt = arrays.firstCell + WALKS_CELL;
    this.walkCyclesAt = arrays.firstCell + WALK_CYCLES_CELL;
    this.bytes = arrays.bytes;
    this.clocks = clocks;
    this.cpu = cpu;
    [this.loadPath, this.storePath] = paths;
    this.tables = tables;
    this.wholeChunks = memory.wholeChunks;
    this.directory = memory.directory;
    this.walkCaches = walkCaches;
    this.upper = doesUpperWalks(parts.structures) ? new BulkUpperWalk(parts) : null;
    this.walkCycles = walk.value;
    this.secondLevelCycles = secondLevelHit.value;
    this.accessCycles = Float64Array.of(load.value, store.value, fetch.value, 0);
    this.first = firstLevel(byKind[KIND_LOAD].first[SIZE_4K][0]);
    this.second = secondLevel(byKind[KIND_LOAD].second[SIZE_4K][0]);
    const firsts = byKind.map(({ first }) => first[SIZE_4K][0].replacement);
    this.roots = Int32Array.from(firsts, ({ rootsAt }) => rootsAt);
    this.pairs = Int32Array.from(firsts, ({ pairsAt }) => pairsAt);
  }

  /**
   * Does references from `from` on, as `BulkTouch.touch`, up to the first that is not done here; returns its index, or `to`. Fetches are
   * not paid for yet (`WalkCaches.settle`).
   */
  touch(kinds: Uint8Array, addresses: Float64Array, from: number, to: number): number {
    const { words, cells, roots, pairs, accessCycles } = this;
    const [loads, stores] = [this.loadPath.permissions, this.storePath.permissions];
    const { lowMask, hashShift, hashMask, heldWord, marksWord, markShift, firstPlace } = this.first;
    const { headWord, headMask } = this.second;
    this.isMiss = false;
    let cycles = 0;
    let i = from;
    for (; i < to; i++) {
      const la = addresses[i];
      const kind = kinds[i] & KIND_MASK;
      const number = (la | 0) >>> 12;
      const page = la - ((la | 0) & 4095);
      const prediction = ((number & PREDICTIONS_MASK) + this.predictionsAt + (kind << PREDICTIONS_SHIFT)) | 0;
      const predicted = words[prediction];
      const isRefused = ~words[((predicted << WORD_SHIFT) + WORD_ATTRIBUTES) | 0] & ((kind ^ KIND_STORE) - 1);
      if (cells[predicted << CELL_SHIFT] === page && isRefused >= 0) {
        useFirst(words, predicted, roots[kind], pairs[kind]);
        cells[this.hitsAt + kind]++;
        cycles += accessCycles[kind];
        continue;
      }
      if ((kinds[i] & ONLY_PREDICTED) !== 0) break;
      const permissions = kind === KIND_LOAD ? loads : stores;
      const set = (number & lowMask) ^ ((number >>> hashShift) & hashMask);
      const marks = words[(marksWord + set) | 0] ^ Math.imul((number >>> markShift) & 255, 0x01010101);
      if (((marks - 0x01010101) & ~marks & 0x80808080) !== 0) {
        const place = findInSet(cells, (firstPlace + (set << WAYS_SHIFT)) | 0, page) | 0;
        const allowed = words[((place << WORD_SHIFT) + WORD_ATTRIBUTES) | 0] & ~ATTRIBUTE_STORES;
        if (place !== 0) {
          if (allowed !== permissions.allowedAttributes) break;
          // From now on it is predicted, and done in the next round.
          words[((place << WORD_SHIFT) + WORD_ATTRIBUTES) | 0] |= kind << STORES_BIT;
          words[prediction] = place;
          i--;
          continue;
        }
      }
      if (words[(heldWord + (set << WAYS_SHIFT)) | 0] !== WAYS) break;
      let held = words[(headWord + (number & headMask)) | 0];
      while (held !== 0 && cells[held << CELL_SHIFT] !== page) held = words[((held << WORD_SHIFT) + WORD_NEXT) | 0];
      let frame = 0;
      if (held !== 0) {
        if (words[((held << WORD_SHIFT) + WORD_ATTRIBUTES) | 0] !== permissions.allowedAttributes) break;
        useTable(words, held);
        frame = words[((held << WORD_SHIFT) + WORD_FRAME) | 0];
        cells[this.secondLevelHitsAt + kind]++;
        cycles += this.secondLevelCycles + accessCycles[kind];
      } else {
        const victim = this.victim(number) | 0;
        if (victim === 0) break;
        frame = this.read(number, page, permissions) | 0;
        if (frame >= 0) this.walked(number, kind);
        else if (frame !== MISSED) frame = this.walkFromAbove(number, page, kind, permissions) | 0;
        if (frame < 0) {
          if (frame === MISSED) this.isMiss = true;
          break;
        }
        this.fillSecond(victim, number, page, frame, permissions.pteAttributes);
      }
      const attributes = held !== 0 ? permissions.allowedAttributes : permissions.pteAttributes;
      this.fillFirst(number, set, page, frame, attributes | (kind << STORES_BIT), prediction);
    }
    this.clocks[this.cpu] += cycles;
    return i;
  }

  /**
   * The frame of a page by its PTE, if a remembered PDE is cached and nothing needs to be done to the PTE; `MISSED` if there is none; else
   * `GENERAL`. Changes nothing.
   * @param number bits 19:0 of the page number
   */
  private read(number: number, page: number, permissions: Permissions): number {
    const { words, tables } = this;
    const known = tables.wordOf(number);
    const index = number & PTE_INDEX_MASK;
    const place = words[known];
    const table = words[known | 1];
    const record = place << WORD_SHIFT;
    if (this.cells[place << CELL_SHIFT] !== page - (index << 12) + PDE_TAG) return GENERAL;
    if (words[(record + WORD_FRAME) | 0] !== table || words[(record + WORD_ATTRIBUTES) | 0] !== permissions.allowedPde)
      return GENERAL;
    const chunk = this.directory[table >>> CHUNK_FRAMES_SHIFT];
    const at = (((table & CHUNK_FRAME_MASK) << FRAME_WORDS_SHIFT) + (index << 1)) | 0;
    const low = chunk[at];
    const high = chunk[at | 1];
    // A first touch: the walk faults.
    if ((low & PTE_PRESENT) === 0) return MISSED;
    if ((low & PTE_LOW_ATTRIBUTES) !== permissions.allowedPteLow) return GENERAL;
    if ((high & ~HIGH_FRAME) !== permissions.allowedPteHigh || table >>> TABLE_FRAME_BITS !== 0) return GENERAL;
    const frame = ((high & HIGH_FRAME) << 20) | (low >>> 12);
    return this.wholeChunks[frame >>> CHUNK_FRAMES_SHIFT] === 1 ? frame : GENERAL;
  }

  /** What a walk does that {@link read} has read for: a use of the PDE, and a fetch of the PTE, which is left for later. */
  private walked(number: number, kind: number): void {
    const { tables, words } = this;
    const known = tables.wordOf(number);
    useTable(words, words[known]);
    this.walkCaches.leave(kind, (words[known | 1] << 6) + ((number & PTE_INDEX_MASK) >> 3));
    this.countWalk(kind);
  }

  /** Counts a walk, and pays for it and for the access, but for the fetches. */
  private countWalk(kind: number): void {
    const { cells, walkCycles } = this;
    this.clocks[this.cpu] += walkCycles + this.accessCycles[kind];
    cells[this.walkCyclesAt + kind] += walkCycles;
    cells[this.walksAt + kind]++;
  }

  /**
   * Any other walk that the fast path does: the frame of the page, with all that the walk does but for the fills; less than 0 where it is left to
   * the general path, and nothing has changed.
   */
  private walkFromAbove(number: number, page: number, kind: number, permissions: Permissions): number {
    const walked = this.upper === null ? GENERAL : this.upper.walk(number, page, kind, permissions) | 0;
    if (walked >= 0) {
      this.countWalk(kind);
      return walked;
    }
    this.cells[REQUESTED_PAGE_CELL] = page;
    const frame = (kind === KIND_LOAD ? this.loadPath : this.storePath).walkOnly(number) | 0;
    this.isMiss = frame < 0;
    return frame;
  }

  /** The place that a page gets in the second level, if its set is full and a small page is evicted; else 0. */
  private victim(number: number): number {
    const { words } = this;
    const { lowMask, hashShift, hashMask, setsAt, filledWays, fills, firstPlace, ways } = this.second;
    const set = (number & lowMask) ^ ((number >>> hashShift) & hashMask);
    const row = (setsAt + (set << SET_SHIFT)) | 0;
    const filled = fills[words[(row + SET_STATE) | 0]];
    const place = (firstPlace + Math.imul(set, ways) + (filled & 0xff)) | 0;
    const isSmall = (words[((place << WORD_SHIFT) + WORD_ATTRIBUTES) | 0] & SIZE) === 0;
    return isSmall && words[(row + SET_HELD) | 0] === filledWays ? place : 0;
  }

  /** `IndexedTlb.insert` at the place that {@link victim} has said. */
  private fillSecond(place: number, number: number, page: number, frame: number, attributes: number): void {
    const { words } = this;
    const record = place << WORD_SHIFT;
    const state = words[(record + WORD_STATE) | 0];
    words[state] = this.second.fills[words[state]] >> 8;
    const link = words[(record + WORD_LINK) | 0];
    const after = words[(record + WORD_NEXT) | 0];
    words[link] = after;
    words[((after << WORD_SHIFT) + WORD_LINK) | 0] = link;
    const head = (this.second.headWord + (number & this.second.headMask)) | 0;
    const next = words[head];
    words[(record + WORD_NEXT) | 0] = next;
    words[((next << WORD_SHIFT) + WORD_LINK) | 0] = record + WORD_NEXT;
    words[(record + WORD_LINK) | 0] = head;
    words[head] = place;
    this.cells[place << CELL_SHIFT] = page;
    words[(record + WORD_FRAME) | 0] = frame;
    words[(record + WORD_ATTRIBUTES) | 0] = attributes;
  }

  /** `TreeTlb.insert` into a full set, and the prediction of it. */
  private fillFirst(
    number: number,
    set: number,
    page: number,
    frame: number,
    attributes: number,
    prediction: number,
  ): void {
    const { words } = this;
    const { rootWord, pairsAt, marksByte, markShift } = this.first;
    const root = (rootWord + (set << WAYS_SHIFT)) | 0;
    const place = words[(pairsAt + ((words[root] ^ 2) & ~1)) | 0] ^ 1;
    words[root] = place;
    words[(pairsAt + (place & ~1)) | 0] = place;
    this.bytes[(marksByte + place) | 0] = number >>> markShift;
    this.cells[place << CELL_SHIFT] = page;
    words[((place << WORD_SHIFT) + WORD_FRAME) | 0] = frame;
    words[((place << WORD_SHIFT) + WORD_ATTRIBUTES) | 0] = attributes;
    words[prediction] = place;
  }
}

function firstLevel(tlb: Tlb) {
  return {
    lowMask: tlb.lowMask,
    hashShift: tlb.hashShift,
    hashMask: tlb.hashMask,
    heldWord: tlb.setsAt | SET_HELD,
    marksWord: tlb.replacement.marksAt >> 2,
    marksByte: tlb.replacement.marksAt - tlb.firstPlace,
    markShift: tlb.markShift,
    firstPlace: tlb.firstPlace,
    rootWord: tlb.replacement.rootsAt + tlb.firstPlace,
    pairsAt: tlb.replacement.pairsAt,
  };
}

function secondLevel(tlb: Tlb) {
  return {
    headWord: tlb.headAt,
    headMask: tlb.headMask,
    lowMask: tlb.lowMask,
    hashShift: tlb.hashShift,
    hashMask: tlb.hashMask,
    setsAt: tlb.setsAt,
    filledWays: tlb.replacement.filledWays,
    fills: tlb.replacement.fills,
    firstPlace: tlb.firstPlace,
    ways: tlb.ways,
  };
}

/** Records a hit of a place of a first level; `root` is less than 0 where its state is a table. */
function useFirst(words: Int32Array, place: number, root: number, pair: number): void {
  if (root < 0) {
    useTable(words, place);
    return;
  }
  words[(root + (place & ~3)) | 0] = place;
  words[(pair + (place & ~1)) | 0] = place;
}

/** Records a hit of a place where the replacement state is a table. */
function useTable(words: Int32Array, place: number): void {
  const use = words[((place << WORD_SHIFT) + WORD_USE) | 0];
  const state = words[((place << WORD_SHIFT) + WORD_STATE) | 0];
  words[state] = (words[state] & (use >>> 16)) | (use & 0xffff);
}

/** The place of a page among the four ways of a set of the first level, from `first` on; 0 when it is not there. */
function findInSet(cells: Float64Array, first: number, page: number): number {
  const cell = first << CELL_SHIFT;
  if (cells[cell] === page) return first;
  if (cells[cell + RECORD_CELLS] === page) return (first + 1) | 0;
  if (cells[cell + 2 * RECORD_CELLS] === page) return (first + 2) | 0;
  return cells[cell + 3 * RECORD_CELLS] === page ? (first + 3) | 0 : 0;
}
