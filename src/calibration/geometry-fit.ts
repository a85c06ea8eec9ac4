/**
 * Sets, ways and index hash of a TLB from curves, without knowing how it replaces: a set that has room for its pages never misses,
 * and one that has not must miss at least as often as the best replacement that there can be (Belady's). Every geometry that is
 * considered predicts by this between which bounds the misses of each point lie; the one that most points agree with is taken.
 */
import { INDEX_HASHES, indexHashProblem, setIndex } from "../../arch/presets/index-hash.ts";
import type { Curve, SetCurve } from "./curves.ts";
import { DATA_LINES } from "./plan.ts";
import type { Levels } from "./plateaus.ts";
import { type SetGeometry, setOf } from "./set-geometry.ts";

/** What was found for a level. */
export interface GeometryFit {
  /** The geometry that agrees with most points; null when none does well enough, or several equally. */
  readonly geometry: SetGeometry | null;
  /** Why there is none, in words; empty when there is one. */
  readonly reason: string;
  /** All geometries that the curves do not tell from the best one, itself included. */
  readonly candidates: readonly SetGeometry[];
  /** Points that say something about this level. */
  readonly points: number;
  /** Part of them that the geometry does not explain, or the best that was found. */
  readonly unexplained: number;
}

const LEVEL_TOLERANCE = 1.03;
/** Walks are seen when loads take this much longer than second-level hits. */
const WALK_TOLERANCE = 1.04;
/**
 * A curve on which all loads walk rises to this many second-level hits at the least. One that creeps up by less, as lines begin to leave the data
 * cache, does not show what a walk takes.
 */
const CLEAR_WALK = 1.5;
/** Fractions of misses that differ by less do not contradict each other. */
const MISS_TOLERANCE = 0.04;
/** A contradiction by this much counts as a whole point. */
const FULL_ERROR = 0.2;
/** How much a set contradicts that is too full and does not miss, where Belady's bound would allow nearly none. */
const HARDLY_POSSIBLE = 0.5;
/** Above this part of unexplained points the best geometry is no explanation. */
const UNEXPLAINED_MAX = 0.12;
/** The second best must leave this many points more unexplained. */
const MARGIN_POINTS = 1.5;
const FIRST_SETS_MAX = 256;
const SECOND_SETS_MAX = 2048;
const FIRST_WAYS_MAX = 128;
/**
 * Ways of second levels: powers of two and three times these, as in all x86-64 parts whose second level is documented. Between them lies
 * enough that one that seems to lack some of its ways, as they are taken by code, the kernel or a guest's tables, is still told.
 */
const SECOND_WAYS = [2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64];
/** The part of the ways of a second level that may be taken by something else. */
const TAKEN_PART = 1 / 8;

/** What a point says about a level. */
interface Visits {
  /** The pages that this level is asked for. */
  readonly visited: readonly number[];
  /** The pages that its misses are a fraction of. */
  readonly pages: number;
  /** Fraction of loads that miss; `Infinity`: some do, it is not known how many. */
  readonly missed: number;
}

/** A point with how many pages are in how many sets of some index. */
interface Point extends Omit<Visits, "visited"> {
  /** Numbers of pages in a set, each with the number of sets that have it. */
  readonly occupancy: readonly (readonly [inSet: number, sets: number])[];
}

/** Finds the first level's geometry. @param pageShift log2 of the 4 KiB pages that a page has: more than 0 for larger pages */
export function fitFirstLevel(curves: readonly Curve[], levels: Levels, pageShift = 0): GeometryFit {
  const { firstNs, secondNs } = levels;
  if (secondNs === null) return nothing("no curve rises from a first level to a second");
  const missed = (ns: number) => {
    if (ns > secondNs * LEVEL_TOLERANCE) return Number.POSITIVE_INFINITY;
    return Math.max(0, (ns - firstNs) / (secondNs - firstNs));
  };
  const seen = curves.flatMap(({ stride, points }) =>
    points
      .filter(({ pages }) => pages <= DATA_LINES)
      .map(({ pages, ns }) => {
        const small = pagesAt(stride, pages);
        const visited = pageShift === 0 ? small : [...new Set(small.map((page) => page >>> pageShift))];
        return { visited, pages: visited.length, missed: missed(ns) };
      }),
  );
  const search = { indexings: indexings(FIRST_SETS_MAX), ways: allWays(FIRST_WAYS_MAX), takenPart: 0, boundPart: 1 };
  return best(search, seen);
}

/** Finds the second level's, which sees only the pages that the first has no room for. */
export function fitSecondLevel(
  curves: readonly Curve[],
  sets: readonly SetCurve[],
  levels: Levels,
  first: SetGeometry,
): GeometryFit {
  const { secondNs } = levels;
  if (secondNs === null) return nothing("no curve stays on a second level");
  const seen: Visits[] = [];
  const all = visitCurves(curves, sets);
  const times = all.map((each) => walkTime(each, secondNs)).filter(Number.isFinite);
  const clear = times.filter((ns) => ns > secondNs * CLEAR_WALK);
  const usualNs = median(clear.length > 0 ? clear : times);
  let walks = 0;
  for (const curve of all) {
    const { points, fillers, visited } = curve;
    // A curve that ends where few of its loads walk does not show what a walk takes.
    const walkNs = Math.max(walkTime(curve, secondNs), usualNs);
    for (const { pages, ns } of points) {
      const reach = overflowing(visited(pages), first);
      if (reach.length === 0) continue;
      // Fillers lie in sets that have room for them: what walks are the others.
      const walked = ns > secondNs * WALK_TOLERANCE ? ((ns - secondNs) * (pages + fillers)) / pages : 0;
      if (walked > 0) walks++;
      seen.push({ visited: reach, pages, missed: Math.min(1, walked / (walkNs - secondNs)) });
    }
  }
  if (walks === 0) return nothing(`no walks up to ${DATA_LINES} pages at any stride: its sets are too many to be seen`);
  const search = { indexings: indexings(SECOND_SETS_MAX), ways: SECOND_WAYS, takenPart: TAKEN_PART, boundPart: 0.5 };
  return best(search, seen);
}

/** A curve of either kind. */
interface VisitCurve {
  /** Those at which the data caches have room for all lines. */
  readonly points: Curve["points"];
  /** Pages that are visited beside those that a point counts. */
  readonly fillers: number;
  /** All pages that a point of so many visits. */
  readonly visited: (pages: number) => readonly number[];
}

function visitCurves(curves: readonly Curve[], sets: readonly SetCurve[]): VisitCurve[] {
  const small = (points: Curve["points"], fillers: number) =>
    points.filter(({ pages }) => pages + fillers <= DATA_LINES);
  return [
    ...curves.map(({ stride, points }) => ({
      points: small(points, 0),
      fillers: 0,
      visited: (pages: number) => pagesAt(stride, pages),
    })),
    ...sets.map(({ targets, fillers, points }) => ({
      points: small(points, fillers.length),
      fillers: fillers.length,
      visited: (pages: number) => [...targets.slice(0, pages), ...fillers],
    })),
  ];
}

/**
 * What a load takes that walks: at four times as many pages as the first point with walks nearly all do, but for the fillers, which do
 * not need to. Infinity where none walks.
 */
function walkTime({ points, fillers }: VisitCurve, secondNs: number): number {
  const first = points.find(({ ns }) => ns > secondNs * WALK_TOLERANCE);
  if (first === undefined) return Number.POSITIVE_INFINITY;
  let most = secondNs;
  for (const { pages, ns } of points) {
    if (pages > 4 * first.pages) break;
    most = Math.max(most, secondNs + ((ns - secondNs) * (pages + fillers)) / pages);
  }
  return most;
}

/** The one in the middle; 0 of none. */
function median(values: readonly number[]): number {
  return values.length === 0 ? 0 : values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}

function pagesAt(stride: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => i * stride);
}

/** Those of the pages that are in a set which has not room for all of its own. */
function overflowing(pages: readonly number[], geometry: SetGeometry): number[] {
  const counts = new Map<number, number>();
  for (const page of pages) {
    const set = setOf(geometry, page);
    counts.set(set, (counts.get(set) ?? 0) + 1);
  }
  return pages.filter((page) => (counts.get(setOf(geometry, page)) ?? 0) > geometry.ways);
}

type Indexing = Omit<SetGeometry, "ways">;

/** Counts the pages of each set, and the sets of each count. */
function occupancyOf(pages: readonly number[], indexing: Indexing): Point["occupancy"] {
  const counts = new Int32Array(indexing.sets);
  for (const page of pages) counts[setOf(indexing, page)]++;
  const sets = new Int32Array(pages.length + 1);
  for (const count of counts) sets[count]++;
  const occupancy: [number, number][] = [];
  for (let count = 1; count < sets.length; count++) if (sets[count] > 0) occupancy.push([count, sets[count]]);
  return occupancy;
}

function indexings(setsMax: number): Indexing[] {
  const all: Indexing[] = [];
  for (let sets = 1; sets <= setsMax; sets *= 2) {
    for (const indexHash of INDEX_HASHES) {
      const isLinear = sets === 1 || (indexHash === "bit9" && setIndex(sets, indexHash).hashShift === 0);
      const exists = indexHashProblem(sets, indexHash) === null;
      if (indexHash === "linear" || (exists && !isLinear)) all.push({ sets, indexHash });
    }
  }
  return all;
}

function allWays(most: number): number[] {
  return Array.from({ length: most }, (_, i) => i + 1);
}

function nothing(reason: string): GeometryFit {
  return { geometry: null, reason, candidates: [], points: 0, unexplained: 1 };
}

/** What is tried. */
interface Search {
  readonly indexings: readonly Indexing[];
  readonly ways: readonly number[];
  /** Part of the ways of a set that other entries may take. */
  readonly takenPart: number;
  /** The part of Belady's bound that must be reached: less than 1 where another level keeps some of the pages away. */
  readonly boundPart: number;
}

/** Tries all geometries. */
function best(search: Search, seen: readonly Visits[]): GeometryFit {
  const found: { readonly geometry: SetGeometry; readonly wrong: number }[] = [];
  const count = seen.length;
  for (const indexing of search.indexings) {
    const points = seen.map(({ visited, ...point }) => ({ ...point, occupancy: occupancyOf(visited, indexing) }));
    for (const each of search.ways) {
      let wrong = 0;
      for (const point of points) wrong += contradiction(point, each, search);
      found.push({ geometry: { ...indexing, ways: each }, wrong });
    }
  }
  found.sort((a, b) => a.wrong - b.wrong);
  const [first, second] = found;
  const unexplained = count === 0 ? 1 : first.wrong / count;
  if (unexplained > UNEXPLAINED_MAX) {
    const reason = `no geometry explains the curves: the best leaves ${(unexplained * 100).toFixed(0)} % of ${count} points`;
    return { geometry: null, reason, candidates: [], points: count, unexplained };
  }
  const near = found.filter(({ wrong }) => wrong - first.wrong < MARGIN_POINTS);
  const candidates = near.map(({ geometry }) => geometry);
  if (second.wrong - first.wrong < MARGIN_POINTS) {
    const [a, b] = [first, second].map(({ geometry: g }) => `${g.sets} sets of ${g.ways} ways (${g.indexHash})`);
    const reason = `the curves do not tell ${a} from ${b}`;
    return { geometry: null, reason, candidates, points: count, unexplained };
  }
  return { geometry: first.geometry, reason: "", candidates, points: count, unexplained };
}

/** How much a point contradicts a number of ways: 0 not at all, 1 wholly. */
function contradiction({ pages, missed, occupancy }: Point, ways: number, search: Search): number {
  const taken = Math.floor(ways * search.takenPart);
  let least = 0;
  let most = 0;
  for (const [inSet, sets] of occupancy) {
    if (inSet <= ways - taken) continue;
    most += sets * inSet;
    if (inSet > ways) least += (sets * inSet * (inSet - ways)) / (inSet - 1);
  }
  if (missed === Number.POSITIVE_INFINITY) return most > 0 ? 0 : 1;
  const error = Math.max((search.boundPart * least) / pages - missed, missed - most / pages, 0);
  if (error > MISS_TOLERANCE) return Math.min(1, error / FULL_ERROR);
  // A bound near 0 forbids nothing, but no replacement that is built keeps a set that is too full from missing altogether.
  return missed <= MISS_TOLERANCE && least > 0 ? (HARDLY_POSSIBLE * most) / pages : 0;
}
