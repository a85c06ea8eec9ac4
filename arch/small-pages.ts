/**
 * A short path of the host, not of the machine: what `Mmu.translate` does for 4 KiB pages in the common cases, written out on
 * the shared arrays (cpu-arrays.ts). It handles a second-level hit, and a walk that starts at a cached PDE and finds a PTE
 * which allows the access and needs no bit set. In every other case it returns 0 and the general path does, or completes,
 * the work; a test holds that the two leave the same state.
 *
 * The numbers in the code are the fixed places of cpu-arrays.ts: V8 folds literals, but not constants of other modules.
 */
import type { CpuArrays } from "./cpu-arrays.ts";
import type { PagingMode } from "./paging-mode.ts";
import type { PagingStructureCaches } from "./paging-structure-caches.ts";
import type { PhysicalMemory } from "./physical-memory.ts";
import type { Preset } from "./preset.ts";
import type { Tlb } from "./tlb.ts";
import type { TlbHierarchy } from "./tlb-hierarchy.ts";
import type { WalkCaches } from "./walk-caches.ts";

const GLOBAL = 4096;
const NO_CHUNK = new Int32Array(0);

/** Where the TLBs of 4 KiB pages of one kind of access lie. */
class Side {
  /** 0 where the path can be used, else -1: what the count of large translations must be. */
  readonly gate: number;
  readonly first: Tlb;
  /** First-level slots are numbered together; that of the TLB's slot 0. */
  readonly firstPlace: number;
  readonly firstWays: number;
  readonly firstMask: number;
  readonly firstHead: number;
  readonly firstState: number;
  readonly firstCount: number;
  readonly firstVictims: Uint8Array;

  constructor(first: Tlb, isSimple: boolean) {
    this.gate = isSimple && !first.isListed && first.fillsLikeHits && first.headAt < 0 ? 0 : -1;
    this.first = first;
    this.firstPlace = first.tagAt - 64;
    this.firstWays = first.ways;
    this.firstMask = first.setMask;
    this.firstHead = first.headAt;
    this.firstState = first.stateAt;
    this.firstCount = first.countAt;
    this.firstVictims = first.victims;
  }
}

/** The short path of one CPU. */
export class SmallPages {
  /**
   * The PCID whose translations the path may use; -1 until the general path has used the current one, where the number of
   * PCIDs that the second level holds is limited.
   */
  pcid = -1;

  private readonly cells: Float64Array;
  private readonly words: Int32Array;
  private readonly mode: PagingMode;
  private readonly memory: PhysicalMemory;
  private readonly chunks: readonly Int32Array[];
  private readonly zeroChunk: Int32Array;
  private readonly frames: number;
  private readonly walkCaches: WalkCaches;
  private readonly clock: Float64Array;
  private readonly id: number;
  private readonly framesAt: number;
  private readonly loads: Side;
  private readonly stores: Side;
  private readonly fetches: Side;
  private readonly second: Tlb;
  private readonly secondTag: number;
  private readonly secondHead: number;
  private readonly secondHeadMask: number;
  private readonly secondNext: number;
  private readonly secondRecords: number;
  private readonly secondFrame: number;
  private readonly pde: Tlb | null;
  private readonly secondLevelHitCycles: number;
  private readonly walkCycles: number;
  /** The chunk of the page table used last, and its frame. */
  private table: Int32Array = NO_CHUNK;
  private tableFrame = -1;

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
    this.chunks = memory.directory;
    this.zeroChunk = memory.zeroChunk;
    this.frames = memory.frames;
    this.walkCaches = walkCaches;
    this.clock = clock;
    this.id = id;
    this.framesAt = arrays.firstFramesAt;
    this.second = tlbs.second[0] ?? tlbs.first[0];
    const { second } = this;
    const [loads, stores, fetches] = tlbs.smallSides().map((side) => {
      const isSimple = side.second.length === 1 && side.second[0] === second && !second.isListed && second.headAt >= 0;
      return new Side(side.first, isSimple && second.fillsLikeHits);
    });
    this.loads = loads;
    this.stores = stores;
    this.fetches = fetches;
    this.secondTag = second.tagAt - 1;
    this.secondHead = second.headAt;
    this.secondHeadMask = second.headMask;
    this.secondNext = second.nextAt - 1;
    this.secondRecords = second.recordsAt - 4;
    this.secondFrame = second.frameAt - 1;
    this.pde = structures.simplePde();
    this.secondLevelHitCycles = preset.costs.secondLevelHit.value;
    this.walkCycles = preset.costs.walk.value;
  }

  /** The first-level slot of `la`'s translation, allowed for `kind` and predicted from now on; 0 if not done here. */
  translate(kind: number, la: number): number {
    const side = kind === 0 ? this.loads : kind === 1 ? this.stores : this.fetches;
    const { words, cells } = this;
    if (words[1056] !== side.gate) return 0;
    const number = (la / 4096) | 0;
    const page = la - (la & 4095);
    let cell = (side.firstPlace + 64 + (number & side.firstMask) * side.firstWays) | 0;
    const end = (cell + side.firstWays) | 0;
    for (; cell < end; cell++) if (cells[cell] === page) return 0;
    let link = words[this.secondHead + (number & this.secondHeadMask)];
    while (link !== 0 && cells[this.secondTag + link] !== page) link = words[this.secondNext + link];
    if (link === 0) return this.walk(kind, la);
    const record = (this.secondRecords + (link << 2)) | 0;
    const context = words[record];
    const flags = words[record | 1];
    if (context !== GLOBAL && context !== this.pcid) return 0;
    if (((flags ^ words[1024 | (kind << 2)]) & words[1025 | (kind << 2)]) !== 0) return 0;
    if (((words[1027 | (kind << 2)] >>> (flags >> 16)) & 1) !== 0) return 0;
    const use = words[record | 2];
    const state = words[record | 3];
    words[state] = (words[state] & (use >>> 16)) | (use & 0xffff);
    cells[3 + kind]++;
    this.clock[this.id] += this.secondLevelHitCycles;
    return this.fill(kind, side, number, page, context, flags, cells[this.secondFrame + link]);
  }

  /** Puts a translation into the first level and predicts it. */
  private fill(
    kind: number,
    side: Side,
    number: number,
    page: number,
    context: number,
    flags: number,
    frame: number,
  ): number {
    const { words, cells } = this;
    const set = number & side.firstMask;
    if (words[side.firstCount + set] !== side.firstWays) {
      // The slot may have been emptied while another page of this bucket was predicted there.
      words[number & 255] = 0;
      words[(number & 255) | 256] = 0;
      words[(number & 255) | 512] = 0;
      side.first.insert(page, number, context, frame, flags);
      return 0;
    }
    const way = side.firstVictims[words[side.firstState + set]];
    const place = (side.firstPlace + set * side.firstWays + way) | 0;
    const record = (1060 + (place << 2)) | 0;
    const use = words[record | 2];
    const state = words[record | 3];
    words[state] = (words[state] & (use >>> 16)) | (use & 0xffff);
    cells[64 + place] = page;
    cells[this.framesAt + place] = frame;
    words[record] = context;
    words[record | 1] = flags;
    const bucket = number & 255;
    const other = bucket | ((kind ^ 1) << 8);
    if (words[other] === place) words[other] = 0;
    words[bucket | (kind << 8)] = 0;
    if (frame >= this.frames) return 0;
    const chunk = this.chunks[(frame / 1024) | 0];
    if (chunk === this.zeroChunk || chunk.length === 0) return 0;
    words[bucket | (kind << 8)] = place;
    return place;
  }

  /** A walk from a cached PDE to a PTE that needs nothing done to it. */
  private walk(kind: number, la: number): number {
    const { words, cells, pde, mode } = this;
    if (pde === null || !(la >= 0 && la < 0x1_0000_0000_0000) || la !== Math.floor(la)) return 0;
    const region = Math.floor(la / 0x20_0000);
    const tag = region * 0x20_0000 + 0.8125;
    let slot = ((region | 0) & pde.setMask) * pde.ways;
    const end = slot + pde.ways;
    while (slot < end && cells[pde.tagAt + slot] !== tag) slot++;
    if (slot === end) return 0;
    const pdeRecord = pde.recordsAt + (slot << 2);
    if ((words[pdeRecord] & 0x1fff) !== mode.pcid) return 0;
    const tableFrame = cells[pde.frameAt + slot];
    if (tableFrame !== this.tableFrame && !this.chooseTable(tableFrame)) return 0;
    const number = (la / 4096) | 0;
    const index = number & 511;
    const at = ((tableFrame & 1023) << 10) | (index << 1);
    const { table } = this;
    const low = table[at];
    const high = table[at + 1];
    if ((low & 0x21) !== 0x21 || (high & (mode.reservedHigh | 0xfff00)) !== 0) return 0;
    const rights = words[pdeRecord | 1];
    const combined = (rights & (low >> 1) & 3) | ((rights | (high >>> 29)) & 4);
    const flags =
      combined |
      ((low >> 3) & 8) |
      ((rights & 1) << 5) |
      ((low >> 4) & mode.globalFlag) |
      (((low & 0x18) | ((low & 0x80) >> 2)) << 3) |
      ((((high >>> 27) & 15) | ((combined & 2) << 3)) << 16);
    if (((flags ^ words[1024 | (kind << 2)]) & words[1025 | (kind << 2)]) !== 0) return 0;
    if (((words[1027 | (kind << 2)] >>> (flags >> 16)) & 1) !== 0) return 0;
    const context = (flags & 16) !== 0 ? GLOBAL : mode.pcid;
    if (context !== GLOBAL && context !== this.pcid) return 0;
    const use = words[pdeRecord | 2];
    const state = words[pdeRecord | 3];
    words[state] = (words[state] & (use >>> 16)) | (use & 0xffff);
    const cycles = this.walkCycles + this.walkCaches.fetch(tableFrame * 64 + (index >> 3));
    this.clock[this.id] += cycles;
    cells[18 + kind] += cycles;
    cells[6 + kind * 3]++;
    const page = la - (la & 4095);
    const frame = (high & 0xff) * 0x10_0000 + (low >>> 12);
    this.second.insert(page, number, context, frame, flags);
    const side = kind === 0 ? this.loads : kind === 1 ? this.stores : this.fetches;
    return this.fill(kind, side, number, page, context, flags, frame);
  }

  private chooseTable(frame: number): boolean {
    const chunk = this.memory.chunkAt(frame);
    if (chunk === null) return false;
    this.table = chunk;
    this.tableFrame = frame;
    return true;
  }
}
