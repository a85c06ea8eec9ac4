/**
 * Where the numbers of one CPU lie: the only place that knows this layout.
 *
 * The TLBs, paging-structure caches, predictions and counters of a CPU share one block of memory, so that code which works on
 * several of them loads one array and not five. The block is seen as 64-bit `cells`, as 32-bit `words` and as `bytes`. CPUs of large machines have
 * parts of common arrays, so that the objects that tell of these are in the host's caches; indices and places are those of the arrays. Each
 * slot of each structure has a record of 32 bytes; the number of the record is called its place. First-level TLBs come first.
 *
 *   cell    0      record 0: where no entry is ever held. Ends of chains and empty predictions name it. That of the first CPU is all CPUs'
 *           4      the page that the fast path is asked for, and the tags of the larger pages that it may be part of; likewise
 *   word    14     number of translations of large pages in all TLBs, plus FAST_PATH_OFF while the fast path is off, plus ACCESSES_WATCHED
 *   cell    8      counters (perf-counters.ts)
 *   word    128    rules of the paging mode, four words for each kind of access (paging-mode.ts)
 *           176    reserved bits of entries, 16 words (paging-mode.ts)
 *           192    numbers of entries of each structure, by size: four words a structure
 *           256    predictions of hits: 256 for loads, 256 for stores, 256 for fetches
 *           1024   predictions of hits of larger pages: 64 for loads, 64 for stores, 64 for fetches
 *           1216   records, from place 152 on
 *
 * Behind the records are the words that the structures take. What is looked at together lies side by side, as with many CPUs the host's caches have none of
 * it: what is asked for at each access in the first 64 bytes, what belongs to a set in a row (`SET_*`; trees: replacement-state.ts).
 *
 * Names end with what they count: `_CELL` and `_WORD` are indices into those arrays, `CELL_` and `WORD_` are offsets in a
 * record. Code on the fast path takes these constants as arch/fast-path/README.md says ("Constants").
 */

/** Cell of the counter number 0. */
export const COUNTERS_CELL = 8;
/** Cell with the first linear address of the 4 KiB page that the fast path is asked to translate. */
export const REQUESTED_PAGE_CELL = 4;
/** Cell with the tag of the 2 MiB page that this page would be part of, while the fast path looks for it; the next is for 1 GiB. */
export const REQUESTED_LARGE_CELL = 5;
/** Word of the rules for access kind 0. */
export const RULES_WORD = 128;
/** Word of the reserved bits of entries. */
export const RESERVED_BITS_WORD = 176;
/** Word with the number of translations of 2 MiB and 1 GiB pages in all TLBs. */
export const LARGE_TRANSLATIONS_WORD = 14;
/** What that word is increased by while a flush attribution watches: more than all TLBs together have slots. */
export const ACCESSES_WATCHED = 1 << 23;
/** What that word is increased by to keep all accesses off the fast path. */
export const FAST_PATH_OFF = 1 << 24;

/** Word of the numbers of entries of the first structure, by size, and of how many structures there is room for. */
const SIZES_WORD = 192;
const SIZES_MAX = 16;
/** Sizes of entries that are counted (`SIZE_*`). */
export const SIZES = 4;

/** log2 of the words of the row of a set. */
export const SET_SHIFT = 2;
/** Word of the row of a set: its replacement state, where that is a table's (replacement-state.ts). A tree is in the first three words. */
export const SET_STATE = 0;
/**
 * Word of the row of a set: the number of its entries, and from bit `HELD_EMPTY_SHIFT` on a way below which none is empty, so that sets of up to 96 ways are
 * not searched from their beginning; 0 there once the set is full.
 */
export const SET_HELD = 3;
/** The bits of the number of entries. */
export const HELD_COUNT_MASK = 0xff;
/** Position of that way. */
export const HELD_EMPTY_SHIFT = 8;

/** log2 of the number of predictions for one kind of access. */
export const PREDICTIONS_SHIFT = 8;
/** The bits of a page number that choose a prediction. */
export const PREDICTIONS_MASK = (1 << PREDICTIONS_SHIFT) - 1;
/** Word of the first prediction for loads; those for stores and for instruction fetches follow. */
export const LOAD_PREDICTIONS_WORD = 256;
/** log2 of the number of predictions of larger pages for one kind of access. */
export const LARGE_PREDICTIONS_SHIFT = 6;
/** The bits of the number of a larger page that choose a prediction. */
export const LARGE_PREDICTIONS_MASK = (1 << LARGE_PREDICTIONS_SHIFT) - 1;
/** Word of the first prediction of larger pages for loads; those for stores and for instruction fetches follow. */
export const LARGE_PREDICTIONS_WORD = 1024;

/** Page tables that walks remember (arch/fast-path/known-tables.ts), a power of two. */
export const KNOWN_TABLES = 256;
/** Words of each: the place of the PDE that names it, and its frame. */
export const KNOWN_TABLE_WORDS = 2;

/** The first place, a multiple of 4 as the first place of every structure is. */
const FIRST_PLACE = 152;

/** Cell of a record: the tag, NaN while the slot is empty. */
const CELL_TAG = 0;
/** log2 of the cells of a record. */
export const CELL_SHIFT = 2;
/** Cells of a record. */
export const RECORD_CELLS = 1 << CELL_SHIFT;

/** Word of a record: bits 31:0 of the number of the first 4 KiB frame of the page, or of the frame of the table. */
export const WORD_FRAME = 2;
/** Word of a record: rights and attributes (`TR_*`), and the `ATTRIBUTE_*` bits above them. */
export const WORD_ATTRIBUTES = 3;
/** Word of a record: index of the word with the set's replacement state, or where the log of its uses ends; -1 for a tree. */
export const WORD_STATE = 4;
/** Word of a record: what a hit does to that state (arch/presets/replacement/policy.ts), or where the log mentions the place. */
export const WORD_USE = 5;
/** Word of a record: the next place in the chain of those whose page numbers have the same low bits; 0 at its end. */
export const WORD_NEXT = 6;
/** Word of a record: index of the word that names this place: the head of its chain, or `WORD_NEXT` of the place before it. */
export const WORD_LINK = 7;
/** log2 of the words of a record. */
export const WORD_SHIFT = 3;
const RECORD_WORDS = 1 << WORD_SHIFT;

/** Position of the PCID in the attributes; the PCID of a global translation is 0 there. */
export const ATTRIBUTE_PCID_SHIFT = 16;
/** The PCID, once shifted down. */
export const ATTRIBUTE_PCID_MASK = 0xfff;
/** Position of the size of the entry (`SIZE_*`) in the attributes. */
export const ATTRIBUTE_SIZE_SHIFT = 28;
/**
 * Attribute of a page of 4 KiB or 2 MiB that is known to have a chunk of memory behind it, at a frame below 2^31; of a page of 1 GiB,
 * or a piece of one, that is known to be at a frame below 2^31.
 */
export const ATTRIBUTE_MEMORY = 1 << 30;
/**
 * Attribute of an entry of a first-level TLB: if stores are predicted to hit it, they are allowed. A load that fills the slot
 * clears it, so that a prediction for stores which is left over from the slot's last translation does nothing.
 */
export const ATTRIBUTE_STORES = 1 << 31;

/** In `further`: bits 39:32 of the frame. */
export const FURTHER_FRAME_HIGH = 0xff;
/** How far to the right of `TR_*` the attributes of combined translations (`TR_GUEST_MASK`) are in `further`. */
export const FURTHER_GUEST_SHIFT = 8;
/** Position of the number of the guest in `further`; 0: an entry of the host. */
export const FURTHER_NUMBER_SHIFT = 16;

/** Places of a part begin at multiples of this: those of its structures do at multiples of 4. */
const PART_PLACES = 4;

/** The arrays that CPUs have parts of, as many as it is made for and all of the same size. */
export class CommonArrays {
  private readonly parts: number;
  private taken = 0;
  private partPlaces = 0;
  /** All parts as 64-bit numbers. */
  cells = new Float64Array(0);
  /** All parts as signed 32-bit integers. */
  words = new Int32Array(0);
  /** All parts as bytes. */
  bytes = new Uint8Array(0);
  /** What of each place is seldom needed: `FURTHER_*`. */
  further = new Int32Array(0);
  /** Whether anything but 0 was ever kept there. */
  hasFurther = false;

  constructor(parts: number) {
    this.parts = parts;
  }

  /** Whether one CPU has all. */
  get isOfOne(): boolean {
    return this.parts === 1;
  }

  /** Takes a part of so many places, the same number each time. Returns its first. */
  take(places: number): number {
    if (this.taken === 0) this.make((places + PART_PLACES - 1) & -PART_PLACES);
    return this.partPlaces * this.taken++;
  }

  private make(partPlaces: number): void {
    const places = partPlaces * this.parts;
    const words = places << WORD_SHIFT;
    const buffer = new ArrayBuffer(Int32Array.BYTES_PER_ELEMENT * (words + places));
    this.partPlaces = partPlaces;
    this.cells = new Float64Array(buffer, 0, words >> 1);
    this.words = new Int32Array(buffer, 0, words);
    this.bytes = new Uint8Array(buffer, 0, Int32Array.BYTES_PER_ELEMENT * words);
    this.further = new Int32Array(buffer, Int32Array.BYTES_PER_ELEMENT * words, places);
    this.cells[CELL_TAG] = Number.NaN;
  }
}

/** The arrays of one CPU, or what it has of those of several, and which parts of them are taken. */
export class CpuArrays {
  /** The block as 64-bit numbers. */
  readonly cells: Float64Array;
  /** The block as signed 32-bit integers. */
  readonly words: Int32Array;
  /** The block as bytes. */
  readonly bytes: Uint8Array;
  /** What of each place is seldom needed: `FURTHER_*`. */
  readonly further: Int32Array;
  /** The arrays, and who else has parts of them. */
  readonly common: CommonArrays;
  /** The first place of what the CPU has: its cells and words (`*_CELL`, `*_WORD`) are counted from there. */
  readonly firstPlace: number;
  /** Places of records that it has, counted from there. */
  readonly places: number;
  private nextPlace: number;
  private structures = 0;
  private nextWord: number;

  /**
   * @param structures how many structures will take places
   * @param places slots of all structures together
   * @param words words that the structures take beside their records
   * @param common which arrays; default: the CPU has its own
   */
  constructor(structures: number, places: number, words: number, common = new CommonArrays(1)) {
    this.places = FIRST_PLACE + places + 3 * structures;
    this.common = common;
    this.firstPlace = common.take(this.places + ((words + RECORD_WORDS - 1) >> WORD_SHIFT));
    this.cells = common.cells;
    this.words = common.words;
    this.bytes = common.bytes;
    this.further = common.further;
    this.nextPlace = this.firstPlace + FIRST_PLACE;
    const end = this.firstPlace + this.places;
    this.nextWord = end << WORD_SHIFT;
    for (let place = this.nextPlace; place < end; place++) this.cells[(place << CELL_SHIFT) + CELL_TAG] = Number.NaN;
  }

  /** What the CPU has as 64-bit numbers, counted from its first. */
  get ownCells(): Float64Array {
    const { cells, firstCell } = this;
    return this.common.isOfOne ? cells : cells.subarray(firstCell, firstCell + (this.places << CELL_SHIFT));
  }

  /** {@link ownCells} as words. */
  get ownWords(): Int32Array {
    const { words, firstWord } = this;
    return this.common.isOfOne ? words : words.subarray(firstWord, firstWord + (this.places << WORD_SHIFT));
  }

  /** The first cell of what the CPU has. */
  get firstCell(): number {
    return this.firstPlace << CELL_SHIFT;
  }

  /** Its first word. */
  get firstWord(): number {
    return this.firstPlace << WORD_SHIFT;
  }

  /** Takes places for `count` slots of one structure; returns the first, a multiple of 4. */
  takePlaces(count: number): number {
    const first = this.nextPlace;
    this.nextPlace += (count + 3) & ~3;
    return first;
  }

  /** Takes the words of the numbers of entries of one structure, by size; returns the index of the first. */
  takeSizes(): number {
    const structure = this.structures++;
    return structure < SIZES_MAX ? this.firstWord + SIZES_WORD + SIZES * structure : this.takeWords(SIZES);
  }

  /** Takes `count` words; returns the index of the first, a multiple of 4. */
  takeWords(count: number): number {
    const first = this.nextWord;
    this.nextWord += (count + 3) & ~3;
    return first;
  }
}
