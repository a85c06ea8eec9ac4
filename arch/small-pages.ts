/**
 * A short path of the host, not of the machine: what `Mmu.translate` does for 4 KiB pages in the common cases, written out on
 * the shared arrays (cpu-arrays.ts). It handles hits of both levels, and walks that start at a cached PDE and find a PTE
 * which allows the access and needs no bit set. In every other case it returns 0 and the general path does the work; a test
 * holds that the two leave the same state.
 *
 * Measured on Node 20 (ratios to the C program that does the same work): a second-level hit costs about as much as the number
 * of array accesses says, each some six instructions with its bounds check. So what is asked of a translation is compared
 * with the answer for the last one (`allowedAttributes`, `seen*`) in place of being worked out; paths that are rare leave by
 * a `return`, as a call in the middle would make V8 load everything again; and addresses are handed on in a cell, as numbers
 * over 2^31 that are arguments of calls are put on the heap.
 */
import {
  ASKED_AT,
  ATTRIBUTE_MEMORY,
  ATTRIBUTE_PCID_SHIFT,
  ATTRIBUTE_SIZE_SHIFT,
  CELL_SHIFT,
  COUNTS_AT,
  type CpuArrays,
  LARGE_AT,
  LISTED_PREDICTIONS_AT,
  RULES_AT,
  WORD_ATTRIBUTES,
  WORD_FRAME,
  WORD_LINK,
  WORD_NEXT,
  WORD_SHIFT,
  WORD_STATE,
  WORD_USE,
} from "./cpu-arrays.ts";
import type { PagingMode } from "./paging-mode.ts";
import { LEVEL_PDE, type PagingStructureCaches } from "./paging-structure-caches.ts";
import { COUNT_SHORT_HIT, COUNT_SHORT_WALK, COUNT_WALK_CYCLES } from "./perf-counters.ts";
import { CHUNK_FRAME_MASK, CHUNK_FRAMES_SHIFT, type PhysicalMemory } from "./physical-memory.ts";
import type { Preset } from "./preset.ts";
import type { Tlb } from "./tlb.ts";
import type { TlbHierarchy } from "./tlb-hierarchy.ts";
import { SIZE_TABLE, TABLE_TAG, TR_GLOBAL, TR_KEY_SHIFT, TR_MASK, TR_PAT_SHIFT } from "./translation.ts";
import type { WalkCaches } from "./walk-caches.ts";

// V8 folds a module's own constants into the code, but not those that it imports.
const ASKED = ASKED_AT;
const RULES = RULES_AT;
const LARGE = LARGE_AT;
const LISTED = LISTED_PREDICTIONS_AT;
const COUNTS = COUNTS_AT;
const HITS = COUNTS_AT + COUNT_SHORT_HIT;
const WALKS = COUNTS_AT + COUNT_SHORT_WALK;
const WALK_CYCLES = COUNTS_AT + COUNT_WALK_CYCLES;
const CELL = CELL_SHIFT;
const WORD = WORD_SHIFT;
const STATE = WORD_STATE;
const USE = WORD_USE;
const FRAME = WORD_FRAME;
const ATTRIBUTES = WORD_ATTRIBUTES;
const NEXT = WORD_NEXT;
const LINK = WORD_LINK;
const FLAGS_MASK = TR_MASK;
const GLOBAL_FLAG = TR_GLOBAL;
const PAT_SHIFT = TR_PAT_SHIFT;
const KEY_SHIFT = TR_KEY_SHIFT;
const PCID_SHIFT = ATTRIBUTE_PCID_SHIFT;
const MEMORY = ATTRIBUTE_MEMORY;
const TABLE = SIZE_TABLE << ATTRIBUTE_SIZE_SHIFT;
/** What the tag of a PDE adds to its address. */
const PDE_TAG = TABLE_TAG + LEVEL_PDE / 32;
const CHUNK_SHIFT = CHUNK_FRAMES_SHIFT;
const CHUNK_MASK = CHUNK_FRAME_MASK;
const NO_CHUNK = new Int32Array(0);
/** Ways of the first-level TLBs that the path knows. */
const FIRST_WAYS = 4;
/** Bits of the page number that the path gets. */
const NUMBER_BITS = 20;

/** One kind of access: where its first-level TLB of 4 KiB pages lies, what it costs, what was seen last. */
class Side {
  /** 0 where the path can be used, else -1: what the count of large translations must be. */
  readonly gate: number;
  readonly first: Tlb;
  readonly firstPlace: number;
  readonly firstMask: number;
  readonly firstState: number;
  readonly firstCount: number;
  readonly firstFills: number;
  /** Cycles of an access, and of one whose translation the second level holds. */
  readonly accessCycles: number;
  readonly secondLevelHitCycles: number;
  /** Attributes (`WORD_ATTRIBUTES`) of a translation, to memory, that allows the access in the present mode. */
  allowedAttributes = 0;
  /** Attributes of the PTE that was walked to last, in its low and high word, and of the PDE above it. */
  seenLow = 0;
  seenHigh = 0;
  seenPde = 0;
  /** What they come to: attributes of the translation. */
  seenAttributes = 0;

  constructor(first: Tlb, isSimple: boolean, accessCycles: number, secondLevelHitCycles: number) {
    const hasFourWays = first.ways === FIRST_WAYS && !first.isListed && !first.isLimited && first.fillsLikeHits;
    this.gate = isSimple && hasFourWays ? 0 : -1;
    this.first = first;
    this.firstPlace = first.firstPlace;
    this.firstMask = first.setMask;
    this.firstState = first.stateAt;
    this.firstCount = first.countAt;
    this.firstFills = first.fillsAt;
    this.accessCycles = accessCycles;
    this.secondLevelHitCycles = accessCycles + secondLevelHitCycles;
  }

  /** Forgets what was seen. */
  forget(): void {
    this.allowedAttributes = 0;
    this.seenLow = 0;
  }
}

/** The short path of one CPU. */
export class SmallPages {
  /**
   * The PCID whose translations the path may use beside global ones; -1 until the general path has used the current one, where
   * the number of PCIDs that the second level holds is limited.
   */
  private pcid = -1;

  private readonly cells: Float64Array;
  private readonly words: Int32Array;
  private readonly mode: PagingMode;
  private readonly memory: PhysicalMemory;
  private readonly walkCaches: WalkCaches;
  /** The CPU's clock. */
  private readonly clock: Float64Array;
  private readonly loads: Side;
  private readonly stores: Side;
  private readonly fetches: Side;
  private readonly second: Tlb;
  private readonly secondHead: number;
  private readonly secondHeadMask: number;
  private readonly secondPlace: number;
  private readonly secondWays: number;
  private readonly secondMask: number;
  private readonly secondHashShift: number;
  private readonly secondHashMask: number;
  private readonly secondCount: number;
  private readonly secondState: number;
  private readonly secondFills: number;
  private readonly pde: Tlb | null;
  private readonly walkCycles: number;
  /** Where the PDE of the last walk is. */
  private pdePlace = 0;
  /** The page table that it names: the frame, its chunk, and where it begins in that. */
  private tableFrame = -1;
  private table: Int32Array = NO_CHUNK;
  private tableBase = 0;
  /** The chunk of the page that was walked for last. */
  private chunkNumber = -1;

  constructor(
    arrays: CpuArrays,
    clock: Float64Array,
    id: number,
    tlbs: TlbHierarchy,
    structures: PagingStructureCaches,
    walkCaches: WalkCaches,
    mode: PagingMode,
    memory: PhysicalMemory,
    preset: Preset,
  ) {
    this.cells = arrays.cells;
    this.words = arrays.words;
    this.mode = mode;
    this.memory = memory;
    this.walkCaches = walkCaches;
    this.clock = clock.subarray(id, id + 1);
    this.second = tlbs.second[0] ?? tlbs.first[0];
    const { second } = this;
    const { load, store, fetch, secondLevelHit, walk } = preset.costs;
    const costs = [load.value, store.value, fetch.value];
    const isSimple = !second.isListed && second.fillsLikeHits && second.headAt >= 0 && fitsNumber(second);
    const [loads, stores, fetches] = tlbs.smallSides().map((side, kind) => {
      const usesIt = side.second.length === 1 && side.second[0] === second;
      return new Side(side.first, isSimple && usesIt, costs[kind], secondLevelHit.value);
    });
    this.loads = loads;
    this.stores = stores;
    this.fetches = fetches;
    this.secondHead = second.headAt;
    this.secondHeadMask = second.headMask;
    this.secondPlace = second.firstPlace;
    this.secondWays = second.ways;
    this.secondMask = second.setMask;
    this.secondHashShift = second.hashShift;
    this.secondHashMask = second.hashMask;
    this.secondCount = second.countAt;
    this.secondState = second.stateAt;
    this.secondFills = second.fillsAt;
    this.pde = structures.simplePde();
    this.walkCycles = walk.value;
  }

  /** Chooses the PCID whose translations the path may use; -1: none but global ones. */
  choosePcid(pcid: number): void {
    if (pcid === this.pcid) return;
    this.pcid = pcid;
    this.modeChanged();
  }

  /** To be called when what is allowed, reserved or global may have changed. */
  modeChanged(): void {
    this.loads.forget();
    this.stores.forget();
    this.fetches.forget();
  }

  /**
   * The first-level place of the translation of the page whose address is in cell `ASKED_AT` and which is not predicted,
   * allowed for `kind` and predicted from now on, with the access counted and paid for; 0 if not done here, and nothing changed.
   * @param number bits 19:0 of the page number
   */
  translate(kind: number, number: number): number {
    const side = kind === 0 ? this.loads : kind === 1 ? this.stores : this.fetches;
    const { words, cells } = this;
    const page = cells[ASKED];
    const set = number & side.firstMask;
    if (words[LARGE] !== side.gate) return this.touchListed(kind, number);
    const first = ((side.firstPlace + (set << 2)) << CELL) | 0;
    if (cells[first] === page || cells[first + 4] === page || cells[first + 8] === page || cells[first + 12] === page) {
      return this.hit(kind, side, number);
    }
    const found = words[this.secondHead + (number & this.secondHeadMask)];
    if (found === 0) return this.walk(kind, side, number);
    if (cells[found << CELL] !== page) return this.searchChain(kind, side, number, found);
    return this.refill(kind, side, number, found);
  }

  /** A hit of a first-level place, which is returned. */
  touch(kind: number, place: number): number {
    const side = kind === 0 ? this.loads : kind === 1 ? this.stores : this.fetches;
    side.first.touch(place - side.firstPlace);
    this.cells[COUNTS + kind]++;
    this.clock[0] += side.accessCycles;
    return place;
  }

  /** A predicted hit of a first-level TLB whose replacement state is a list; 0 when the page is not predicted there. */
  private touchListed(kind: number, number: number): number {
    const { words, cells } = this;
    const place = words[LISTED + (kind << 8) + (number & 255)];
    return cells[place << CELL] === cells[ASKED] ? this.touch(kind, place) : 0;
  }

  /** A hit of a place of the first level that was not predicted. */
  private hit(kind: number, side: Side, number: number): number {
    const { words, cells } = this;
    let place = side.firstPlace + ((number & side.firstMask) << 2);
    while (cells[place << CELL] !== cells[ASKED]) place++;
    if (words[(place << WORD) | ATTRIBUTES] !== side.allowedAttributes && !this.allows(kind, side, place)) return 0;
    words[(number & 255) | ((kind + 1) << 8)] = place;
    return this.touch(kind, place);
  }

  /** Goes on in a chain of the second level whose first is not the page asked for. */
  private searchChain(kind: number, side: Side, number: number, first: number): number {
    const { words, cells } = this;
    const page = cells[ASKED];
    let found = first;
    while (found !== 0 && cells[found << CELL] !== page) found = words[(found << WORD) | NEXT];
    return found === 0 ? this.walk(kind, side, number) : this.refill(kind, side, number, found);
  }

  /** A hit of a place of the second level. */
  private refill(kind: number, side: Side, number: number, found: number): number {
    const { words, cells } = this;
    const record = found << WORD;
    const attributes = words[record | ATTRIBUTES];
    if (attributes !== side.allowedAttributes) return this.refillOther(kind, side, number, found);
    const use = words[record | USE];
    const state = words[record | STATE];
    words[state] = (words[state] & (use >>> 16)) | (use & 0xffff);
    cells[(HITS + kind) | 0]++;
    this.clock[0] += side.secondLevelHitCycles;
    return this.fill(kind, side, number, words[record | FRAME], attributes);
  }

  /** A hit of a place of the second level with other attributes than those known to be allowed. */
  private refillOther(kind: number, side: Side, number: number, found: number): number {
    return this.allows(kind, side, found) ? this.refill(kind, side, number, found) : 0;
  }

  /** Puts the translation of the page asked for into the first level, and predicts it. */
  private fill(kind: number, side: Side, number: number, frame: number, attributes: number): number {
    const { words, cells } = this;
    const set = number & side.firstMask;
    if (words[(side.firstCount + set) | 0] !== FIRST_WAYS) return this.fillRoom(kind, side, number, frame, attributes);
    const state = (side.firstState + set) | 0;
    const filled = words[(side.firstFills + words[state]) | 0];
    const place = (side.firstPlace + (set << 2) + (filled & 0xff)) | 0;
    const record = place << WORD;
    words[state] = filled >> 8;
    cells[place << CELL] = cells[ASKED];
    words[record | FRAME] = frame;
    words[record | ATTRIBUTES] = attributes;
    const bucket = number & 255;
    // What was predicted for the slot's old page must not be taken for the new one.
    const other = bucket | (((kind ^ 1) + 1) << 8);
    if (words[other] === place) words[other] = 0;
    words[bucket | ((kind + 1) << 8)] = place;
    return place;
  }

  /** As {@link fill} in a set with an empty slot. */
  private fillRoom(kind: number, side: Side, number: number, frame: number, attributes: number): number {
    const { words } = this;
    const place = side.firstPlace + side.first.insert(this.cells[ASKED], number, 0, 0, 0, 0);
    words[(place << WORD) | FRAME] = frame;
    words[(place << WORD) | ATTRIBUTES] = attributes;
    const bucket = number & 255;
    const other = bucket | (((kind ^ 1) + 1) << 8);
    if (words[other] === place) words[other] = 0;
    words[bucket | ((kind + 1) << 8)] = place;
    return place;
  }

  /** Whether the translation in a place may be used for an access of `kind`; remembered when it may. */
  private allows(kind: number, side: Side, place: number): boolean {
    const { words } = this;
    const attributes = words[(place << WORD) | ATTRIBUTES];
    const pcid = (attributes >> PCID_SHIFT) & 0xfff;
    if ((attributes & GLOBAL_FLAG) === 0 && pcid !== this.pcid) return false;
    if (!this.rulesAllow(kind, attributes & FLAGS_MASK)) return false;
    if ((attributes & MEMORY) === 0) {
      if (!this.hasChunk(side.first.frameHighOf(place), words[(place << WORD) | FRAME])) return false;
      words[(place << WORD) | ATTRIBUTES] = attributes | MEMORY;
    }
    side.allowedAttributes = attributes | MEMORY;
    return true;
  }

  /** Whether a translation with these flags allows an access of `kind` (paging-mode.ts). */
  private rulesAllow(kind: number, flags: number): boolean {
    const { words } = this;
    const rules = RULES | (kind << 2);
    return ((flags ^ words[rules]) & words[rules | 1]) === 0 && ((words[rules | 3] >>> (flags >> KEY_SHIFT)) & 1) === 0;
  }

  /** A walk from a cached PDE to a PTE that needs nothing done to it. */
  private walk(kind: number, side: Side, number: number): number {
    const { words, cells, pdePlace } = this;
    const index = number & 511;
    if (cells[pdePlace << CELL] !== cells[ASKED] - (index << 12) + PDE_TAG)
      return this.walkOtherPde(kind, side, number);
    const pde = pdePlace << WORD;
    const tableFrame = words[pde | FRAME];
    if (tableFrame !== this.tableFrame) return this.walkOtherPde(kind, side, number);
    const { table } = this;
    const at = (this.tableBase + (index << 1)) | 0;
    const low = table[at];
    const high = table[at | 1];
    const pdeAttributes = words[pde | ATTRIBUTES];
    if ((low & 0xfff) !== side.seenLow || (high & ~0xff) !== side.seenHigh || pdeAttributes !== side.seenPde) {
      return this.walkOtherPte(kind, side, number, low, high, pdeAttributes);
    }
    const frame = ((high & 0xff) << 20) | (low >>> 12);
    if (frame >>> CHUNK_SHIFT !== this.chunkNumber) return this.walkOtherChunk(kind, side, number, frame);
    const set = (number ^ ((number >>> this.secondHashShift) & this.secondHashMask)) & this.secondMask;
    const ways = this.secondWays;
    if (words[(this.secondCount + set) | 0] !== ways) return this.walkIntoRoom(kind, side, number, frame);
    const attributes = side.seenAttributes;
    const state = (this.secondState + set) | 0;
    const filled = words[(this.secondFills + words[state]) | 0];
    const place = (this.secondPlace + Math.imul(set, ways) + (filled & 0xff)) | 0;
    const record = place << WORD;
    if ((words[record | ATTRIBUTES] & TABLE) !== 0) return 0;
    words[state] = filled >> 8;
    const link = words[record | LINK];
    const after = words[record | NEXT];
    words[link] = after;
    words[(after << WORD) | LINK] = link;
    const head = (this.secondHead + (number & this.secondHeadMask)) | 0;
    const next = words[head];
    words[record | NEXT] = next;
    words[(next << WORD) | LINK] = record | NEXT;
    words[record | LINK] = head;
    words[head] = place;
    cells[place << CELL] = cells[ASKED];
    words[record | FRAME] = frame;
    words[record | ATTRIBUTES] = attributes;
    return this.walked(kind, side, number, frame, attributes);
  }

  /** What a walk does beside filling the second level. */
  private walked(kind: number, side: Side, number: number, frame: number, attributes: number): number {
    const { words, cells } = this;
    const pde = this.pdePlace << WORD;
    const use = words[pde | USE];
    const state = words[pde | STATE];
    words[state] = (words[state] & (use >>> 16)) | (use & 0xffff);
    const cycles = this.walkCycles + this.walkCaches.fetch((this.tableFrame >>> 0) * 64 + ((number & 511) >> 3));
    this.clock[0] += cycles + side.accessCycles;
    cells[(WALK_CYCLES + kind) | 0] += cycles;
    cells[(WALKS + kind) | 0]++;
    return this.fill(kind, side, number, frame, attributes);
  }

  /** As {@link walk}, from its last check on, where the second level's set has an empty slot. */
  private walkIntoRoom(kind: number, side: Side, number: number, frame: number): number {
    const { second } = this;
    const attributes = side.seenAttributes;
    const pcid = (attributes >> PCID_SHIFT) & 0xfff;
    const slot = second.insert(this.cells[ASKED], number, pcid, 0, frame >>> 0, attributes & FLAGS_MASK);
    second.markMemory(slot);
    return this.walked(kind, side, number, frame, attributes);
  }

  /** A walk from a cached PDE other than that of the last walk here. */
  private walkOtherPde(kind: number, side: Side, number: number): number {
    const { words, cells, pde } = this;
    if (pde === null) return 0;
    const tag = cells[ASKED] - ((number & 511) << 12) + PDE_TAG;
    const slot = pde.find(tag, number >> 9, this.mode.pcid);
    if (slot < 0) return 0;
    this.pdePlace = pde.firstPlace + slot;
    const frame = words[(this.pdePlace << WORD) | FRAME];
    const chunk = this.memory.chunkAt(pde.frameOf(slot));
    if (chunk === null) return 0;
    this.table = chunk;
    this.tableFrame = frame;
    this.tableBase = (frame & CHUNK_MASK) << 10;
    return this.walk(kind, side, number);
  }

  /** A walk to a PTE with other attributes than that of the last one here, or below a PDE with others. */
  private walkOtherPte(kind: number, side: Side, number: number, low: number, high: number, pde: number): number {
    const { mode } = this;
    if (((pde >> PCID_SHIFT) & 0xfff) !== mode.pcid || (pde & TABLE) !== TABLE) return 0;
    if ((low & 0x21) !== 0x21 || (high & (mode.reservedHigh | 0xfff00)) !== 0) return 0;
    const combined = (pde & (low >> 1) & 3) | ((pde | (high >>> 29)) & 4);
    const pat = ((low >> 3) & 3) | ((low >> 5) & 4);
    const flags =
      combined |
      ((low >> 3) & 8) |
      ((low >> 4) & mode.globalFlag) |
      ((pde & 1) << 5) |
      (pat << PAT_SHIFT) |
      ((((high >>> 27) & 15) | ((combined & 2) << 3)) << KEY_SHIFT);
    const isGlobal = (flags & GLOBAL_FLAG) !== 0;
    if ((!isGlobal && mode.pcid !== this.pcid) || !this.rulesAllow(kind, flags)) return 0;
    side.seenLow = low & 0xfff;
    side.seenHigh = high & ~0xff;
    side.seenPde = pde;
    side.seenAttributes = flags | (isGlobal ? 0 : mode.pcid << PCID_SHIFT) | MEMORY;
    return this.walk(kind, side, number);
  }

  /** A walk to a page in another chunk of memory than that of the last one here. */
  private walkOtherChunk(kind: number, side: Side, number: number, frame: number): number {
    return this.hasChunk(0, frame) ? this.walk(kind, side, number) : 0;
  }

  /** Whether there is a chunk of memory for a frame, given by its bits 39:32 and 31:0. */
  private hasChunk(frameHigh: number, frame: number): boolean {
    if (frameHigh !== 0 || this.memory.chunkAt(frame >>> 0) === null) return false;
    this.chunkNumber = frame >>> CHUNK_SHIFT;
    return true;
  }
}

/** Whether the bits of page numbers that the path gets are all that a TLB's index depends on. */
function fitsNumber(tlb: Tlb): boolean {
  return tlb.headMask < 2 ** NUMBER_BITS && 2 * tlb.hashShift <= NUMBER_BITS;
}
