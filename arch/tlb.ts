/**
 * One set-associative structure of cached translations: a TLB, or a paging-structure cache. Entries are columns of typed
 * arrays; slot = set * ways + way.
 *
 * A tag is a number (the page number in units of the entry's size) and a context (PCID, or the mark of a global
 * translation, with the size), as in Intel SDM vol. 3A, 4.10.1 and 4.10.2.
 */
import type { HitCache } from "./hit-cache.ts";
import type { IndexHash, TlbGeometry, TlbKindName } from "./preset.ts";
import { type Replacement, replacementPolicy } from "./replacement.ts";
import { CONTEXT_PCID_MASK, CONTEXT_SIZE_SHIFT, GLOBAL_CONTEXT } from "./translation.ts";

/** A structure of `sets * ways` entries. */
export class Tlb {
  readonly name: string;
  readonly sets: number;
  readonly ways: number;
  readonly policy: Replacement;
  /** Page number of each entry in units of its size; -1 for an empty slot. */
  readonly tag: Float64Array;
  /** PCID or {@link GLOBAL_CONTEXT}, and the size of the entry. */
  readonly context: Int32Array;
  /** First 4 KiB frame of the page, or the frame of the table. */
  readonly frame: Float64Array;
  /** Rights and attributes (`TR_*`). */
  readonly flags: Int32Array;
  /** Replacement state of the sets, from `stateBase` on. */
  readonly state: Int32Array;
  readonly stateBase: number;
  /** Entries by size. */
  readonly sizeCount = new Int32Array(4);
  /** The index of this structure among those whose hits are cached, or -1. */
  hitOwner = -1;
  /** Whether pages larger than its sizes are kept in pieces. */
  holdsPieces = false;
  /** Told of every entry that is removed other than to make room; null when nobody wants to know. */
  onDrop: ((tlb: Tlb, slot: number) => void) | null = null;
  /** Which accesses use it; none for a paging-structure cache. */
  readonly kinds: readonly TlbKindName[];
  /** Where the host caches hits of this structure. */
  hits: HitCache | null = null;

  private readonly setMask: number;
  private readonly hashShift: number;
  private readonly hashMask: number;
  private readonly setCount: Int32Array;
  private readonly stamp: Float64Array | null;
  private clock = 0;
  /** PCIDs that have entries here, the one used last first; null without a limit. */
  private readonly pcids: number[] | null;
  private readonly pcidCapacity: number;

  /** @param state replacement state shared with other structures; this one uses `sets` words from `stateBase` on */
  constructor(geometry: TlbGeometry, state: Int32Array, stateBase: number, kinds: readonly TlbKindName[] = []) {
    const { sets, ways } = geometry;
    this.name = geometry.name;
    this.kinds = kinds;
    this.sets = sets;
    this.ways = ways;
    this.policy = replacementPolicy(geometry.replacement, ways);
    this.tag = new Float64Array(sets * ways).fill(-1);
    this.context = new Int32Array(sets * ways);
    this.frame = new Float64Array(sets * ways);
    this.flags = new Int32Array(sets * ways);
    this.state = state;
    this.stateBase = stateBase;
    this.setMask = sets - 1;
    this.hashShift = Math.log2(sets);
    this.hashMask = hashMask(geometry.indexHash, sets);
    this.setCount = new Int32Array(sets);
    this.stamp = this.policy.stamps ? new Float64Array(sets * ways) : null;
    this.pcidCapacity = geometry.pcidCapacity ?? 0;
    this.pcids = this.pcidCapacity > 0 ? [] : null;
  }

  /** The set that a page number selects. */
  setOf(number: number): number {
    const low = number | 0;
    return (low ^ ((low >>> this.hashShift) & this.hashMask)) & this.setMask;
  }

  /** The slot that holds `number` in one of two contexts, or -1. Changes nothing. */
  find(number: number, context: number, globalContext: number): number {
    const { tag, ways } = this;
    const start = this.setOf(number) * ways;
    const end = start + ways;
    for (let slot = start; slot < end; slot++) {
      if (tag[slot] === number) {
        const found = this.context[slot];
        if (found === context || found === globalContext) return slot;
      }
    }
    return -1;
  }

  /** Records a hit of `slot` for the replacement policy. */
  touch(slot: number): void {
    const set = (slot / this.ways) | 0;
    const way = slot - set * this.ways;
    const at = this.stateBase + set;
    this.state[at] = (this.state[at] & this.policy.hitKeep[way]) | this.policy.hitSet[way];
    if (this.stamp !== null) this.stamp[slot] = ++this.clock;
    if (this.pcids !== null) this.usePcid(this.context[slot]);
  }

  /** Puts an entry in, evicting another when its set is full; returns its slot. There must be no equal tag in it. */
  insert(number: number, context: number, frame: number, flags: number): number {
    if (this.pcids !== null) this.usePcid(context);
    const { tag, ways, policy } = this;
    const set = this.setOf(number);
    const start = set * ways;
    const at = this.stateBase + set;
    let way: number;
    if (this.setCount[set] < ways) {
      way = 0;
      while (tag[start + way] !== -1) way++;
      this.setCount[set]++;
    } else {
      way = policy.victims !== null ? policy.victims[this.state[at]] : this.slowVictim(set);
      const victim = start + way;
      this.sizeCount[this.context[victim] >> CONTEXT_SIZE_SHIFT]--;
      if (this.hits !== null) this.hits.dropSlot(this, victim);
    }
    const slot = start + way;
    this.state[at] = (this.state[at] & policy.fillKeep[way]) | policy.fillSet[way];
    if (this.stamp !== null) this.stamp[slot] = ++this.clock;
    tag[slot] = number;
    this.context[slot] = context;
    this.frame[slot] = frame;
    this.flags[slot] = flags;
    this.sizeCount[context >> CONTEXT_SIZE_SHIFT]++;
    return slot;
  }

  /** Removes the entry in `slot`. */
  drop(slot: number): void {
    if (this.onDrop !== null) this.onDrop(this, slot);
    if (this.hits !== null) this.hits.dropSlot(this, slot);
    this.sizeCount[this.context[slot] >> CONTEXT_SIZE_SHIFT]--;
    this.setCount[(slot / this.ways) | 0]--;
    this.tag[slot] = -1;
  }

  /** Removes everything; the host's cache of hits must be cleared by the caller. */
  clear(): void {
    if (this.onDrop !== null) {
      for (let slot = 0; slot < this.tag.length; slot++) if (this.tag[slot] !== -1) this.onDrop(this, slot);
    }
    this.tag.fill(-1);
    this.sizeCount.fill(0);
    this.setCount.fill(0);
    if (this.pcids !== null) this.pcids.length = 0;
  }

  /** Removes the entries of one size for `number`, of one PCID or of all (-1), global ones only if asked to. */
  dropNumber(number: number, size: number, pcid: number, globals: boolean): void {
    const start = this.setOf(number) * this.ways;
    for (let slot = start; slot < start + this.ways; slot++) {
      if (this.tag[slot] !== number || this.context[slot] >> CONTEXT_SIZE_SHIFT !== size) continue;
      const context = this.context[slot] & CONTEXT_PCID_MASK;
      if (context === GLOBAL_CONTEXT ? globals : pcid === -1 || context === pcid) this.drop(slot);
    }
  }

  /** Whether it holds no entry. */
  get isEmpty(): boolean {
    const { sizeCount } = this;
    return sizeCount[0] + sizeCount[1] + sizeCount[2] + sizeCount[3] === 0;
  }

  /** Removes the entries of one PCID; global ones stay. */
  dropPcid(pcid: number): void {
    if (this.isEmpty) return;
    for (let slot = 0; slot < this.tag.length; slot++) {
      if (this.tag[slot] !== -1 && (this.context[slot] & CONTEXT_PCID_MASK) === pcid) this.drop(slot);
    }
  }

  /** Removes every entry but the global ones. */
  dropNonGlobal(): void {
    if (this.isEmpty) return;
    for (let slot = 0; slot < this.tag.length; slot++) {
      if (this.tag[slot] !== -1 && (this.context[slot] & GLOBAL_CONTEXT) === 0) this.drop(slot);
    }
  }

  /** Keeps the PCIDs in order of use and, beyond the capacity, removes the entries of the one used least recently. */
  private usePcid(context: number): void {
    const pcid = context & CONTEXT_PCID_MASK;
    const pcids = this.pcids as number[];
    if (pcids[0] === pcid || pcid === GLOBAL_CONTEXT) return;
    const at = pcids.indexOf(pcid);
    if (at >= 0) pcids.splice(at, 1);
    pcids.unshift(pcid);
    if (pcids.length > this.pcidCapacity) this.dropPcid(pcids.pop() as number);
  }

  /** The way to evict where no table of victims tells. */
  private slowVictim(set: number): number {
    const { policy, ways, stamp } = this;
    if (policy.matrixRows !== null && policy.matrixWanted !== null) {
      const state = this.state[this.stateBase + set];
      let way = 0;
      while ((state & policy.matrixRows[way]) !== policy.matrixWanted[way]) way++;
      return way;
    }
    const stamps = stamp as Float64Array;
    let oldest = set * ways;
    for (let slot = oldest + 1; slot < (set + 1) * ways; slot++) if (stamps[slot] < stamps[oldest]) oldest = slot;
    return oldest - set * ways;
  }
}

/** Which bits above the index are folded into it. */
function hashMask(hash: IndexHash, sets: number): number {
  return hash === "xor" ? sets - 1 : 0;
}
