/** Lines of a file of results: JSON with a checksum as the last member, which ties a line to its sweep. */
import { createHash } from "node:crypto";
import { z } from "zod";
import { type SweepPoint, type SweepSpec, sweepPoints } from "./spec.ts";
import type { SweepTaskResult } from "./worker.ts";

/** A point that is done. */
export interface FinishedPoint {
  readonly point: SweepPoint;
  readonly result: SweepTaskResult;
}

const FORMAT = "mmulab sweep";
const VERSION = 3;
const CHECKSUM_DIGITS = 16;
const CHECKSUM = /^(.*),"sum":"([0-9a-f]{16})"\}$/s;

const CELL = z.union([z.number(), z.string(), z.boolean()]);
const TABLE = z.object({ name: z.string(), rows: z.array(z.record(z.string(), z.union([z.number(), z.string()]))) });
const LINE = z.object({
  point: z.object({ index: z.number(), values: z.record(z.string(), CELL), seed: z.number() }),
  result: z.union([z.object({ tables: z.array(TABLE) }), z.object({ error: z.string() })]),
});

/** The first line of a file of results of `spec`, without its newline. */
export function headerLine({ key, name, program }: SweepSpec): string {
  return JSON.stringify({ format: FORMAT, version: VERSION, key, name, program });
}

/** Why a first line is not that of `spec`'s results, or null. */
export function headerProblem(line: string, spec: SweepSpec): string | null {
  const header = parsed(line) as Partial<Record<"format" | "version" | "key" | "program", unknown>> | null;
  if (header?.format !== FORMAT) return "is not a file of sweep results; choose another --out";
  if (header.version !== VERSION) {
    return `holds results in version ${String(header.version)} of the format, this program reads version ${VERSION}; choose another --out`;
  }
  if (header.key === spec.key) return null;
  return header.program === spec.program
    ? "holds results of another sweep; choose another --out, or remove it"
    : `holds results of mmulab ${header.program}, this is ${spec.program}; choose another --out, or remove it`;
}

/** The line of a point, without its newline. */
export function resultLine({ point, result }: FinishedPoint, spec: SweepSpec): string {
  const text = JSON.stringify({ point, result });
  const open = text.slice(0, -1);
  return `${open},"sum":"${checksum(open, spec)}"}`;
}

/** Reads lines of results of one sweep, and compares each with the grid. */
export class ResultLines {
  private readonly spec: SweepSpec;
  private readonly points: readonly SweepPoint[];

  constructor(spec: SweepSpec) {
    this.spec = spec;
    this.points = sweepPoints(spec);
  }

  /** The point in a line, or a few words on what is wrong with it. */
  parse(line: string): FinishedPoint | string {
    const match = CHECKSUM.exec(line);
    if (match === null) return "is no result of a sweep";
    const [, open, sum] = match;
    if (sum !== checksum(open, this.spec)) {
      return "was changed, damaged, or is of another sweep (its checksum does not fit); without this line its point is run again";
    }
    const content = LINE.safeParse(parsed(`${open}}`));
    if (!content.success) return "is no result of a sweep";
    const { point } = content.data;
    const expected = this.points[point.index];
    if (expected === undefined || JSON.stringify(expected) !== JSON.stringify(point)) {
      return `is the result of a point that the grid does not have (index ${point.index})`;
    }
    return content.data;
  }
}

/** The sweep's key is part of it: a line of another sweep does not fit. */
function checksum(open: string, { key }: SweepSpec): string {
  return createHash("sha256").update(key).update(open).digest("hex").slice(0, CHECKSUM_DIGITS);
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}
