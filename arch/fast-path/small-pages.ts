/**
 * Pages of 4 KiB on the fast path, for one kind of access: hits of the first level, hits of the second, and walks that need nothing
 * special. access-path.ts says when they are asked for.
 */

import { LINEAR_SPACE_BYTES } from "../isa/linear-address.ts";
import * as translation from "../isa/translation.ts";
import * as counters from "../time/perf-counters.ts";
import * as layout from "../tlb/cpu-arrays.ts";
import type { Tlb } from "../tlb/tlb.ts";
import type { TlbsOfKind } from "../tlb/tlb-hierarchy.ts";
import type { WalkParts } from "./access-path-parts.ts";
import type { IndexedTlb } from "./indexed-tlb.ts";
import type { KnownChunks } from "./known-chunks.ts";
import { LeafWalk } from "./leaf-walk.ts";
import { indexedTlb, pathTlb } from "./path-tlbs.ts";
import { Permissions } from "./permissions.ts";
import * as results from "./results.ts";
import type { TreeTlb } from "./tree-tlb.ts";
import type { UnflushedPath } from "./unflushed-path.ts";
import { UpperWalk } from "./upper-walk.ts";

// The module's own constants, which V8 folds into the code (README.md, "Constants").
const { ATTRIBUTE_STORES, COUNTERS_CELL, LOAD_PREDICTIONS_WORD } = layout;
const { PREDICTIONS_MASK, PREDICTIONS_SHIFT, REQUESTED_PAGE_CELL, WORD_ATTRIBUTES, WORD_FRAME, WORD_SHIFT } = layout;
const LINEAR_END = LINEAR_SPACE_BYTES;
const { GENERAL, MISSED, NOT_CACHED } = results;
const { SIZE_4K } = translation;
/** Bits of page numbers that the fast path is given. */
const NUMBER_BITS = 20;
/** Bits of the mark of an entry of a first-level TLB (`ReplacementState.marksAt`). */
const MARK_BITS = 8;
/** Most second-level TLBs that hold small pages for one kind of access. */
const SECOND_MAX = 2;
const KIND_STORE = 1;

/** Small pages, for loads (kind 0), stores (1) or instruction fetches (2). Each method's `number` is bits 19:0 of a page number. */
export class SmallPages {
  /** What the access may use in the present context. */
  readonly permissions: Permissions;
  /** The first-level TLB of small pages. */
  readonly first: TreeTlb | IndexedTlb;
  /** The clocks of all CPUs, which is the CPU's, and what a hit of the first level adds to it. */
  readonly clocks: Float64Array;
  protected readonly cpu: number;
  readonly accessCycles: number;
  /**
   * What a flush attribution has to see of small pages. The property is added when one begins to watch, and never set otherwise:
   * where V8 has the CPU as a constant, it then has this and all that belongs to it as constants too (README.md, "What each part gains").
   */
  declare unflushed?: UnflushedPath;
  protected readonly kind: number;
  /** The first word of what the CPU has of the arrays. */
  protected readonly base: number;
  protected readonly cells: Float64Array;
  protected readonly words: Int32Array;
  /** Words of the numbers of small pages in the TLBs of the first level and of the second. */
  protected readonly firstCount: number;
  protected readonly secondCount: number;
  /** The second-level TLB of small pages. */
  protected readonly second: IndexedTlb;
  /** The other one, where the address chooses between two, with the word of its small pages; and how far that bit of the page number is from bit 0. */
  protected readonly other: IndexedTlb | null;
  protected readonly otherCount: number;
  private readonly otherShift: number;
  protected readonly leafWalk: LeafWalk;
  private readonly upperWalk: UpperWalk;
  /** Cells of the counters of first-level hits, and of second-level hits. */
  protected readonly hitsCell: number;
  protected readonly secondLevelHitsCell: number;
  private readonly secondLevelHitCycles: number;
  /** Word of the first prediction for this kind of access. */
  private readonly predictionsWord: number;
  /** What a fill sets in the attributes: `ATTRIBUTE_STORES` for stores, else 0. */
  private readonly fillAttribute: number;

  constructor(kind: number, ofKind: TlbsOfKind, knownChunks: KnownChunks, parts: WalkParts) {
    const { arrays, clocks, cpu, structures, memory, preset } = parts;
    const { load, store, fetch, secondLevelHit } = preset.costs;
    const [first] = ofKind.first[SIZE_4K];
    const second = ofKind.second[SIZE_4K];
    this.accessCycles = [load, store, fetch][kind].value;
    this.permissions = new Permissions(kind, arrays, memory);
    // What walks use side by side, as in `ReplacementState`.
    this.first = pathTlb(first, arrays);
    this.words = arrays.words;
    this.base = arrays.firstWord;
    this.cells = arrays.cells;
    this.second = indexedTlb(second[0] ?? first, arrays);
    this.other = second.length === SECOND_MAX ? indexedTlb(second[1], arrays) : null;
    this.leafWalk = new LeafWalk(kind, this.permissions, structures.ofLevel(2), this.accessCycles, knownChunks, parts);
    this.upperWalk = new UpperWalk(this.leafWalk, knownChunks, parts);
    this.predictionsWord = arrays.firstWord + LOAD_PREDICTIONS_WORD + (kind << PREDICTIONS_SHIFT);
    this.fillAttribute = kind === KIND_STORE ? ATTRIBUTE_STORES : 0;
    this.kind = kind;
    this.clocks = clocks;
    this.cpu = cpu;
    this.secondLevelHitCycles = this.accessCycles + secondLevelHit.value;
    this.hitsCell = arrays.firstCell + COUNTERS_CELL + counters.COUNT_ACCESS + kind;
    this.secondLevelHitsCell = arrays.firstCell + COUNTERS_CELL + counters.COUNT_FAST_SECOND_LEVEL_HIT + kind;
    this.firstCount = first.sizeAt + SIZE_4K;
    this.secondCount = (second[0] ?? first).sizeAt + SIZE_4K;
    this.otherCount = (second[1] ?? first).sizeAt + SIZE_4K;
    this.otherShift = second[0]?.markShift ?? 0;
  }

  /** A hit of the first level at `place`, known to be allowed. Returns its frame. */
  touch(place: number): number {
    this.use(place);
    this.cells[this.hitsCell]++;
    this.clocks[this.cpu] += this.accessCycles;
    return this.words[((place << WORD_SHIFT) + WORD_FRAME) | 0];
  }

  /** Records a hit of the first level at `place` for the replacement policy, and for an attribution. */
  use(place: number): void {
    this.first.use(this.base, place);
    if (this.unflushed !== undefined) this.unflushed.hitFirst(place);
  }

  /** Whether it takes no look at an entry of the first level to say that it does not have a page. */
  isAbsentInFirst(number: number): boolean {
    return this.first.isAbsent(this.base, number);
  }

  /** The place that is predicted for a small page. */
  protected predicted(number: number): number {
    return this.words[(this.predictionsWord + (number & PREDICTIONS_MASK)) | 0];
  }

  /** A hit of the first level that was not predicted. */
  protected hit(number: number, place: number): number {
    const { words, permissions } = this;
    const attributes = words[((place << WORD_SHIFT) + WORD_ATTRIBUTES) | 0] & ~ATTRIBUTE_STORES;
    if (attributes !== permissions.allowedAttributes && !permissions.allows(place)) return GENERAL;
    words[((place << WORD_SHIFT) + WORD_ATTRIBUTES) | 0] |= this.fillAttribute;
    words[(this.predictionsWord + (number & PREDICTIONS_MASK)) | 0] = place;
    return this.touch(place);
  }

  /** A translation that the first level does not hold. */
  protected translateInSecond(number: number): number {
    const { second } = this;
    const place = second.find(this.base, number);
    if (place !== 0) return this.hitSecond(number, place, second) | 0;
    if (this.other !== null) return this.translateInOther(number, this.other) | 0;
    return this.walk(number, second) | 0;
  }

  private translateInOther(number: number, other: IndexedTlb): number {
    const place = other.find(this.base, number);
    if (place !== 0) return this.hitSecond(number, place, other) | 0;
    return this.walk(number, this.homeOf(number)) | 0;
  }

  /** The TLB of the second level that the page with this number goes into. */
  protected homeOf(number: number): IndexedTlb {
    return this.other === null || ((number >>> this.otherShift) & 1) === 0 ? this.second : this.other;
  }

  /** A hit of the second level at `place` of `tlb`. */
  protected hitSecond(number: number, place: number, tlb: IndexedTlb): number {
    const { words, cells, permissions } = this;
    const attributes = words[((place << WORD_SHIFT) + WORD_ATTRIBUTES) | 0];
    if (attributes !== permissions.allowedAttributes) return this.hitOtherAttributes(number, place, tlb) | 0;
    tlb.use(this.base, place);
    cells[this.secondLevelHitsCell]++;
    this.clocks[this.cpu] += this.secondLevelHitCycles;
    return this.fill(number, words[((place << WORD_SHIFT) + WORD_FRAME) | 0], attributes) | 0;
  }

  /** {@link hitSecond} of a translation with other attributes than what was found allowed last. */
  protected hitOtherAttributes(number: number, place: number, tlb: IndexedTlb): number {
    return this.permissions.allows(place) ? this.hitSecond(number, place, tlb) | 0 : GENERAL;
  }

  /** A walk for a page that no TLB holds, with all its effects but for the fills of TLBs. Returns its frame; else as `AccessPath.translate`. */
  walkOnly(number: number): number {
    const frame = this.leafWalk.walk(number) | 0;
    if (frame !== NOT_CACHED) return frame;
    return isPage(this.cells[REQUESTED_PAGE_CELL]) ? this.upperWalk.walk() | 0 : GENERAL;
  }

  /** A walk for a page that no TLB holds, and that goes into `tlb` of the second level. */
  protected walk(number: number, tlb: IndexedTlb): number {
    const frame = this.leafWalk.walk(number) | 0;
    if (frame >= 0) return this.fillBoth(number, frame, tlb) | 0;
    return frame === NOT_CACHED ? this.walkFromAbove(number, tlb) | 0 : this.notWalked();
  }

  /** {@link walk} where the PDE is not cached. */
  protected walkFromAbove(number: number, tlb: IndexedTlb): number {
    if (!isPage(this.cells[REQUESTED_PAGE_CELL])) return GENERAL;
    const frame = this.upperWalk.walk() | 0;
    return frame < 0 ? MISSED : this.fillBoth(number, frame, tlb) | 0;
  }

  /** What is returned for a walk that is not done here. */
  protected notWalked(): number {
    // What is no address is left to the general path, which says so.
    return isPage(this.cells[REQUESTED_PAGE_CELL]) ? MISSED : GENERAL;
  }

  /** Puts the translation of the last walk to a small page into `tlb` of the second level and into the first. Returns `frame`. */
  protected fillBoth(number: number, frame: number, tlb: IndexedTlb): number {
    const attributes = this.permissions.pteAttributes;
    tlb.insert(this.base, number, frame, attributes);
    return this.fill(number, frame, attributes) | 0;
  }

  /** Puts a translation that is known to allow the access into the first level, and predicts it. Returns `frame`. */
  private fill(number: number, frame: number, attributes: number): number {
    const place = this.first.insert(this.base, number, frame, attributes | this.fillAttribute);
    this.words[((number & PREDICTIONS_MASK) + this.predictionsWord) | 0] = place;
    return frame;
  }
}

function isPage(la: number): boolean {
  return la >= 0 && la < LINEAR_END && la === Math.floor(la);
}

/** Whether these TLBs of small pages are such as this code does: it sees bits 19:0 of page numbers. */
export function areKnown(first: Tlb, second: readonly Tlb[]): boolean {
  if (first.markShift + MARK_BITS > NUMBER_BITS || second.length === 0 || second.length > SECOND_MAX) return false;
  if (second.some(({ markShift }) => markShift >= NUMBER_BITS)) return false;
  return [first, ...second].every(({ headMask, hashShift, hashMask }) => {
    return headMask < 2 ** NUMBER_BITS && hashMask * 2 ** hashShift < 2 ** NUMBER_BITS;
  });
}
