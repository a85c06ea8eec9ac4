/**
 * A short path of the host, not of the machine: what `Mmu.translate` does for 4 KiB pages in the common cases, written out on
 * the shared arrays. It handles a second-level hit, and a walk that starts at a cached PDE and finds a PTE which allows the
 * access and needs no bit set. In every other case it returns 0 having changed nothing, and the general path does the work;
 * a test holds that the two leave the same state.
 */
import type { PagingMode } from "./paging-mode.ts";
import type { PagingStructureCaches } from "./paging-structure-caches.ts";
import { COUNT_SECOND_LEVEL_HIT, COUNT_WALK, COUNT_WALK_CYCLES } from "./perf-counters.ts";
import type { PhysicalMemory } from "./physical-memory.ts";
import type { Preset } from "./preset.ts";
import type { Tlb, TlbArrays } from "./tlb.ts";
import type { TlbHierarchy } from "./tlb-hierarchy.ts";
import type { WalkCaches } from "./walk-caches.ts";

// V8 folds a module's own constants into the code, but not those that it imports.
const GLOBAL = 4096;
const PCID_MASK = 0x1fff;
const SECOND_LEVEL_HITS = COUNT_SECOND_LEVEL_HIT;
const WALKS = COUNT_WALK;
const WALK_CYCLES = COUNT_WALK_CYCLES;

/** The short path of one CPU. */
export class SmallPages {
  /** Off while translations are watched (flush attribution). */
  enabled = true;

  private readonly cells: Float64Array;
  private readonly words: Int32Array;
  private readonly rules: Int32Array;
  private readonly mode: PagingMode;
  private readonly chunks: Int32Array[];
  private readonly memory: PhysicalMemory;
  private readonly walkCaches: WalkCaches;
  private readonly pde: Tlb | null;
  /** The first-level TLB of each kind of access; null where the path cannot be used. */
  private readonly loads: Tlb | null;
  private readonly stores: Tlb | null;
  private readonly fetches: Tlb | null;
  private readonly second: Tlb;
  /** Word that counts translations of large pages in all TLBs. */
  private readonly largeAt: number;
  private readonly firstTag: number;
  private readonly recordsAt: number;
  private readonly physicalAt: number;
  private readonly clock: number;
  private readonly countsAt: number;
  private readonly secondLevelHitCycles: number;
  private readonly walkCycles: number;
  /** The chunk of memory used last, and its number. */
  private chunk: Int32Array = new Int32Array(0);
  private chunkNumber = -1;
  /** The page table used last, as the base of its words in its chunk. */
  private table: Int32Array = new Int32Array(0);
  private tableFrame = -1;

  /** @param clock cell of the CPU's clock */
  constructor(
    arrays: TlbArrays,
    clock: number,
    countsAt: number,
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
    this.rules = mode.rules;
    this.chunks = tlbs.predicted.chunks;
    this.memory = memory;
    this.walkCaches = walkCaches;
    this.pde = structures.simplePde();
    const simple = tlbs.simpleSides();
    this.second = tlbs.second[0] ?? tlbs.first[0];
    [this.loads, this.stores, this.fetches] = simple.map((side) => (side?.second === this.second ? side.first : null));
    this.largeAt = arrays.largeAt;
    this.firstTag = tlbs.predicted.firstTag;
    this.recordsAt = tlbs.predicted.recordsAt;
    this.physicalAt = tlbs.predicted.physicalAt;
    this.clock = clock;
    this.countsAt = countsAt;
    this.secondLevelHitCycles = preset.costs.secondLevelHit.value;
    this.walkCycles = preset.costs.walk.value;
  }

  /** The place of `la`'s translation in the first level, allowed for `kind` and predicted from now on; 0 if not done here. */
  translate(kind: number, la: number): number {
    const first = kind === 0 ? this.loads : kind === 1 ? this.stores : this.fetches;
    const { cells, words, second, rules, mode } = this;
    if (first === null || words[this.largeAt] !== 0 || !this.enabled) return 0;
    const page = la - ((la | 0) & 4095);
    const number = (la / 4096) | 0;
    if (first.headAt >= 0) {
      let link = words[first.headAt + (number & first.headMask)];
      while (link !== 0) {
        if (cells[first.tagAt + link - 1] === page) return 0;
        link = words[first.nextAt + link - 1];
      }
    } else {
      let cell = first.tagAt + (number & first.setMask) * first.ways;
      const end = cell + first.ways;
      for (; cell < end; cell++) if (cells[cell] === page) return 0;
    }
    let link = words[second.headAt + (number & second.headMask)];
    while (link !== 0 && cells[second.tagAt + link - 1] !== page) link = words[second.nextAt + link - 1];
    if (link === 0) return this.walk(kind, la, first);
    const slot = link - 1;
    const meta = second.metaAt + (slot << 1);
    const context = words[meta];
    const flags = words[meta + 1];
    if (context !== GLOBAL && (context !== mode.pcid || (second.isLimited && context !== second.lastPcid))) return 0;
    const rule = kind << 2;
    if (((flags ^ rules[rule]) & rules[rule + 1]) !== 0) return 0;
    if (((rules[rule + 3] >>> (flags >> 16)) & 1) !== 0) return 0;
    const set = (number ^ ((number >>> second.hashShift) & second.hashMask)) & second.setMask;
    const use = second.hitUse[slot - set * second.ways];
    const stateAt = second.stateAt + set;
    words[stateAt] = (words[stateAt] & (use >>> 16)) | (use & 0xffff);
    cells[this.countsAt + SECOND_LEVEL_HITS + kind]++;
    cells[this.clock] += this.secondLevelHitCycles;
    return this.fillFirst(kind, page, number, first, context, flags, cells[second.frameAt + slot]);
  }

  /** Puts a translation into the first level and predicts it. */
  private fillFirst(
    kind: number,
    page: number,
    number: number,
    first: Tlb,
    context: number,
    flags: number,
    frame: number,
  ): number {
    const { words, cells } = this;
    const slot = first.insert(page, number, context, frame, flags);
    const place = first.tagAt + slot - this.firstTag;
    const bucket = number & 255;
    if (words[bucket] === place) words[bucket] = 0;
    if (words[bucket | 256] === place) words[bucket | 256] = 0;
    const chunkNumber = Math.floor(frame / 1024);
    if (chunkNumber !== this.chunkNumber && !this.chooseChunk(frame, chunkNumber)) return 0;
    const at = this.recordsAt + (place << 1);
    words[at] = (words[at] & ~1023) | (frame & 1023);
    cells[this.physicalAt + place] = frame * 4096;
    if (this.chunks[place] !== this.chunk) this.chunks[place] = this.chunk;
    words[(kind << 8) | bucket] = place;
    return place;
  }

  private chooseChunk(frame: number, chunkNumber: number): boolean {
    const chunk = this.memory.chunkAt(frame);
    if (chunk === null) return false;
    this.chunk = chunk;
    this.chunkNumber = chunkNumber;
    return true;
  }

  /** A walk from a cached PDE to a PTE that needs nothing done to it. */
  private walk(kind: number, la: number, first: Tlb): number {
    const { words, cells, mode, pde, rules, second } = this;
    if (pde === null) return 0;
    const region = Math.floor(la / 0x20_0000);
    const tag = region * 0x20_0000 + 0.8125;
    let cell = pde.tagAt + ((region | 0) & pde.setMask) * pde.ways;
    const end = cell + pde.ways;
    while (cell < end && cells[cell] !== tag) cell++;
    if (cell === end) return 0;
    const pdeSlot = cell - pde.tagAt;
    const pdeMeta = pde.metaAt + (pdeSlot << 1);
    if ((words[pdeMeta] & PCID_MASK) !== mode.pcid) return 0;
    const tableFrame = cells[pde.frameAt + pdeSlot];
    if (tableFrame !== this.tableFrame && !this.chooseTable(tableFrame)) return 0;
    const number = (la / 4096) | 0;
    const index = number & 511;
    const at = ((tableFrame & 1023) << 10) | (index << 1);
    const low = this.table[at];
    const high = this.table[at + 1];
    if ((low & 0x21) !== 0x21 || (high & (mode.reservedHigh | 0xfff00)) !== 0) return 0;
    const rights = words[pdeMeta + 1];
    const combined = (rights & (low >> 1) & 3) | ((rights | (high >>> 29)) & 4);
    const flags =
      combined |
      ((low >> 3) & 8) |
      ((rights & 1) << 5) |
      ((low >> 4) & mode.globalFlag) |
      ((((low >> 3) & 3) | ((low >> 5) & 4)) << 6) |
      ((((high >>> 27) & 15) | ((combined & 2) << 3)) << 16);
    const rule = kind << 2;
    if (((flags ^ rules[rule]) & rules[rule + 1]) !== 0) return 0;
    if (((rules[rule + 3] >>> (flags >> 16)) & 1) !== 0) return 0;
    const context = (flags & 16) !== 0 ? GLOBAL : mode.pcid;
    if (context !== GLOBAL && second.isLimited && context !== second.lastPcid) return 0;
    const pdeSet = (region | 0) & pde.setMask;
    const use = pde.hitUse[pdeSlot - pdeSet * pde.ways];
    const pdeState = pde.stateAt + pdeSet;
    words[pdeState] = (words[pdeState] & (use >>> 16)) | (use & 0xffff);
    const cycles = this.walkCycles + this.walkCaches.fetch(tableFrame * 64 + (index >> 3));
    cells[this.clock] += cycles;
    cells[this.countsAt + WALK_CYCLES + kind] += cycles;
    cells[this.countsAt + WALKS + kind * 3]++;
    const page = la - ((la | 0) & 4095);
    const frame = (high & 0xff) * 0x10_0000 + (low >>> 12);
    second.insert(page, number, context, frame, flags);
    return this.fillFirst(kind, page, number, first, context, flags, frame);
  }

  private chooseTable(frame: number): boolean {
    const chunk = this.memory.chunkAt(frame);
    if (chunk === null) return false;
    this.table = chunk;
    this.tableFrame = frame;
    return true;
  }
}
