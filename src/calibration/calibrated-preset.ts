/**
 * The preset that a calibration gives. What was measured is marked so; everything else is that of the nearest preset, and assumed for
 * this processor, however well it is known for that one.
 */
import { assumed, measured, type Origin, type Preset, parsePreset, type TlbPreset } from "../../arch/index.ts";
import { cycles, gigahertz, wholeTakenOver } from "../../arch/presets/figure.ts";
import { type ReplacementName, replacementProblem } from "../../arch/presets/replacement/index.ts";
import { randomStream } from "../machine/random.ts";
import type { Calibration } from "./calibration.ts";
import type { CurveOrigin } from "./curves.ts";
import { EmulatedTimer } from "./emulated-timer.ts";
import { loadTlbs } from "./nearest-preset.ts";
import { orderedPages } from "./plan.ts";
import type { ReplacementFit } from "./replacement-fit.ts";
import type { SetGeometry } from "./set-geometry.ts";

/** The name of every preset that is written; a person may change it. */
const NAME = "calibrated";

/** Makes the preset. It passes the checks of `parsePreset`. @param origin where it was measured */
export function calibratedPreset(found: Calibration, origin: CurveOrigin): Preset {
  const nearest = wholeTakenOver(found.nearest, found.nearest.name);
  const calibration = { ...found, nearest };
  const where = origin.processor === "" ? "a processor that the curves do not name" : origin.processor;
  const source = `mmulab calibrate on ${where}`;
  const preset = withoutWalk(calibration, where, source);
  const walk = walkCycles(calibration, preset);
  const costs =
    walk === null ? preset.costs : { ...preset.costs, walk: cycles(walk.value, measured(`${source}: ${walk.text}`)) };
  return parsePreset({ ...preset, costs, description: `${where}, calibrated; the rest as ${nearest.name}` });
}

function withoutWalk(calibration: Calibration, where: string, source: string): Preset {
  const { nearest, ghz, ghzFrom, firstHitCycles, secondHitCycles } = calibration;
  const part = nearest.name;
  const [l1d, ...others] = nearest.dataCaches;
  const ghzOrigin = {
    measured: measured(`${source}: dependent multiplications of 3 cycles each`),
    given: assumed(`given to mmulab calibrate for ${where}`),
    "first-level hit": assumed(
      `computed from ${firstHitCycles.toFixed(1)} cycles of a first-level hit, as ${part} has`,
    ),
  }[ghzFrom];
  const hit = cycles(rounded(firstHitCycles), measured(`${source}: dependent loads that hit`));
  return {
    ...nearest,
    name: NAME,
    frequencyGhz: gigahertz(Math.round(ghz * 1000) / 1000, ghzOrigin),
    tlbs: tlbsOf(calibration, source),
    pagingStructureCaches: structuresOf(nearest),
    dataCaches: l1d === undefined ? [] : [{ ...l1d, hitCycles: hit }, ...others],
    costs: {
      ...nearest.costs,
      secondLevelHit: cycles(
        rounded(secondHitCycles),
        measured(`${source}: dependent loads that miss the first level`),
      ),
    },
  };
}

function tlbsOf(calibration: Calibration, source: string): TlbPreset[] {
  const { nearest, first, second, firstReplacement, secondReplacement } = calibration;
  const [near] = loadTlbs(nearest, 1);
  const [far, ...halves] = loadTlbs(nearest, 2);
  const kept = nearest.tlbs.filter((tlb) => second === null || !halves.includes(tlb));
  return kept.map((tlb): TlbPreset => {
    if (tlb === near) return withGeometry(tlb, first, firstReplacement, nearest.name, source);
    if (tlb === far && second !== null) {
      const whole = { ...tlb, pageSizes: unionOf([far, ...halves].map(({ pageSizes }) => pageSizes)) };
      return withGeometry(whole, second, secondReplacement, nearest.name, source);
    }
    return tlb;
  });
}

function withGeometry(
  tlb: TlbPreset,
  { sets, ways, indexHash }: SetGeometry,
  fit: ReplacementFit,
  part: string,
  source: string,
): TlbPreset {
  const { name, origin } = replacementOf(tlb.replacement, ways, fit, part, source);
  const shape = measured(`${source}: where loads begin to miss, over strides and numbers of pages`);
  return {
    ...tlb,
    sets,
    ways,
    indexHash,
    replacement: name,
    origins: {
      pageSizes: tlb.origins.pageSizes,
      sets: shape,
      ways: shape,
      indexHash: sets === 1 ? assumed("one set: there is no index") : shape,
      replacement: origin,
    },
  };
}

/** The policy that explains the sequences; else the nearest preset's where it exists for so many ways, else the best or LRU. */
function replacementOf(
  taken: ReplacementName,
  ways: number,
  fit: ReplacementFit,
  part: string,
  source: string,
): { readonly name: ReplacementName; readonly origin: Origin } {
  if (fit.isExplained && fit.name !== null) {
    const right = Math.round(fit.tried[0].explainedPart * fit.clean);
    const text = `${source}: explains the misses of ${right} of ${fit.clean} sequences of visits to one set`;
    return { name: fit.name, origin: measured(text) };
  }
  const why =
    fit.name === null
      ? "not measured"
      : fit.isTied
        ? "the sequences that were measured do not tell the known policies apart"
        : "no known policy explains the sequences that were measured";
  if (replacementProblem(taken, ways) === null) return { name: taken, origin: assumed(`as ${part}; ${why}`) };
  const name = fit.name ?? "lru";
  return { name, origin: assumed(`${why}; that of ${part} does not exist for ${ways} ways`) };
}

/** Those of the nearest preset. What shares a TLB shares the one that the halves of the second level have become. */
function structuresOf(nearest: Preset): Preset["pagingStructureCaches"] {
  const [far, ...halves] = loadTlbs(nearest, 2).map(({ name }) => name);
  const entries = Object.entries(nearest.pagingStructureCaches).map(([key, shape]) => {
    if (!("sharedWith" in shape)) return [key, shape];
    const sharedWith = halves.includes(shape.sharedWith) ? far : shape.sharedWith;
    return [key, { ...shape, sharedWith }];
  });
  return Object.fromEntries(entries) as Preset["pagingStructureCaches"];
}

/**
 * What walks cost beside the fetches of entries: what was measured where they are cheapest, less what the emulated walker
 * takes for the fetches of the same loads. Null when no walks were seen.
 */
function walkCycles(
  { walks, ghz, firstHitCycles }: Calibration,
  preset: Preset,
): { readonly value: number; readonly text: string } | null {
  if (walks.length === 0) return null;
  const { stride, pages, walkNs } = walks.reduce((best, each) => (each.walkNs < best.walkNs ? each : best));
  const free = { ...preset, costs: { ...preset.costs, walk: { ...preset.costs.walk, value: 0 } } };
  const timer = new EmulatedTimer(free);
  const fetchCycles = timer.time(orderedPages(stride, pages, 0, randomStream(1)), 1) * timer.clockGhz - firstHitCycles;
  const value = Math.max(0, Math.round(walkNs * ghz - fetchCycles));
  const text = `${pages} pages ${stride} apart, ${(walkNs * ghz).toFixed(0)} cycles less fetches of entries`;
  return { value, text };
}

/** Cycles to a tenth. */
function rounded(value: number): number {
  return Math.round(value * 10) / 10;
}

function unionOf<T>(lists: readonly (readonly T[])[]): T[] {
  return [...new Set(lists.flat())];
}
