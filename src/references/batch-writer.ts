/** Batches as they are filled by whoever parses a trace. */
import { findRuns } from "./page-runs.ts";
import {
  BATCH_REFERENCES,
  KIND_CONTINUES,
  type ReferenceBatch,
  type ReferenceFormat,
  type ReferenceThread,
} from "./reference-batch.ts";

/** Takes a full batch, and returns the one to fill next, which may be the same. */
export type PassOn = (batch: ReferenceBatch) => ReferenceBatch;

/** Fills batches one after another. */
export class BatchWriter {
  /** Bytes of the trace read so far, for whoever shows progress. */
  bytesRead = 0;
  /** The trace's format, once that is known. */
  format: ReferenceFormat = "lackey";
  /** What is being filled, and how many references are in it: for parsers that fill it themselves, never above `BATCH_REFERENCES - 1`. */
  batch: ReferenceBatch;
  length = 0;
  /** References whose runs are known. */
  runsUntil = 0;
  private readonly passOn: PassOn;
  private thread: ReferenceThread = { tid: 0, pid: 0, stream: 0 };

  constructor(first: ReferenceBatch, passOn: PassOn) {
    this.passOn = passOn;
    this.batch = first;
    this.clear();
  }

  /** Fills another batch from now on; what there was has been passed on. */
  startWith(batch: ReferenceBatch): void {
    this.batch = batch;
    this.clear();
  }

  /** The references that follow are of this thread. */
  chooseThread(thread: ReferenceThread): void {
    const { tid, pid, stream } = this.thread;
    if (tid === thread.tid && pid === thread.pid && stream === thread.stream) return;
    this.flush();
    this.thread = thread;
  }

  /** Adds a reference of `sizeBytes` at `la`; one that crosses into other pages has a part in each. */
  put(kind: number, la: number, sizeBytes: number): void {
    this.putPart(kind, la);
    const inPage = 4096 - ((la | 0) & 4095);
    for (let done = inPage; done < sizeBytes; done += 4096) this.putPart(kind | KIND_CONTINUES, la + done);
  }

  /** Passes on what there is. */
  flush(): void {
    if (this.length === 0) return;
    const { batch } = this;
    batch.length = this.length;
    this.findRuns();
    batch.thread = this.thread;
    batch.bytesRead = this.bytesRead;
    batch.format = this.format;
    this.length = 0;
    this.startWith(this.passOn(batch));
  }

  /** Finds the runs of the references so far; who fills the batch with more and says what runs are in it calls this first. */
  findRuns(): void {
    if (this.runsUntil < this.length) findRuns(this.batch, this.runsUntil, this.length);
    this.runsUntil = this.length;
  }

  private clear(): void {
    this.runsUntil = 0;
    this.batch.clearRuns();
  }

  private putPart(kind: number, la: number): void {
    const { batch, length } = this;
    batch.kinds[length] = kind;
    batch.addresses[length] = la;
    this.length = length + 1;
    if (length + 1 === BATCH_REFERENCES) this.flush();
  }
}
