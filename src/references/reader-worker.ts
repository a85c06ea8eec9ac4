/** What a reading thread runs: it unpacks and parses a trace, or some parts of one, and puts its references into a ring of batches. */
import { parentPort, workerData } from "node:worker_threads";
import { InputFileError } from "../input/errors.ts";
import { BatchRing } from "./batch-ring.ts";
import { BatchWriter } from "./batch-writer.ts";
import { LackeyParts, type PartSummary } from "./lackey-parts.ts";
import { PartClaims } from "./part-claims.ts";
import type { ReferenceFormat } from "./reference-batch.ts";
import { readReferences, type SourceSummary } from "./reference-source.ts";

/** What a reading thread is to do. */
export interface ReadingTask {
  readonly file: string;
  readonly format: ReferenceFormat | null;
  /** The ring's memory. */
  readonly memory: SharedArrayBuffer;
  /**
   * Of a text that is read in parts (lackey-parts.ts): its number among the threads that read it (from 0), how many parts there are, and the
   * memory that says who has begun which (part-claims.ts). It begins one after another, and an empty batch ends each.
   */
  readonly parts?: { readonly reader: number; readonly count: number; readonly claims: SharedArrayBuffer };
}

/** What it says at its end: what the trace was, or its parts were, what is wrong with the file, or what went wrong otherwise. */
export type ReadingResult =
  | { readonly summary: SourceSummary }
  | { readonly parts: ReadonlyMap<number, PartSummary> }
  | { readonly mistake: { readonly file: string; readonly line: number; readonly reason: string } }
  | { readonly failure: string };

async function read({ file, format, memory, parts }: ReadingTask): Promise<void> {
  const ring = new BatchRing(memory);
  const writer = new BatchWriter(ring.toFill(), () => {
    ring.fill();
    return ring.toFill();
  });
  let result: ReadingResult;
  try {
    result =
      parts === undefined
        ? { summary: await readReferences(file, format, writer) }
        : { parts: readParts(file, parts, ring, writer) };
  } catch (error) {
    result =
      error instanceof InputFileError
        ? { mistake: { file: error.file, line: error.line, reason: error.reason } }
        : { failure: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
  parentPort?.postMessage(result);
  ring.close();
}

function readParts(
  file: string,
  { reader, count, claims }: NonNullable<ReadingTask["parts"]>,
  ring: BatchRing,
  writer: BatchWriter,
): Map<number, PartSummary> {
  const begun = new PartClaims(count, claims);
  const lackey = new LackeyParts(file, writer);
  const summaries = new Map<number, PartSummary>();
  try {
    for (let part = begun.begin(reader); part !== null; part = begun.begin(reader)) {
      summaries.set(part, lackey.read(part));
      ring.endPart();
      writer.startWith(ring.toFill());
    }
  } finally {
    lackey.close();
  }
  return summaries;
}

await read(workerData as ReadingTask);
