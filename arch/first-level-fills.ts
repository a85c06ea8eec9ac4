/**
 * The first half of the host's short path for 4 KiB pages (small-pages.ts): hits of the first level that are not predicted, and
 * putting translations into it.
 */
import {
  ASKED_AT,
  ATTRIBUTE_MEMORY,
  ATTRIBUTE_PCID_SHIFT,
  CELL_SHIFT,
  COUNTS_AT,
  type CpuArrays,
  LISTED_PREDICTIONS_AT,
  RULES_AT,
  WORD_ATTRIBUTES,
  WORD_FRAME,
  WORD_SHIFT,
} from "./cpu-arrays.ts";
import { CHUNK_FRAMES_SHIFT, type PhysicalMemory } from "./physical-memory.ts";
import type { Preset } from "./preset.ts";
import type { Tlb } from "./tlb.ts";
import type { TlbHierarchy } from "./tlb-hierarchy.ts";
import { TR_GLOBAL, TR_KEY_SHIFT, TR_MASK } from "./translation.ts";

// V8 folds a module's own constants into the code, but not those that it imports.
const ASKED = ASKED_AT;
const RULES = RULES_AT;
const LISTED = LISTED_PREDICTIONS_AT;
const COUNTS = COUNTS_AT;
const CELL = CELL_SHIFT;
const WORD = WORD_SHIFT;
const FRAME = WORD_FRAME;
const ATTRIBUTES = WORD_ATTRIBUTES;
const FLAGS_MASK = TR_MASK;
const GLOBAL_FLAG = TR_GLOBAL;
const KEY_SHIFT = TR_KEY_SHIFT;
const PCID_SHIFT = ATTRIBUTE_PCID_SHIFT;
const MEMORY = ATTRIBUTE_MEMORY;
const CHUNK_SHIFT = CHUNK_FRAMES_SHIFT;
/** Ways of the first-level TLBs that the path knows. */
const FIRST_WAYS = 4;
/** Bits of page numbers that the path gets. */
const NUMBER_BITS = 20;

/** One kind of access: where its first-level TLB of 4 KiB pages lies, what it costs, what was seen last. */
export class AccessSide {
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

/** The first level of one CPU, on the short path. */
export class FirstLevelFills {
  /**
   * The PCID whose translations the path may use beside global ones; -1 until the general path has used the current one, where
   * the number of PCIDs that the second level holds is limited.
   */
  protected pcid = -1;
  /** The chunk of memory of the page that was walked for last. */
  protected chunkNumber = -1;
  protected readonly cells: Float64Array;
  protected readonly words: Int32Array;
  protected readonly memory: PhysicalMemory;
  /** The CPU's clock. */
  protected readonly clock: Float64Array;
  protected readonly loads: AccessSide;
  protected readonly stores: AccessSide;
  protected readonly fetches: AccessSide;

  /** @param second the second-level TLB that the path knows */
  constructor(
    arrays: CpuArrays,
    clock: Float64Array,
    id: number,
    tlbs: TlbHierarchy,
    second: Tlb,
    memory: PhysicalMemory,
    preset: Preset,
  ) {
    this.cells = arrays.cells;
    this.words = arrays.words;
    this.memory = memory;
    this.clock = clock.subarray(id, id + 1);
    const { load, store, fetch, secondLevelHit } = preset.costs;
    const costs = [load.value, store.value, fetch.value];
    const isSimple = !second.isListed && second.fillsLikeHits && second.headAt >= 0 && fitsNumber(second);
    const sides = tlbs.smallSides();
    // A fill looks after the predictions of loads and stores, or of fetches, but not of all three.
    const isUnified = sides[2].first === sides[0].first || sides[2].first === sides[1].first;
    const [loads, stores, fetches] = sides.map((side, kind) => {
      const usesIt = side.second.length === 1 && side.second[0] === second && !isUnified;
      return new AccessSide(side.first, isSimple && usesIt, costs[kind], secondLevelHit.value);
    });
    this.loads = loads;
    this.stores = stores;
    this.fetches = fetches;
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

  /** A hit of a first-level place, which is returned. */
  touch(kind: number, place: number): number {
    const side = kind === 0 ? this.loads : kind === 1 ? this.stores : this.fetches;
    side.first.touch(place - side.firstPlace);
    this.cells[COUNTS + kind]++;
    this.clock[0] += side.accessCycles;
    return place;
  }

  /** A predicted hit of a first-level TLB whose replacement state is a list; 0 when the page is not predicted there. */
  protected touchListed(kind: number, number: number): number {
    const { words, cells } = this;
    const place = words[LISTED + (kind << 8) + (number & 255)];
    return cells[place << CELL] === cells[ASKED] ? this.touch(kind, place) : 0;
  }

  /** A hit of a place of the first level that was not predicted. */
  protected hit(kind: number, side: AccessSide, number: number): number {
    const { words, cells } = this;
    let place = side.firstPlace + ((number & side.firstMask) << 2);
    while (cells[place << CELL] !== cells[ASKED]) place++;
    if (words[(place << WORD) | ATTRIBUTES] !== side.allowedAttributes && !this.allows(kind, side, place)) return 0;
    words[(number & 255) | ((kind + 1) << 8)] = place;
    return this.touch(kind, place);
  }

  /** Puts the translation of the page asked for into the first level, and predicts it. */
  protected fill(kind: number, side: AccessSide, number: number, frame: number, attributes: number): number {
    const { words, cells } = this;
    const set = number & side.firstMask;
    if (words[(side.firstCount + set) | 0] !== FIRST_WAYS)
      return this.fillRoom(kind, side, number, frame, attributes) | 0;
    const state = (side.firstState + set) | 0;
    const filled = words[(side.firstFills + words[state]) | 0];
    const place = (side.firstPlace + (set << 2) + (filled & 0xff)) | 0;
    const record = place << WORD;
    words[state] = filled >> 8;
    cells[place << CELL] = cells[ASKED];
    words[record | FRAME] = frame;
    words[record | ATTRIBUTES] = attributes;
    return this.predict(kind, number, place);
  }

  /** As {@link fill} in a set with an empty slot. */
  private fillRoom(kind: number, side: AccessSide, number: number, frame: number, attributes: number): number {
    const { words } = this;
    const place = side.firstPlace + side.first.insert(this.cells[ASKED], number, 0, 0, 0, 0);
    words[(place << WORD) | FRAME] = frame;
    words[(place << WORD) | ATTRIBUTES] = attributes;
    return this.predict(kind, number, place);
  }

  /** Predicts a place that was just filled; returns it. */
  private predict(kind: number, number: number, place: number): number {
    const { words } = this;
    const bucket = number & 255;
    // What was predicted for the slot's old page must not be taken for the new one.
    const other = bucket | (((kind ^ 1) + 1) << 8);
    if (words[other] === place) words[other] = 0;
    words[bucket | ((kind + 1) << 8)] = place;
    return place;
  }

  /** Whether the translation in a place may be used for an access of `kind`; remembered when it may. */
  protected allows(kind: number, side: AccessSide, place: number): boolean {
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
  protected rulesAllow(kind: number, flags: number): boolean {
    const { words } = this;
    const rules = RULES | (kind << 2);
    return ((flags ^ words[rules]) & words[rules | 1]) === 0 && ((words[rules | 3] >>> (flags >> KEY_SHIFT)) & 1) === 0;
  }

  /** Whether there is a chunk of memory for a frame, given by its bits 39:32 and 31:0. */
  protected hasChunk(frameHigh: number, frame: number): boolean {
    if (frameHigh !== 0 || this.memory.chunkAt(frame >>> 0) === null) return false;
    this.chunkNumber = frame >>> CHUNK_SHIFT;
    return true;
  }
}

/** Whether the bits of page numbers that the path gets are all that a TLB's index depends on. */
function fitsNumber(tlb: Tlb): boolean {
  return tlb.headMask < 2 ** NUMBER_BITS && 2 * tlb.hashShift <= NUMBER_BITS;
}
