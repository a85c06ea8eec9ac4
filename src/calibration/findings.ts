/** A calibration in sentences: what was found, and what could not be measured. */
import type { Calibration } from "./calibration.ts";
import type { MeasuredCurves } from "./curves.ts";
import type { ReplacementFit } from "./replacement-fit.ts";
import { describeGeometry } from "./set-geometry.ts";

/** Sentences for people. */
export interface Findings {
  readonly found: readonly string[];
  /** What the preset takes over from the nearest one, and why. */
  readonly notMeasured: readonly string[];
}

/** Walks this much dearer at their dearest than at their cheapest: every table is itself translated, or tables leave the caches. */
const FAR_WALKS = 1.5;

/** Puts a calibration into words. */
export function describeCalibration(calibration: Calibration, curves: MeasuredCurves): Findings {
  const { first, second, secondFit, ghz, ghzFrom, firstHitCycles, secondHitCycles, walks, reach, nearest } =
    calibration;
  const { firstReplacement, secondReplacement } = calibration;
  const found = [
    `Clock: ${ghz.toFixed(2)} GHz (${ghzFrom === "first-level hit" ? "computed from a first-level hit" : ghzFrom}).`,
    `First level, loads of 4 KiB pages: ${describeGeometry(first)}; a hit takes ${firstHitCycles.toFixed(1)} cycles.`,
  ];
  const notMeasured: string[] = [];
  sayReplacement("first", first.ways, firstReplacement, found, notMeasured);
  if (second === null) notMeasured.push(`Second level: ${secondFit.reason}.`);
  else {
    const hit = `a hit adds ${secondHitCycles.toFixed(1)} cycles`;
    found.push(`Second level, 4 KiB pages: ${describeGeometry(second)}; ${hit}.`);
    sayReplacement("second", second.ways, secondReplacement, found, notMeasured);
  }
  if (walks.length > 0) {
    const costs = walks.map(({ walkNs }) => walkNs * ghz);
    const [low, high] = [Math.min(...costs), Math.max(...costs)];
    const [least] = walks;
    found.push(
      `Walks: ${low.toFixed(0)} to ${high.toFixed(0)} cycles, as ${least.tables} to ${Math.max(...walks.map(({ tables }) => tables))} page tables are walked.`,
    );
    if (curves.origin.isVirtual === true) {
      const gradual = high > low * FAR_WALKS ? ", and the curves look like it: walks grow dearer with every table" : "";
      found.push(
        `The processor says that this is a virtual machine: walks are two-dimensional${gradual}. The preset has their cost as that of one dimension.`,
      );
    }
  } else if (second !== null) notMeasured.push("Walks: no stride had enough pages for all loads to walk.");
  if (reach === null) {
    notMeasured.push("Paging-structure caches: the cost of walks has no single step that would show where one ends.");
  } else {
    found.push(`Walks of up to ${reach.entries} tables ${reach.stride} pages apart find their directory entry cached.`);
  }
  notMeasured.push(...hugePageNotes(curves.origin.hugePages));
  notMeasured.push(
    `TLBs for stores, fetches and larger pages, data caches, memory and the cost of invalidations: taken over from ${nearest.name}.`,
  );
  return { found, notMeasured };
}

function sayReplacement(
  level: string,
  ways: number,
  fit: ReplacementFit,
  found: string[],
  notMeasured: string[],
): void {
  if (ways === 1) return;
  if (fit.name === null || fit.clean === 0) {
    notMeasured.push(`Replacement of the ${level} level: there are no sequences of visits that settle.`);
    return;
  }
  const [{ name, explainedPart }] = fit.tried;
  const part = `${Math.round(explainedPart * fit.clean)} of ${fit.clean} sequences`;
  if (fit.isExplained) {
    found.push(`Replacement of the ${level} level: ${name}, which explains ${part}.`);
    return;
  }
  if (fit.isTied) {
    // As where the first level holds all pages of a set of the second.
    notMeasured.push(
      `Replacement of the ${level} level: the sequences do not tell the known policies apart (${name}: ${part}).`,
    );
    return;
  }
  notMeasured.push(`Replacement of the ${level} level: no known policy explains it beyond doubt (${name}: ${part}).`);
}

function hugePageNotes(setting: string): string[] {
  if (setting.includes("[always]")) {
    return ["Huge pages: the system gives them to everybody; the probe's memory was made so that it has none."];
  }
  if (setting === "") return ["Huge pages: whether the system uses them is not known."];
  return [];
}
