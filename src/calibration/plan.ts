/**
 * Which pages are visited. Strides that are powers of two leave one bit less of the page number after the other to choose a set;
 * strides of one more than a power of two keep an index constant that XORs two neighbouring fields. From where a curve rises in
 * each of them follow sets, ways and hash.
 */
import type { Random } from "../machine/random.ts";
import type { CurvePoint } from "./curves.ts";
import { type SetGeometry, setOf } from "./set-geometry.ts";

/**
 * Lines of the smallest first-level data cache that x86-64 parts have (32 KiB): more pages than this, a line each, are slower for
 * a reason that is not the TLB's.
 */
export const DATA_LINES = 512;

const POWERS = Array.from({ length: 16 }, (_, bit) => 2 ** bit);
const FOLDS = Array.from({ length: 10 }, (_, bit) => 2 ** (bit + 1) + 1);

/** Strides of the curves, in pages. */
export const STRIDES: readonly number[] = [...POWERS, ...FOLDS].sort((a, b) => a - b);

/** Numbers of pages that every curve has, as far as the memory reaches. */
const COUNTS = [
  1, 2, 3, 4, 6, 8, 10, 12, 14, 16, 18, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 256, 320, 384, 512,
];
const QUICK_COUNTS = [1, 2, 4, 6, 8, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 256, 512];

/** The numbers of pages to begin with for a stride in a memory of `memoryPages` pages. */
export function firstCounts(stride: number, memoryPages: number, isQuick: boolean): number[] {
  return (isQuick ? QUICK_COUNTS : COUNTS).filter((count) => fits(stride, count, memoryPages));
}

function fits(stride: number, count: number, memoryPages: number): boolean {
  // The orders of a point begin at different pages, all below ORDER_OFFSETS.
  return count <= DATA_LINES && (count - 1) * stride + ORDER_OFFSETS < memoryPages;
}

/** A rise of less is not told from noise. */
const RISE = 1.03;

/**
 * The number of pages to measure next so that the rises of a curve are known to the page: half way between the last point that is
 * on a level and the first that is above it.
 * @param levels times of loads that the first and the second level translate
 * @returns null when all is known
 */
export function refinement(points: readonly CurvePoint[], levels: readonly number[]): number | null {
  for (const level of levels) {
    const above = points.findIndex(({ ns }) => ns > level * RISE);
    if (above <= 0) continue;
    const [low, high] = [points[above - 1].pages, points[above].pages];
    if (high - low > 1) return Math.floor((low + high) / 2);
  }
  return null;
}

/** Orders of a point begin at pages below this. */
const ORDER_OFFSETS = 512;
/** Coprime to every number of sets, so that the orders of a point use different sets. */
const OFFSET_STEP = 29;

/**
 * The pages of a point in the order of the visits. Where the stride is a power of two, each order begins at a page of its own and
 * so uses other sets: what else lies in the set of one order is not taken for a lack of ways.
 */
export function orderedPages(stride: number, count: number, order: number, random: Random): number[] {
  const offset = stride >= ORDER_OFFSETS && POWERS.includes(stride) ? (order * OFFSET_STEP) % ORDER_OFFSETS : 0;
  return shuffled(
    Array.from({ length: count }, (_, i) => offset + i * stride),
    random,
  );
}

/** The elements in random order. */
export function shuffled<T>(elements: readonly T[], random: Random): T[] {
  const order = [...elements];
  for (let i = order.length - 1; i > 0; i--) {
    const j = random.between(0, i);
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

/** Numbers of pages of a set: all up to the ways of most second levels, then those at which a set of more ways begins to miss. */
export const SET_COUNTS: readonly number[] = [
  ...Array.from({ length: 36 }, (_, i) => i + 1),
  ...[40, 44, 48, 49, 52, 56, 60, 64, 65, 72],
];

/** Visits of a random sequence. */
const VISITS_MIN = 10;
const VISITS_MAX = 28;
/** Pages of a sequence beyond the ways of its set, at the most. */
const EXTRA_PAGES_MAX = 3;

/**
 * Cycles of visits to `ways` and a few more of `pages`, pages of one set: plain cycles first, then random ones.
 * @returns fewer than `count` when there are too few pages
 */
export function randomSequences(pages: readonly number[], ways: number, count: number, random: Random): number[][] {
  const most = Math.min(pages.length, ways + EXTRA_PAGES_MAX);
  if (most <= ways) return [];
  const sequences: number[][] = [];
  for (let used = Math.max(2, ways - 1); used <= most; used++) sequences.push(pages.slice(0, used));
  while (sequences.length < count) {
    const used = random.between(ways + 1, most);
    const length = used + random.between(VISITS_MIN, VISITS_MAX);
    sequences.push(Array.from({ length }, () => pages[random.between(0, used - 1)]));
  }
  return sequences.slice(0, count);
}

/**
 * Pages of set 0 of a TLB, the lowest first, at most `count`.
 * @param accepts which of them are taken
 */
export function pagesOfOneSet(
  geometry: SetGeometry,
  memoryPages: number,
  count: number,
  accepts: (page: number) => boolean,
): number[] {
  const pages: number[] = [];
  for (let page = 0; page < memoryPages && pages.length < count; page++) {
    if (setOf(geometry, page) === 0 && accepts(page)) pages.push(page);
  }
  return pages;
}
