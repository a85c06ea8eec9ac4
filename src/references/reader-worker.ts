/** What a reading thread runs: it unpacks and parses a trace, or some parts of one, and puts its references into a ring of batches. */
import { parentPort, workerData } from "node:worker_threads";
import { InputFileError } from "../input/errors.ts";
import { BatchRing } from "./batch-ring.ts";
import { BatchWriter } from "./batch-writer.ts";
import { LackeyParts, type PartSummary } from "./lackey-parts.ts";
import type { ReferenceFormat } from "./reference-batch.ts";
import { readReferences, type SourceSummary } from "./reference-source.ts";

/** What a reading thread is to do. */
export interface ReadingTask {
  readonly file: string;
  readonly format: ReferenceFormat | null;
  /** The ring's memory. */
  readonly memory: SharedArrayBuffer;
  /**
   * The parts that it reads (lackey-parts.ts): the first, every how-manieth, and how many there are; an empty batch ends each. Those that the
   * taking side has begun by itself are left out.
   */
  readonly parts?: { readonly first: number; readonly step: number; readonly count: number };
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
  { first, step, count }: NonNullable<ReadingTask["parts"]>,
  ring: BatchRing,
  writer: BatchWriter,
): Map<number, PartSummary> {
  const reader = new LackeyParts(file, writer);
  const summaries = new Map<number, PartSummary>();
  try {
    for (let part = nextPart(); part < count; part = nextPart()) {
      summaries.set(part, reader.read(part));
      ring.endPart();
      writer.startWith(ring.toFill());
    }
  } finally {
    reader.close();
  }
  return summaries;

  function nextPart(): number {
    return first + ring.beginPart() * step;
  }
}

await read(workerData as ReadingTask);
