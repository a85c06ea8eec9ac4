/** A ring of batches in memory that two threads share: one fills them in turn, the other takes them in the same order. */
import { BATCH_BYTES, ReferenceBatch } from "./reference-batch.ts";

/** Batches in the ring: a few, so that both threads find them in their caches. */
const SLOTS = 8;
/** Words at the beginning: how many batches have been filled, and how many of them are done with. */
const FILLED = 0;
const DONE = 1;
const CONTROL_BYTES = 64;

/** The ring, as both sides see it. */
export class BatchRing {
  /** What both sides are made on. */
  readonly memory: SharedArrayBuffer;
  private readonly control: Int32Array;
  private readonly batches: readonly ReferenceBatch[];

  constructor(memory = new SharedArrayBuffer(CONTROL_BYTES + SLOTS * BATCH_BYTES)) {
    this.memory = memory;
    this.control = new Int32Array(memory, 0, 2);
    this.batches = Array.from(
      { length: SLOTS },
      (_, slot) => new ReferenceBatch(memory, CONTROL_BYTES + slot * BATCH_BYTES),
    );
  }

  /** Filling side: the batch to fill; waits until there is one. */
  toFill(): ReferenceBatch {
    const { control } = this;
    const filled = Atomics.load(control, FILLED);
    for (let done = Atomics.load(control, DONE); filled - done >= SLOTS; done = Atomics.load(control, DONE)) {
      Atomics.wait(control, DONE, done);
    }
    return this.batches[filled % SLOTS];
  }

  /** Filling side: the batch is full. */
  fill(): void {
    Atomics.add(this.control, FILLED, 1);
    Atomics.notify(this.control, FILLED);
  }

  /** Filling side: there are no more. */
  close(): void {
    this.toFill().length = 0;
    this.fill();
  }

  /** Taking side: the next batch, of no references after the last; null when there is none after `timeoutMs`. */
  take(timeoutMs: number): ReferenceBatch | null {
    const { control } = this;
    const done = Atomics.load(control, DONE);
    if (Atomics.load(control, FILLED) === done) Atomics.wait(control, FILLED, done, timeoutMs);
    return Atomics.load(control, FILLED) === done ? null : this.batches[done % SLOTS];
  }

  /** Taking side: the batch taken last may be filled again. */
  release(): void {
    Atomics.add(this.control, DONE, 1);
    Atomics.notify(this.control, DONE);
  }
}
