/** The curves that a preset would have shown, point by point beside those that were measured. */
import type { Preset } from "../../arch/index.ts";
import { randomStream } from "../machine/random.ts";
import type { Curve } from "./curves.ts";
import { EmulatedTimer } from "./emulated-timer.ts";
import { DATA_LINES, orderedPages } from "./plan.ts";

/** One stride, measured and emulated. */
export interface ComparedCurve {
  readonly stride: number;
  readonly measured: Curve["points"];
  /** At the same numbers of pages, as far as the emulated machine knows what makes loads slow. */
  readonly emulated: Curve["points"];
}

/** As the probe does, the least of several orders counts. */
const ORDERS = 3;
/** Strides that are drawn: those at which most sets are used, and those at which ever fewer are. */
const SHOWN = [1, 4, 16, 64, 129, 257, 1024, 2048, 4096, 8192, 16384, 65536];
const SHOWN_MAX = 10;

/** Emulates the curves of some of the strides. @param seed of the orders of the visits */
export function compareCurves(loads: readonly Curve[], preset: Preset, seed: number): ComparedCurve[] {
  const timer = new EmulatedTimer(preset);
  const shown = loads.filter(({ stride }) => SHOWN.includes(stride));
  return (shown.length > 0 ? shown : loads).slice(0, SHOWN_MAX).map(({ stride, points }) => {
    const usable = points.filter(
      ({ pages }) => pages <= DATA_LINES && (pages - 1) * stride + DATA_LINES < timer.memoryPages,
    );
    const emulated = usable.map(({ pages }) => {
      const random = randomStream(seed + stride * 1024 + pages);
      let least = Number.POSITIVE_INFINITY;
      for (let order = 0; order < ORDERS; order++) {
        least = Math.min(least, timer.time(orderedPages(stride, pages, order, random), 1));
      }
      return { pages, ns: least };
    });
    return { stride, measured: points, emulated };
  });
}

/** Root mean square of the relative differences at the points that both have. */
export function relativeDifference(curves: readonly ComparedCurve[]): number {
  let sum = 0;
  let count = 0;
  for (const { measured, emulated } of curves) {
    const known = new Map(measured.map(({ pages, ns }) => [pages, ns]));
    for (const { pages, ns } of emulated) {
      const seen = known.get(pages);
      if (seen === undefined) continue;
      sum += (ns / seen - 1) ** 2;
      count++;
    }
  }
  return count === 0 ? 0 : Math.sqrt(sum / count);
}
