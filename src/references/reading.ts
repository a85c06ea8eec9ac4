/** Reading a trace while it is replayed: in threads of its own where that gains something, else in the caller's. */
import { availableParallelism } from "node:os";
import { isMainThread } from "node:worker_threads";
import { IS_COMPILED } from "../files/program-files.ts";
import { InputFileError } from "../input/errors.ts";
import { BatchWriter } from "./batch-writer.ts";
import { joinParts, LackeyParts, LineTooLong, lackeyParts, type PartSummary } from "./lackey-parts.ts";
import { PartClaims } from "./part-claims.ts";
import type { ReadingResult } from "./reader-worker.ts";
import { ReferenceBatch, type ReferenceFormat } from "./reference-batch.ts";
import { readReferences, type SourceSummary, traceSizeBytes } from "./reference-source.ts";
import { type TakeBatch, TraceReader } from "./trace-reader.ts";

/** Traces below this size are read before a thread for them has started. */
const OWN_THREAD_BYTES_MIN = 2 ** 22;
/** Most threads that parse one trace: more have nothing left to do, whatever the machine. */
const PARSERS_MAX = 3;
/**
 * Waits of whoever emulates, for each thread that parses, after which another thread is started. A wait takes 1 to 2 ms, the start of a thread
 * some 50 ms of the host's time, which is lost where page walks take longer than parsing.
 */
const WAITS_MAX = 10;
const NO_PARTS: ReadonlyMap<number, PartSummary> = new Map();

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
  try {
    return await readReferences(file, format, writerTo(take));
  } catch (error) {
    if (error instanceof Enough) return null;
    throw error;
  }
}

/** Hands on what is parsed in this thread. The writer throws `Enough` when no more is wanted. */
function writerTo(take: TakeBatch): BatchWriter {
  return new BatchWriter(new ReferenceBatch(), (batch) => {
    if (!take(batch)) throw new Enough();
    return batch;
  });
}

async function readInThread(
  file: string,
  format: ReferenceFormat | null,
  take: TakeBatch,
): Promise<SourceSummary | null> {
  const reader = new TraceReader({ file, format });
  try {
    return (await reader.readPart(take)) ? summaryOf(await reader.ended()) : null;
  } finally {
    await reader.stop();
  }
}

/** The parts of a text of lackey, each from the thread that parses it, or parsed here where none has begun it when its turn comes. */
async function readByParts(
  file: string,
  count: number,
  threads: number,
  take: TakeBatch,
): Promise<SourceSummary | null> {
  const claims = new PartClaims(count);
  const start = (reader: number) =>
    new TraceReader({ file, format: "lackey", parts: { reader, count, claims: claims.memory } });
  const here = new PartsHere(file, take);
  const readers: TraceReader[] = [];
  try {
    readers.push(start(0));
    for (let part = 0; part < count; part++) {
      if (claims.beginHere(part)) here.read(part);
      else if (!(await readers[claims.readerOf(part)].readPart(take))) return null;
      const waits = readers.reduce((sum, reader) => sum + reader.waits, 0);
      if (readers.length < threads && waits > WAITS_MAX * readers.length) readers.push(start(readers.length));
    }
    // The others have no part to tell of, and may still be starting.
    const begun = readers.filter((_, reader) => claims.hasBegun(reader));
    const results = await Promise.all(begun.map((reader) => reader.ended()));
    const parts = [here.parts, ...results.map((result) => ("parts" in result ? result.parts : NO_PARTS))];
    const inOrder = Array.from({ length: count }, (_, part) => parts.find((each) => each.has(part))?.get(part));
    if (inOrder.every((part): part is PartSummary => part !== undefined)) {
      const { records, odd, firstOdd } = joinParts(inOrder);
      return { format: "lackey", records, odd, firstOdd };
    }
    // Who reads all of it from its beginning says where the mistake is.
    await readHere(file, "lackey", () => true);
    throw new Error(`${file} changed while it was read`);
  } catch (error) {
    if (error instanceof Enough) return null;
    throw error;
  } finally {
    here.close();
    await Promise.all(readers.map((reader) => reader.stop()));
  }
}

/** Parts of a text of lackey that are parsed in this thread, which has nothing else to do then: above all before the others have started. */
class PartsHere {
  /** What the parts were, but for those with a line that is too long. */
  readonly parts = new Map<number, PartSummary>();
  private readonly lackey: LackeyParts;

  constructor(file: string, take: TakeBatch) {
    this.lackey = new LackeyParts(file, writerTo(take));
  }

  /** Parses a part and hands it on. @throws Enough when no more is wanted, what the other side throws */
  read(part: number): void {
    try {
      this.parts.set(part, this.lackey.read(part));
    } catch (error) {
      if (!(error instanceof LineTooLong)) throw error;
    }
  }

  /** Closes the file. */
  close(): void {
    this.lackey.close();
  }
}

function summaryOf(result: ReadingResult): SourceSummary {
  if ("summary" in result) return result.summary;
  if ("failure" in result) throw new Error(result.failure);
  if ("parts" in result) throw new Error("a thread that reads all of a trace reads no parts of it");
  const { file, line, reason } = result.mistake;
  throw new InputFileError(file, line, reason);
}
