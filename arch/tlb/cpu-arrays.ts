/**
 * Where the numbers of one CPU lie: one block of memory that its TLBs, predictions and counters share, seen as 64-bit `cells`,
 * as 32-bit `words` and as `bytes`, so that code which works on several of them at once loads few arrays. Every slot of every
 * TLB and paging-structure cache has a place, the number of its 32-byte record; those of the first level come first.
 *
 *   cell    0      the record of place 0, where nothing is ever held; its link is written, but nobody reads it
 *           4      counters (perf-counters.ts)
 *           60     the address of the page that the short path is asked for
 *   word    128    rules of the paging mode, four a kind of access (paging-mode.ts)
 *           160    translations of large pages in all TLBs, plus SHORT_PATH_OFF while the short path is off
 *           192    the record of a PDE that a walk has found and that is not cached yet (found-pde.ts)
 *           256    predictions: 256 for loads, 256 for stores, 256 for fetches
 *           1024   the same, for loads and stores, of first-level TLBs that are not four ways under tree-PLRU
 *           2048   records, from place 256 on
 */
export const COUNTS_AT = 4;
export const ASKED_AT = 60;
export const RULES_AT = 128;
export const LARGE_AT = 160;
/** More than all TLBs have slots. */
export const SHORT_PATH_OFF = 1 << 24;
/** The number of the record at word 192. */
export const FOUND_PDE_PLACE = 24;
export const PREDICTIONS_AT = 256;
export const OTHER_PREDICTIONS_AT = 1024;
/** Predictions of one kind of access. */
export const PREDICTIONS = 256;
/** The first place, a multiple of 4 as the first of every structure is. */
const FIRST_PLACE = 256;

/** Cell of a record: the tag, NaN while the slot is empty. */
const CELL_TAG = 0;
/** log2 of the cells of a record. */
export const CELL_SHIFT = 2;

/** Words of a record: bits 31:0 of the number of the first 4 KiB frame of the page, or of the frame of the table. */
export const WORD_FRAME = 2;
/** Rights and attributes (`TR_*`), and from `ATTRIBUTE_*` on more. */
export const WORD_ATTRIBUTES = 3;
/** Index of the word with the set's replacement state; negative where replacement is a list. */
export const WORD_STATE = 4;
/** What a hit does to that state (replacement.ts). */
export const WORD_USE = 5;
/** The next place in the chain of those whose page numbers have the same low bits, 0 at its end. */
export const WORD_NEXT = 6;
/** The word that holds this place: the first of its chain, or `WORD_NEXT` of the place before it. */
export const WORD_LINK = 7;
/** log2 of the words of a record. */
export const WORD_SHIFT = 3;

/** Position of the PCID in the attributes, 0 for a global translation; and of the size of the entry. */
export const ATTRIBUTE_PCID_SHIFT = 16;
export const ATTRIBUTE_SIZE_SHIFT = 28;
/** Set once a page of 4 KiB is known to have a chunk of memory, which is that of a frame below 2^31. */
export const ATTRIBUTE_MEMORY = 1 << 30;
/** The sign: set while the translation in a first-level place is known to allow stores, if it is predicted for them. */
export const ATTRIBUTE_STORES = 1 << 31;

/** The arrays of one CPU, and what is taken of them. */
export class CpuArrays {
  readonly cells: Float64Array;
  readonly words: Int32Array;
  readonly bytes: Uint8Array;
  /** Bits 39:32 of the frame of each place. */
  readonly frameHigh: Uint8Array;
  private nextPlace = FIRST_PLACE;
  private nextWord: number;

  /**
   * @param structures how many structures take places
   * @param places slots of all structures together
   * @param words words that they take beside their records
   */
  constructor(structures: number, places: number, words: number) {
    const end = FIRST_PLACE + places + 3 * structures;
    this.nextWord = end << WORD_SHIFT;
    const buffer = new ArrayBuffer(4 * (this.nextWord + ((words + 1) & ~1)));
    this.cells = new Float64Array(buffer);
    this.words = new Int32Array(buffer);
    this.bytes = new Uint8Array(buffer);
    this.frameHigh = new Uint8Array(end);
    this.cells[CELL_TAG] = Number.NaN;
    for (let place = FIRST_PLACE; place < end; place++) this.cells[(place << CELL_SHIFT) + CELL_TAG] = Number.NaN;
  }

  /** Takes places for the slots of one structure; returns the first, a multiple of 4. */
  takePlaces(count: number): number {
    const first = this.nextPlace;
    this.nextPlace += (count + 3) & ~3;
    return first;
  }

  /** Takes `count` words; returns the index of the first. */
  takeWords(count: number): number {
    const first = this.nextWord;
    this.nextWord += (count + 3) & ~3;
    return first;
  }
}
