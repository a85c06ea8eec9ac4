/** Curves measured on an Emerald Rapids core (`test/silicon`), with nothing else known of it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { calibratedPreset } from "../../../src/calibration/calibrated-preset.ts";
import { calibrate } from "../../../src/calibration/calibration.ts";
import { parseCurves, type VisitSequence } from "../../../src/calibration/curves.ts";
import { compareCurves, relativeDifference } from "../../../src/calibration/emulated-curves.ts";
import { describeCalibration } from "../../../src/calibration/findings.ts";
import { fitSecondReplacement } from "../../../src/calibration/replacement-fit.ts";
import { sequences } from "../../arch/presets/silicon.ts";

const FILE = join(import.meta.dirname, "../../silicon/dtlb-loads.txt");
const loads = parseCurves(FILE, readFileSync(FILE, "utf8"));

/** Sequences of a file, of pages so far apart. */
function sequencesOf(file: string, stride: number): VisitSequence[] {
  return sequences(file).map(({ visits, leastNs, medianNs }) => ({
    visits: visits.map((page) => page * stride),
    leastNs,
    medianNs,
  }));
}

const curves = {
  ...loads,
  firstLevelSequences: sequencesOf("dtlb-sequences.txt", 16),
  secondLevelSequences: sequencesOf("stlb-sequences.txt", 16384),
};
const found = calibrate(curves);

describe("curves of a measured core", () => {
  it("show 16 sets of 6 ways and, behind them, 128 sets of 16 ways under a hash of 7 bits", () => {
    expect(found.first).toEqual({ sets: 16, ways: 6, indexHash: "linear" });
    expect(found.second).toEqual({ sets: 128, ways: 16, indexHash: "xor" });
    expect(found.nearest.name).toBe("sapphire-rapids");
  });

  it("show hits of 5 cycles and 7 more, once the clock is known", () => {
    const { firstHitCycles, secondHitCycles } = calibrate(curves, 3);
    expect(firstHitCycles).toBeCloseTo(5, 1);
    expect(secondHitCycles).toBeCloseTo(7, 1);
    expect(found.ghzFrom).toBe("first-level hit");
  });

  it("show the first level's replacement, and that no known policy is the second level's", () => {
    expect(found.firstReplacement).toMatchObject({ name: "mru3-plru2", isExplained: true });
    expect(found.secondReplacement.clean).toBeGreaterThan(10);
    expect(found.secondReplacement.isExplained).toBe(false);
    const preset = calibratedPreset(found, curves.origin);
    expect(preset.tlbs.find(({ level }) => level === 2)?.origins.replacement.basis).toBe("assumed");
    const { notMeasured } = describeCalibration(found, curves);
    expect(notMeasured.some((text) => text.startsWith("Replacement of the second level: no known policy"))).toBe(true);
  });

  it("are those of the preset that is made of them, but for what the second level's replacement does to walks", () => {
    const preset = calibratedPreset(found, curves.origin);
    const compared = compareCurves(loads.loads, preset, 1);
    const hits = compared.map((each) => ({
      ...each,
      emulated: each.emulated.filter(
        ({ pages }) => (each.measured.find((point) => point.pages === pages)?.ns ?? 0) < 4.2,
      ),
    }));
    expect(relativeDifference(hits)).toBeLessThan(0.05);
  });
});

describe("curves that were measured here on a Zen 4", () => {
  const file = join(import.meta.dirname, "../../silicon/zen4/calibrate.txt");
  const { first, second, secondFit, levels } = calibrate(parseCurves(file, readFileSync(file, "utf8")));

  it("show a first level of 72 entries", () => {
    expect(first).toEqual({ sets: 1, ways: 72, indexHash: "linear" });
  });

  it("creep up where none walks, as lines begin to leave the data cache, and are not taken for walks", () => {
    // Which of the candidates it is takes visits to single sets.
    expect(second).toBeNull();
    expect(secondFit.candidates).toContainEqual({ sets: 256, ways: 12, indexHash: "bit9" });
    expect(levels.secondNs).toBeCloseTo(3.05, 1);
  });
});

describe("sequences of pages that the first level holds", () => {
  it("explain every policy of the second level alike, which is said", () => {
    const visits = Array.from({ length: 20 }, (_, i) => (i * 7) % 13);
    const one = { visits, leastNs: 1.08, medianNs: 1.08 };
    const levels = { firstNs: 1.08, secondNs: 2.98 };
    const fit = fitSecondReplacement(new Array(10).fill(one), levels, 12, { name: "lru", ways: 72 });
    expect(fit).toMatchObject({ isExplained: false, isTied: true, clean: 10 });
    // The preset says so too, where a core's own sequences do tell them apart and no policy explains them.
    const sourceOf = (calibration: typeof found) =>
      calibratedPreset(calibration, curves.origin).tlbs.find(({ level }) => level === 2)?.origins.replacement.source;
    expect(sourceOf(found)).toContain("no known policy explains the sequences");
    expect(sourceOf({ ...found, secondReplacement: fit })).toContain("do not tell the known policies apart");
  });
});
