/**
 * What is measured: how long dependent loads take that visit pages in a cycle. A curve is that for one distance of the pages and
 * several numbers of them; a sequence is one cycle in which pages come again. Curves can be saved, and read again elsewhere.
 *
 * All times are nanoseconds a load at one clock frequency: the probe divides out what the clock did meanwhile.
 */
import { z } from "zod";
import { InputFileError } from "../input/errors.ts";

/** `pages` pages were visited in random cyclic orders, a load a page. */
export interface CurvePoint {
  readonly pages: number;
  /** Nanoseconds a load: the least of several orders and many repetitions. */
  readonly ns: number;
}

/** Loads of pages that are `stride` pages apart, the first at a page number that is a multiple of a large power of two. */
export interface Curve {
  readonly stride: number;
  /** By the number of pages, ascending. */
  readonly points: readonly CurvePoint[];
}

/**
 * Loads of pages that one set of the second level would have to hold, by an index that is to be tried, and of a few more pages that keep
 * the first level from holding them.
 */
export interface SetCurve {
  /** Page numbers; a point of `pages` pages visits as many of them, the first ones. */
  readonly targets: readonly number[];
  /** Page numbers that every point visits as well. */
  readonly fillers: readonly number[];
  readonly points: readonly CurvePoint[];
}

/** A cycle of visits in which pages come again; each visit loads from a line of its own. */
export interface VisitSequence {
  /** The page number of each visit. */
  readonly visits: readonly number[];
  /** Nanoseconds a visit: least and median of several beginnings. */
  readonly leastNs: number;
  readonly medianNs: number;
}

/** What is known of where it was measured. Nothing of it is needed to infer a geometry. */
export interface CurveOrigin {
  /** What the processor calls itself; empty when it is not known. */
  readonly processor: string;
  /** `GenuineIntel`, `AuthenticAMD`; empty when it is not known. */
  readonly vendor: string;
  /** Whether the processor says that it runs a virtual machine; null when it is not known. */
  readonly isVirtual: boolean | null;
  /** What `/sys/kernel/mm/transparent_hugepage/enabled` says; empty when it is not known. */
  readonly hugePages: string;
  /** What made the file. */
  readonly madeBy: string;
}

/** A whole measurement. */
export interface MeasuredCurves {
  readonly origin: CurveOrigin;
  /** Clock frequency, from multiplications that depend on each other; null when it was not measured. */
  readonly clockGhz: number | null;
  /** Fraction of points whose repetitions never agreed. */
  readonly disagreeing: number;
  readonly loads: readonly Curve[];
  readonly sets: readonly SetCurve[];
  /** Sequences of pages of one set of the first level, in different sets of the second. */
  readonly firstLevelSequences: readonly VisitSequence[];
  /** Sequences of pages of one set of the second level. */
  readonly secondLevelSequences: readonly VisitSequence[];
}

/** Nothing is known of where curves come from that are given as text. */
const UNKNOWN_ORIGIN: CurveOrigin = { processor: "", vendor: "", isVirtual: null, hugePages: "", madeBy: "" };
/** More than the probe ever visits. */
const PAGES_MAX = 2 ** 20;
const NS_MAX = 1e6;
const CURVES_MAX = 1000;

const ns = z.number().positive().max(NS_MAX);
const pageNumber = z
  .number()
  .int()
  .min(0)
  .max(2 ** 36);
const sequence = z.strictObject({
  visits: z.array(pageNumber).min(1).max(10_000),
  leastNs: ns,
  medianNs: ns,
});
const points = z
  .array(z.strictObject({ pages: z.number().int().min(1).max(PAGES_MAX), ns }))
  .min(1)
  .max(10_000);
const curve = z.strictObject({ stride: z.number().int().min(1).max(PAGES_MAX), points });
const pageNumbers = z.array(pageNumber).max(10_000);
const setCurve = z.strictObject({ targets: pageNumbers, fillers: pageNumbers, points });
const schema = z.strictObject({
  format: z.literal("mmulab-curves"),
  version: z.literal(1),
  origin: z.strictObject({
    processor: z.string(),
    vendor: z.string(),
    isVirtual: z.boolean().nullable(),
    hugePages: z.string(),
    madeBy: z.string(),
  }),
  clockGhz: z.number().min(0.001).max(1000).nullable(),
  disagreeing: z.number().min(0).max(1),
  loads: z.array(curve).min(1).max(CURVES_MAX),
  sets: z.array(setCurve).max(CURVES_MAX),
  firstLevelSequences: z.array(sequence).max(CURVES_MAX),
  secondLevelSequences: z.array(sequence).max(CURVES_MAX),
});

/** The text of a file of curves. */
export function formatCurves(curves: MeasuredCurves): string {
  return `${JSON.stringify({ format: "mmulab-curves", version: 1, ...curves })}\n`;
}

/**
 * Reads curves: what {@link formatCurves} wrote, or lines `stride S: pages:ns pages:ns ...` as other programs print them.
 * @param file its name, for messages
 * @throws InputFileError for a text that is neither
 */
export function parseCurves(file: string, text: string): MeasuredCurves {
  if (!text.trimStart().startsWith("{")) return parseCurveLines(file, text);
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new InputFileError(file, 0, `is no JSON: ${(error as Error).message}`);
  }
  const read = schema.safeParse(json);
  if (!read.success) {
    const [{ path, message }] = read.error.issues;
    const wrong = `${path.join(".") || "the whole"}: ${message.replace(/^Invalid input: /, "")}`;
    throw new InputFileError(file, 0, `is no file of curves (calibrate --save-curves): ${wrong}`);
  }
  const { format: _, version: __, ...curves } = read.data;
  return { ...curves, loads: curves.loads.map(sorted), sets: curves.sets.map(sorted) };
}

function parseCurveLines(file: string, text: string): MeasuredCurves {
  const loads: Curve[] = [];
  for (const [index, line] of text.split("\n").entries()) {
    if (line.trim() === "") continue;
    const match = /^stride\s+(\d{1,7}):((?:\s+\d{1,7}:\d+(?:\.\d+)?)+)\s*$/.exec(line);
    if (match === null) throw new InputFileError(file, index + 1, "expected `stride S: pages:ns pages:ns ...`");
    const words = match[2].trim().split(/\s+/);
    const pairs = words.map((word) => word.split(":").map(Number)).map(([pages, time]) => ({ pages, ns: time }));
    const read = curve.safeParse({ stride: Number(match[1]), points: pairs });
    if (!read.success) throw new InputFileError(file, index + 1, read.error.issues[0].message);
    loads.push(sorted(read.data));
  }
  if (loads.length === 0) throw new InputFileError(file, 0, "has no curve");
  return {
    origin: UNKNOWN_ORIGIN,
    clockGhz: null,
    disagreeing: 0,
    loads,
    sets: [],
    firstLevelSequences: [],
    secondLevelSequences: [],
  };
}

function sorted<T extends { readonly points: readonly CurvePoint[] }>(each: T): T {
  return { ...each, points: each.points.toSorted((a, b) => a.pages - b.pages) };
}
