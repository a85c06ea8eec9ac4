/** Reading a trace while it is replayed: in a thread of its own where that gains something, else in the caller's. */
import { setImmediate } from "node:timers/promises";
import { isMainThread, Worker } from "node:worker_threads";
import { IS_COMPILED, programModule } from "../files/program-files.ts";
import { InputFileError } from "../input/errors.ts";
import { BatchRing } from "./batch-ring.ts";
import { BatchWriter } from "./batch-writer.ts";
import type { ReadingResult, ReadingTask } from "./reader-worker.ts";
import { ReferenceBatch, type ReferenceFormat } from "./reference-batch.ts";
import { readReferences, type SourceSummary, traceSizeBytes } from "./reference-source.ts";

/** Takes a batch; false when it wants no more. */
export type TakeBatch = (batch: ReferenceBatch) => boolean;

/** Traces below this size are read before a thread for them has started. */
const OWN_THREAD_BYTES_MIN = 2 ** 22;
/** Milliseconds of waiting for the reading thread after which the event loop has its turn: an error of that thread comes by it. */
const WAIT_MS = 100;

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
  return isLong && isMainThread && IS_COMPILED
    ? await readInThread(file, format, take)
    : await readHere(file, format, take);
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

async function readInThread(
  file: string,
  format: ReferenceFormat | null,
  take: TakeBatch,
): Promise<SourceSummary | null> {
  const ring = new BatchRing();
  const task: ReadingTask = { file, format, memory: ring.memory };
  const worker = new Worker(programModule("src/references/reader-worker"), { workerData: task });
  let crash: Error | null = null;
  const result = new Promise<ReadingResult>((resolve) => {
    worker.once("message", resolve);
    worker.once("error", (error) => {
      crash = error;
      resolve({ failure: error.message });
    });
  });
  try {
    for (;;) {
      const batch = ring.take(WAIT_MS);
      if (batch === null) await setImmediate();
      if (crash !== null) throw crash;
      if (batch === null) continue;
      if (batch.length === 0) break;
      if (!take(batch)) return null;
      ring.release();
    }
    return summaryOf(await result);
  } finally {
    await worker.terminate();
  }
}

function summaryOf(result: ReadingResult): SourceSummary {
  if ("summary" in result) return result.summary;
  if ("failure" in result) throw new Error(result.failure);
  const { file, line, reason } = result.mistake;
  throw new InputFileError(file, line, reason);
}
