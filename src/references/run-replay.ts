/** Replaying a whole batch by its runs (page-runs.ts): run heads are made, the references that repeat them are counted. */

import { MUST_HIT } from "../../arch/cpu/bulk-touch.ts";
import type { Cpu } from "../../arch/index.ts";
import type { ReferenceBatch } from "./reference-batch.ts";

const KIND_MASK = 3;

/** Gives the page at `la` to the program; the access that faulted is then made again. */
export type FaultIn = (la: number, kind: number) => void;

/**
 * Makes all references of a batch, with what each by itself would do, where `cpu.bulk.canRepeatHits` and faults change nothing on the
 * CPU but what concerns their own page.
 */
export class RunReplay {
  private readonly bulk: Cpu["bulk"];
  private readonly batch: ReferenceBatch;
  private readonly faultIn: FaultIn;
  /** Repeats that have been made all the same, by kind. */
  private readonly made = [0, 0, 0];
  /** A single reference. */
  private readonly kind = new Uint8Array(1);
  private readonly address = new Float64Array(1);

  constructor({ bulk }: Cpu, batch: ReferenceBatch, faultIn: FaultIn) {
    this.bulk = bulk;
    this.batch = batch;
    this.faultIn = faultIn;
  }

  /** Makes them. */
  run(): void {
    const { bulk, batch, made } = this;
    const { headKinds, headAddresses, headIndexes, runHeads, repeats } = batch;
    let head = 0;
    while (head < runHeads) {
      const stop = bulk.touch(headKinds, headAddresses, head, runHeads);
      if (stop === runHeads) break;
      if (stop < 0) {
        this.makeRest(headIndexes[~stop], ~stop);
        break;
      }
      this.faultIn(headAddresses[stop], headKinds[stop]);
      head = this.afterFault(stop);
    }
    bulk.repeatHits(repeats[0] - made[0], repeats[1] - made[1], repeats[2] - made[2]);
  }

  /**
   * Makes the run head that faulted again, and those after it one by one, until one is of the other TLB: whether it still hits there is
   * seen and not taken as known. Returns the next run head.
   */
  private afterFault(faulted: number): number {
    const { batch } = this;
    const { kinds, headKinds, headIndexes, length, runHeads } = batch;
    let tlb = (headKinds[faulted] & KIND_MASK) >> 1;
    let head = faulted;
    for (let i = headIndexes[faulted]; i < length; i++) {
      const isHead = head < runHeads && headIndexes[head] === i;
      const kind = isHead ? headKinds[head] : (kinds[i] & KIND_MASK) | MUST_HIT;
      let stop = this.touchOne(kind, batch.addresses[i]);
      while (stop === 0) {
        this.faultIn(batch.addresses[i], kind);
        tlb = (kind & KIND_MASK) >> 1;
        stop = this.touchOne(kind, batch.addresses[i]);
      }
      if (stop < 0) return this.makeRest(i, head);
      if (isHead) head++;
      else this.made[kind & KIND_MASK]++;
      if ((kind & KIND_MASK) >> 1 !== tlb) return head;
    }
    return head;
  }

  /** 1 when it is made, 0 when it faulted, less than 0 when it is not what it must be. */
  private touchOne(kind: number, la: number): number {
    this.kind[0] = kind;
    this.address[0] = la;
    return this.bulk.touch(this.kind, this.address, 0, 1);
  }

  /** Makes all references from `from` on; `head` is the first run head that is not before it. Returns the number of run heads. */
  private makeRest(from: number, head: number): number {
    const { bulk, batch, made } = this;
    const { kinds, addresses, headKinds, length, runHeads } = batch;
    for (let i = from; i < length; i++) made[kinds[i] & KIND_MASK]++;
    for (let i = head; i < runHeads; i++) made[headKinds[i] & KIND_MASK]--;
    for (let at = from; ; ) {
      at = bulk.touch(kinds, addresses, at, length);
      if (at === length) return runHeads;
      this.faultIn(addresses[at], kinds[at]);
    }
  }
}
