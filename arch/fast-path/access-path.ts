/**
 * The fast path of one kind of access: which of its parts has the translation of a page. Hits of either level and walks from cached
 * entries of tables end here; what is none of these is left to the general path (`Mmu.translate`).
 */

import type { PagingMode } from "../isa/paging-mode.ts";
import * as translation from "../isa/translation.ts";
import * as layout from "../tlb/cpu-arrays.ts";
import type { FlushAttribution } from "../tlb/flush-attribution.ts";
import type { TlbHierarchy, TlbsOfKind } from "../tlb/tlb-hierarchy.ts";
import type { AccessPathParts, WalkParts } from "./access-path-parts.ts";
import type { IndexedTlb } from "./indexed-tlb.ts";
import { KnownChunks } from "./known-chunks.ts";
import { LargePages } from "./large-pages.ts";
import { homeOfPieces } from "./page-pieces.ts";
import * as results from "./results.ts";
import { areKnown, SmallPages } from "./small-pages.ts";
import { UnflushedPath } from "./unflushed-path.ts";

// The module's own constants, which V8 folds into the code (README.md, "Constants").
const { ACCESSES_WATCHED, FAST_PATH_OFF, LARGE_TRANSLATIONS_WORD, REQUESTED_PAGE_CELL } = layout;
const { WORD_ATTRIBUTES, WORD_SHIFT } = layout;
const { GENERAL, MISSED, NOT_CACHED } = results;
const { SIZE_1G, SIZE_2M, SIZE_4K, TR_SIZE_SHIFT } = translation;
/** The attribute of the page's size in the page tables. */
const SIZE_OF_PAGE = 3 << TR_SIZE_SHIFT;
/** Pages of 2 MiB in a byte. */
const PER_LARGE_PAGE = 2 ** -21;
/** A number of large translations that never is. */
const NEVER = -1;

/** The path of loads (kind 0), stores (1) or instruction fetches (2). */
export class AccessPath extends SmallPages {
  private readonly tlbs: TlbHierarchy;
  private readonly mode: PagingMode;
  /** Word of the number of translations of larger pages. */
  private readonly largeAt: number;
  /** The paths of pages of 2 MiB and 1 GiB. */
  private readonly large: LargePages;
  private readonly huge: LargePages;
  /** Whether the second level may hold pieces of 4 KiB of them. */
  private readonly hasSmallPieces: boolean;
  /** What the number of large translations must be for the quickest form: 0; -1 where these TLBs are not what it does. */
  private readonly largeTranslations: number;
  /** Below which that word must be for larger pages to be done here; 0 where they are not. */
  private readonly largeEnd: number;

  constructor(kind: number, ofKind: TlbsOfKind, isKnown: boolean, parts: WalkParts) {
    const knownChunks = new KnownChunks(parts.memory);
    super(kind, ofKind, knownChunks, parts);
    const [first] = ofKind.first[SIZE_4K];
    this.tlbs = parts.tlbs;
    this.largeAt = parts.arrays.firstWord + LARGE_TRANSLATIONS_WORD;
    this.mode = parts.mode;
    this.largeTranslations = isKnown && areKnown(first, ofKind.second[SIZE_4K]) ? 0 : NEVER;
    // One TLB of a level at the most holds a size.
    const doesLarge = [SIZE_2M, SIZE_1G].every(
      (size) => ofKind.first[size].length <= 1 && ofKind.second[size].length <= 1,
    );
    this.largeEnd = doesLarge && this.isKnown ? FAST_PATH_OFF : 0;
    this.huge = this.largePages(SIZE_1G, ofKind, knownChunks, parts);
    this.large = this.largePages(SIZE_2M, ofKind, knownChunks, parts);
    this.hasSmallPieces = this.large.pieces?.isSmall === true || this.huge.pieces?.isSmall === true;
  }

  private largePages(size: number, { first, second }: TlbsOfKind, knownChunks: KnownChunks, parts: AccessPathParts) {
    const { kind, permissions, hitsCell, secondLevelHitsCell, accessCycles } = this;
    const tlbs = { first: first[size][0] ?? null, second: second[size][0] ?? null };
    const pieces = tlbs.first === null ? null : homeOfPieces(size, second);
    const counts = { hitsCell, secondLevelHitsCell, accessCycles };
    const access = { kind, size, ...tlbs, pieces, permissions, ...counts, knownChunks };
    return new LargePages(
      access,
      parts,
      size === SIZE_2M && this.huge.pieces?.isSmall === false ? this.huge.pieces : null,
    );
  }

  /** Event: from now on an attribution has to see every access (`FastPath.watch`). */
  watch(attribution: FlushAttribution, { arrays, mode, tlbs }: AccessPathParts): void {
    const { kind } = this;
    const ofKind = tlbs.tlbsByKind()[kind];
    const make = (size: number) => new UnflushedPath(kind, size, attribution, mode, arrays, ofKind);
    this.unflushed = make(SIZE_4K);
    if (ofKind.first[SIZE_2M].length > 0) this.large.unflushed = make(SIZE_2M);
    if (ofKind.first[SIZE_1G].length > 0) this.huge.unflushed = make(SIZE_1G);
  }

  /** Makes it as it was before {@link watch}, for images of a machine. */
  unwatch(): void {
    delete this.unflushed;
    delete this.large.unflushed;
    delete this.huge.unflushed;
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
    if (this.words[this.largeAt] !== this.largeTranslations) return this.translateBesideLarge(number, largeNumber) | 0;
    const place = this.first.find(this.base, number);
    if (place !== 0) return this.hit(number, place) | 0;
    return this.translateInSecond(number) | 0;
  }

  /** {@link translate} while an attribution watches and TLBs hold no larger pages. */
  private translateWatched(number: number, unflushed: UnflushedPath): number {
    const { second, other } = this;
    const place = this.first.find(this.base, number);
    if (place !== 0) return this.hit(number, place) | 0;
    const inSecond = second.find(this.base, number);
    const held = inSecond !== 0 || other === null ? inSecond : other.find(this.base, number);
    if (held === 0) return this.walkWatched(number, unflushed) | 0;
    return this.hitSecondWatched(number, held, inSecond !== 0 ? second : (other ?? second), unflushed) | 0;
  }

  private hitSecondWatched(number: number, held: number, tlb: IndexedTlb, unflushed: UnflushedPath): number {
    if (this.hasSmallPieces && this.isPiece(held)) return this.hitOtherAttributes(number, held, tlb) | 0;
    // What is rare leaves by `return`, here and below (README.md).
    if (unflushed.mayHitOther(held)) return this.hitSecondBesideOthers(number, held, tlb, unflushed) | 0;
    const frame = this.hitSecond(number, held, tlb) | 0;
    if (frame >= 0) unflushed.hitSecond(number, this.predicted(number), held);
    return frame;
  }

  private hitSecondBesideOthers(number: number, held: number, tlb: IndexedTlb, unflushed: UnflushedPath): number {
    const isOther = unflushed.beforeFill(number);
    const frame = this.hitSecond(number, held, tlb) | 0;
    if (frame < 0) return frame;
    if (isOther) unflushed.hitSecondOther(this.predicted(number));
    else unflushed.hitSecond(number, this.predicted(number), held);
    return frame;
  }

  private walkWatched(number: number, unflushed: UnflushedPath): number {
    if (unflushed.mayFindOther()) return this.walkBesideOthers(number, unflushed) | 0;
    unflushed.beginWalk();
    const frame = this.walk(number, this.homeOf(number)) | 0;
    if (frame >= 0) unflushed.refill(number, this.predicted(number));
    return frame;
  }

  private walkBesideOthers(number: number, unflushed: UnflushedPath): number {
    const isOther = unflushed.beforeFill(number);
    unflushed.beginWalk();
    const frame = this.walk(number, this.homeOf(number)) | 0;
    if (frame < 0) return frame;
    if (isOther) unflushed.refillOther(this.predicted(number));
    else unflushed.refill(number, this.predicted(number));
    return frame;
  }

  /** {@link translate} while TLBs hold larger pages, or an attribution watches. */
  private translateBesideLarge(number: number, largeNumber: number): number {
    const { words, large, huge } = this;
    if (words[this.largeAt] >= this.largeEnd) return this.translateSpecial(number) | 0;
    if (this.unflushed !== undefined && words[this.largeAt] === ACCESSES_WATCHED)
      return this.translateWatched(number, this.unflushed) | 0;
    if (words[this.firstCount] !== 0) {
      const place = this.first.find(this.base, number);
      if (place !== 0) return this.hit(number, place) | 0;
    }
    const predicted = large.predicted(number, largeNumber);
    if (predicted !== 0) return large.touch(predicted, number) | 0;
    const predictedHuge = huge.predicted(number, largeNumber);
    // A page of 2 MiB that is not predicted is asked for before.
    if (predictedHuge !== 0 && words[large.firstCount] === 0) return huge.touch(predictedHuge, number) | 0;
    return (words[huge.firstCount] | words[huge.secondCount]) === 0
      ? this.translateNotHuge(number, largeNumber) | 0
      : this.translateLarger(number, largeNumber) | 0;
  }

  /** {@link translate} where larger pages are left to the general path. */
  private translateSpecial(number: number): number {
    if (this.largeTranslations !== 0 || this.words[this.largeAt] >= FAST_PATH_OFF) return GENERAL;
    const place = this.first.find(this.base, number);
    if (place !== 0) return this.hit(number, place) | 0;
    if (this.tlbs.isInLarge(this.kind, this.cells[REQUESTED_PAGE_CELL], this.mode.pcid)) return GENERAL;
    const { unflushed } = this;
    return unflushed === undefined ? this.translateInSecond(number) | 0 : this.translateWatched(number, unflushed) | 0;
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

  /** A translation of a page of any size that the first level does not hold. @param hasHuge whether TLBs hold pages of 1 GiB */
  private translateInAnySecond(number: number, largeNumber: number, hasHuge: boolean): number {
    const { words, second, other, large, huge } = this;
    const place = words[this.secondCount] === 0 ? 0 : second.find(this.base, number);
    if (place !== 0) return this.hitSecondOfAny(number, place, second) | 0;
    if (other !== null && words[this.otherCount] !== 0) {
      const otherPlace = other.find(this.base, number);
      if (otherPlace !== 0) return this.hitSecondOfAny(number, otherPlace, other) | 0;
    }
    const inLarge = large.translateInSecond(number, largeNumber) | 0;
    if (inLarge !== MISSED) return inLarge;
    const inHuge = hasHuge ? huge.translateInSecond(number, largeNumber) | 0 : MISSED;
    return inHuge !== MISSED ? inHuge : this.walkForAny(number, largeNumber) | 0;
  }

  private hitSecondOfAny(number: number, place: number, tlb: IndexedTlb): number {
    const { unflushed } = this;
    return unflushed === undefined
      ? this.hitSecond(number, place, tlb) | 0
      : this.hitSecondWatched(number, place, tlb, unflushed) | 0;
  }

  /** A walk for a page of any size that no TLB holds: it begins at the lowest entry that is cached. */
  private walkForAny(number: number, largeNumber: number): number {
    const { leafWalk, large, unflushed } = this;
    if (leafWalk.hasPdes) {
      if (unflushed !== undefined) unflushed.beginWalk();
      const frame = leafWalk.walk(number) | 0;
      if (frame >= 0) return this.walkedForAny(number, frame) | 0;
      if (frame !== NOT_CACHED) return this.notWalked();
    }
    const inLarge = large.walk(number, largeNumber) | 0;
    if (inLarge >= 0) return inLarge;
    const inHuge = inLarge === NOT_CACHED ? this.walkForHuge(number, largeNumber) | 0 : GENERAL;
    return inHuge >= 0 ? inHuge : this.notWalked();
  }

  /** A hit of the second level where a small page, or a piece of 4 KiB, has other attributes than what was found allowed last. */
  protected override hitOtherAttributes(number: number, place: number, tlb: IndexedTlb): number {
    const { words, cells } = this;
    const size = (words[(place << WORD_SHIFT) | WORD_ATTRIBUTES] >> TR_SIZE_SHIFT) & 3;
    if (size === SIZE_4K) return super.hitOtherAttributes(number, place, tlb) | 0;
    const { pieces } = size === SIZE_2M ? this.large : this.huge;
    if (pieces === null) return GENERAL;
    return pieces.hit(number, (cells[REQUESTED_PAGE_CELL] * PER_LARGE_PAGE) | 0, place) | 0;
  }

  /** Whether the entry of 4 KiB at `place` is a piece of a larger page. */
  private isPiece(place: number): boolean {
    return (this.words[((place << WORD_SHIFT) + WORD_ATTRIBUTES) | 0] & SIZE_OF_PAGE) !== 0;
  }

  /** What is done after a walk to a small page. Returns `frame`, which it has found. */
  private walkedForAny(number: number, frame: number): number {
    const { unflushed } = this;
    const isOther = unflushed?.mayFindOther() === true && unflushed.beforeFill(number);
    this.fillBoth(number, frame, this.homeOf(number));
    if (unflushed === undefined) return frame;
    if (isOther) unflushed.refillOther(this.predicted(number));
    else unflushed.refill(number, this.predicted(number));
    return frame;
  }

  private walkForHuge(number: number, largeNumber: number): number {
    this.huge.request(number);
    return this.huge.walk(number, largeNumber) | 0;
  }
}
