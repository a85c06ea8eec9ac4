/**
 * Many translations one after another, whose data do not matter: the references of a traced program. What is predicted to hit the
 * first level (arch/fast-path/README.md) stays in one loop, which has no branch that depends on the kind of access: a program's loads, stores
 * and fetches follow each other in an order that the host's CPU cannot predict. Everything else is done as `CpuMemory.touchAs` does it.
 */

import type { FastPath } from "../fast-path/fast-path.ts";
import * as results from "../fast-path/results.ts";
import type { Access } from "../isa/access.ts";
import { PageFault } from "../isa/faults.ts";
import * as counters from "../time/perf-counters.ts";
import * as layout from "../tlb/cpu-arrays.ts";
import * as walks from "../walk/page-walk.ts";
import type { Mmu } from "./mmu.ts";

// The module's own constants, which V8 folds into the code (arch/fast-path/README.md, "Constants").
const { CELL_SHIFT, COUNTERS_CELL, LOAD_PREDICTIONS_WORD, PREDICTIONS_MASK, PREDICTIONS_SHIFT } = layout;
const { REQUESTED_PAGE_CELL, WORD_ATTRIBUTES, WORD_SHIFT } = layout;
const { MISSED } = results;
const { WALK_OK } = walks;
const HITS_CELL = COUNTERS_CELL + counters.COUNT_ACCESS;
const WALK_CYCLES_CELL = COUNTERS_CELL + counters.COUNT_WALK_CYCLES;
/** Pages of 2 MiB in a byte. */
const PER_LARGE_PAGE = 2 ** -21;
const KIND_LOAD = 0;
const KIND_STORE = 1;
const KIND_FETCH = 2;
/** Bits of a kind that are the access kind; the bits above, but for `MUST_HIT`, belong to the caller. */
const KIND_MASK = 3;
/** Bit of a kind: the translation is only made if it is a predicted hit of the first level. */
export const MUST_HIT = 8;

/** The CPU whose translations they are (`CpuMemory`). */
export interface TouchedCpu {
  readonly mmu: Mmu;
  /** Translates `la` for an access of any kind. @throws PageFault */
  touchAs(access: Access, la: number): number;
  /** Translates what the fast path has left to the general one (`CpuMemory.touchGeneral`). @throws PageFault */
  touchGeneral(access: Access, low: number, result: number): number;
}

/** The bulk translations of one CPU. */
export class BulkTouch {
  private readonly cpu: TouchedCpu;
  private readonly cells: Float64Array;
  private readonly words: Int32Array;
  /** Word of the first prediction; cells of the counters of hits, and of cycles of walks. */
  private readonly predictionsAt: number;
  private readonly hitsAt: number;
  private readonly walkCyclesAt: number;
  private readonly fastPath: FastPath;
  /** By kind of access: where a hit notes its place for the replacement state, or less than 0; and what it costs. */
  private readonly roots = new Int32Array(KIND_MASK + 1);
  private readonly pairs = new Int32Array(KIND_MASK + 1);
  private readonly costCycles = new Float64Array(KIND_MASK + 1);
  /** The CPU's clock. */
  private readonly clock: Float64Array;

  constructor(cpu: TouchedCpu) {
    const { arrays, fastPath, tlbs } = cpu.mmu;
    this.cpu = cpu;
    this.cells = arrays.cells;
    this.words = arrays.words;
    this.fastPath = fastPath;
    this.clock = fastPath.loads.clocks.subarray(cpu.mmu.cpu, cpu.mmu.cpu + 1);
    this.predictionsAt = arrays.firstWord + LOAD_PREDICTIONS_WORD;
    this.hitsAt = arrays.firstCell + HITS_CELL;
    this.walkCyclesAt = arrays.firstCell + WALK_CYCLES_CELL;
    const paths = [fastPath.loads, fastPath.stores, fastPath.fetches];
    tlbs.tlbsByKind().forEach(({ first }, kind) => {
      const { rootsAt, pairsAt } = first[0][0].replacement;
      this.roots[kind] = rootsAt;
      this.pairs[kind] = pairsAt;
      this.costCycles[kind] = paths[kind].accessCycles;
    });
  }

  /**
   * Translates `addresses[from]` to `addresses[to - 1]` (48-bit linear addresses) for accesses of `kinds` (load 0, store 1, fetch
   * 2 in the low two bits), each with all the effects of `touchAs`. Returns `to`, or the index of the first that raised a page
   * fault: it has been counted and CR2 set, and those after it have not been made. The first with `MUST_HIT` that is no predicted hit
   * is not made either, nor those after it: `~index`, less than 0, is returned.
   */
  touch(kinds: Uint8Array, addresses: Float64Array, from: number, to: number): number {
    if (this.fastPath.loads.unflushed !== undefined) return this.touchWatched(kinds, addresses, from, to);
    const { cells, words, roots, pairs, costCycles, clock } = this;
    const { loads, stores, fetches } = this.fastPath;
    this.defer();
    // Counters and clock are kept here while only hits change them.
    let cycles = clock[0];
    let hits = 0;
    let storeHits = 0;
    let fetchHits = 0;
    let i = from;
    for (; i < to; i++) {
      const la = addresses[i];
      const kind = kinds[i] & KIND_MASK;
      const low = la | 0;
      const prediction = ((low >>> 12) & PREDICTIONS_MASK) + this.predictionsAt + (kind << PREDICTIONS_SHIFT);
      const place = words[prediction | 0];
      const attributes = words[((place << WORD_SHIFT) + WORD_ATTRIBUTES) | 0];
      // Less than 0 for a store that is not allowed: `(kind ^ 1) - 1` is that for stores only.
      const refused = ~attributes & ((kind ^ KIND_STORE) - 1);
      if (cells[place << CELL_SHIFT] === la - (low & 4095) && refused >= 0) {
        const root = roots[kind];
        if (root < 0) {
          (kind === KIND_LOAD ? loads : kind === KIND_STORE ? stores : fetches).use(place);
        } else {
          words[(root + (place & ~3)) | 0] = place;
          words[(pairs[kind] + (place & ~1)) | 0] = place;
        }
        cycles += costCycles[kind];
        hits++;
        storeHits += kind & KIND_STORE;
        fetchHits += kind >> 1;
      } else {
        clock[0] = cycles;
        i = this.fastPath.bulk?.touch(kinds, addresses, i, to) ?? i;
        if (i < to && (kinds[i] & MUST_HIT) !== 0) {
          this.countHits(hits - storeHits - fetchHits, storeHits, fetchHits);
          this.settle();
          return ~i;
        }
        if (i < to && !this.touchMissed(kinds[i] & KIND_MASK, addresses[i])) break;
        cycles = clock[0];
        if (i === to) break;
        if (loads.unflushed !== undefined) {
          // An attribution began to watch with this access.
          this.countHits(hits - storeHits - fetchHits, storeHits, fetchHits);
          this.settle();
          return this.touchWatched(kinds, addresses, i + 1, to);
        }
      }
    }
    this.countHits(hits - storeHits - fetchHits, storeHits, fetchHits);
    // After a fault the general path has set it.
    if (i === to) clock[0] = cycles;
    this.settle();
    return i;
  }

  /**
   * Whether hits that change nothing but counters and the clock can be made by {@link repeatHits}: nothing watches single accesses, and
   * sums of their costs are exact in any order.
   */
  get canRepeatHits(): boolean {
    return this.fastPath.loads.unflushed === undefined && this.costCycles.every(Number.isInteger);
  }

  /** Whether an access of a kind to `la` is a predicted hit of the first level. Changes nothing. */
  isPredicted(kind: number, la: number): boolean {
    const { cells, words } = this;
    const access = kind & KIND_MASK;
    const number = (la | 0) >>> 12;
    const place = words[(number & PREDICTIONS_MASK) + this.predictionsAt + (access << PREDICTIONS_SHIFT)];
    const isAllowed = access !== KIND_STORE || words[(place << WORD_SHIFT) + WORD_ATTRIBUTES] < 0;
    return isAllowed && cells[place << CELL_SHIFT] === la - ((la | 0) & 4095);
  }

  /**
   * So many more first-level hits of each kind, each of the same page as the hit before it in its TLB: a second use in a row changes
   * no replacement state.
   */
  repeatHits(loads: number, stores: number, fetches: number): void {
    const { costCycles } = this;
    this.countHits(loads, stores, fetches);
    this.clock[0] += loads * costCycles[KIND_LOAD] + stores * costCycles[KIND_STORE] + fetches * costCycles[KIND_FETCH];
  }

  private countHits(loads: number, stores: number, fetches: number): void {
    const { cells } = this;
    cells[this.hitsAt + KIND_LOAD] += loads;
    cells[this.hitsAt + KIND_STORE] += stores;
    cells[this.hitsAt + KIND_FETCH] += fetches;
  }

  /** From now on fetches of walks are left for later, where that is possible. */
  private defer(): void {
    this.cpu.mmu.walkCaches.isDeferring = this.fastPath.bulk !== null;
  }

  /** Pays for the fetches of walks that were left for later; none is any more. */
  private settle(): void {
    const { walkCaches } = this.cpu.mmu;
    walkCaches.isDeferring = false;
    const unpaidCycles = walkCaches.settle();
    if (unpaidCycles === null) return;
    const { cells, clock } = this;
    for (let kind = KIND_LOAD; kind <= KIND_FETCH; kind++) {
      clock[0] += unpaidCycles[kind];
      cells[this.walkCyclesAt + kind] += unpaidCycles[kind];
      unpaidCycles[kind] = 0;
    }
  }

  /** {@link touch} while an attribution has to be told of each access. */
  private touchWatched(kinds: Uint8Array, addresses: Float64Array, from: number, to: number): number {
    for (let i = from; i < to; i++) {
      try {
        this.cpu.touchAs((kinds[i] & KIND_MASK) as Access, addresses[i]);
      } catch (error) {
        if (error instanceof PageFault) return i;
        throw error;
      }
    }
    return to;
  }

  /** A translation that is not predicted; false when it raised a page fault. */
  private touchMissed(kind: number, la: number): boolean {
    const { loads, stores, fetches, bulk } = this.fastPath;
    const path = kind === KIND_LOAD ? loads : kind === KIND_STORE ? stores : fetches;
    const low = la | 0;
    const number = low >>> 12;
    this.cells[REQUESTED_PAGE_CELL] = la - (low & 4095);
    const result = bulk?.isMiss === true ? MISSED : path.translate(number, (la * PER_LARGE_PAGE) | 0) | 0;
    if (result >= 0) return true;
    this.settle();
    const access = kind as Access;
    const isDone = result === MISSED ? this.fill(access, low) : this.touchGeneral(access, low, result);
    if (isDone) this.defer();
    return isDone;
  }

  /** A translation that no TLB holds. First touches of pages fault, so that faults are frequent: none is thrown here, which takes microseconds. */
  private fill(kind: Access, low: number): boolean {
    if (this.cpu.mmu.tryFill(kind, this.cells[REQUESTED_PAGE_CELL] + (low & 4095)) !== WALK_OK) return false;
    this.cells[this.hitsAt + kind]++;
    this.clock[0] += this.costCycles[kind];
    return true;
  }

  private touchGeneral(kind: Access, low: number, result: number): boolean {
    try {
      this.cpu.touchGeneral(kind, low, result);
      return true;
    } catch (error) {
      if (error instanceof PageFault) return false;
      throw error;
    }
  }
}
