/** What page walks cost, by how far apart the tables are that they read. */
import type { Curve } from "./curves.ts";
import { DATA_LINES } from "./plan.ts";
import type { Levels } from "./plateaus.ts";
import { type SetGeometry, setOf } from "./set-geometry.ts";

/** Loads that all walk, or nearly. */
export interface WalkCost {
  readonly stride: number;
  readonly pages: number;
  /** Page tables and page directories that the pages lie in. */
  readonly tables: number;
  readonly directories: number;
  /** What a load takes beyond a first-level hit. */
  readonly walkNs: number;
}

/** Pages that an entry of a page directory, and of a page-directory-pointer table, stands for. */
const TABLE_PAGES = 512;
const DIRECTORY_PAGES = 512 ** 2;

/**
 * One figure for each stride that has a point at which every set of both levels has twice the pages that it has ways: whatever is
 * evicted, nearly all loads walk.
 */
export function walkCosts(
  curves: readonly Curve[],
  levels: Levels,
  first: SetGeometry,
  second: SetGeometry,
): WalkCost[] {
  const costs: WalkCost[] = [];
  for (const { stride, points } of curves) {
    const point = points.find(
      ({ pages }) =>
        pages <= DATA_LINES && overflowsTwice(stride, pages, first) && overflowsTwice(stride, pages, second),
    );
    if (point === undefined) continue;
    const last = (point.pages - 1) * stride;
    costs.push({
      stride,
      pages: point.pages,
      tables: Math.min(point.pages, Math.floor(last / TABLE_PAGES) + 1),
      directories: Math.min(point.pages, Math.floor(last / DIRECTORY_PAGES) + 1),
      walkNs: point.ns - levels.firstNs,
    });
  }
  return costs.sort((a, b) => a.tables - b.tables || a.stride - b.stride);
}

function overflowsTwice(stride: number, pages: number, geometry: SetGeometry): boolean {
  const counts = new Map<number, number>();
  for (let i = 0; i < pages; i++) {
    const set = setOf(geometry, i * stride);
    counts.set(set, (counts.get(set) ?? 0) + 1);
  }
  return [...counts.values()].every((count) => count >= 2 * geometry.ways);
}

/** A number of tables up to which walks cost one figure, and beyond which they cost another. */
export interface StructureReach {
  readonly stride: number;
  /** Entries of page directories that a paging-structure cache seems to hold, where the stride uses one a page. */
  readonly entries: number;
  readonly belowNs: number;
  readonly aboveNs: number;
}

/** Costs on one level differ by less. */
const FLAT = 1.05;
/** A step is at least this. */
const STEP = 1.12;
const FLAT_POINTS_MIN = 3;

/**
 * Where the cost of walks has one step between two levels, on a curve whose pages each lie in a table of their own. Null where walks
 * grow dearer gradually, as they do when every table is itself translated, or stay the same.
 */
export function structureReach(
  curves: readonly Curve[],
  first: SetGeometry,
  second: SetGeometry,
): StructureReach | null {
  for (const { stride, points } of curves) {
    if (stride < TABLE_PAGES) continue;
    const walking = points.filter(
      ({ pages }) =>
        pages <= DATA_LINES && overflowsTwice(stride, pages, first) && overflowsTwice(stride, pages, second),
    );
    const step = walking.findIndex(({ ns }, i) => i > 0 && ns > walking[i - 1].ns * STEP);
    if (step < FLAT_POINTS_MIN || walking.length - step < FLAT_POINTS_MIN) continue;
    const [below, above] = [walking.slice(0, step), walking.slice(step)].map((part) => part.map(({ ns }) => ns));
    if (Math.max(...below) > Math.min(...below) * FLAT || Math.max(...above) > Math.min(...above) * FLAT) continue;
    const [belowNs, aboveNs] = [below, above].map((times) => times[Math.floor(times.length / 2)]);
    return { stride, entries: walking[step - 1].pages, belowNs, aboveNs };
  }
  return null;
}
