/**
 * Where the TLBs without flushes (arch/tlb/flush-attribution.ts) have the translations of pages of one size, for one kind of access, and
 * whether these are the ones that the real TLBs have. `real` is a place of the real TLBs, counted from the
 * first of the CPU's, `place` one of these.
 */

import type { PagingMode } from "../isa/paging-mode.ts";
import * as translation from "../isa/translation.ts";
import type { CpuArrays } from "../tlb/cpu-arrays.ts";
import * as layout from "../tlb/cpu-arrays.ts";
import type { FlushAttribution } from "../tlb/flush-attribution.ts";
import type { FlushNotes } from "../tlb/flush-notes.ts";
import type { Tlb } from "../tlb/tlb.ts";
import type { IndexedTlb } from "./indexed-tlb.ts";
import { indexedTlb, pathTlb } from "./path-tlbs.ts";
import type { TreeTlb } from "./tree-tlb.ts";

// The module's own constants, which V8 folds into the code (README.md, "Constants").
const { SIZE_2M, SIZE_4K, TR_GLOBAL, TR_MASK, TR_SIZE_SHIFT } = translation;
const { ATTRIBUTE_MEMORY, ATTRIBUTE_PCID_MASK, ATTRIBUTE_PCID_SHIFT, ATTRIBUTE_STORES, CELL_SHIFT } = layout;
const { REQUESTED_LARGE_CELL, REQUESTED_PAGE_CELL, WORD_ATTRIBUTES, WORD_FRAME, WORD_SHIFT } = layout;

/** The attribute of the page's size in the page tables: a piece of a larger page has another. */
const SIZE_OF_PAGE = 3 << TR_SIZE_SHIFT;
/** The first word of what these TLBs have of their arrays, which are theirs alone. */
const BASE = 0;
/** In place of a place: only the attribution itself can tell. */
const UNKNOWN = -1;

/** The entries of pages of one size. */
export class UnflushedEntries {
  /** The first level's TLB; the second level's, or none; the other one of the second level where the address chooses between two. */
  readonly first: TreeTlb | IndexedTlb;
  private readonly second: IndexedTlb | null;
  private readonly other: IndexedTlb | null;
  private readonly otherShift: number;
  /** Where the places of `first` and of `second` end. */
  private readonly firstEnd: number;
  private readonly secondEnd: number;
  private readonly kind: number;
  private readonly mode: PagingMode;
  protected readonly cells: Float64Array;
  protected readonly words: Int32Array;
  private readonly further: Int32Array;
  protected readonly realCells: Float64Array;
  /** Where the real ones are asked for pages. */
  protected readonly requested: Float64Array;
  private readonly realWords: Int32Array;
  private readonly requestCell: number;
  private readonly tlbs: readonly Tlb[];
  /** TLBs among them that hold a limited number of PCIDs. */
  private readonly limited: readonly Tlb[];
  /** Flushes that are noted (arch/tlb/flush-notes.ts), and both of a place as one; the side of this kind of access. */
  private readonly notes: FlushNotes;
  private readonly flushes: Uint32Array;
  protected readonly besides: Float64Array;
  private readonly side: number;

  /** @param home which of these TLBs holds pages of the size in pieces; null where none does */
  constructor(
    kind: number,
    size: number,
    attribution: FlushAttribution,
    mode: PagingMode,
    real: CpuArrays,
    home: Tlb | null,
  ) {
    const { arrays, unflushed, notes } = attribution;
    const ofKind = unflushed.tlbsByKind()[kind];
    const [first] = ofKind.first[size];
    const second = ofKind.second[size];
    const requestCell = size === SIZE_4K ? REQUESTED_PAGE_CELL : REQUESTED_LARGE_CELL + size - SIZE_2M;
    const isTwo = size === SIZE_4K && second.length > 1;
    this.kind = kind;
    this.mode = mode;
    this.cells = arrays.cells;
    this.words = arrays.words;
    this.further = arrays.further;
    this.realCells = real.ownCells;
    this.requested = real.cells;
    this.realWords = real.ownWords;
    this.requestCell = requestCell;
    this.first = pathTlb(first, arrays, requestCell);
    this.second = second.length > 0 ? indexedTlb(second[0], arrays, requestCell) : null;
    this.other = isTwo ? indexedTlb(second[1], arrays) : null;
    this.otherShift = isTwo ? second[0].markShift : 0;
    this.tlbs = home === null ? [first, ...second] : [first, home];
    this.firstEnd = first.firstPlace + first.slots;
    this.secondEnd = second.length > 0 ? second[0].firstPlace + second[0].slots : 0;
    this.limited = this.tlbs.slice(1).filter(({ isLimited }) => isLimited);
    this.notes = notes;
    this.flushes = notes.flushes;
    this.besides = notes.pairs;
    this.side = kind >> 1;
  }

  /** Whether a place of these is of the first level. */
  isInFirst(place: number): boolean {
    return place < this.firstEnd;
  }

  /** Whether a place of the second level, of either set of TLBs, is of the other one of two. */
  isInOther(place: number): boolean {
    return this.other !== null && place >= this.secondEnd;
  }

  /** Whether the page with a number goes into the other TLB of the second level. */
  goesIntoOther(number: number): boolean {
    return this.other !== null && ((number >>> this.otherShift) & 1) !== 0;
  }

  /** The number, modulo 2^32, of what the second level has of a page with a number. */
  numberInSecond(number: number): number {
    return number;
  }

  /** The first frame of the page of which the second level has at `place` all or what is asked for, and what attributes it has in the first. */
  pageFrame(place: number): number {
    return this.words[((place << WORD_SHIFT) + WORD_FRAME) | 0];
  }

  pageAttributes(place: number): number {
    return this.words[((place << WORD_SHIFT) + WORD_ATTRIBUTES) | 0];
  }

  /** The frame and the attributes that an entry at `place` has if it is the same as the real one. */
  protected frameLike(_place: number, real: number): number {
    return this.realWords[((real << WORD_SHIFT) + WORD_FRAME) | 0];
  }

  protected attributesLike(_place: number, real: number): number {
    return this.realWords[((real << WORD_SHIFT) + WORD_ATTRIBUTES) | 0] & ~ATTRIBUTE_STORES;
  }

  /** The place of the page that is at `real` in the first level; 0 where it is not. */
  findInFirst(number: number, real: number): number {
    this.cells[this.requestCell] = this.realCells[real << CELL_SHIFT];
    return this.first.find(BASE, number) | 0;
  }

  /** {@link findInFirst} in the second level; `UNKNOWN` where none holds the size. */
  findInSecond(number: number, real: number): number {
    const { second } = this;
    if (second === null) return UNKNOWN;
    this.cells[this.requestCell] = this.realCells[real << CELL_SHIFT];
    // A call for each, and not one for whichever it is: V8 then has all that belongs to it as constants.
    if (this.other !== null && this.goesIntoOther(number)) return this.other.find(BASE, number) | 0;
    return second.find(BASE, number) | 0;
  }

  /** Records a use of `place`, which is of the first level. */
  useInFirst(place: number): void {
    this.first.use(BASE, place);
  }

  /** Records a use of `place`, which is of the second level. */
  useInSecond(place: number): void {
    const { second, other } = this;
    if (other !== null && place >= this.secondEnd) other.use(BASE, place);
    else if (second !== null) second.use(BASE, place);
  }

  /** Puts a page, which is at `real`, with such attributes into the second level. */
  insertInSecond(number: number, real: number, frame: number, attributes: number): void {
    const { second, other } = this;
    this.cells[this.requestCell] = this.realCells[real << CELL_SHIFT];
    if (other !== null && this.goesIntoOther(number)) this.besides[other.insert(BASE, number, frame, attributes)] = 0;
    else if (second !== null) this.besides[second.insert(BASE, number, frame, attributes)] = 0;
  }

  /** {@link insertInSecond} for the first level. Returns the place. */
  insertInFirst(number: number, real: number, frame: number, attributes: number): number {
    this.cells[this.requestCell] = this.realCells[real << CELL_SHIFT];
    const place = this.first.insert(BASE, number, frame, attributes);
    this.besides[place] = 0;
    return place;
  }

  /** Whether the entry at `place` of the second level, which was the twin of `held`, still is, and no flush is noted there. */
  isTwin(place: number, held: number): boolean {
    const { words, realWords } = this;
    return (
      this.cells[place << CELL_SHIFT] === this.realCells[held << CELL_SHIFT] &&
      words[((place << WORD_SHIFT) + WORD_ATTRIBUTES) | 0] ===
        realWords[((held << WORD_SHIFT) + WORD_ATTRIBUTES) | 0] &&
      this.flushes[(2 * place + this.side) | 0] === 0
    );
  }

  /**
   * Whether the entry at `place`, found by its tag alone, is of the current PCID or global, and no piece of a larger page, and complete without
   * what lies in `further` (arch/tlb/cpu-arrays.ts). What has the attributes of the real one is.
   */
  isOfContext(place: number, real: number): boolean {
    const attributes = this.words[((place << WORD_SHIFT) + WORD_ATTRIBUTES) | 0];
    const wanted = this.attributesLike(place, real);
    if (attributes !== wanted) {
      if (((attributes ^ wanted) & SIZE_OF_PAGE) !== 0) return false;
      if (!this.isComplete(place, real)) return false;
      const pcid = (attributes >> ATTRIBUTE_PCID_SHIFT) & ATTRIBUTE_PCID_MASK;
      if ((attributes & TR_GLOBAL) === 0 && pcid !== this.mode.pcid) return false;
    }
    return (attributes & TR_GLOBAL) !== 0 || this.isPcidLast();
  }

  /** Whether the entry at `place` has the frame and the attributes of the real one. */
  isSame(place: number, real: number): boolean {
    const { words } = this;
    const record = place << WORD_SHIFT;
    return (
      words[(record + WORD_FRAME) | 0] === this.frameLike(place, real) &&
      this.isComplete(place, real) &&
      words[(record + WORD_ATTRIBUTES) | 0] === this.attributesLike(place, real)
    );
  }

  /** Whether the entry at `place` is known to be complete without what lies in `further`, as the real one is that has the same frame. */
  private isComplete(place: number, real: number): boolean {
    const { words } = this;
    const at = ((place << WORD_SHIFT) + WORD_ATTRIBUTES) | 0;
    if ((words[at] & ATTRIBUTE_MEMORY) !== 0) return true;
    const isSameFrame = words[((place << WORD_SHIFT) + WORD_FRAME) | 0] === this.frameLike(place, real);
    if (!isSameFrame || this.further[place] !== 0) return false;
    words[at] |= ATTRIBUTE_MEMORY;
    return true;
  }

  /** Whether the TLBs that hold a limited number of PCIDs have the current one as the one used last. */
  isPcidLast(): boolean {
    const { limited, mode } = this;
    for (let i = 0; i < limited.length; i++) if (limited[i].lastPcid !== mode.pcid) return false;
    return true;
  }

  /** Whether the translation at `real` may be put in as it is. */
  mayInsert(real: number): boolean {
    return (this.realWords[((real << WORD_SHIFT) + WORD_ATTRIBUTES) | 0] & TR_GLOBAL) !== 0 || this.isPcidLast();
  }

  /** The flush that is noted at a place, which has the translation that is at `real`; 0 for none. The note goes. */
  takeNote(place: number, real: number): number {
    return this.flushes[(2 * place + this.side) | 0] === 0 ? 0 : this.takeNoteOf(place, real);
  }

  private takeNoteOf(place: number, real: number): number {
    const tlb = this.tlbs.find(({ firstPlace, slots }) => place < firstPlace + slots) as Tlb;
    const flags = this.realWords[(real << WORD_SHIFT) | WORD_ATTRIBUTES] & TR_MASK;
    return this.notes.take(this.kind, tlb, place - tlb.firstPlace, flags);
  }
}
