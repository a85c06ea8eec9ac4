/**
 * The fast path of one kind of access: which of its parts has the translation of a page. Hits of either level and walks from cached
 * entries of tables end here; what is none of these is left to the general path (`Mmu.translate`).
 */

import type { PagingMode } from "../isa/paging-mode.ts";
import * as translation from "../isa/translation.ts";
import * as layout from "../tlb/cpu-arrays.ts";
import type { FlushAttribution } from "../tlb/flush-attribution.ts";
import type { Tlb } from "../tlb/tlb.ts";
import type { TlbHierarchy, TlbsOfKind } from "../tlb/tlb-hierarchy.ts";
import type { AccessPathParts, WalkParts } from "./access-path-parts.ts";
import type { IndexedTlb } from "./indexed-tlb.ts";
import { KnownChunks } from "./known-chunks.ts";
import { LargePages } from "./large-pages.ts";
import type { PiecesHome } from "./large-walk.ts";
import * as results from "./results.ts";
import { areKnown, SmallPages } from "./small-pages.ts";
import { UnflushedLarge } from "./unflushed-large.ts";
import { UnflushedPath } from "./unflushed-path.ts";

// The module's own constants, which V8 folds into the code (README.md, "Constants").
const { ACCESSES_WATCHED, FAST_PATH_OFF, LARGE_TRANSLATIONS_WORD, REQUESTED_PAGE_CELL } = layout;
const { WORD_ATTRIBUTES, WORD_SHIFT } = layout;
const { GENERAL, MISSED, NOT_CACHED } = results;
const { SIZE_1G, SIZE_2M, SIZE_4K, TR_SIZE_SHIFT } = translation;
/** Pages of 2 MiB in a byte. */
const PER_LARGE_PAGE = 2 ** -21;
/** A number of large translations that never is. */
const NEVER = -1;

/** The path of loads (kind 0), stores (1) or instruction fetches (2). */
export class AccessPath extends SmallPages {
  private readonly tlbs: TlbHierarchy;
  private readonly mode: PagingMode;
  /** The paths of pages of 2 MiB and 1 GiB. */
  private readonly large: LargePages;
  private readonly huge: LargePages;
  /** What the number of large translations must be for the quickest form: 0; -1 where these TLBs are not what it does. */
  private readonly largeTranslations: number;
  /** Below which that word must be for larger pages to be done here; 0 where they are not. */
  private readonly largeEnd: number;

  constructor(kind: number, ofKind: TlbsOfKind, isKnown: boolean, parts: WalkParts) {
    const knownChunks = new KnownChunks(parts.memory);
    super(kind, ofKind, knownChunks, parts);
    const [first] = ofKind.first[SIZE_4K];
    this.tlbs = parts.tlbs;
    this.mode = parts.mode;
    this.largeTranslations = isKnown && areKnown(first, ofKind.second[SIZE_4K]) ? 0 : NEVER;
    // One TLB of a level at the most holds a size.
    const doesLarge = [SIZE_2M, SIZE_1G].every(
      (size) => ofKind.first[size].length <= 1 && ofKind.second[size].length <= 1,
    );
    this.largeEnd = doesLarge && this.isKnown ? ACCESSES_WATCHED : 0;
    this.huge = this.largePages(SIZE_1G, ofKind, knownChunks, parts);
    this.large = this.largePages(SIZE_2M, ofKind, knownChunks, parts);
  }

  private largePages(size: number, { first, second }: TlbsOfKind, knownChunks: KnownChunks, parts: AccessPathParts) {
    const { kind, permissions, hitsCell, secondLevelHitsCell, accessCycles } = this;
    const tlbs = { first: first[size][0] ?? null, second: second[size][0] ?? null };
    const pieces = tlbs.first !== null && tlbs.second === null ? homeOfPieces(size, second) : null;
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
    this.unflushed = new UnflushedPath(kind, attribution, mode, arrays, ofKind);
    const parts = [attribution, mode, arrays, ofKind] as const;
    if (ofKind.first[SIZE_2M].length > 0) this.large.unflushed = new UnflushedLarge(kind, SIZE_2M, ...parts);
    if (ofKind.first[SIZE_1G].length > 0) this.huge.unflushed = new UnflushedLarge(kind, SIZE_1G, ...parts);
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
    if (this.words[LARGE_TRANSLATIONS_WORD] !== this.largeTranslations)
      return this.translateBesideLarge(number, largeNumber) | 0;
    const place = this.first.find(number);
    if (place !== 0) return this.hit(number, place) | 0;
    return this.translateInSecond(number) | 0;
  }

  /** {@link translate} while an attribution watches. */
  private translateWatched(number: number, largeNumber: number, unflushed: UnflushedPath): number {
    const { words, cells, second, other } = this;
    const place = this.first.find(number);
    if (place !== 0) return this.hit(number, place) | 0;
    const hasLarge = (words[LARGE_TRANSLATIONS_WORD] & (ACCESSES_WATCHED - 1)) !== 0;
    if (hasLarge) {
      if (this.largeEnd !== 0) return this.translateBesideLargeWatched(number, largeNumber, unflushed) | 0;
      if (this.tlbs.isInLarge(this.kind, cells[REQUESTED_PAGE_CELL], this.mode.pcid)) return GENERAL;
    }
    const inSecond = second.find(number);
    const held = inSecond !== 0 || other === null ? inSecond : other.find(number);
    if (held === 0) return this.walkWatched(number, unflushed) | 0;
    return this.hitSecondWatched(number, held, inSecond !== 0 ? second : (other ?? second), unflushed) | 0;
  }

  /** {@link translateWatched} where TLBs hold larger pages and the first level does not hold the small one. */
  private translateBesideLargeWatched(number: number, largeNumber: number, unflushed: UnflushedPath): number {
    const { words, large, huge, second, other } = this;
    const predicted = large.predicted(number, largeNumber);
    if (predicted !== 0) return large.touch(largeNumber, predicted, number) | 0;
    const predictedHuge = huge.predicted(number, largeNumber);
    // A page of 2 MiB that is not predicted is asked for before.
    if (predictedHuge !== 0 && words[large.firstCount] === 0) return huge.touch(largeNumber, predictedHuge, number) | 0;
    large.request(number);
    huge.request(number);
    const inLarge = large.translateInFirst(number, largeNumber) | 0;
    if (inLarge !== MISSED) return inLarge;
    const inHuge = huge.translateInFirst(number, largeNumber) | 0;
    if (inHuge !== MISSED) return inHuge;
    const place = this.words[this.secondCount] === 0 ? 0 : second.find(number);
    if (place !== 0) return this.hitSecondWatched(number, place, second, unflushed) | 0;
    const otherPlace = other === null || this.words[this.otherCount] === 0 ? 0 : other.find(number);
    if (otherPlace !== 0) return this.hitSecondWatched(number, otherPlace, other ?? second, unflushed) | 0;
    const inLargeSecond = large.translateInSecond(number, largeNumber) | 0;
    if (inLargeSecond !== MISSED) return inLargeSecond;
    const inHugeSecond = huge.translateInSecond(number, largeNumber) | 0;
    return inHugeSecond !== MISSED ? inHugeSecond : this.walkForAnyWatched(number, largeNumber, unflushed) | 0;
  }

  private hitSecondWatched(number: number, held: number, tlb: IndexedTlb, unflushed: UnflushedPath): number {
    const frame = this.hitSecond(number, held, tlb) | 0;
    if (frame >= 0) unflushed.hitSecond(number, this.predicted(number), held);
    return frame;
  }

  private walkWatched(number: number, unflushed: UnflushedPath): number {
    unflushed.beginWalk();
    const frame = this.walk(number, this.homeOf(number)) | 0;
    if (frame >= 0) unflushed.refill(number, this.predicted(number));
    return frame;
  }

  /** {@link walkWatched} for a page of any size: where no PDE is cached, it may be a larger one. */
  private walkForAnyWatched(number: number, largeNumber: number, unflushed: UnflushedPath): number {
    const { leafWalk, large } = this;
    unflushed.beginWalk();
    const inLeaf = leafWalk.walk(number) | 0;
    if (inLeaf === NOT_CACHED) {
      const inLarge = large.walk(number, largeNumber) | 0;
      if (inLarge >= 0) return inLarge;
      const inHuge = inLarge === NOT_CACHED ? this.walkForHuge(number, largeNumber) | 0 : GENERAL;
      if (inHuge >= 0) return inHuge;
    } else if (inLeaf < 0) {
      return this.notWalked();
    }
    const home = this.homeOf(number);
    const frame = inLeaf >= 0 ? this.fillBoth(number, inLeaf, home) | 0 : this.walkFromAbove(number, home) | 0;
    if (frame >= 0) unflushed.refill(number, this.predicted(number));
    return frame;
  }

  /** {@link translate} while TLBs hold larger pages, or an attribution watches. */
  private translateBesideLarge(number: number, largeNumber: number): number {
    const { words, large, huge } = this;
    if (words[LARGE_TRANSLATIONS_WORD] >= this.largeEnd) return this.translateSpecial(number, largeNumber) | 0;
    if (words[this.firstCount] !== 0) {
      const place = this.first.find(number);
      if (place !== 0) return this.hit(number, place) | 0;
    }
    const predicted = large.predicted(number, largeNumber);
    if (predicted !== 0) return large.touch(largeNumber, predicted, number) | 0;
    const predictedHuge = huge.predicted(number, largeNumber);
    // A page of 2 MiB that is not predicted is asked for before.
    if (predictedHuge !== 0 && words[large.firstCount] === 0) return huge.touch(largeNumber, predictedHuge, number) | 0;
    return (words[huge.firstCount] | words[huge.secondCount]) === 0
      ? this.translateNotHuge(number, largeNumber) | 0
      : this.translateLarger(number, largeNumber) | 0;
  }

  /** {@link translate} where larger pages are left to the general path, or an attribution watches. */
  private translateSpecial(number: number, largeNumber: number): number {
    if (this.largeTranslations !== 0 || this.words[LARGE_TRANSLATIONS_WORD] >= FAST_PATH_OFF) return GENERAL;
    if (this.unflushed !== undefined) return this.translateWatched(number, largeNumber, this.unflushed) | 0;
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
    if (other !== null && words[this.otherCount] !== 0) {
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

  /** A hit of the second level where a small page, or a piece of 4 KiB, has other attributes than what was found allowed last. */
  protected override hitOtherAttributes(number: number, place: number, tlb: IndexedTlb): number {
    const { words, cells } = this;
    const size = (words[(place << WORD_SHIFT) | WORD_ATTRIBUTES] >> TR_SIZE_SHIFT) & 3;
    if (size === SIZE_4K) return super.hitOtherAttributes(number, place, tlb) | 0;
    const { pieces } = size === SIZE_2M ? this.large : this.huge;
    // An attribution is told of hits of small pages by the caller.
    if (pieces === null || this.unflushed !== undefined) return GENERAL;
    return pieces.hit(number, (cells[REQUESTED_PAGE_CELL] * PER_LARGE_PAGE) | 0, place) | 0;
  }

  private walkForHuge(number: number, largeNumber: number): number {
    this.huge.request(number);
    return this.huge.walk(number, largeNumber) | 0;
  }
}

/** The only TLB of the second level with the largest pieces of a page; null where the address chooses one of several, or there is none. */
function homeOfPieces(size: number, second: readonly (readonly Tlb[])[]): PiecesHome | null {
  for (let piece = size - 1; piece >= SIZE_4K; piece--) {
    const homes = second[piece];
    if (homes.length > 0) return homes.length === 1 ? { tlb: homes[0], size: piece } : null;
  }
  return null;
}
