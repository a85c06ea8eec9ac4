/** What the reading thread runs: it unpacks and parses a trace, and puts its references into a ring of batches. */
import { parentPort, workerData } from "node:worker_threads";
import { InputFileError } from "../input/errors.ts";
import { BatchRing } from "./batch-ring.ts";
import { BatchWriter } from "./batch-writer.ts";
import type { ReferenceFormat } from "./reference-batch.ts";
import { readReferences, type SourceSummary } from "./reference-source.ts";

/** What a reading thread is to do. */
export interface ReadingTask {
  readonly file: string;
  readonly format: ReferenceFormat | null;
  /** The ring's memory. */
  readonly memory: SharedArrayBuffer;
}

/** What it says at its end: what the trace was, what is wrong with the file, or what went wrong otherwise. */
export type ReadingResult =
  | { readonly summary: SourceSummary }
  | { readonly mistake: { readonly file: string; readonly line: number; readonly reason: string } }
  | { readonly failure: string };

async function read({ file, format, memory }: ReadingTask): Promise<void> {
  const ring = new BatchRing(memory);
  const writer = new BatchWriter(ring.toFill(), () => {
    ring.fill();
    return ring.toFill();
  });
  let result: ReadingResult;
  try {
    result = { summary: await readReferences(file, format, writer) };
  } catch (error) {
    result =
      error instanceof InputFileError
        ? { mistake: { file: error.file, line: error.line, reason: error.reason } }
        : { failure: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
  parentPort?.postMessage(result);
  ring.close();
}

await read(workerData as ReadingTask);
