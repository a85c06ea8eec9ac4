/** What curves say about a processor: everything that is inferred, and what could not be. */
import { PRESETS, type Preset } from "../../arch/index.ts";
import { CalibrationError } from "./calibration-error.ts";
import type { Curve, MeasuredCurves } from "./curves.ts";
import { fitFirstLevel, fitSecondLevel, type GeometryFit } from "./geometry-fit.ts";
import { nearestPreset } from "./nearest-preset.ts";
import { findLevels, type Levels } from "./plateaus.ts";
import { fitFirstReplacement, fitSecondReplacement, type ReplacementFit } from "./replacement-fit.ts";
import type { SetGeometry } from "./set-geometry.ts";
import { type StructureReach, structureReach, type WalkCost, walkCosts } from "./walk-costs.ts";

/** Everything that was inferred. */
export interface Calibration {
  readonly levels: Levels;
  /** Clock frequency of all times. */
  readonly ghz: number;
  /** Where it comes from: measured with multiplications, given, or computed from a first-level hit. */
  readonly ghzFrom: "measured" | "given" | "first-level hit";
  /** Load-to-use latency of a load that the first level translates, in cycles. */
  readonly firstHitCycles: number;
  /** What a second-level hit adds to it. */
  readonly secondHitCycles: number;
  readonly first: SetGeometry;
  readonly firstFit: GeometryFit;
  /** Null when it could not be told; `secondFit` says why. */
  readonly second: SetGeometry | null;
  readonly secondFit: GeometryFit;
  readonly firstReplacement: ReplacementFit;
  readonly secondReplacement: ReplacementFit;
  /** What walks cost, the fewest tables first. */
  readonly walks: readonly WalkCost[];
  readonly reach: StructureReach | null;
  /** The preset that has the most similar TLBs: what is not measured is taken over from it. */
  readonly nearest: Preset;
}

/** Part of the points that may disagree with themselves. */
const DISAGREEING_MAX = 0.1;
/** log2 of the 4 KiB pages of a huge page. */
const HUGE_PAGE_SHIFT = 9;

/**
 * Infers all that it can.
 * @param ghz the clock frequency, when it is known better than by the curves
 * @throws CalibrationError when the curves do not show a first-level TLB beyond doubt: better no preset than a wrong one
 */
export function calibrate(curves: MeasuredCurves, ghz?: number): Calibration {
  const { loads, disagreeing, origin } = curves;
  if (disagreeing > DISAGREEING_MAX) {
    const part = `${(disagreeing * 100).toFixed(0)} % of the points`;
    throw new CalibrationError(
      `${part} came out different each time they were measured: too much else runs on this CPU`,
    );
  }
  const levels = findLevels(loads);
  if (levels.secondNs === null) throw new CalibrationError(noRise(loads));
  const firstFit = fitFirstLevel(loads, levels);
  const first = firstFit.geometry;
  if (first === null) throw new CalibrationError(noFirstLevel(loads, levels, firstFit));
  const secondFit = fitSecondLevel(loads, curves.sets, levels, first);
  const second = secondFit.geometry;
  const nearest = nearestPreset(PRESETS, first, second, origin.vendor);
  const clock = clockOf(curves, levels, nearest, ghz);
  const firstReplacement = fitFirstReplacement(curves.firstLevelSequences, levels, first.ways);
  const near = firstReplacement.name;
  const secondReplacement = fitSecondReplacement(
    second === null || near === null ? [] : curves.secondLevelSequences,
    levels,
    second?.ways ?? 1,
    { name: near ?? "lru", ways: first.ways },
  );
  return {
    levels,
    ...clock,
    firstHitCycles: levels.firstNs * clock.ghz,
    secondHitCycles: (levels.secondNs - levels.firstNs) * clock.ghz,
    first,
    firstFit,
    second,
    secondFit,
    firstReplacement,
    secondReplacement,
    walks: second === null ? [] : walkCosts(loads, levels, first, second),
    reach: second === null ? null : structureReach(loads, first, second),
    nearest,
  };
}

function clockOf(
  { clockGhz }: MeasuredCurves,
  { firstNs }: Levels,
  nearest: Preset,
  given: number | undefined,
): Pick<Calibration, "ghz" | "ghzFrom"> {
  if (given !== undefined) return { ghz: given, ghzFrom: "given" };
  if (clockGhz !== null) return { ghz: clockGhz, ghzFrom: "measured" };
  return { ghz: nearest.dataCaches[0].hitCycles.value / firstNs, ghzFrom: "first-level hit" };
}

function noRise(loads: readonly Curve[]): string {
  const most = Math.max(...loads.map(({ points }) => points.length));
  if (most < 4) return "there are too few points to see any TLB";
  return "no curve rises from one level to another: the memory is too small, or its pages are huge";
}

/** Why no first level was found, in words that help. */
function noFirstLevel(loads: readonly Curve[], levels: Levels, fit: GeometryFit): string {
  if (fitFirstLevel(loads, levels, HUGE_PAGE_SHIFT).geometry !== null) {
    return "the curves are those of 2 MiB pages (transparent huge pages): what is less than 2 MiB apart is one page";
  }
  return `${fit.reason}. Measure again when less else runs, or with a larger memory`;
}
