/**
 * Pages of 1 GiB of which the second level holds pieces of 2 MiB, as it has no room for the pages (Zen 2, Zen 5), and the first level the
 * pages: what large-pages.ts does where both hold pages. Only the piece that was accessed is put in; a hit of one fills the first level with the page.
 */

import * as translation from "../isa/translation.ts";
import * as layout from "../tlb/cpu-arrays.ts";
import type { Tlb } from "../tlb/tlb.ts";
import type { AccessPathParts } from "./access-path-parts.ts";
import { IndexedTlb } from "./indexed-tlb.ts";
import type { LargeAccess } from "./large-walk.ts";
import type { Permissions } from "./permissions.ts";
import * as results from "./results.ts";

// The module's own constants, which V8 folds into the code (README.md, "Constants").
const { SIZE_1G, SIZE_2M, TR_SIZE_SHIFT } = translation;
const { ATTRIBUTE_SIZE_SHIFT, REQUESTED_LARGE_CELL, WORD_ATTRIBUTES, WORD_FRAME, WORD_SHIFT } = layout;
const { GENERAL, NO_ATTRIBUTES } = results;
/** The attributes of an entry's size; those of a piece, and of a page. */
const ENTRY_SIZE = 3 << ATTRIBUTE_SIZE_SHIFT;
const OF_PIECE = SIZE_2M << ATTRIBUTE_SIZE_SHIFT;
const OF_PAGE = SIZE_1G << ATTRIBUTE_SIZE_SHIFT;
/** Bits of the number of a 4 KiB page that say where in its piece it is, and which piece of its page that is. */
const IN_PIECE = 0x1ff;
const PIECE_IN_PAGE = 0x3fe00;

/** The path of the pages. */
export interface PathOfPages {
  /** Puts the page, of which the second level holds a piece at `held`, into the first level. */
  fillFromPiece(number: number, largeNumber: number, base: number, attributes: number, held: number): void;
}

/** The pieces that one kind of access finds. Each method's `number` is bits 19:0 of the number of a 4 KiB page, `largeNumber` the number of its piece. */
export class PagePieces {
  private readonly pages: PathOfPages;
  private readonly tlb: Tlb;
  private readonly second: IndexedTlb;
  private readonly permissions: Permissions;
  private readonly cells: Float64Array;
  private readonly words: Int32Array;
  private readonly clock: Float64Array;
  private readonly secondLevelHitsCell: number;
  private readonly secondLevelHitCycles: number;
  /** Attributes of the piece that was found allowed last. */
  private allowedAttributes = NO_ATTRIBUTES;

  /** @param tlb that of the second level which holds the pieces */
  constructor(access: LargeAccess, tlb: Tlb, pages: PathOfPages, { arrays, clock, preset }: AccessPathParts) {
    this.pages = pages;
    this.tlb = tlb;
    this.second = new IndexedTlb(tlb, arrays, REQUESTED_LARGE_CELL);
    this.permissions = access.permissions;
    this.cells = arrays.cells;
    this.words = arrays.words;
    this.clock = clock;
    this.secondLevelHitsCell = access.secondLevelHitsCell;
    this.secondLevelHitCycles = access.accessCycles + preset.costs.secondLevelHit.value;
  }

  /** Begins another context (`FastPath.contextChanged`). */
  forget(): void {
    this.allowedAttributes = NO_ATTRIBUTES;
  }

  /** A hit of the second level at `place`. Returns the frame of the 4 KiB page; `GENERAL` where no piece is there that may be used. */
  hit(number: number, largeNumber: number, place: number): number {
    const { words, cells } = this;
    const record = place << WORD_SHIFT;
    const attributes = words[(record + WORD_ATTRIBUTES) | 0];
    if (attributes !== this.allowedAttributes && !this.allows(place)) return GENERAL;
    const first = words[(record + WORD_FRAME) | 0];
    this.second.use(place);
    cells[this.secondLevelHitsCell]++;
    this.clock[0] += this.secondLevelHitCycles;
    const ofPage = (this.allowedAttributes & ~ENTRY_SIZE) | OF_PAGE;
    this.pages.fillFromPiece(number, largeNumber, (first - (number & PIECE_IN_PAGE)) | 0, ofPage, place);
    return (first + (number & IN_PIECE)) | 0;
  }

  /**
   * Puts the piece that is asked for, in the cell of pages of 2 MiB, into the second level.
   * @param base the page's first frame
   * @param attributes of the page
   */
  insert(number: number, largeNumber: number, base: number, attributes: number): void {
    const first = (base + (number & PIECE_IN_PAGE)) | 0;
    this.second.insert(largeNumber, first, (attributes & ~ENTRY_SIZE) | OF_PIECE);
    this.tlb.mayHoldPieces = true;
  }

  private allows(place: number): boolean {
    const sizes = OF_PIECE | (SIZE_1G << TR_SIZE_SHIFT);
    const attributes = this.permissions.largeAttributes(place, sizes, null);
    if (attributes === NO_ATTRIBUTES) return false;
    this.allowedAttributes = attributes;
    return true;
  }
}
