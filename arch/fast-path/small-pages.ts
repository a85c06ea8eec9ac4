/**
 * A short path of the host, not of the machine: what `Mmu.translate` does for 4 KiB pages in the common cases, written out on
 * the shared arrays (cpu-arrays.ts). It handles hits of both levels, and walks that start at a cached PDE, or at the PDE below a
 * cached PDPTE, and find a PTE which allows the access and needs no bit set. In every other case it returns -1 and the general
 * path does the work; a test holds that the two leave the same state.
 *
 * Measured on Node 20 (ratios to the C program that does the same work): a second-level hit costs about as much as the number
 * of array accesses says, each some five instructions with its bounds check. So
 * - what is asked of a translation is compared with the answer for the last one (`allowedAttributes`, `seen*`) in place of
 *   being worked out, and the four ways of a first-level set are looked through only where one of their marks fits;
 * - paths that are rare leave by a `return`, as a call in the middle would make V8 load everything again, with `| 0`, which
 *   tells it that a frame is an integer;
 * - places in arrays are sums with `| 0`: V8 makes one instruction of a sum and two of `|`;
 * - addresses are handed on in a cell, as numbers over 2^31 that are arguments of calls are put on the heap.
 */

import { LEVEL_BYTES } from "../isa/linear-address.ts";
import type { PagingMode } from "../isa/paging-mode.ts";
import { SIZE_TABLE, TR_GLOBAL, TR_KEY_SHIFT, TR_MASK, TR_PAT_SHIFT } from "../isa/translation.ts";
import { CHUNK_FRAME_MASK, CHUNK_FRAMES_SHIFT, type PhysicalMemory } from "../memory/physical-memory.ts";
import type { Preset } from "../presets/preset.ts";
import { COUNT_SHORT_HIT, COUNT_SHORT_WALK, COUNT_WALK_CYCLES } from "../time/perf-counters.ts";
import {
  ASKED_AT,
  ATTRIBUTE_MEMORY,
  ATTRIBUTE_PCID_SHIFT,
  ATTRIBUTE_SIZE_SHIFT,
  CELL_SHIFT,
  COUNTS_AT,
  type CpuArrays,
  FOUND_PDE_PLACE,
  LARGE_AT,
  SHORT_PATH_OFF,
  WORD_ATTRIBUTES,
  WORD_FRAME,
  WORD_LINK,
  WORD_NEXT,
  WORD_SHIFT,
  WORD_STATE,
  WORD_USE,
} from "../tlb/cpu-arrays.ts";
import { LEVEL_PDE, type PagingStructureCaches, structureTag } from "../tlb/paging-structure-caches.ts";
import type { Tlb } from "../tlb/tlb.ts";
import type { TlbHierarchy } from "../tlb/tlb-hierarchy.ts";
import type { WalkCaches } from "../tlb/walk-caches.ts";
import { type AccessSide, FirstLevelFills } from "./first-level-fills.ts";
import { FoundPde } from "./found-pde.ts";

// V8 folds a module's own constants into the code, but not those that it imports.
const ASKED = ASKED_AT;
const LARGE = LARGE_AT;
const OFF = SHORT_PATH_OFF;
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
const PDE_TAG = structureTag(LEVEL_PDE);
const PDE_BYTES = LEVEL_BYTES[LEVEL_PDE];
const FOUND = FOUND_PDE_PLACE;
const CHUNK_SHIFT = CHUNK_FRAMES_SHIFT;
const CHUNK_MASK = CHUNK_FRAME_MASK;
const NO_CHUNK = new Int32Array(0);

/** The short path of one CPU. */
export class SmallPages extends FirstLevelFills {
  private readonly tlbs: TlbHierarchy;
  private readonly mode: PagingMode;
  private readonly walkCaches: WalkCaches;
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
  private readonly foundPde: FoundPde;
  private readonly walkCycles: number;
  /** Where the PDE of the last walk is. */
  private pdePlace = 0;
  /** The page table that it names: the frame, its chunk, and where it begins in that. */
  private tableFrame = -1;
  private table: Int32Array = NO_CHUNK;
  private tableBase = 0;

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
    const second = tlbs.second[0] ?? tlbs.first[0];
    super(arrays, clock, id, tlbs, second, memory, preset);
    this.tlbs = tlbs;
    this.mode = mode;
    this.walkCaches = walkCaches;
    this.second = second;
    this.secondHead = second.headAt;
    this.secondHeadMask = second.headMask;
    this.secondPlace = second.firstPlace;
    this.secondWays = second.ways;
    this.secondMask = second.setMask;
    this.secondHashShift = second.hashShift;
    this.secondHashMask = second.hashMask;
    this.secondCount = second.countAt;
    this.secondState = second.replacement.stateAt;
    this.secondFills = second.replacement.fillsAt;
    this.pde = structures.simplePde();
    this.foundPde = new FoundPde(arrays, structures, mode, memory, walkCaches);
    this.walkCycles = preset.costs.walk.value;
  }

  /**
   * The frame of the page whose address is in cell `ASKED_AT` and which is not predicted, allowed for `kind` and predicted from
   * now on, with the access counted and paid for; -1 if not done here, and nothing changed.
   * @param number bits 19:0 of the page number
   */
  translate(kind: number, number: number): number {
    const side = kind === 0 ? this.loads : kind === 1 ? this.stores : this.fetches;
    const { words, cells } = this;
    if (words[LARGE] !== side.gate) return this.translateBesideLarge(kind, side, number) | 0;
    // The marks of the set's four ways at once: a byte becomes 0 where it is that of the page asked for.
    const mark = Math.imul((number >>> side.markShift) & 255, 0x01010101);
    const marks = words[(side.marksAt + (number & side.firstMask)) | 0] ^ mark;
    if (((marks - 0x01010101) & ~marks & 0x80808080) !== 0 && this.isInFirst(side, number)) {
      return this.hit(kind, side, number) | 0;
    }
    const found = words[(this.secondHead + (number & this.secondHeadMask)) | 0];
    if (cells[found << CELL] === cells[ASKED]) return this.refill(kind, side, number, found) | 0;
    if (found === 0) return this.walk(kind, side, number) | 0;
    return this.searchChain(kind, side, number, found) | 0;
  }

  /** The same while TLBs hold large pages, which are left to the general path. */
  private translateBesideLarge(kind: number, side: AccessSide, number: number): number {
    const { words, cells } = this;
    if (!side.worksBesideLarge || words[LARGE] >= OFF) return this.touchOther(kind, number) | 0;
    if (this.isInFirst(side, number)) return this.hit(kind, side, number) | 0;
    if (this.tlbs.isInLarge(kind, cells[ASKED], this.mode.pcid)) return -1;
    return this.searchChain(kind, side, number, words[(this.secondHead + (number & this.secondHeadMask)) | 0]) | 0;
  }

  /** Looks through a chain of the second level. */
  private searchChain(kind: number, side: AccessSide, number: number, first: number): number {
    const { words, cells } = this;
    const page = cells[ASKED];
    let found = first;
    while (found !== 0 && cells[found << CELL] !== page) found = words[(found << WORD) | NEXT];
    return found === 0 ? this.walk(kind, side, number) : this.refill(kind, side, number, found);
  }

  /** A hit of a place of the second level. */
  private refill(kind: number, side: AccessSide, number: number, found: number): number {
    const { words, cells } = this;
    const record = found << WORD;
    const attributes = words[(record + ATTRIBUTES) | 0];
    if (attributes !== side.allowedAttributes) return this.refillOther(kind, side, number, found) | 0;
    const use = words[(record + USE) | 0];
    const state = words[(record + STATE) | 0];
    words[state] = (words[state] & (use >>> 16)) | (use & 0xffff);
    cells[(HITS + kind) | 0]++;
    this.clock[0] += side.secondLevelHitCycles;
    return this.fill(kind, side, number, words[(record + FRAME) | 0], attributes);
  }

  /** A hit of a place of the second level with other attributes than those known to be allowed. */
  private refillOther(kind: number, side: AccessSide, number: number, found: number): number {
    return this.allows(kind, side, found) ? this.refill(kind, side, number, found) : -1;
  }

  /** A walk from a cached PDE to a PTE that needs nothing done to it. */
  private walk(kind: number, side: AccessSide, number: number): number {
    const { words, cells, pdePlace } = this;
    const index = number & 511;
    if (cells[pdePlace << CELL] !== cells[ASKED] - (index << 12) + PDE_TAG)
      return this.walkOtherPde(kind, side, number) | 0;
    const pde = pdePlace << WORD;
    const tableFrame = words[(pde + FRAME) | 0];
    if (tableFrame !== this.tableFrame) return this.walkOtherPde(kind, side, number) | 0;
    const { table } = this;
    const at = (this.tableBase + (index << 1)) | 0;
    const low = table[at];
    const high = table[at | 1];
    const pdeAttributes = words[(pde + ATTRIBUTES) | 0];
    if ((low & 0xfff) !== side.seenLow || (high & ~0xff) !== side.seenHigh || pdeAttributes !== side.seenPde) {
      return this.walkOtherPte(kind, side, number, low, high, pdeAttributes) | 0;
    }
    const frame = ((high & 0xff) << 20) | (low >>> 12);
    if (frame >>> CHUNK_SHIFT !== this.chunkNumber) return this.walkOtherChunk(kind, side, number, frame) | 0;
    const set = (number ^ ((number >>> this.secondHashShift) & this.secondHashMask)) & this.secondMask;
    const ways = this.secondWays;
    if (words[(this.secondCount + set) | 0] !== ways) return this.walkIntoRoom(kind, side, number, frame) | 0;
    const attributes = side.seenAttributes;
    const state = (this.secondState + set) | 0;
    const filled = words[(this.secondFills + words[state]) | 0];
    const place = (this.secondPlace + Math.imul(set, ways) + (filled & 0xff)) | 0;
    const record = place << WORD;
    if ((words[(record + ATTRIBUTES) | 0] & TABLE) !== 0) return -1;
    words[state] = filled >> 8;
    const link = words[(record + LINK) | 0];
    const after = words[(record + NEXT) | 0];
    words[link] = after;
    words[((after << WORD) + LINK) | 0] = link;
    const head = (this.secondHead + (number & this.secondHeadMask)) | 0;
    const next = words[head];
    words[(record + NEXT) | 0] = next;
    words[((next << WORD) + LINK) | 0] = record + NEXT;
    words[(record + LINK) | 0] = head;
    words[head] = place;
    cells[place << CELL] = cells[ASKED];
    words[(record + FRAME) | 0] = frame;
    words[(record + ATTRIBUTES) | 0] = attributes;
    return this.walked(kind, side, number, frame, attributes);
  }

  /** What a walk does beside filling the second level. */
  private walked(kind: number, side: AccessSide, number: number, frame: number, attributes: number): number {
    const { words, cells } = this;
    const pdeCycles = this.pdePlace === FOUND ? this.enterPde() : 0;
    const pde = this.pdePlace << WORD;
    const use = words[(pde + USE) | 0];
    const state = words[(pde + STATE) | 0];
    words[state] = (words[state] & (use >>> 16)) | (use & 0xffff);
    const pteLine = (this.tableFrame >>> 0) * 64 + ((number & 511) >> 3);
    const cycles = this.walkCycles + (pdeCycles + this.walkCaches.fetch(pteLine));
    this.clock[0] += cycles + side.accessCycles;
    cells[(WALK_CYCLES + kind) | 0] += cycles;
    cells[(WALKS + kind) | 0]++;
    return this.fill(kind, side, number, frame, attributes);
  }

  /** As {@link walk}, from its last check on, where the second level's set has an empty slot. */
  private walkIntoRoom(kind: number, side: AccessSide, number: number, frame: number): number {
    const { second } = this;
    const attributes = side.seenAttributes;
    const pcid = (attributes >> PCID_SHIFT) & 0xfff;
    const slot = second.insert(this.cells[ASKED], number, pcid, 0, frame >>> 0, attributes & FLAGS_MASK);
    second.markMemory(slot);
    return this.walked(kind, side, number, frame, attributes);
  }

  /** A walk from a cached PDE other than that of the last walk here. */
  private walkOtherPde(kind: number, side: AccessSide, number: number): number {
    const { cells, pde } = this;
    // What is no address leaves for the general path, which says so: no hit can be one, as tags of pages are whole numbers.
    if (pde === null || cells[ASKED] !== Math.floor(cells[ASKED])) return -1;
    const tag = cells[ASKED] - ((number & 511) << 12) + PDE_TAG;
    const slot = pde.find(tag, Math.floor(tag / PDE_BYTES) | 0, this.mode.pcid);
    if (slot < 0) return this.walkThroughPde(kind, side, number) | 0;
    return this.choosePde(pde.firstPlace + slot, pde.frameOf(slot)) ? this.walk(kind, side, number) | 0 : -1;
  }

  /** A walk from a cached PDPTE. */
  private walkThroughPde(kind: number, side: AccessSide, number: number): number {
    const { foundPde } = this;
    if (!foundPde.read(this.cells[ASKED], number) || !this.choosePde(FOUND, foundPde.frame)) return -1;
    const frame = this.walk(kind, side, number) | 0;
    if (frame < 0) this.pdePlace = 0;
    return frame;
  }

  /** Has the next walk begin at the PDE at `place`, which names the table in `frame`; whether there is memory for that. */
  private choosePde(place: number, frame: number): boolean {
    const chunk = this.memory.chunkAt(frame);
    if (chunk === null) return false;
    this.pdePlace = place;
    this.table = chunk;
    this.tableFrame = frame | 0;
    this.tableBase = (frame & CHUNK_MASK) << 10;
    return true;
  }

  /** The walk through the PDE that was found has come to its end: caches the PDE; the cycles that fetching it takes. */
  private enterPde(): number {
    const cycles = this.foundPde.fetch();
    this.pdePlace = this.foundPde.enter();
    return cycles;
  }

  /** A walk to a PTE with other attributes than that of the last one here, or below a PDE with others. */
  private walkOtherPte(kind: number, side: AccessSide, number: number, low: number, high: number, pde: number): number {
    const { mode } = this;
    if (((pde >> PCID_SHIFT) & 0xfff) !== mode.pcid || (pde & TABLE) !== TABLE) return -1;
    if ((low & 0x21) !== 0x21 || (high & (mode.reservedHigh | 0xfff00)) !== 0) return -1;
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
    if ((!isGlobal && mode.pcid !== this.pcid) || !this.rulesAllow(kind, flags)) return -1;
    side.seenLow = low & 0xfff;
    side.seenHigh = high & ~0xff;
    side.seenPde = pde;
    side.seenAttributes = flags | (isGlobal ? 0 : mode.pcid << PCID_SHIFT) | MEMORY;
    return this.walk(kind, side, number) | 0;
  }

  /** A walk to a page in another chunk of memory than that of the last one here. */
  private walkOtherChunk(kind: number, side: AccessSide, number: number, frame: number): number {
    return this.hasChunk(0, frame) ? this.walk(kind, side, number) : -1;
  }
}
