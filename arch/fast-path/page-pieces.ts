/**
 * Larger pages of which the second level holds smaller pieces, as it has no room for the pages, and the first level the pages: 2 MiB of 1 GiB
 * (Haswell, Zen 2, Zen 5), 4 KiB of both (Ivy Bridge). What large-pages.ts does where both hold pages. Only the piece that was accessed
 * is put in; a hit of one fills the first level with the page.
 */

import * as translation from "../isa/translation.ts";
import * as layout from "../tlb/cpu-arrays.ts";
import type { Tlb } from "../tlb/tlb.ts";
import type { AccessPathParts } from "./access-path-parts.ts";
import type { IndexedTlb } from "./indexed-tlb.ts";
import type { LargeAccess, PiecesHome } from "./large-walk.ts";
import { indexedTlb } from "./path-tlbs.ts";
import type { Permissions } from "./permissions.ts";
import * as results from "./results.ts";

// The module's own constants, which V8 folds into the code (README.md, "Constants").
const { SIZE_2M, SIZE_4K, SIZE_BYTES, TR_SIZE_SHIFT } = translation;
const { ATTRIBUTE_SIZE_SHIFT, REQUESTED_LARGE_CELL, REQUESTED_PAGE_CELL } = layout;
const { WORD_ATTRIBUTES, WORD_FRAME, WORD_SHIFT } = layout;
const { GENERAL, NO_ATTRIBUTES } = results;
/** The attribute that is an entry's size. */
const ENTRY_SIZE = 3 << ATTRIBUTE_SIZE_SHIFT;

/** The path of the pages. */
export interface PathOfPages {
  /** Puts the page, of which the second level holds a piece at `held`, into the first level. */
  fillFromPiece(number: number, largeNumber: number, base: number, attributes: number, held: number): void;
}

/** The pieces that one kind of access finds. Each method's `number` is bits 19:0 of the number of a 4 KiB page, `largeNumber` that of its 2 MiB. */
export class PagePieces {
  private readonly pages: PathOfPages;
  private readonly tlb: Tlb;
  private readonly second: IndexedTlb;
  /** Whether pieces are of 4 KiB. */
  readonly isSmall: boolean;
  /** The attribute of the size of pieces, and of pages; both attributes of size of a piece. */
  private readonly ofPiece: number;
  private readonly ofPage: number;
  private readonly sizes: number;
  /** Bits of the number of a 4 KiB page that say where in its piece it is, and which piece of its page that is. */
  private readonly inPiece: number;
  private readonly pieceInPage: number;
  private readonly permissions: Permissions;
  /** The first word of what the CPU has of the arrays. */
  private readonly base: number;
  private readonly cells: Float64Array;
  private readonly words: Int32Array;
  private readonly clocks: Float64Array;
  private readonly cpu: number;
  private readonly secondLevelHitsCell: number;
  private readonly secondLevelHitCycles: number;
  /** Attributes of the piece that was found allowed last. */
  private allowedAttributes = NO_ATTRIBUTES;

  constructor(
    access: LargeAccess,
    home: PiecesHome,
    pages: PathOfPages,
    { arrays, clocks, cpu, preset }: AccessPathParts,
  ) {
    const { tlb, size } = home;
    this.pages = pages;
    this.tlb = tlb;
    this.isSmall = size === SIZE_4K;
    this.second = indexedTlb(tlb, arrays, this.isSmall ? REQUESTED_PAGE_CELL : REQUESTED_LARGE_CELL + size - SIZE_2M);
    this.ofPiece = size << ATTRIBUTE_SIZE_SHIFT;
    this.ofPage = access.size << ATTRIBUTE_SIZE_SHIFT;
    this.sizes = this.ofPiece | (access.size << TR_SIZE_SHIFT);
    this.inPiece = SIZE_BYTES[size] / SIZE_BYTES[SIZE_4K] - 1;
    this.pieceInPage = (SIZE_BYTES[access.size] / SIZE_BYTES[SIZE_4K] - 1) & ~this.inPiece;
    this.permissions = access.permissions;
    this.cells = arrays.cells;
    this.words = arrays.words;
    this.base = arrays.firstWord;
    this.clocks = clocks;
    this.cpu = cpu;
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
    this.second.use(this.base, place);
    cells[this.secondLevelHitsCell]++;
    this.clocks[this.cpu] += this.secondLevelHitCycles;
    const ofPage = (this.allowedAttributes & ~ENTRY_SIZE) | this.ofPage;
    this.pages.fillFromPiece(number, largeNumber, (first - (number & this.pieceInPage)) | 0, ofPage, place);
    return (first + (number & this.inPiece)) | 0;
  }

  /**
   * Puts the piece that is asked for, in the cell of pages of its size, into the second level.
   * @param base the page's first frame
   * @param attributes of the page
   */
  insert(number: number, largeNumber: number, base: number, attributes: number): void {
    const first = (base + (number & this.pieceInPage)) | 0;
    this.second.insert(
      this.base,
      this.isSmall ? number : largeNumber,
      first,
      (attributes & ~ENTRY_SIZE) | this.ofPiece,
    );
    this.tlb.mayHoldPieces = true;
  }

  private allows(place: number): boolean {
    const attributes = this.permissions.largeAttributes(place, this.sizes, null);
    if (attributes === NO_ATTRIBUTES) return false;
    this.allowedAttributes = attributes;
    return true;
  }
}

/** The only TLB of the second level with the largest pieces of a page; null where it holds pages, the address chooses one of several, or there is none. */
export function homeOfPieces(size: number, second: readonly (readonly Tlb[])[]): PiecesHome | null {
  if (second[size].length > 0) return null;
  for (let piece = size - 1; piece >= SIZE_4K; piece--) {
    const homes = second[piece];
    if (homes.length > 0) return homes.length === 1 ? { tlb: homes[0], size: piece } : null;
  }
  return null;
}
