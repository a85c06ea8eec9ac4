/**
 * The results of a sweep as they come: a line of JSON each, added the moment a point is done. Whoever stops a sweep, or whose
 * machine stops, starts it again with the same file and loses only what was under way.
 */
import { appendFileSync, closeSync, existsSync, fsyncSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { z } from "zod";
import { toInputError } from "../files/byte-chunks.ts";
import { toOutputError } from "../files/output-error.ts";
import { UsageError } from "../input/errors.ts";
import { RecordingError } from "../input/recording-error.ts";
import type { SweepPoint, SweepSpec } from "./spec.ts";
import type { SweepTaskResult } from "./worker.ts";

/** A point that is done. */
export interface FinishedPoint {
  readonly point: SweepPoint;
  readonly result: SweepTaskResult;
}

const FORMAT = "mmulab sweep";
const VERSION = 1;
const HEADER = z.object({ format: z.literal(FORMAT), version: z.literal(VERSION), key: z.string() });
const CELL = z.union([z.number(), z.string(), z.boolean()]);
const LINE = z.object({
  point: z.object({ index: z.number(), values: z.record(z.string(), CELL), seed: z.number() }),
  result: z.union([
    z.object({ rows: z.array(z.record(z.string(), z.union([z.number(), z.string()]))) }),
    z.object({ error: z.string() }),
  ]),
});

/** A file of results of one sweep, begun or gone on with. */
export class ResultsFile {
  /** Points that were done already, by index. */
  readonly finished: Map<number, FinishedPoint>;
  private readonly descriptor: number;

  /**
   * Opens `file`, which may hold results of an earlier run of the same sweep; a last line that was cut short is dropped.
   * @throws RecordingError when it holds something else, UsageError when it cannot be written
   */
  constructor(file: string, spec: SweepSpec) {
    const { points, wholeText } = existsSync(file) ? readResults(file, spec) : { points: [], wholeText: null };
    this.finished = new Map(points.map((finished) => [finished.point.index, finished]));
    try {
      const header = `${JSON.stringify({ format: FORMAT, version: VERSION, key: spec.key, name: spec.name })}\n`;
      if (wholeText === null || wholeText === "") writeFileSync(file, header);
      else if (readFileSync(file, "utf8") !== wholeText) writeFileSync(file, wholeText);
      this.descriptor = openSync(file, "a");
    } catch (error) {
      throw toOutputError(file, error);
    }
  }

  /** Adds a point; it is on the disk when this returns. */
  add(finished: FinishedPoint): void {
    appendFileSync(this.descriptor, `${JSON.stringify(finished)}\n`);
    fsyncSync(this.descriptor);
    this.finished.set(finished.point.index, finished);
  }

  close(): void {
    closeSync(this.descriptor);
  }
}

/**
 * The points in a file of results, and its text without a last line that was cut short.
 * @throws RecordingError when it is not a file of results of `spec`
 */
export function readResults(file: string, spec: SweepSpec): { points: FinishedPoint[]; wholeText: string } {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch (error) {
    throw toInputError(file, 0, error);
  }
  const wholeText = text.slice(0, text.lastIndexOf("\n") + 1);
  if (wholeText === "") {
    if (text === "" || text.startsWith("{")) return { points: [], wholeText };
    throw new RecordingError(file, 0, "is not a file of sweep results; choose another --out");
  }
  const [first, ...lines] = wholeText.trimEnd().split("\n");
  const header = HEADER.safeParse(parsed(first));
  if (!header.success) throw new RecordingError(file, 1, "is not a file of sweep results; choose another --out");
  if (header.data.key !== spec.key) {
    throw new UsageError(`${file}: holds results of another sweep; choose another --out, or remove it`);
  }
  const points = lines.map((line, i) => {
    const point = LINE.safeParse(parsed(line));
    if (!point.success) throw new RecordingError(file, i + 2, "is no result of a sweep");
    return point.data;
  });
  return { points, wholeText };
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}
