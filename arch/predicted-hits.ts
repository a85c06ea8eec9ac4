/**
 * A shortcut of the host, not of the machine: for each kind of access and low bits of the page number, the first-level slot
 * that translates the page used there last, kept only while the access is known to be allowed in the CPU's present mode. The
 * fast path of an access then needs one comparison with the slot's tag, and updates the set's replacement state as a lookup
 * would.
 *
 * A prediction is removed when its slot is given to another translation, and all are when a register that paging depends
 * on changes; a slot that was emptied no longer compares equal. Only 4 KiB entries whose page is memory are predicted.
 */
import { type CpuArrays, LISTED_PREDICTIONS_AT, PREDICTIONS, PREDICTIONS_AT } from "./cpu-arrays.ts";
import type { PhysicalMemory } from "./physical-memory.ts";
import type { Tlb } from "./tlb.ts";

const KINDS = 3;

/** The predictions of one CPU. */
export class PredictedHits {
  private readonly words: Int32Array;
  private readonly memory: PhysicalMemory;
  /** Whether some first-level TLB has a list for its replacement state. */
  private readonly isListed: boolean;

  constructor(arrays: CpuArrays, first: readonly Tlb[], memory: PhysicalMemory) {
    this.isListed = first.some((tlb) => tlb.isListed);
    this.words = arrays.words;
    this.memory = memory;
  }

  /** Remembers that `tlb` translates the 4 KiB page of `la` in `slot`, allowed for `kind`. */
  remember(kind: number, la: number, tlb: Tlb, slot: number): void {
    if (this.memory.chunkAt(tlb.frameOf(slot)) === null) return;
    tlb.markMemory(slot);
    this.words[tableOf(tlb) + kind * PREDICTIONS + ((la >>> 12) & (PREDICTIONS - 1))] = tlb.firstPlace + slot;
  }

  /** Removes the predictions of `la`'s page for a slot that was just filled. */
  forget(la: number, tlb: Tlb, slot: number): void {
    const place = tlb.firstPlace + slot;
    const { words } = this;
    for (let kind = 0; kind < KINDS; kind++) {
      const at = tableOf(tlb) + kind * PREDICTIONS + ((la >>> 12) & (PREDICTIONS - 1));
      if (words[at] === place) words[at] = 0;
    }
  }

  /** Removes all predictions. */
  clear(): void {
    this.words.fill(0, PREDICTIONS_AT, PREDICTIONS_AT + KINDS * PREDICTIONS);
    if (this.isListed) this.words.fill(0, LISTED_PREDICTIONS_AT, LISTED_PREDICTIONS_AT + KINDS * PREDICTIONS);
  }
}

/** Word of the first prediction of hits in a TLB. */
function tableOf(tlb: Tlb): number {
  return tlb.isListed ? LISTED_PREDICTIONS_AT : PREDICTIONS_AT;
}
