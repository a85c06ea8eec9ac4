/**
 * The first half of the host's short path for 4 KiB pages (small-pages.ts): hits of the first level that are not predicted, and
 * putting translations into it.
 */

import { TR_GLOBAL, TR_KEY_SHIFT, TR_MASK } from "../isa/translation.ts";
import { CHUNK_FRAMES_SHIFT, type PhysicalMemory } from "../memory/physical-memory.ts";
import type { Preset } from "../presets/preset.ts";
import {
  ASKED_AT,
  ATTRIBUTE_MEMORY,
  ATTRIBUTE_PCID_SHIFT,
  ATTRIBUTE_STORES,
  CELL_SHIFT,
  COUNTS_AT,
  type CpuArrays,
  OTHER_PREDICTIONS_AT,
  RULES_AT,
  WORD_ATTRIBUTES,
  WORD_FRAME,
  WORD_SHIFT,
} from "../tlb/cpu-arrays.ts";
import type { Tlb } from "../tlb/tlb.ts";
import type { TlbHierarchy } from "../tlb/tlb-hierarchy.ts";

// V8 folds a module's own constants into the code, but not those that it imports.
const ASKED = ASKED_AT;
const RULES = RULES_AT;
const OTHERS = OTHER_PREDICTIONS_AT;
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
const STORES = ATTRIBUTE_STORES;
const CHUNK_SHIFT = CHUNK_FRAMES_SHIFT;
/** In place of the low twelve bits of a PTE that was seen, where none was: an entry of zeros has them as 0. */
const NO_PTE = -1;
/** Ways of the first-level TLBs that the path knows. */
const FIRST_WAYS = 4;
/** Bits of page numbers that the path gets. */
const NUMBER_BITS = 20;

/** One kind of access: where its first-level TLB of 4 KiB pages lies, what it costs, what was seen last. */
export class AccessSide {
  /** 0 where the path can be used, else -1: what the count of large translations must be for its quickest form. */
  readonly gate: number;
  /** Whether it can be used while there are some. */
  readonly worksBesideLarge: boolean;
  readonly first: Tlb;
  readonly firstPlace: number;
  readonly firstMask: number;
  readonly firstCount: number;
  readonly rootsAt: number;
  readonly pairsAt: number;
  /** Word of the marks of set 0, and where they begin in the page number. */
  readonly marksAt: number;
  readonly markShift: number;
  /** What the number of the byte with a place's mark is more than the place. */
  readonly markOfPlace: number;
  /** Cycles of an access, and of one whose translation the second level holds. */
  readonly accessCycles: number;
  readonly secondLevelHitCycles: number;
  /** Attributes (`WORD_ATTRIBUTES`) of a translation, to memory, that allows the access in the present mode. */
  allowedAttributes = 0;
  /** Attributes of the PTE that was walked to last, in its low and high word, and of the PDE above it. */
  seenLow = NO_PTE;
  seenHigh = 0;
  seenPde = 0;
  /** What they come to: attributes of the translation. */
  seenAttributes = 0;

  constructor(first: Tlb, isSimple: boolean, holdsLarge: boolean, accessCycles: number, secondLevelHitCycles: number) {
    this.gate = isSimple && first.replacement.isTree ? 0 : -1;
    this.worksBesideLarge = this.gate === 0 && !holdsLarge;
    this.first = first;
    this.firstPlace = first.firstPlace;
    this.firstMask = first.setMask;
    this.firstCount = first.countAt;
    this.rootsAt = first.replacement.rootsAt;
    this.pairsAt = first.replacement.pairsAt;
    this.marksAt = first.marksAt >> 2;
    this.markShift = first.hashShift;
    this.markOfPlace = first.marksAt - first.firstPlace;
    this.accessCycles = accessCycles;
    this.secondLevelHitCycles = accessCycles + secondLevelHitCycles;
  }

  /** Forgets what was seen. */
  forget(): void {
    this.allowedAttributes = 0;
    this.seenLow = NO_PTE;
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
  protected readonly bytes: Uint8Array;
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
    this.bytes = arrays.bytes;
    this.memory = memory;
    this.clock = clock.subarray(id, id + 1);
    const { load, store, fetch, secondLevelHit } = preset.costs;
    const costs = [load.value, store.value, fetch.value];
    const isSimple =
      !second.replacement.isListed && second.replacement.fillsLikeHits && second.headAt >= 0 && fitsNumber(second);
    const sides = tlbs.smallSides();
    // A fill looks after the predictions of loads and stores, or of fetches, but not of all three.
    const isUnified = sides[2].first === sides[0].first || sides[2].first === sides[1].first;
    const [loads, stores, fetches] = sides.map((side, kind) => {
      const usesIt = side.second.length === 1 && side.second[0] === second && !isUnified;
      return new AccessSide(side.first, isSimple && usesIt, side.holdsLarge, costs[kind], secondLevelHit.value);
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

  /** A hit of a first-level place, whose frame is returned. */
  touch(kind: number, place: number): number {
    const side = kind === 0 ? this.loads : kind === 1 ? this.stores : this.fetches;
    side.first.touch(place - side.firstPlace);
    this.cells[COUNTS + kind]++;
    this.clock[0] += side.accessCycles;
    return this.words[(place << WORD) | FRAME];
  }

  /** A predicted hit of a first-level TLB that the path does not know; -1 when the page is not predicted there. */
  protected touchOther(kind: number, number: number): number {
    const { words, cells } = this;
    const place = words[OTHERS + (kind << 8) + (number & 255)];
    if (cells[place << CELL] !== cells[ASKED]) return -1;
    return kind !== 1 || words[(place << WORD) | ATTRIBUTES] < 0 ? this.touch(kind, place) : -1;
  }

  /** Whether the page asked for is in its set of the first level. */
  protected isInFirst(side: AccessSide, number: number): boolean {
    const { cells } = this;
    const page = cells[ASKED];
    const first = (side.firstPlace + ((number & side.firstMask) << 2)) << CELL;
    return (
      cells[first] === page || cells[first + 4] === page || cells[first + 8] === page || cells[first + 12] === page
    );
  }

  /** A hit of a place of the first level that was not predicted. */
  protected hit(kind: number, side: AccessSide, number: number): number {
    const { words, cells } = this;
    let place = side.firstPlace + ((number & side.firstMask) << 2);
    while (cells[place << CELL] !== cells[ASKED]) place++;
    const attributes = words[(place << WORD) | ATTRIBUTES] & ~STORES;
    if (attributes !== side.allowedAttributes && !this.allows(kind, side, place)) return -1;
    this.predict(kind, number, place);
    return this.touch(kind, place);
  }

  /** Puts the translation of the page asked for into the first level, and predicts it. */
  protected fill(kind: number, side: AccessSide, number: number, frame: number, attributes: number): number {
    const { words, cells } = this;
    const set = number & side.firstMask;
    if (words[(side.firstCount + set) | 0] !== FIRST_WAYS)
      return this.fillRoom(kind, side, number, frame, attributes) | 0;
    const root = (side.rootsAt + (side.firstPlace >> 2) + set) | 0;
    const place = words[(side.pairsAt + ((words[root] ^ 2) >> 1)) | 0] ^ 1;
    words[root] = place;
    words[(side.pairsAt + (place >> 1)) | 0] = place;
    this.bytes[(side.markOfPlace + place) | 0] = number >>> side.markShift;
    cells[place << CELL] = cells[ASKED];
    words[((place << WORD) + FRAME) | 0] = frame;
    words[((place << WORD) + ATTRIBUTES) | 0] = kind === 1 ? attributes | STORES : attributes;
    words[((number & 255) + ((kind + 1) << 8)) | 0] = place;
    return frame;
  }

  /** As {@link fill} in a set with an empty slot. */
  private fillRoom(kind: number, side: AccessSide, number: number, frame: number, attributes: number): number {
    const { words } = this;
    const place = side.firstPlace + side.first.insert(this.cells[ASKED], number, 0, 0, 0, 0);
    words[(place << WORD) | FRAME] = frame;
    words[(place << WORD) | ATTRIBUTES] = attributes;
    this.predict(kind, number, place);
    return frame;
  }

  /** Predicts a place for the page asked for, which it is known to allow accesses of `kind` to. */
  private predict(kind: number, number: number, place: number): void {
    const { words } = this;
    if (kind === 1) words[(place << WORD) | ATTRIBUTES] |= STORES;
    words[(number & 255) | ((kind + 1) << 8)] = place;
  }

  /** Whether the translation in a place may be used for an access of `kind`; remembered when it may. */
  protected allows(kind: number, side: AccessSide, place: number): boolean {
    const { words } = this;
    const attributes = words[(place << WORD) | ATTRIBUTES] & ~STORES;
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
    if (frameHigh !== 0 || frame < 0 || this.memory.chunkAt(frame >>> 0) === null) return false;
    this.chunkNumber = frame >>> CHUNK_SHIFT;
    return true;
  }
}

/** Whether the bits of page numbers that the path gets are all that a TLB's index depends on. */
function fitsNumber(tlb: Tlb): boolean {
  return tlb.headMask < 2 ** NUMBER_BITS && 2 * tlb.hashShift <= NUMBER_BITS;
}
