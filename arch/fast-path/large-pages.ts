/**
 * Pages of 2 MiB, or of 1 GiB, for one kind of access: hits of both levels, and walks that start at the cached entry above the one
 * that maps the page. The TLBs' code is that of small pages (tree-tlb.ts, indexed-tlb.ts), with numbers of larger pages and a request
 * cell of their own, which `request` fills.
 *
 * Pages that a TLB holds in pieces are left to the general path.
 */

import * as translation from "../isa/translation.ts";
import * as layout from "../tlb/cpu-arrays.ts";
import type { AccessPathParts } from "./access-path-parts.ts";
import { IndexedTlb } from "./indexed-tlb.ts";
import type { KnownChunks } from "./known-chunks.ts";
import { type LargeAccess, LargeWalk } from "./large-walk.ts";
import type { Permissions } from "./permissions.ts";
import * as results from "./results.ts";
import { TreeTlb } from "./tree-tlb.ts";
import type { UnflushedLarge } from "./unflushed-large.ts";

// The module's own constants, which V8 folds into the code (README.md, "Constants").
const { SIZE_1G, SIZE_2M, SIZE_BYTES, TAG_SIZE_STEP, TR_GLOBAL, TR_MASK, TR_SIZE_SHIFT } = translation;
const { ATTRIBUTE_MEMORY, ATTRIBUTE_PCID_MASK, ATTRIBUTE_PCID_SHIFT, ATTRIBUTE_SIZE_SHIFT, ATTRIBUTE_STORES } = layout;
const { CELL_SHIFT, LARGE_PREDICTIONS_MASK, LARGE_PREDICTIONS_SHIFT, LARGE_PREDICTIONS_WORD } = layout;
const { REQUESTED_LARGE_CELL, REQUESTED_PAGE_CELL, WORD_ATTRIBUTES, WORD_FRAME, WORD_SHIFT } = layout;
const { GENERAL, MISSED } = results;
const KIND_STORE = 1;
/** The attributes of size: that of the entry, and that of the page in the page tables. */
const SIZES = (3 << ATTRIBUTE_SIZE_SHIFT) | (3 << TR_SIZE_SHIFT);
/** log2 of the bytes of a small page. */
const PAGE_SHIFT = 12;
/** Bits of the number of a page of 2 MiB that say which part of its page of 1 GiB it is. */
const SIZE_1G_SHIFT = 9;
/** In place of attributes that are known to allow the access: no entry has them. */
const NO_ATTRIBUTES = -1;

/** The path of one size of page. */
export class LargePages {
  private readonly first: TreeTlb | IndexedTlb | null;
  private readonly second: IndexedTlb | null;
  /** Words of the numbers of entries of this size in them. */
  private readonly firstCount: number;
  private readonly secondCount: number;
  private readonly requestCell: number;
  private readonly permissions: Permissions;
  private readonly largeWalk: LargeWalk;
  private readonly cells: Float64Array;
  private readonly words: Int32Array;
  private readonly further: Int32Array;
  private readonly clock: Float64Array;
  private readonly knownChunks: KnownChunks;
  /** Whether a page lies in more than one chunk of memory. */
  private readonly hasManyChunks: boolean;
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
  declare unflushed?: UnflushedLarge;

  constructor(access: LargeAccess, parts: AccessPathParts) {
    const { kind, size, first, second } = access;
    const { arrays, clock, preset } = parts;
    this.requestCell = REQUESTED_LARGE_CELL + size - SIZE_2M;
    this.first =
      first === null ? null : new (first.replacement.isTree ? TreeTlb : IndexedTlb)(first, arrays, this.requestCell);
    this.second = second === null ? null : new IndexedTlb(second, arrays, this.requestCell);
    this.firstCount = (first?.sizeAt ?? 0) + size;
    this.secondCount = (second?.sizeAt ?? 0) + size;
    this.permissions = access.permissions;
    this.largeWalk = new LargeWalk(access, parts);
    this.cells = arrays.cells;
    this.words = arrays.words;
    this.further = arrays.further;
    this.clock = clock;
    this.knownChunks = access.knownChunks;
    this.hasManyChunks = size === SIZE_1G;
    this.isStore = kind === KIND_STORE;
    this.sizes = (size << ATTRIBUTE_SIZE_SHIFT) | (size << TR_SIZE_SHIFT);
    this.pageMask = SIZE_BYTES[size] / 4096 - 1;
    this.tagStep = size * TAG_SIZE_STEP;
    this.predictionsWord = LARGE_PREDICTIONS_WORD + (kind << LARGE_PREDICTIONS_SHIFT);
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
    this.unflushed?.forget();
  }

  /**
   * Translates the page in `REQUESTED_PAGE_CELL` if a hit of this size is predicted; less than 0 if not, or if it is left to others.
   * @param number bits 19:0 of the number of the 4 KiB page, and `largeNumber` that of its 2 MiB; so below
   */
  translatePredicted(number: number, largeNumber: number): number {
    const { words, cells } = this;
    if (words[this.firstCount] === 0) return MISSED;
    const tag = cells[REQUESTED_PAGE_CELL] - ((number & this.pageMask) << PAGE_SHIFT) + this.tagStep;
    const place = words[(this.predictionsWord + (this.numberOf(largeNumber) & LARGE_PREDICTIONS_MASK)) | 0];
    cells[this.requestCell] = tag;
    if (cells[place << CELL_SHIFT] !== tag) return MISSED;
    if (this.isStore && words[((place << WORD_SHIFT) + WORD_ATTRIBUTES) | 0] >= 0) return MISSED;
    return this.touch(this.numberOf(largeNumber), place, number) | 0;
  }

  /** Whether any TLB holds pages of this size. */
  get isHeld(): boolean {
    return (this.words[this.firstCount] | this.words[this.secondCount]) !== 0;
  }

  /**
   * Asks for the page of this size that the page in `REQUESTED_PAGE_CELL` would be part of: what is below needs its tag, which
   * {@link translatePredicted} has left if the first level holds pages of the size.
   */
  request(number: number): void {
    const { cells } = this;
    if (this.words[this.firstCount] !== 0) return;
    cells[this.requestCell] = cells[REQUESTED_PAGE_CELL] - ((number & this.pageMask) << PAGE_SHIFT) + this.tagStep;
  }

  /**
   * Translates the page that is asked for, and that is not predicted, if the first level holds it. Returns the frame of the 4 KiB
   * page; `MISSED` where it does not; `GENERAL` where the access is left to the general path.
   */
  translateInFirst(number: number, largeNumber: number): number {
    const { words, first } = this;
    if (first === null || words[this.firstCount] === 0) return MISSED;
    const ofSize = this.numberOf(largeNumber);
    const place = first.find(ofSize);
    return place === 0 ? MISSED : this.hit(ofSize, place, number) | 0;
  }

  /** {@link translateInFirst} for the second level. */
  translateInSecond(number: number, largeNumber: number): number {
    const { words, second } = this;
    if (second === null || words[this.secondCount] === 0) return MISSED;
    const ofSize = this.numberOf(largeNumber);
    const place = second.find(ofSize);
    return place === 0 ? MISSED : this.hitSecond(ofSize, place, number) | 0;
  }

  /** A walk for a page that no TLB holds; `NOT_CACHED` or `GENERAL` where it is left to others (`LargeWalk.walk`). */
  walk(number: number, largeNumber: number): number {
    const { first, second, largeWalk } = this;
    if (first === null || second === null) return GENERAL;
    const ofSize = this.numberOf(largeNumber);
    const piece = number & this.pageMask;
    if (this.unflushed !== undefined) this.unflushed.beginWalk();
    const base = largeWalk.walk(ofSize, piece) | 0;
    if (base < 0) return base;
    second.insert(ofSize, base, largeWalk.attributes);
    const filled = this.fill(ofSize, base, largeWalk.attributes);
    if (this.unflushed !== undefined) this.unflushed.refill(number, ofSize, filled);
    return (base + piece) | 0;
  }

  /** The number of the page of this size. */
  private numberOf(largeNumber: number): number {
    return this.hasManyChunks ? largeNumber >>> SIZE_1G_SHIFT : largeNumber;
  }

  /** A hit of the first level that is known to be allowed. */
  private touch(ofSize: number, place: number, number: number): number {
    const frame = (this.words[((place << WORD_SHIFT) + WORD_FRAME) | 0] + (number & this.pageMask)) | 0;
    if (this.hasManyChunks && !this.knownChunks.have(frame)) return GENERAL;
    (this.first as TreeTlb | IndexedTlb).use(place);
    this.cells[this.hitsCell]++;
    this.clock[0] += this.accessCycles;
    if (this.unflushed !== undefined) this.unflushed.hitFirst(number, ofSize, place);
    return frame;
  }

  private hit(ofSize: number, place: number, number: number): number {
    const { words } = this;
    const at = ((place << WORD_SHIFT) + WORD_ATTRIBUTES) | 0;
    if ((words[at] & ~ATTRIBUTE_STORES) !== this.allowedAttributes && !this.allows(place)) return GENERAL;
    words[at] |= this.fillAttribute;
    words[(this.predictionsWord + (ofSize & LARGE_PREDICTIONS_MASK)) | 0] = place;
    return this.touch(ofSize, place, number) | 0;
  }

  private hitSecond(ofSize: number, place: number, number: number): number {
    const { words, first, second } = this;
    if (first === null || second === null) return GENERAL;
    const attributes = words[((place << WORD_SHIFT) + WORD_ATTRIBUTES) | 0];
    if (attributes !== this.allowedAttributes && !this.allows(place)) return GENERAL;
    const base = words[((place << WORD_SHIFT) + WORD_FRAME) | 0];
    const frame = (base + (number & this.pageMask)) | 0;
    if (this.hasManyChunks && !this.knownChunks.have(frame)) return GENERAL;
    second.use(place);
    this.cells[this.secondLevelHitsCell]++;
    this.clock[0] += this.secondLevelHitCycles;
    const filled = this.fill(ofSize, base, this.allowedAttributes);
    if (this.unflushed !== undefined) this.unflushed.hitSecond(number, ofSize, filled, place);
    return frame;
  }

  /** Puts a translation into the first level, and predicts it. Returns its place. */
  private fill(ofSize: number, base: number, attributes: number): number {
    const place = (this.first as TreeTlb | IndexedTlb).insert(ofSize, base, attributes | this.fillAttribute);
    this.words[(this.predictionsWord + (ofSize & LARGE_PREDICTIONS_MASK)) | 0] = place;
    return place;
  }

  /** Whether the entry at `place` may be used: then its attributes are those allowed from now on. */
  private allows(place: number): boolean {
    const { words, permissions } = this;
    const at = (place << WORD_SHIFT) | WORD_ATTRIBUTES;
    const attributes = words[at] & ~ATTRIBUTE_STORES;
    if ((attributes & SIZES) !== this.sizes) return false;
    const pcid = (attributes >> ATTRIBUTE_PCID_SHIFT) & ATTRIBUTE_PCID_MASK;
    if ((attributes & TR_GLOBAL) === 0 && pcid !== permissions.pcid) return false;
    if (!permissions.rulesAllow(attributes & TR_MASK)) return false;
    if ((attributes & ATTRIBUTE_MEMORY) === 0) {
      const frame = words[(place << WORD_SHIFT) | WORD_FRAME];
      if (this.further[place] !== 0 || frame < 0) return false;
      if (!this.hasManyChunks && !this.knownChunks.have(frame)) return false;
      words[at] |= ATTRIBUTE_MEMORY;
    }
    this.allowedAttributes = attributes | ATTRIBUTE_MEMORY;
    return true;
  }
}
