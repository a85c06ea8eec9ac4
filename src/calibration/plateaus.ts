/** The times between which a load can be: that of a first-level hit, and that of a second-level hit. */
import type { Curve } from "./curves.ts";
import { DATA_LINES } from "./plan.ts";

/** What a load takes that the first level translates, and one that the second does. */
export interface Levels {
  readonly firstNs: number;
  /** Null when no curve stays on a second level: there is none, or it never holds what the first does not. */
  readonly secondNs: number | null;
}

/** Times that differ by less lie on one level. */
const TOLERANCE = 0.03;
/** Times up to this are of one level with the least. */
const NEAR = 1.06;
/** A second level costs at least this much more: a fifth of a hit is one cycle. */
const STEP = 1.12;
/** Neighbouring points on one level, of all curves together, that make it a level and no chance. */
const PAIRS_MIN = 5;
/** And their part of those of the level that has most. */
const PAIRS_PART = 0.1;

/**
 * Finds both. The first level is the median of the times that are nearly the least. The second is the lowest above it on which curves stay flat: where only a part of the
 * loads miss, the next number of pages has another part.
 */
export function findLevels(curves: readonly Curve[]): Levels {
  const flat: number[] = [];
  const points = curves.map((curve) => curve.points.filter(({ pages }) => pages <= DATA_LINES));
  const firstNs = leastLevel(points.flat().map(({ ns }) => ns));
  for (const each of points) {
    for (let i = 1; i < each.length; i++) {
      const [low, high] = [each[i - 1].ns, each[i].ns].sort((a, b) => a - b);
      if (low > firstNs * STEP && high <= low * (1 + TOLERANCE)) flat.push((low + high) / 2);
    }
  }
  return { firstNs, secondNs: lowestLevel(flat.sort((a, b) => a - b)) };
}

/** The median of the times that are nearly the least, those left out that hardly another is near to. */
function leastLevel(times: readonly number[]): number {
  const sorted = times.toSorted((a, b) => a - b);
  const near = sorted.map((ns) => sorted.filter((other) => other >= ns && other <= ns * NEAR));
  const most = Math.max(...near.map(({ length }) => length));
  // Single times may be too short, where the clock was looked at in a bad moment.
  const least = near.find(({ length }) => length >= PAIRS_PART * most) ?? [];
  return least[Math.floor(least.length / 2)] ?? Number.POSITIVE_INFINITY;
}

/** The median of the lowest group of times that lie close together and are many. */
function lowestLevel(times: readonly number[]): number | null {
  const groupAt = (start: number) => {
    let end = start;
    while (end < times.length && times[end] <= times[start] * (1 + TOLERANCE)) end++;
    return end - start;
  };
  const sizes = times.map((_, start) => groupAt(start));
  const most = Math.max(0, ...sizes);
  const start = sizes.findIndex((size) => size >= PAIRS_MIN && size >= PAIRS_PART * most);
  if (start < 0) return null;
  // The group that begins at the first such time may lack its upper end; the largest group that shares a time with it is whole.
  let best = start;
  for (let i = start; i < start + sizes[start]; i++) if (sizes[i] > sizes[best]) best = i;
  return times[best + Math.floor(sizes[best] / 2)];
}
