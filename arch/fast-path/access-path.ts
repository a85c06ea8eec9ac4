/**
 * The fast path of one kind of access: which of its parts has the translation of a 4 KiB page. Hits of the first level, hits of
 * the second, and walks from a cached PDE end here; what is none of these is left to the general path (`Mmu.translate`).
 */

import type { PagingMode } from "../isa/paging-mode.ts";
import type { PhysicalMemory } from "../memory/physical-memory.ts";
import type { Preset } from "../presets/preset.ts";
import * as counters from "../time/perf-counters.ts";
import type { CpuArrays } from "../tlb/cpu-arrays.ts";
import * as layout from "../tlb/cpu-arrays.ts";
import type { PagingStructureCaches } from "../tlb/paging-structure-caches.ts";
import type { Tlb } from "../tlb/tlb.ts";
import type { SmallPageTlbs, TlbHierarchy } from "../tlb/tlb-hierarchy.ts";
import type { WalkCaches } from "../tlb/walk-caches.ts";
import { FirstLevel } from "./first-level.ts";
import { LeafWalk } from "./leaf-walk.ts";
import { Permissions } from "./permissions.ts";
import type { SecondLevel } from "./second-level.ts";

// The module's own constants, which V8 folds into the code (README.md, "Constants").
const { ATTRIBUTE_STORES, CELL_SHIFT, COUNTERS_CELL, FAST_PATH_OFF, GENERIC_PREDICTIONS_WORD } = layout;
const { LARGE_TRANSLATIONS_WORD, PREDICTIONS_MASK, PREDICTIONS_SHIFT, REQUESTED_PAGE_CELL } = layout;
const { WORD_ATTRIBUTES, WORD_FRAME, WORD_SHIFT } = layout;
/** Bits of page numbers that the fast path is given. */
const NUMBER_BITS = 20;
/** A number of large translations that never is. */
const NEVER = -1;

/** What the paths of all kinds of access of a CPU share. */
export interface AccessPathParts {
  /** Where the numbers of all these parts lie. */
  readonly arrays: CpuArrays;
  /** The CPU's clock in cycles, an array of one. */
  readonly clock: Float64Array;
  /** Both levels of TLBs. */
  readonly tlbs: TlbHierarchy;
  /** The paging-structure caches. */
  readonly structures: PagingStructureCaches;
  /** The data caches as the page walker sees them. */
  readonly walkCaches: WalkCaches;
  /** What the control registers mean for paging. */
  readonly mode: PagingMode;
  /** Physical memory. */
  readonly memory: PhysicalMemory;
  /** The microarchitecture, for its costs. */
  readonly preset: Preset;
}

/** The path of loads (kind 0), stores (1) or instruction fetches (2). */
export class AccessPath {
  /** What it may use in the present context. */
  readonly permissions: Permissions;
  private readonly kind: number;
  private readonly cells: Float64Array;
  private readonly words: Int32Array;
  private readonly clock: Float64Array;
  private readonly tlbs: TlbHierarchy;
  private readonly mode: PagingMode;
  private readonly first: FirstLevel;
  private readonly second: SecondLevel;
  private readonly leafWalk: LeafWalk;
  /** What the number of large translations must be for the quickest form: 0; -1 where these TLBs are not what it does. */
  private readonly largeTranslations: number;
  /** Whether the path can be used while TLBs hold large pages: their TLBs are not that of small ones. */
  private readonly worksBesideLarge: boolean;
  /** Cells of the counters of first-level hits, and of second-level hits. */
  private readonly hitsCell: number;
  private readonly secondLevelHitsCell: number;
  private readonly accessCycles: number;
  private readonly secondLevelHitCycles: number;

  constructor(
    kind: number,
    { first, holdsLarge }: SmallPageTlbs,
    isKnown: boolean,
    second: SecondLevel,
    parts: AccessPathParts,
  ) {
    const { arrays, clock, tlbs, structures, walkCaches, mode, memory, preset } = parts;
    const { load, store, fetch, secondLevelHit } = preset.costs;
    this.kind = kind;
    this.cells = arrays.cells;
    this.words = arrays.words;
    this.clock = clock;
    this.tlbs = tlbs;
    this.mode = mode;
    this.accessCycles = [load, store, fetch][kind].value;
    this.secondLevelHitCycles = this.accessCycles + secondLevelHit.value;
    this.largeTranslations = isKnown ? 0 : NEVER;
    this.worksBesideLarge = isKnown && !holdsLarge;
    this.hitsCell = COUNTERS_CELL + counters.COUNT_ACCESS + kind;
    this.secondLevelHitsCell = COUNTERS_CELL + counters.COUNT_FAST_SECOND_LEVEL_HIT + kind;
    this.permissions = new Permissions(kind, arrays, memory);
    this.first = new FirstLevel(kind, first, arrays);
    this.second = second;
    this.leafWalk = new LeafWalk(
      kind,
      this.first,
      second,
      this.permissions,
      structures.ownPdes(),
      arrays,
      clock,
      mode,
      memory,
      walkCaches,
      this.accessCycles,
      preset,
    );
  }

  /** Begins another context (`FastPath.contextChanged`). */
  forget(): void {
    this.permissions.forget();
    this.leafWalk.forget();
  }

  /**
   * Translates the page in `REQUESTED_PAGE_CELL`, which is not predicted: returns its frame, with the access allowed, counted,
   * paid for and predicted from now on; -1 where this is left to the general path, and then nothing has changed.
   * @param number bits 19:0 of the page number
   */
  translate(number: number): number {
    const { words, cells, first, second } = this;
    if (words[LARGE_TRANSLATIONS_WORD] !== this.largeTranslations) return this.translateBesideLarge(number) | 0;
    if (first.mayHold(number) && first.holds(number)) return this.hit(number) | 0;
    const place = second.head(number);
    if (cells[place << CELL_SHIFT] === cells[REQUESTED_PAGE_CELL]) return this.hitSecondLevel(number, place) | 0;
    if (place === 0) return this.leafWalk.walk(number) | 0;
    return this.searchSecondLevel(number, place) | 0;
  }

  /** A predicted hit of a first-level place, known to be allowed. Returns its frame. */
  touch(place: number): number {
    this.first.touch(place);
    this.cells[this.hitsCell]++;
    this.clock[0] += this.accessCycles;
    return this.words[(place << WORD_SHIFT) | WORD_FRAME];
  }

  /** {@link translate} while TLBs hold large pages, which are left to the general path, or where only predictions serve. */
  private translateBesideLarge(number: number): number {
    const { words, cells, first } = this;
    if (!this.worksBesideLarge || words[LARGE_TRANSLATIONS_WORD] >= FAST_PATH_OFF) return this.touchGeneric(number) | 0;
    if (first.holds(number)) return this.hit(number) | 0;
    if (this.tlbs.isInLarge(this.kind, cells[REQUESTED_PAGE_CELL], this.mode.pcid)) return -1;
    return this.searchSecondLevel(number, this.second.head(number)) | 0;
  }

  /** A hit that is predicted in a first-level TLB whose replacement state is no tree; -1 when there is none. */
  private touchGeneric(number: number): number {
    const { words, cells, kind } = this;
    const place = words[GENERIC_PREDICTIONS_WORD + (kind << PREDICTIONS_SHIFT) + (number & PREDICTIONS_MASK)];
    if (cells[place << CELL_SHIFT] !== cells[REQUESTED_PAGE_CELL]) return -1;
    if (kind === 1 && (words[(place << WORD_SHIFT) | WORD_ATTRIBUTES] & ATTRIBUTE_STORES) === 0) return -1;
    return this.touch(place);
  }

  /** A hit of the first level that was not predicted. */
  private hit(number: number): number {
    const { words, first, permissions } = this;
    const place = first.placeOf(number);
    const attributes = words[(place << WORD_SHIFT) | WORD_ATTRIBUTES] & ~ATTRIBUTE_STORES;
    if (attributes !== permissions.allowedAttributes && !permissions.allows(place)) return -1;
    first.predict(number, place);
    return this.touch(place);
  }

  private searchSecondLevel(number: number, head: number): number {
    const place = this.second.search(head);
    return place === 0 ? this.leafWalk.walk(number) : this.hitSecondLevel(number, place);
  }

  /** A hit of the second level at `place`. */
  private hitSecondLevel(number: number, place: number): number {
    const { words, cells, permissions } = this;
    const attributes = words[((place << WORD_SHIFT) + WORD_ATTRIBUTES) | 0];
    if (attributes !== permissions.allowedAttributes) return this.hitOtherAttributes(number, place) | 0;
    this.second.touch(place);
    cells[this.secondLevelHitsCell]++;
    this.clock[0] += this.secondLevelHitCycles;
    return this.first.fill(number, words[((place << WORD_SHIFT) + WORD_FRAME) | 0], attributes);
  }

  private hitOtherAttributes(number: number, place: number): number {
    return this.permissions.allows(place) ? this.hitSecondLevel(number, place) : -1;
  }
}

/** Whether the second level is one that this code does: indexed, replaced by a table, indices of {@link NUMBER_BITS} bits. */
export function isKnownSecondLevel(tlb: Tlb): boolean {
  const usesNumberBits = tlb.headMask < 2 ** NUMBER_BITS && 2 * tlb.hashShift <= NUMBER_BITS;
  return !tlb.replacement.isListed && tlb.headAt >= 0 && usesNumberBits;
}
