/**
 * A shortcut of the host, not of the machine: which 4 KiB pages the first-level TLBs are known to translate, with the
 * access known to be allowed in the CPU's present mode. A hit costs one compare; it then updates the replacement state of
 * the TLB's set exactly as a lookup would. Every eviction, invalidation and change of mode drops what it concerns.
 */
import { CHUNK_FRAME_MASK, FRAME_WORDS_SHIFT, type PhysicalMemory } from "./physical-memory.ts";
import type { Tlb } from "./tlb.ts";
import { CONTEXT_SIZE_SHIFT, SIZE_4K } from "./translation.ts";

/** log2 of the pages remembered for each kind of access. */
export const HIT_SHIFT = 8;
/** Index of a page among those of its kind. */
export const HIT_MASK = (1 << HIT_SHIFT) - 1;
/** First index of stores. */
export const HIT_STORES = 1 << HIT_SHIFT;
/** First index of fetches. */
export const HIT_FETCHES = 2 << HIT_SHIFT;

const HIT_ENTRIES = 3 << HIT_SHIFT;
const NO_CHUNK = new Int32Array(0);

/** Pages by kind of access (load 0, store 1, fetch 2) and low bits of the page number. */
export class HitCache {
  /** The page number; NaN for none. */
  readonly tag = new Float64Array(HIT_ENTRIES).fill(Number.NaN);
  /**
   * Four words an entry: the index of the set's replacement state in `state` (-1: ask the TLB), the bits of it that a hit
   * keeps, those it sets, and the index of the page's first word in its chunk of memory.
   */
  readonly info = new Int32Array(HIT_ENTRIES * 4);
  /** The chunk of physical memory that holds the page. */
  readonly chunk: Int32Array[] = new Array<Int32Array>(HIT_ENTRIES).fill(NO_CHUNK);
  /** Physical address of the page. */
  readonly physical = new Float64Array(HIT_ENTRIES);
  /** Replacement state of all first-level TLBs. */
  readonly state: Int32Array;
  private readonly owner = new Int32Array(HIT_ENTRIES);
  private readonly owners: Tlb[] = [];
  private readonly memory: PhysicalMemory | null;

  constructor(memory: PhysicalMemory | null, state: Int32Array) {
    this.memory = memory;
    this.state = state;
  }

  /** Makes a first-level TLB's hits cacheable. */
  attach(tlb: Tlb): void {
    tlb.hits = this;
    tlb.hitOwner = this.owners.length;
    this.owners.push(tlb);
  }

  /** Remembers that `slot` of `tlb` translates page `vpn` to `frame` for accesses of `kind`. */
  fill(kind: number, vpn: number, tlb: Tlb, slot: number, frame: number): void {
    const { memory } = this;
    if (memory === null || !memory.has(frame)) return;
    const entry = (kind << HIT_SHIFT) | (vpn & HIT_MASK);
    const set = (slot / tlb.ways) | 0;
    const way = slot - set * tlb.ways;
    const at = entry << 2;
    const { info } = this;
    info[at] = tlb.policy.stamps ? -1 : tlb.stateBase + set;
    info[at + 1] = tlb.policy.hitKeep[way];
    info[at + 2] = tlb.policy.hitSet[way];
    info[at + 3] = (frame & CHUNK_FRAME_MASK) << FRAME_WORDS_SHIFT;
    this.tag[entry] = vpn;
    this.chunk[entry] = memory.chunkForWrite(frame);
    this.physical[entry] = frame * 4096;
    this.owner[entry] = (tlb.hitOwner << 16) | slot;
  }

  /** Tells the TLB of an entry whose replacement state is not in `state` that it was hit. */
  touchOwner(entry: number): void {
    this.owners[this.owner[entry] >> 16].touch(this.owner[entry] & 0xffff);
  }

  /** Forgets the pages that `slot` of `tlb` translates. */
  dropSlot(tlb: Tlb, slot: number): void {
    if (tlb.context[slot] >> CONTEXT_SIZE_SHIFT === SIZE_4K) {
      const vpn = tlb.tag[slot];
      const { tag } = this;
      const at = vpn & HIT_MASK;
      if (tag[at] === vpn) tag[at] = Number.NaN;
      if (tag[at | HIT_STORES] === vpn) tag[at | HIT_STORES] = Number.NaN;
      if (tag[at | HIT_FETCHES] === vpn) tag[at | HIT_FETCHES] = Number.NaN;
      return;
    }
    const owner = (tlb.hitOwner << 16) | slot;
    for (let entry = 0; entry < HIT_ENTRIES; entry++) if (this.owner[entry] === owner) this.tag[entry] = Number.NaN;
  }

  /** Forgets everything. */
  clear(): void {
    this.tag.fill(Number.NaN);
  }
}
