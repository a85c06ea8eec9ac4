/**
 * The fast path of one kind of access: which of its parts has the translation of a 4 KiB page. Hits of the first level, hits of
 * the second, and walks from a cached PDE end here; what is none of these is left to the general path (`Mmu.translate`).
 */

import { LINEAR_SPACE_BYTES } from "../isa/linear-address.ts";
import type { PagingMode } from "../isa/paging-mode.ts";
import * as translation from "../isa/translation.ts";
import * as counters from "../time/perf-counters.ts";
import * as layout from "../tlb/cpu-arrays.ts";
import type { Tlb } from "../tlb/tlb.ts";
import type { TlbHierarchy, TlbsOfKind } from "../tlb/tlb-hierarchy.ts";
import type { AccessPathParts, WalkParts } from "./access-path-parts.ts";
import { IndexedTlb } from "./indexed-tlb.ts";
import { KnownChunks } from "./known-chunks.ts";
import { LargePages } from "./large-pages.ts";
import { LeafWalk } from "./leaf-walk.ts";
import { Permissions } from "./permissions.ts";
import * as results from "./results.ts";
import { TreeTlb } from "./tree-tlb.ts";
import type { UnflushedPath } from "./unflushed-path.ts";
import { UpperWalk } from "./upper-walk.ts";

// The module's own constants, which V8 folds into the code (README.md, "Constants").
const {
  ACCESSES_WATCHED,
  ATTRIBUTE_STORES,
  COUNTERS_CELL,
  FAST_PATH_OFF,
  LARGE_TRANSLATIONS_WORD,
  LOAD_PREDICTIONS_WORD,
} = layout;
const { PREDICTIONS_MASK, PREDICTIONS_SHIFT, REQUESTED_PAGE_CELL, WORD_ATTRIBUTES, WORD_FRAME, WORD_SHIFT } = layout;
const LINEAR_END = LINEAR_SPACE_BYTES;
const { GENERAL, MISSED, NOT_CACHED } = results;
const { SIZE_1G, SIZE_2M, SIZE_4K } = translation;
/** Bits of page numbers that the fast path is given. */
const NUMBER_BITS = 20;
/** Bits of the mark of an entry of a first-level TLB (`Tlb.marksAt`). */
const MARK_BITS = 8;
/** Most second-level TLBs that hold small pages for one kind of access. */
const SECOND_MAX = 2;
/** A number of large translations that never is. */
const NEVER = -1;
const KIND_STORE = 1;

/** The path of loads (kind 0), stores (1) or instruction fetches (2). */
export class AccessPath {
  /** What it may use in the present context. */
  readonly permissions: Permissions;
  /** The first-level TLB of small pages. */
  readonly first: TreeTlb | IndexedTlb;
  /** The CPU's clock, and what a hit of the first level adds to it. */
  readonly clock: Float64Array;
  readonly accessCycles: number;
  private readonly kind: number;
  private readonly cells: Float64Array;
  private readonly words: Int32Array;
  private readonly tlbs: TlbHierarchy;
  private readonly mode: PagingMode;
  /** Words of the numbers of small pages in the TLBs of the first level and of the second. */
  private readonly firstCount: number;
  private readonly secondCount: number;
  /** The second-level TLB of small pages. */
  private readonly second: IndexedTlb;
  /** The other one, where the address chooses between two; and how far that bit of the page number is from bit 0. */
  private readonly other: IndexedTlb | null;
  private readonly otherShift: number;
  private readonly leafWalk: LeafWalk;
  private readonly upperWalk: UpperWalk;
  /** The paths of pages of 2 MiB and 1 GiB. */
  private readonly large: LargePages;
  private readonly huge: LargePages;
  /** What the number of large translations must be for the quickest form: 0; -1 where these TLBs are not what it does. */
  private readonly largeTranslations: number;
  /** Below which that word must be for larger pages to be done here; 0 where they are not. */
  private readonly largeEnd: number;
  /** Cells of the counters of first-level hits, and of second-level hits. */
  private readonly hitsCell: number;
  private readonly secondLevelHitsCell: number;
  private readonly secondLevelHitCycles: number;
  /** Word of the first prediction for this kind of access. */
  private readonly predictionsWord: number;
  /**
   * What a flush attribution has to see of this kind of access. The property is added when one begins to watch, and never set otherwise:
   * where V8 has the CPU as a constant, it then has this and all that belongs to it as constants too (README.md, "What each part gains").
   */
  declare unflushed?: UnflushedPath;
  /** What a fill sets in the attributes: `ATTRIBUTE_STORES` for stores, else 0. */
  private readonly fillAttribute: number;

  constructor(kind: number, ofKind: TlbsOfKind, isKnown: boolean, parts: WalkParts) {
    const { arrays, clock, tlbs, structures, mode, memory, preset } = parts;
    const { load, store, fetch, secondLevelHit } = preset.costs;
    const [first] = ofKind.first[SIZE_4K];
    const second = ofKind.second[SIZE_4K];
    this.kind = kind;
    this.cells = arrays.cells;
    this.words = arrays.words;
    this.clock = clock;
    this.tlbs = tlbs;
    this.mode = mode;
    this.accessCycles = [load, store, fetch][kind].value;
    this.secondLevelHitCycles = this.accessCycles + secondLevelHit.value;
    this.largeTranslations = isKnown && areKnown(first, second) ? 0 : NEVER;
    this.hitsCell = COUNTERS_CELL + counters.COUNT_ACCESS + kind;
    this.secondLevelHitsCell = COUNTERS_CELL + counters.COUNT_FAST_SECOND_LEVEL_HIT + kind;
    this.predictionsWord = LOAD_PREDICTIONS_WORD + (kind << PREDICTIONS_SHIFT);
    this.fillAttribute = kind === KIND_STORE ? ATTRIBUTE_STORES : 0;
    this.permissions = new Permissions(kind, arrays, memory);
    this.first = first.replacement.isTree ? new TreeTlb(first, arrays) : new IndexedTlb(first, arrays);
    this.firstCount = first.sizeAt + SIZE_4K;
    this.secondCount = (second[0] ?? first).sizeAt + SIZE_4K;
    this.second = new IndexedTlb(second[0] ?? first, arrays);
    this.other = second.length === SECOND_MAX ? new IndexedTlb(second[1], arrays) : null;
    this.otherShift = second[0]?.markShift ?? 0;
    const knownChunks = new KnownChunks(memory);
    this.leafWalk = new LeafWalk(kind, this.permissions, structures.ofLevel(2), this.accessCycles, knownChunks, parts);
    this.upperWalk = new UpperWalk(this.leafWalk, knownChunks, parts);
    // One TLB of a level at the most holds a size.
    const doesLarge = [SIZE_2M, SIZE_1G].every(
      (size) => ofKind.first[size].length <= 1 && ofKind.second[size].length <= 1,
    );
    this.largeEnd = doesLarge && this.isKnown ? ACCESSES_WATCHED : 0;
    this.large = this.largePages(SIZE_2M, ofKind, knownChunks, parts);
    this.huge = this.largePages(SIZE_1G, ofKind, knownChunks, parts);
  }

  private largePages(size: number, { first, second }: TlbsOfKind, knownChunks: KnownChunks, parts: AccessPathParts) {
    const { kind, permissions, hitsCell, secondLevelHitsCell, accessCycles } = this;
    const tlbs = { first: first[size][0] ?? null, second: second[size][0] ?? null };
    const access = { kind, size, ...tlbs, permissions, hitsCell, secondLevelHitsCell, accessCycles, knownChunks };
    return new LargePages(access, parts);
  }

  /** Begins another context (`FastPath.contextChanged`). */
  forget(): void {
    this.permissions.forget();
    this.leafWalk.forget();
    this.large.forget();
    this.huge.forget();
    this.unflushed?.forget();
  }

  /** Whether these TLBs are such as this does. */
  get isKnown(): boolean {
    return this.largeTranslations === 0;
  }

  /**
   * Translates the page in `REQUESTED_PAGE_CELL`, which is not predicted: returns its frame, with the access allowed, counted,
   * paid for and predicted from now on; `GENERAL`, or `MISSED` (results.ts), where this is left to the general path, and then nothing
   * has changed.
   * @param number bits 19:0 of the page number
   * @param largeNumber the number of the 2 MiB that the page is in. It could be had from the cell, but not as soon: that takes a store, a
   *   load and a conversion, and the host waits for what they choose
   */
  translate(number: number, largeNumber: number): number {
    if (this.words[LARGE_TRANSLATIONS_WORD] !== this.largeTranslations)
      return this.translateBesideLarge(number, largeNumber) | 0;
    const place = this.first.find(number);
    if (place !== 0) return this.hit(number, place) | 0;
    return this.translateInSecond(number) | 0;
  }

  /** A hit of the first level at `place`, known to be allowed. Returns its frame. */
  touch(place: number): number {
    this.use(place);
    this.cells[this.hitsCell]++;
    this.clock[0] += this.accessCycles;
    return this.words[((place << WORD_SHIFT) + WORD_FRAME) | 0];
  }

  /** Records a hit of the first level at `place` for the replacement policy, and for an attribution. */
  use(place: number): void {
    this.first.use(place);
    if (this.unflushed !== undefined) this.unflushed.hitFirst(place);
  }

  /** {@link translate} while an attribution watches. Larger pages are left to the general path. */
  private translateWatched(number: number, unflushed: UnflushedPath): number {
    const { words, cells, second, other } = this;
    const place = this.first.find(number);
    if (place !== 0) return this.hit(number, place) | 0;
    const hasLarge = (words[LARGE_TRANSLATIONS_WORD] & (ACCESSES_WATCHED - 1)) !== 0;
    if (hasLarge && this.tlbs.isInLarge(this.kind, cells[REQUESTED_PAGE_CELL], this.mode.pcid)) return GENERAL;
    const inSecond = second.find(number);
    const held = inSecond !== 0 || other === null ? inSecond : other.find(number);
    if (held === 0) return this.walkWatched(number, unflushed) | 0;
    const frame = this.hitSecond(number, held, inSecond !== 0 ? second : (other ?? second)) | 0;
    if (frame >= 0) unflushed.hitSecond(number, words[(this.predictionsWord + (number & PREDICTIONS_MASK)) | 0], held);
    return frame;
  }

  private walkWatched(number: number, unflushed: UnflushedPath): number {
    unflushed.beginWalk();
    const frame = this.walk(number, this.homeOf(number)) | 0;
    if (frame >= 0) unflushed.refill(number, this.words[(this.predictionsWord + (number & PREDICTIONS_MASK)) | 0]);
    return frame;
  }

  /** {@link translate} while TLBs hold larger pages, or an attribution watches. */
  private translateBesideLarge(number: number, largeNumber: number): number {
    const { words, large, huge } = this;
    if (words[LARGE_TRANSLATIONS_WORD] >= this.largeEnd) return this.translateSpecial(number) | 0;
    if (words[this.firstCount] !== 0) {
      const place = this.first.find(number);
      if (place !== 0) return this.hit(number, place) | 0;
    }
    const inLarge = large.translatePredicted(number, largeNumber) | 0;
    if (inLarge >= 0) return inLarge;
    const inHuge = huge.translatePredicted(number, largeNumber) | 0;
    if (inHuge >= 0) return inHuge;
    return huge.isHeld ? this.translateLarger(number, largeNumber) | 0 : this.translateNotHuge(number, largeNumber) | 0;
  }

  /** {@link translate} where larger pages are left to the general path, or an attribution watches. */
  private translateSpecial(number: number): number {
    if (this.largeTranslations !== 0 || this.words[LARGE_TRANSLATIONS_WORD] >= FAST_PATH_OFF) return GENERAL;
    if (this.unflushed !== undefined) return this.translateWatched(number, this.unflushed) | 0;
    const place = this.first.find(number);
    return place !== 0 ? this.hit(number, place) | 0 : this.translateOther(number) | 0;
  }

  /** A translation that the first level's TLB of small pages does not hold, while TLBs hold pages of 2 MiB but none of 1 GiB. */
  private translateNotHuge(number: number, largeNumber: number): number {
    const { large } = this;
    large.request(number);
    const inLarge = large.translateInFirst(number, largeNumber) | 0;
    return inLarge !== MISSED ? inLarge : this.translateInAnySecond(number, largeNumber, false) | 0;
  }

  /** {@link translateNotHuge} while they hold pages of 1 GiB too. */
  private translateLarger(number: number, largeNumber: number): number {
    const { large, huge } = this;
    large.request(number);
    const inLarge = large.translateInFirst(number, largeNumber) | 0;
    if (inLarge !== MISSED) return inLarge;
    huge.request(number);
    const inHuge = huge.translateInFirst(number, largeNumber) | 0;
    return inHuge !== MISSED ? inHuge : this.translateInAnySecond(number, largeNumber, true) | 0;
  }

  /** {@link translateBesideLarge} where larger pages are left to the general path. */
  private translateOther(number: number): number {
    if (this.tlbs.isInLarge(this.kind, this.cells[REQUESTED_PAGE_CELL], this.mode.pcid)) return GENERAL;
    return this.translateInSecond(number) | 0;
  }

  /** A translation of a page of any size that the first level does not hold. @param hasHuge whether TLBs hold pages of 1 GiB */
  private translateInAnySecond(number: number, largeNumber: number, hasHuge: boolean): number {
    const { words, second, other, large, huge } = this;
    const place = words[this.secondCount] === 0 ? 0 : second.find(number);
    if (place !== 0) return this.hitSecond(number, place, second) | 0;
    if (other !== null) {
      const otherPlace = other.find(number);
      if (otherPlace !== 0) return this.hitSecond(number, otherPlace, other) | 0;
    }
    const inLarge = large.translateInSecond(number, largeNumber) | 0;
    if (inLarge !== MISSED) return inLarge;
    const inHuge = hasHuge ? huge.translateInSecond(number, largeNumber) | 0 : MISSED;
    return inHuge !== MISSED ? inHuge : this.walkForAny(number, largeNumber) | 0;
  }

  /** A walk for a page of any size that no TLB holds: it begins at the lowest entry that is cached. */
  private walkForAny(number: number, largeNumber: number): number {
    const { leafWalk, large } = this;
    if (leafWalk.hasPdes) {
      const frame = leafWalk.walk(number) | 0;
      if (frame >= 0) return this.fillBoth(number, frame, this.homeOf(number)) | 0;
      if (frame !== NOT_CACHED) return this.notWalked();
    }
    const inLarge = large.walk(number, largeNumber) | 0;
    if (inLarge >= 0) return inLarge;
    const inHuge = inLarge === NOT_CACHED ? this.walkForHuge(number, largeNumber) | 0 : GENERAL;
    return inHuge >= 0 ? inHuge : this.notWalked();
  }

  private walkForHuge(number: number, largeNumber: number): number {
    this.huge.request(number);
    return this.huge.walk(number, largeNumber) | 0;
  }

  /** A hit of the first level that was not predicted. */
  private hit(number: number, place: number): number {
    const { words, permissions } = this;
    const attributes = words[((place << WORD_SHIFT) + WORD_ATTRIBUTES) | 0] & ~ATTRIBUTE_STORES;
    if (attributes !== permissions.allowedAttributes && !permissions.allows(place)) return GENERAL;
    words[((place << WORD_SHIFT) + WORD_ATTRIBUTES) | 0] |= this.fillAttribute;
    words[(this.predictionsWord + (number & PREDICTIONS_MASK)) | 0] = place;
    return this.touch(place);
  }

  /** A translation that the first level does not hold. */
  private translateInSecond(number: number): number {
    const { second } = this;
    const place = second.find(number);
    if (place !== 0) return this.hitSecond(number, place, second) | 0;
    if (this.other !== null) return this.translateInOther(number, this.other) | 0;
    return this.walk(number, second) | 0;
  }

  private translateInOther(number: number, other: IndexedTlb): number {
    const place = other.find(number);
    if (place !== 0) return this.hitSecond(number, place, other) | 0;
    return this.walk(number, this.homeOf(number)) | 0;
  }

  /** The TLB of the second level that the page with this number goes into. */
  private homeOf(number: number): IndexedTlb {
    return this.other === null || ((number >>> this.otherShift) & 1) === 0 ? this.second : this.other;
  }

  /** A hit of the second level at `place` of `tlb`. */
  private hitSecond(number: number, place: number, tlb: IndexedTlb): number {
    const { words, cells, permissions } = this;
    const attributes = words[((place << WORD_SHIFT) + WORD_ATTRIBUTES) | 0];
    if (attributes !== permissions.allowedAttributes) return this.hitOtherAttributes(number, place, tlb) | 0;
    tlb.use(place);
    cells[this.secondLevelHitsCell]++;
    this.clock[0] += this.secondLevelHitCycles;
    return this.fill(number, words[((place << WORD_SHIFT) + WORD_FRAME) | 0], attributes) | 0;
  }

  private hitOtherAttributes(number: number, place: number, tlb: IndexedTlb): number {
    return this.permissions.allows(place) ? this.hitSecond(number, place, tlb) | 0 : GENERAL;
  }

  /** A walk for a page that no TLB holds, with all its effects but for the fills of TLBs. Returns its frame; else as {@link translate}. */
  walkOnly(number: number): number {
    const frame = this.leafWalk.walk(number) | 0;
    if (frame !== NOT_CACHED) return frame;
    return isPage(this.cells[REQUESTED_PAGE_CELL]) ? this.upperWalk.walk() | 0 : GENERAL;
  }

  /** A walk for a page that no TLB holds, and that goes into `tlb` of the second level. */
  private walk(number: number, tlb: IndexedTlb): number {
    const frame = this.leafWalk.walk(number) | 0;
    if (frame >= 0) return this.fillBoth(number, frame, tlb) | 0;
    return frame === NOT_CACHED ? this.walkFromAbove(number, tlb) | 0 : this.notWalked();
  }

  /** {@link walk} where the PDE is not cached. */
  private walkFromAbove(number: number, tlb: IndexedTlb): number {
    if (!isPage(this.cells[REQUESTED_PAGE_CELL])) return GENERAL;
    const frame = this.upperWalk.walk() | 0;
    return frame < 0 ? MISSED : this.fillBoth(number, frame, tlb) | 0;
  }

  /** What is returned for a walk that is not done here. */
  private notWalked(): number {
    // What is no address is left to the general path, which says so.
    return isPage(this.cells[REQUESTED_PAGE_CELL]) ? MISSED : GENERAL;
  }

  /** Puts the translation of the last walk to a small page into `tlb` of the second level and into the first. Returns `frame`. */
  private fillBoth(number: number, frame: number, tlb: IndexedTlb): number {
    const attributes = this.permissions.pteAttributes;
    tlb.insert(number, frame, attributes);
    return this.fill(number, frame, attributes) | 0;
  }

  /** Puts a translation that is known to allow the access into the first level, and predicts it. Returns `frame`. */
  private fill(number: number, frame: number, attributes: number): number {
    const place = this.first.insert(number, frame, attributes | this.fillAttribute);
    this.words[((number & PREDICTIONS_MASK) + this.predictionsWord) | 0] = place;
    return frame;
  }
}

function isPage(la: number): boolean {
  return la >= 0 && la < LINEAR_END && la === Math.floor(la);
}

/** Whether these TLBs of small pages are such as this code does: it sees bits 19:0 of page numbers. */
function areKnown(first: Tlb, second: readonly Tlb[]): boolean {
  if (first.markShift + MARK_BITS > NUMBER_BITS || second.length === 0 || second.length > SECOND_MAX) return false;
  if (second.some(({ markShift }) => markShift >= NUMBER_BITS)) return false;
  return [first, ...second].every(({ headMask, hashShift, hashMask }) => {
    return headMask < 2 ** NUMBER_BITS && hashMask * 2 ** hashShift < 2 ** NUMBER_BITS;
  });
}
