/**
 * What the data caches behind the walkers of all CPUs of a preset have in common: their levels, and where a CPU has what they hold among its words.
 */

import type { Preset } from "../presets/preset.ts";
import { LineCacheShape } from "./line-cache-shape.ts";

/** Where something is by the low bits of a line's number: at word `at + ((number & mask) << shift)`. */
interface ByLine {
  readonly at: number;
  readonly mask: number;
  readonly shift: number;
}

/** The words of a CPU's data caches. */
export class WalkCacheShape {
  /** From the nearest on. */
  readonly levels: readonly LineCacheShape[];
  /** Cycles of a fetch that the nearest level answers, and of one that none does. */
  readonly nearCycles: number;
  readonly memoryCycles: number;
  /** Words of all of it. */
  readonly words: number;
  /**
   * The line fetched last of those with the same low bits of their number, as many as choose the set in the level of the fewest
   * sets: one more than its number; 0 for none, or one from 2^31 on.
   */
  readonly latestAt: number;
  readonly latestMask: number;
  readonly latestShift: number;
  /**
   * That of the levels behind the nearest, which have more sets: tables that are used at the same index keep each other from
   * being the latest in the nearest level, but not in these.
   */
  readonly behindAt: number;
  readonly behindMask: number;
  readonly behindShift: number;

  constructor({ dataCaches, memory }: Preset) {
    const levels: LineCacheShape[] = [];
    let end = 0;
    for (const { sizeBytes, ways, hitCycles } of dataCaches) {
      const sizes = { sizeBytes: sizeBytes.value, ways: ways.value, hitCycles: hitCycles.value };
      const level = new LineCacheShape(sizes, end);
      levels.push(level);
      end = level.end;
    }
    const latest = latestBySet(levels, end);
    const behind = latestBySet(levels.slice(1), latest.end);
    this.levels = levels;
    this.memoryCycles = memory.value;
    this.nearCycles = levels.length > 0 ? levels[0].hitCycles : memory.value;
    this.latestAt = latest.at;
    this.latestMask = latest.mask;
    this.latestShift = latest.shift;
    this.behindAt = behind.at;
    this.behindMask = behind.mask;
    this.behindShift = behind.shift;
    this.words = behind.end;
  }

  /** Empties all of it. */
  clear(words: Int32Array): void {
    for (const level of this.levels) level.clear(words);
    words.fill(0, this.levels.at(-1)?.end ?? 0);
  }
}

/**
 * Where the latest line is by set of the level of the fewest sets: in the rows of the first level, if it is that and they have room, so that it lies beside
 * what is looked at next; else from `end` on. And where that ends.
 */
function latestBySet(levels: readonly LineCacheShape[], end: number): ByLine & { readonly end: number } {
  const sets = levels.length === 0 ? 1 : Math.min(...levels.map((level) => level.sets));
  const [near] = levels;
  if (near !== undefined && near.sets === sets && near.spareAt >= 0 && (near.rowWords & (near.rowWords - 1)) === 0)
    return { at: near.spareAt, mask: sets - 1, shift: 31 - Math.clz32(near.rowWords), end };
  return { at: end, mask: sets - 1, shift: 0, end: end + sets };
}

const shapes = new WeakMap<Preset, WalkCacheShape>();

/** That of a preset. */
export function walkCacheShape(preset: Preset): WalkCacheShape {
  let shape = shapes.get(preset);
  if (shape === undefined) {
    shape = new WalkCacheShape(preset);
    shapes.set(preset, shape);
  }
  return shape;
}
