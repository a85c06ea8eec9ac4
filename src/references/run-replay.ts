/** Replaying a whole batch by its runs (page-runs.ts): run heads are made, the references that repeat them are counted. */

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
  /** How many run heads {@link keepsOtherRun} has looked at. */
  private seen = 0;
  /** The last of those in each TLB: that of loads and stores, that of fetches; -1 for none. */
  private readonly lastHeads = [-1, -1];

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
      if (!this.keepsOtherRun(stop)) {
        this.makeRest(headIndexes[stop], stop);
        break;
      }
      head = stop;
    }
    bulk.repeatHits(repeats[0] - made[0], repeats[1] - made[1], repeats[2] - made[2]);
  }

  /**
   * Whether the run that the other TLB is in, where run head `faulted` has faulted, still hits there: that is seen, and not taken as known. A run of
   * the same TLB begins anew with the run head.
   */
  private keepsOtherRun(faulted: number): boolean {
    const { bulk, batch, lastHeads } = this;
    const { headKinds, headAddresses } = batch;
    for (; this.seen < faulted; this.seen++) lastHeads[(headKinds[this.seen] & KIND_MASK) >> 1] = this.seen;
    const other = lastHeads[1 - ((headKinds[faulted] & KIND_MASK) >> 1)];
    return other < 0 || bulk.isPredicted(headKinds[other], headAddresses[other]);
  }

  /** Makes all references from `from` on; `head` is the first run head that is not before it. */
  private makeRest(from: number, head: number): void {
    const { bulk, batch, made } = this;
    const { kinds, addresses, headKinds, length, runHeads } = batch;
    for (let i = from; i < length; i++) made[kinds[i] & KIND_MASK]++;
    for (let i = head; i < runHeads; i++) made[headKinds[i] & KIND_MASK]--;
    for (let at = from; ; ) {
      at = bulk.touch(kinds, addresses, at, length);
      if (at === length) return;
      this.faultIn(addresses[at], kinds[at]);
    }
  }
}
