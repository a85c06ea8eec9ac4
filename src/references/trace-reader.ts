/** A thread that reads a trace, or parts of one, as the one that replays it sees it. */
import { setImmediate } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { programModule } from "../files/program-files.ts";
import { BatchRing } from "./batch-ring.ts";
import type { ReadingResult, ReadingTask } from "./reader-worker.ts";
import type { ReferenceBatch } from "./reference-batch.ts";

/** Takes a batch; false when it wants no more. */
export type TakeBatch = (batch: ReferenceBatch) => boolean;

/** Milliseconds of waiting for the reading thread after which the event loop has its turn: an error of that thread comes by it. */
const WAIT_MS = 100;

/** A thread that reads, and what it says at its end. */
export class TraceReader {
  /** What it said; null before that. */
  result: ReadingResult | null = null;
  /** How often there was no batch yet, since the first. */
  waits = 0;
  private hasBegun = false;
  private readonly ring = new BatchRing();
  private readonly worker: Worker;
  private readonly end: Promise<ReadingResult>;
  private crash: Error | null = null;

  constructor(task: Omit<ReadingTask, "memory">) {
    const workerData: ReadingTask = { ...task, memory: this.ring.memory };
    this.worker = new Worker(programModule("src/references/reader-worker"), { workerData });
    this.end = new Promise<ReadingResult>((resolve) => {
      this.worker.once("message", resolve);
      this.worker.once("error", (error) => {
        this.crash = error;
        resolve({ failure: error.message });
      });
    });
    this.end.then((result) => {
      this.result = result;
    });
  }

  /**
   * Hands batches to `take` up to the next without references, which ends the trace or a part of it.
   * @returns false when `take` wants no more
   * @throws what ended the thread
   */
  async readPart(take: TakeBatch): Promise<boolean> {
    const { ring } = this;
    for (;;) {
      const batch = this.take();
      if (batch === null) await setImmediate();
      if (this.crash !== null) throw this.crash;
      // A thread that has said its result before the part began has met a mistake.
      if (batch === null && this.result !== null && ring.isEmpty) return true;
      if (batch === null) continue;
      const isEnd = batch.length === 0;
      if (!isEnd && !take(batch)) return false;
      ring.release();
      if (isEnd) return true;
    }
  }

  /** The next batch; null when there is none yet after a while. */
  private take(): ReferenceBatch | null {
    const { ring } = this;
    if (this.hasBegun && ring.isEmpty) this.waits++;
    const batch = ring.take(WAIT_MS);
    this.hasBegun ||= batch !== null;
    return batch;
  }

  /** What it says once it has ended. */
  async ended(): Promise<ReadingResult> {
    return await this.end;
  }

  /** Ends the thread. */
  async stop(): Promise<void> {
    await this.worker.terminate();
  }
}
