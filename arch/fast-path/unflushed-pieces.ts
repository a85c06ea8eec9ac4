/**
 * unflushed-entries.ts for larger pages of which second levels hold pieces (page-pieces.ts): `place` of the second level is that of the piece
 * that is asked for.
 */

import type { PagingMode } from "../isa/paging-mode.ts";
import * as translation from "../isa/translation.ts";
import type { CpuArrays } from "../tlb/cpu-arrays.ts";
import * as layout from "../tlb/cpu-arrays.ts";
import type { FlushAttribution } from "../tlb/flush-attribution.ts";
import type { Tlb } from "../tlb/tlb.ts";
import type { IndexedTlb } from "./indexed-tlb.ts";
import type { PiecesHome } from "./large-walk.ts";
import { indexedTlb } from "./path-tlbs.ts";
import { UnflushedEntries } from "./unflushed-entries.ts";

// The module's own constants, which V8 folds into the code (README.md, "Constants").
const { SIZE_2M, SIZE_4K, SIZE_BYTES, TAG_SIZE_STEP } = translation;
const { ATTRIBUTE_SIZE_SHIFT, REQUESTED_LARGE_CELL, REQUESTED_PAGE_CELL, WORD_ATTRIBUTES, WORD_SHIFT } = layout;
/** The first word of what the TLBs without flushes have of their arrays, which are theirs alone. */
const BASE = 0;
/** The attribute that is an entry's size. */
const ENTRY_SIZE = 3 << ATTRIBUTE_SIZE_SHIFT;
/** Bits of the numbers of 4 KiB pages that the fast path is given. */
const SMALL_NUMBER_MASK = 2 ** 20 - 1;
const SMALL_BYTES = 4096;

/** The entries of pages of one size, whole in the first level and in pieces in the second. */
export class UnflushedPieces extends UnflushedEntries {
  private readonly tlb: Tlb;
  private readonly pieces: IndexedTlb;
  private readonly pieceCell: number;
  private readonly isSmall: boolean;
  private readonly tagStep: number;
  private readonly ofPiece: number;
  private readonly ofPage: number;
  /** Bits of the number of a 4 KiB page that say where in its piece it is, and which piece of its page that is. */
  private readonly inPiece: number;
  private readonly pieceInPage: number;

  /** @param home which of the TLBs without flushes holds the pieces */
  constructor(
    kind: number,
    size: number,
    home: PiecesHome,
    attribution: FlushAttribution,
    mode: PagingMode,
    real: CpuArrays,
  ) {
    super(kind, size, attribution, mode, real, home.tlb);
    this.tlb = home.tlb;
    this.isSmall = home.size === SIZE_4K;
    this.pieceCell = this.isSmall ? REQUESTED_PAGE_CELL : REQUESTED_LARGE_CELL + home.size - SIZE_2M;
    this.pieces = indexedTlb(home.tlb, attribution.arrays, this.pieceCell);
    this.tagStep = home.size * TAG_SIZE_STEP;
    this.ofPiece = home.size << ATTRIBUTE_SIZE_SHIFT;
    this.ofPage = size << ATTRIBUTE_SIZE_SHIFT;
    this.inPiece = SIZE_BYTES[home.size] / SMALL_BYTES - 1;
    this.pieceInPage = (SIZE_BYTES[size] / SMALL_BYTES - 1) & ~this.inPiece;
  }

  override numberInSecond(): number {
    const number = this.smallNumber();
    return this.isSmall ? number & SMALL_NUMBER_MASK : (this.requested[REQUESTED_PAGE_CELL] / SIZE_BYTES[SIZE_2M]) | 0;
  }

  override findInSecond(): number {
    this.request();
    return this.pieces.find(BASE, this.numberInSecond()) | 0;
  }

  override useInSecond(place: number): void {
    this.pieces.use(BASE, place);
  }

  override insertInSecond(_number: number, _real: number, frame: number, attributes: number): void {
    this.request();
    const first = (frame + (this.smallNumber() & this.pieceInPage)) | 0;
    const ofPiece = (attributes & ~ENTRY_SIZE) | this.ofPiece;
    this.besides[this.pieces.insert(BASE, this.numberInSecond(), first, ofPiece)] = 0;
    this.tlb.mayHoldPieces = true;
  }

  override pageFrame(place: number): number {
    return (super.pageFrame(place) - (this.smallNumber() & this.pieceInPage)) | 0;
  }

  override pageAttributes(place: number): number {
    return (this.words[((place << WORD_SHIFT) + WORD_ATTRIBUTES) | 0] & ~ENTRY_SIZE) | this.ofPage;
  }

  protected override frameLike(place: number, real: number): number {
    const frame = super.frameLike(place, real);
    return this.isInFirst(place) ? frame : (frame + (this.smallNumber() & this.pieceInPage)) | 0;
  }

  protected override attributesLike(place: number, real: number): number {
    const attributes = super.attributesLike(place, real);
    return this.isInFirst(place) ? attributes : (attributes & ~ENTRY_SIZE) | this.ofPiece;
  }

  /** Asks for the piece of the 4 KiB page that the access asks for. */
  private request(): void {
    const page = this.requested[REQUESTED_PAGE_CELL];
    this.cells[this.pieceCell] = page - (this.smallNumber() & this.inPiece) * SMALL_BYTES + this.tagStep;
  }

  /** The low bits of that page's number. */
  private smallNumber(): number {
    return (this.requested[REQUESTED_PAGE_CELL] / SMALL_BYTES) | 0;
  }
}
