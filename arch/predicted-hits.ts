/**
 * A shortcut of the host, not of the machine: for each kind of access and low bits of the page number, the first-level slot
 * that translates the page used there last, kept only while the access is known to be allowed in the CPU's present mode. The
 * fast path of an access then needs one comparison with the slot's tag, and updates the set's replacement state as a lookup
 * would.
 *
 * A prediction is removed when its slot is given to another translation, and all are when a register that paging depends
 * on changes; a slot that was emptied no longer compares equal. Only 4 KiB entries whose page is memory are predicted.
 */
import { type CpuArrays, FIRST_TAGS_AT, PREDICTIONS } from "./cpu-arrays.ts";
import type { PhysicalMemory } from "./physical-memory.ts";
import type { Tlb } from "./tlb.ts";

const KINDS = 3;

/** The predictions of one CPU. */
export class PredictedHits {
  private readonly cells: Float64Array;
  private readonly words: Int32Array;
  private readonly memory: PhysicalMemory;
  /** The TLB of each first-level slot. */
  private readonly owners: readonly Tlb[];

  constructor(arrays: CpuArrays, first: readonly Tlb[], memory: PhysicalMemory) {
    this.cells = arrays.cells;
    this.words = arrays.words;
    this.memory = memory;
    this.owners = [first[0], ...first.flatMap((tlb) => new Array<Tlb>(tlb.slots).fill(tlb))];
  }

  /** Remembers that `tlb` translates the 4 KiB page of `la` in `slot`, allowed for `kind`. */
  remember(kind: number, la: number, tlb: Tlb, slot: number): void {
    if (this.memory.chunkAt(this.cells[tlb.frameAt + slot]) === null) return;
    this.words[kind * PREDICTIONS + ((la >>> 12) & (PREDICTIONS - 1))] = tlb.tagAt - FIRST_TAGS_AT + slot;
  }

  /** Removes the predictions of `la`'s page for a slot that was just filled. */
  forget(la: number, tlb: Tlb, slot: number): void {
    const place = tlb.tagAt - FIRST_TAGS_AT + slot;
    const { words } = this;
    for (let kind = 0; kind < KINDS; kind++) {
      const at = kind * PREDICTIONS + ((la >>> 12) & (PREDICTIONS - 1));
      if (words[at] === place) words[at] = 0;
    }
  }

  /** Removes all predictions. */
  clear(): void {
    this.words.fill(0, 0, KINDS * PREDICTIONS);
  }

  /** Records a hit of a first-level slot where the replacement state is a list. */
  touch(place: number): void {
    const owner = this.owners[place];
    owner.touch(place + FIRST_TAGS_AT - owner.tagAt);
  }
}
