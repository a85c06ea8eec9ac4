/** A ring of batches in memory that two threads share: one fills them in turn, the other takes them in the same order. */
import { BATCH_BYTES, ReferenceBatch } from "./reference-batch.ts";

/**
 * Batches in the ring: as many as the references of a part of a long text (lackey-parts.ts), and a few more. With fewer, threads that parse
 * parts in turn wait until theirs is taken, so that one parses at a time.
 */
const SLOTS = 16;
/**
 * A thread that waits is woken when it has so many batches to work on, not for each: to wake a thread costs more than to take a batch, and
 * where there are fewer cores than threads it takes the core from the one that wakes it.
 */
const WAKE_BATCHES = SLOTS / 2;
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
    const filled = Atomics.add(this.control, FILLED, 1) + 1;
    if (filled - Atomics.load(this.control, DONE) >= WAKE_BATCHES) Atomics.notify(this.control, FILLED);
  }

  /** Filling side: a batch of no references, which says that a part of the trace ends. */
  endPart(): void {
    this.toFill().length = 0;
    this.fill();
  }

  /** Filling side: there are no more. */
  close(): void {
    this.endPart();
    Atomics.notify(this.control, FILLED);
  }

  /** Taking side: the next batch, of no references after the last; null when there is none after `timeoutMs`. */
  take(timeoutMs: number): ReferenceBatch | null {
    const { control } = this;
    const done = Atomics.load(control, DONE);
    if (Atomics.load(control, FILLED) === done) Atomics.wait(control, FILLED, done, timeoutMs);
    return Atomics.load(control, FILLED) === done ? null : this.batches[done % SLOTS];
  }

  /** Taking side: whether there is no batch to take. */
  get isEmpty(): boolean {
    return Atomics.load(this.control, FILLED) === Atomics.load(this.control, DONE);
  }

  /** Taking side: the batch taken last may be filled again. */
  release(): void {
    const done = Atomics.add(this.control, DONE, 1) + 1;
    if (Atomics.load(this.control, FILLED) - done <= WAKE_BATCHES) Atomics.notify(this.control, DONE);
  }
}
