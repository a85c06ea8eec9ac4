/** Reading a trace while it is replayed: in threads of its own where that gains something, else in the caller's. */
import { availableParallelism } from "node:os";
import { setImmediate } from "node:timers/promises";
import { isMainThread, Worker } from "node:worker_threads";
import { IS_COMPILED, programModule } from "../files/program-files.ts";
import { InputFileError } from "../input/errors.ts";
import { BatchRing } from "./batch-ring.ts";
import { BatchWriter } from "./batch-writer.ts";
import { joinParts, lackeyParts, type PartSummary } from "./lackey-parts.ts";
import type { ReadingResult, ReadingTask } from "./reader-worker.ts";
import { ReferenceBatch, type ReferenceFormat } from "./reference-batch.ts";
import { readReferences, type SourceSummary, traceSizeBytes } from "./reference-source.ts";

/** Takes a batch; false when it wants no more. */
export type TakeBatch = (batch: ReferenceBatch) => boolean;

/** Traces below this size are read before a thread for them has started. */
const OWN_THREAD_BYTES_MIN = 2 ** 22;
/** Milliseconds of waiting for the reading thread after which the event loop has its turn: an error of that thread comes by it. */
const WAIT_MS = 100;
/** Most threads that parse one trace: more have nothing left to do, whatever the machine. */
const PARSERS_MAX = 3;

/** Thrown through the parser when no more references are wanted. */
class Enough extends Error {}

/**
 * Hands the references of a trace to `take`, batch by batch.
 * @returns what the trace was; null when `take` wanted no more before its end
 * @throws InputFileError as `readReferences`; what `take` throws
 */
export async function readInBatches(
  file: string,
  format: ReferenceFormat | null,
  take: TakeBatch,
): Promise<SourceSummary | null> {
  const sizeBytes = traceSizeBytes(file, format);
  const isLong = sizeBytes === 0 || sizeBytes >= OWN_THREAD_BYTES_MIN;
  // Where others run beside this thread already (a sweep), they have the other cores.
  if (!isLong || !isMainThread || !IS_COMPILED) return await readHere(file, format, take);
  const threads = Math.min(PARSERS_MAX, availableParallelism());
  const parts = threads > 1 && (format === null || format === "lackey") ? lackeyParts(file) : 0;
  return parts > 1 ? await readByParts(file, parts, threads, take) : await readInThread(file, format, take);
}

async function readHere(file: string, format: ReferenceFormat | null, take: TakeBatch): Promise<SourceSummary | null> {
  const writer = new BatchWriter(new ReferenceBatch(), (batch) => {
    if (!take(batch)) throw new Enough();
    return batch;
  });
  try {
    return await readReferences(file, format, writer);
  } catch (error) {
    if (error instanceof Enough) return null;
    throw error;
  }
}

/** A thread that reads, and what it says at its end. */
class Reader {
  /** What it said; null before that. */
  result: ReadingResult | null = null;
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
      const batch = ring.take(WAIT_MS);
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

  /** What it says once it has ended. */
  async ended(): Promise<ReadingResult> {
    return await this.end;
  }

  async stop(): Promise<void> {
    await this.worker.terminate();
  }
}

async function readInThread(
  file: string,
  format: ReferenceFormat | null,
  take: TakeBatch,
): Promise<SourceSummary | null> {
  const reader = new Reader({ file, format });
  try {
    return (await reader.readPart(take)) ? summaryOf(await reader.ended()) : null;
  } finally {
    await reader.stop();
  }
}

/** The parts of a text of lackey, each from the thread that parses it. */
async function readByParts(
  file: string,
  count: number,
  threads: number,
  take: TakeBatch,
): Promise<SourceSummary | null> {
  const step = Math.min(threads, count);
  const readers = Array.from(
    { length: step },
    (_, first) => new Reader({ file, format: "lackey", parts: { first, step, count } }),
  );
  try {
    for (let part = 0; part < count; part++) if (!(await readers[part % step].readPart(take))) return null;
    const results = await Promise.all(readers.map((reader) => reader.ended()));
    const parts = results.map((result) => ("parts" in result ? result.parts : []));
    const inOrder = Array.from({ length: count }, (_, part) => parts[part % step].at(Math.floor(part / step)));
    if (inOrder.every((part): part is PartSummary => part !== undefined)) {
      const { records, odd, firstOdd } = joinParts(inOrder);
      return { format: "lackey", records, odd, firstOdd };
    }
    // Who reads all of it from its beginning says where the mistake is.
    await readHere(file, "lackey", () => true);
    throw new Error(`${file} changed while it was read`);
  } finally {
    await Promise.all(readers.map((reader) => reader.stop()));
  }
}

function summaryOf(result: ReadingResult): SourceSummary {
  if ("summary" in result) return result.summary;
  if ("failure" in result) throw new Error(result.failure);
  if ("parts" in result) throw new Error("a thread that reads all of a trace reads no parts of it");
  const { file, line, reason } = result.mistake;
  throw new InputFileError(file, line, reason);
}
