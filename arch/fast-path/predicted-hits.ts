/**
 * A shortcut of the host, not of the machine: for each kind of access and low bits of the page number, the first-level slot
 * that translates the page used there last, kept only while the access is known to be allowed in the CPU's present mode. The
 * fast path of an access then needs one comparison with the slot's tag, and updates the set's replacement state as a lookup
 * would.
 *
 * A prediction is removed when its slot is given to another translation, and all are when a register that paging depends
 * on changes; a slot that was emptied no longer compares equal. Only 4 KiB entries whose page is memory are predicted. Those
 * for loads and stores share slots: a store asks for `ATTRIBUTE_STORES` as well, and what allows stores allows loads.
 */

import type { PhysicalMemory } from "../memory/physical-memory.ts";
import {
  ATTRIBUTE_STORES,
  type CpuArrays,
  OTHER_PREDICTIONS_AT,
  PREDICTIONS,
  PREDICTIONS_AT,
  WORD_ATTRIBUTES,
  WORD_SHIFT,
} from "../tlb/cpu-arrays.ts";
import type { Tlb } from "../tlb/tlb.ts";

const KINDS = 3;
const KIND_STORE = 1;
const KIND_FETCH = 2;
/** The last frame of whose pages hits are predicted. */
const FRAME_MAX = 2 ** 31 - 1;

/** The predictions of one CPU. */
export class PredictedHits {
  private readonly words: Int32Array;
  private readonly memory: PhysicalMemory;
  /** Whether some first-level TLB has its predictions apart. */
  private readonly hasOthers: boolean;

  constructor(arrays: CpuArrays, first: readonly Tlb[], memory: PhysicalMemory) {
    this.hasOthers = first.some((tlb) => !tlb.replacement.isTree);
    this.words = arrays.words;
    this.memory = memory;
  }

  /** Remembers that `tlb` translates the 4 KiB page of `la` in `slot`, allowed for `kind`. */
  remember(kind: number, la: number, tlb: Tlb, slot: number): void {
    const frame = tlb.frameOf(slot);
    if (frame > FRAME_MAX || this.memory.chunkAt(frame) === null) return;
    tlb.markMemory(slot);
    const { words } = this;
    const place = tlb.firstPlace + slot;
    if (kind === KIND_STORE) words[(place << WORD_SHIFT) | WORD_ATTRIBUTES] |= ATTRIBUTE_STORES;
    words[tableOf(tlb, kind) + ((la >>> 12) & (PREDICTIONS - 1))] = place;
  }

  /** Removes the predictions of `la`'s page for a slot that was just filled. */
  forget(la: number, tlb: Tlb, slot: number): void {
    const place = tlb.firstPlace + slot;
    const { words } = this;
    for (let kind = 0; kind < KINDS; kind++) {
      const at = tableOf(tlb, kind) + ((la >>> 12) & (PREDICTIONS - 1));
      if (words[at] === place) words[at] = 0;
    }
  }

  /** Removes all predictions. */
  clear(): void {
    this.words.fill(0, PREDICTIONS_AT, PREDICTIONS_AT + KINDS * PREDICTIONS);
    if (this.hasOthers) this.words.fill(0, OTHER_PREDICTIONS_AT, OTHER_PREDICTIONS_AT + KINDS * PREDICTIONS);
  }
}

/** Word of the first prediction of hits of a kind in a TLB. */
function tableOf(tlb: Tlb, kind: number): number {
  return (tlb.replacement.isTree || kind === KIND_FETCH ? PREDICTIONS_AT : OTHER_PREDICTIONS_AT) + kind * PREDICTIONS;
}
