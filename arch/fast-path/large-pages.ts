/**
 * Pages of 2 MiB, or of 1 GiB, for one kind of access: hits of both levels, and walks that start at the cached entry above the one
 * that maps the page. The TLBs' code is that of small pages (tree-tlb.ts, indexed-tlb.ts), with numbers of larger pages and a request
 * cell of their own, which `request` fills. A second level that has no pages of the size holds pieces of them (page-pieces.ts); those
 * of other TLBs are left to the general path.
 */

import * as translation from "../isa/translation.ts";
import * as layout from "../tlb/cpu-arrays.ts";
import type { AccessPathParts } from "./access-path-parts.ts";
import type { IndexedTlb } from "./indexed-tlb.ts";
import type { KnownChunks } from "./known-chunks.ts";
import { type LargeAccess, LargeWalk } from "./large-walk.ts";
import { PagePieces } from "./page-pieces.ts";
import { indexedTlb, pathTlb } from "./path-tlbs.ts";
import type { Permissions } from "./permissions.ts";
import * as results from "./results.ts";
import type { TreeTlb } from "./tree-tlb.ts";
import type { UnflushedPath } from "./unflushed-path.ts";

// The module's own constants, which V8 folds into the code (README.md, "Constants").
const { SIZE_1G, SIZE_2M, SIZE_BYTES, TAG_SIZE_STEP, TR_SIZE_SHIFT } = translation;
const { ATTRIBUTE_SIZE_SHIFT, ATTRIBUTE_STORES } = layout;
const { CELL_SHIFT, LARGE_PREDICTIONS_MASK, LARGE_PREDICTIONS_SHIFT, LARGE_PREDICTIONS_WORD } = layout;
const { REQUESTED_LARGE_CELL, REQUESTED_PAGE_CELL, WORD_ATTRIBUTES, WORD_FRAME, WORD_SHIFT } = layout;
const { GENERAL, MISSED, NO_ATTRIBUTES } = results;
const KIND_STORE = 1;
/** The attribute of the page's size in the page tables. */
const SIZE_OF_PAGE = 3 << TR_SIZE_SHIFT;
/** log2 of the bytes of a small page. */
const PAGE_SHIFT = 12;
/** Bits of the number of a page of 2 MiB that say which part of its page of 1 GiB it is. */
const SIZE_1G_SHIFT = 9;

/** The path of one size of page. */
export class LargePages {
  private readonly first: TreeTlb | IndexedTlb | null;
  private readonly second: IndexedTlb | null;
  /** Where the second level holds pages of this size in pieces. */
  readonly pieces: PagePieces | null;
  /** Pieces of larger pages that are among the entries of this size in the second level. */
  private readonly piecesHere: PagePieces | null;
  /** Words of the numbers of entries of this size in them. */
  readonly firstCount: number;
  readonly secondCount: number;
  private readonly requestCell: number;
  private readonly permissions: Permissions;
  private readonly largeWalk: LargeWalk;
  /** The first word of what the CPU has of the arrays. */
  private readonly base: number;
  private readonly cells: Float64Array;
  private readonly words: Int32Array;
  private readonly clocks: Float64Array;
  private readonly cpu: number;
  private readonly knownChunks: KnownChunks;
  /** Whether its pages are of 1 GiB: such a page lies in many chunks of memory, and who accesses its data asks whether there is one. */
  private readonly isHuge: boolean;
  private readonly isStore: boolean;
  /** The attributes of size of its entries. */
  private readonly sizes: number;
  /** Pages of a page, and what its tag adds to its first address. */
  private readonly pageMask: number;
  private readonly tagStep: number;
  private readonly predictionsWord: number;
  private readonly fillAttribute: number;
  private readonly hitsCell: number;
  private readonly secondLevelHitsCell: number;
  private readonly accessCycles: number;
  private readonly secondLevelHitCycles: number;
  private allowedAttributes = NO_ATTRIBUTES;
  /** What a flush attribution has to see of these accesses; added when one begins to watch, as `SmallPages.unflushed` is. */
  declare unflushed?: UnflushedPath;

  /** @param piecesHere pieces of larger pages that are among the entries of this size in the second level */
  constructor(access: LargeAccess, parts: AccessPathParts, piecesHere: PagePieces | null = null) {
    const { kind, size, first, second } = access;
    const { arrays, clocks, cpu, preset } = parts;
    this.requestCell = REQUESTED_LARGE_CELL + size - SIZE_2M;
    this.first = first === null ? null : pathTlb(first, arrays, this.requestCell);
    this.second = second === null ? null : indexedTlb(second, arrays, this.requestCell);
    this.pieces = access.pieces === null ? null : new PagePieces(access, access.pieces, this, parts);
    this.piecesHere = piecesHere;
    this.firstCount = (first?.sizeAt ?? 0) + size;
    this.secondCount = (second?.sizeAt ?? 0) + size;
    this.permissions = access.permissions;
    this.largeWalk = new LargeWalk(access, parts);
    this.cells = arrays.cells;
    this.words = arrays.words;
    this.base = arrays.firstWord;
    this.clocks = clocks;
    this.cpu = cpu;
    this.knownChunks = access.knownChunks;
    this.isHuge = size === SIZE_1G;
    this.isStore = kind === KIND_STORE;
    this.sizes = (size << ATTRIBUTE_SIZE_SHIFT) | (size << TR_SIZE_SHIFT);
    this.pageMask = SIZE_BYTES[size] / 4096 - 1;
    this.tagStep = size * TAG_SIZE_STEP;
    this.predictionsWord = arrays.firstWord + LARGE_PREDICTIONS_WORD + (kind << LARGE_PREDICTIONS_SHIFT);
    this.fillAttribute = kind === KIND_STORE ? ATTRIBUTE_STORES : 0;
    this.hitsCell = access.hitsCell;
    this.secondLevelHitsCell = access.secondLevelHitsCell;
    this.accessCycles = access.accessCycles;
    this.secondLevelHitCycles = access.accessCycles + preset.costs.secondLevelHit.value;
  }

  /** Begins another context (`FastPath.contextChanged`). */
  forget(): void {
    this.allowedAttributes = NO_ATTRIBUTES;
    this.largeWalk.forget();
    this.pieces?.forget();
    this.unflushed?.forget();
  }

  /**
   * The place that a hit of this size for the page in `REQUESTED_PAGE_CELL` is predicted at, for {@link touch}; 0 where none is.
   * @param number bits 19:0 of the number of the 4 KiB page, and `largeNumber` that of its 2 MiB; so below
   */
  predicted(number: number, largeNumber: number): number {
    const { words, cells } = this;
    if (words[this.firstCount] === 0) return 0;
    const tag = cells[REQUESTED_PAGE_CELL] + ((this.tagStep - ((number & this.pageMask) << PAGE_SHIFT)) | 0);
    const ofSize = this.numberOf(largeNumber);
    const place = words[(this.predictionsWord + (ofSize & LARGE_PREDICTIONS_MASK)) | 0];
    cells[this.requestCell] = tag;
    if (cells[place << CELL_SHIFT] !== tag) return 0;
    return this.isStore && words[((place << WORD_SHIFT) + WORD_ATTRIBUTES) | 0] >= 0 ? 0 : place;
  }

  /**
   * Asks for the page of this size that the page in `REQUESTED_PAGE_CELL` would be part of: what is below needs its tag, which
   * {@link predicted} has left if the first level holds pages of the size.
   */
  request(number: number): void {
    const { cells } = this;
    if (this.words[this.firstCount] !== 0) return;
    cells[this.requestCell] =
      cells[REQUESTED_PAGE_CELL] + ((this.tagStep - ((number & this.pageMask) << PAGE_SHIFT)) | 0);
  }

  /**
   * Translates the page that is asked for, and that is not predicted, if the first level holds it. Returns the frame of the 4 KiB
   * page; `MISSED` where it does not; `GENERAL` where the access is left to the general path.
   */
  translateInFirst(number: number, largeNumber: number): number {
    const { words, first } = this;
    if (first === null || words[this.firstCount] === 0) return MISSED;
    const ofSize = this.numberOf(largeNumber);
    const place = first.find(this.base, ofSize);
    return place === 0 ? MISSED : this.hit(largeNumber, place, number) | 0;
  }

  /** {@link translateInFirst} for the second level. */
  translateInSecond(number: number, largeNumber: number): number {
    const { words, second } = this;
    if (second === null || words[this.secondCount] === 0) return MISSED;
    const ofSize = this.numberOf(largeNumber);
    const place = second.find(this.base, ofSize);
    return place === 0 ? MISSED : this.hitSecond(ofSize, place, number) | 0;
  }

  /** A walk for a page that no TLB holds; `NOT_CACHED` or `GENERAL` where it is left to others (`LargeWalk.walk`). */
  walk(number: number, largeNumber: number): number {
    const { first, second, largeWalk, pieces } = this;
    if (first === null || (second === null && pieces === null)) return GENERAL;
    const ofSize = this.numberOf(largeNumber);
    const piece = number & this.pageMask;
    if (this.unflushed !== undefined) this.unflushed.beginWalk();
    const base = largeWalk.walk(ofSize, piece) | 0;
    if (base < 0) return base;
    const { unflushed } = this;
    if (unflushed?.mayFindOther()) this.walkedBesideOthers(number, largeNumber, base, unflushed);
    else {
      const filled = this.fillBoth(number, largeNumber, base);
      if (unflushed !== undefined) unflushed.refill(ofSize, filled);
    }
    return (base + piece) | 0;
  }

  /** What is done after a walk while an attribution watches and there are pages of other sizes. */
  private walkedBesideOthers(number: number, largeNumber: number, base: number, unflushed: UnflushedPath): void {
    const ofSize = this.numberOf(largeNumber);
    const isOther = unflushed.beforeFill(ofSize);
    const filled = this.fillBoth(number, largeNumber, base);
    if (isOther) unflushed.refillOther(filled);
    else unflushed.refill(ofSize, filled);
  }

  /** Puts what the last walk has found into both levels. Returns its place in the first. */
  private fillBoth(number: number, largeNumber: number, base: number): number {
    const { attributes } = this.largeWalk;
    const ofSize = this.numberOf(largeNumber);
    if (this.second !== null) this.second.insert(this.base, ofSize, base, attributes);
    else this.pieces?.insert(number, largeNumber, base, attributes);
    return this.fill(ofSize, base, attributes);
  }

  /** The number of the page of this size. */
  private numberOf(largeNumber: number): number {
    return this.isHuge ? largeNumber >>> SIZE_1G_SHIFT : largeNumber;
  }

  /** A hit of the first level at `place` that is known to be allowed. */
  touch(place: number, number: number): number {
    const frame = (this.words[((place << WORD_SHIFT) + WORD_FRAME) | 0] + (number & this.pageMask)) | 0;
    const { unflushed } = this;
    if (unflushed !== undefined) {
      if (!unflushed.isNoted(place)) return this.touchTold(place, frame, unflushed) | 0;
      unflushed.note(place);
    }
    return this.use(place, frame) | 0;
  }

  /** A hit of the first level that an attribution is told of at once. */
  private touchTold(place: number, frame: number, unflushed: UnflushedPath): number {
    unflushed.beforeHitFirst(place);
    return this.use(place, frame) | 0;
  }

  /** What a hit of the first level does. Returns `frame`. */
  private use(place: number, frame: number): number {
    (this.first as TreeTlb | IndexedTlb).use(this.base, place);
    this.cells[this.hitsCell]++;
    this.clocks[this.cpu] += this.accessCycles;
    return frame;
  }

  private hit(largeNumber: number, place: number, number: number): number {
    const { words } = this;
    const ofSize = this.numberOf(largeNumber);
    const at = ((place << WORD_SHIFT) + WORD_ATTRIBUTES) | 0;
    if ((words[at] & ~ATTRIBUTE_STORES) !== this.allowedAttributes && !this.allows(place)) return GENERAL;
    words[at] |= this.fillAttribute;
    words[(this.predictionsWord + (ofSize & LARGE_PREDICTIONS_MASK)) | 0] = place;
    return this.touch(place, number) | 0;
  }

  private hitSecond(ofSize: number, place: number, number: number): number {
    const { words, first, second } = this;
    if (first === null || second === null) return GENERAL;
    const attributes = words[((place << WORD_SHIFT) + WORD_ATTRIBUTES) | 0];
    if (attributes !== this.allowedAttributes) return this.hitOtherAttributes(ofSize, place, number) | 0;
    const base = words[((place << WORD_SHIFT) + WORD_FRAME) | 0];
    const frame = (base + (number & this.pageMask)) | 0;
    const { unflushed } = this;
    if (unflushed?.mayHitOther(place)) return this.hitSecondBesideOthers(ofSize, place, frame, unflushed) | 0;
    const filled = this.useSecond(ofSize, place);
    if (unflushed !== undefined) unflushed.hitSecond(ofSize, filled, place);
    return frame;
  }

  /** A hit of the second level while an attribution watches and there are pages of other sizes. Returns `frame`. */
  private hitSecondBesideOthers(ofSize: number, place: number, frame: number, unflushed: UnflushedPath): number {
    const isOther = unflushed.beforeFill(ofSize);
    const filled = this.useSecond(ofSize, place);
    if (isOther) unflushed.hitSecondOther(filled);
    else unflushed.hitSecond(ofSize, filled, place);
    return frame;
  }

  /** What a hit of the second level does. Returns the place that it fills in the first. */
  private useSecond(ofSize: number, place: number): number {
    (this.second as IndexedTlb).use(this.base, place);
    this.cells[this.secondLevelHitsCell]++;
    this.clocks[this.cpu] += this.secondLevelHitCycles;
    return this.fill(ofSize, this.words[((place << WORD_SHIFT) + WORD_FRAME) | 0], this.allowedAttributes);
  }

  /** A hit of the second level with other attributes than what was found allowed last: perhaps a piece of a larger page. */
  private hitOtherAttributes(ofSize: number, place: number, number: number): number {
    const { piecesHere } = this;
    const attributes = this.words[((place << WORD_SHIFT) + WORD_ATTRIBUTES) | 0];
    if (piecesHere !== null && (attributes & SIZE_OF_PAGE) !== (this.sizes & SIZE_OF_PAGE))
      return piecesHere.hit(number, ofSize, place) | 0;
    return this.allows(place) ? this.hitSecond(ofSize, place, number) | 0 : GENERAL;
  }

  /**
   * Puts the page, of which the second level holds a piece at `held`, into the first level.
   * @param base its first frame
   */
  fillFromPiece(number: number, largeNumber: number, base: number, attributes: number, held: number): void {
    this.request(number);
    const { unflushed } = this;
    const ofSize = this.numberOf(largeNumber);
    const isOther = unflushed?.beforeFill(ofSize);
    const filled = this.fill(ofSize, base, attributes);
    if (isOther === true) unflushed?.hitSecondOther(filled);
    else unflushed?.hitSecond(ofSize, filled, held);
  }

  /** Puts a translation into the first level, and predicts it. Returns its place. */
  private fill(ofSize: number, base: number, attributes: number): number {
    const place = (this.first as TreeTlb | IndexedTlb).insert(this.base, ofSize, base, attributes | this.fillAttribute);
    this.words[(this.predictionsWord + (ofSize & LARGE_PREDICTIONS_MASK)) | 0] = place;
    return place;
  }

  /** Whether the entry at `place` may be used: then its attributes are those allowed from now on. */
  private allows(place: number): boolean {
    const chunks = this.isHuge ? null : this.knownChunks;
    const attributes = this.permissions.largeAttributes(place, this.sizes, chunks);
    if (attributes === NO_ATTRIBUTES) return false;
    this.allowedAttributes = attributes;
    return true;
  }
}
