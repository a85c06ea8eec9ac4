/** What `walk-overlap` is meant to show: walkers and window limit what independent loads hide. */
import { describe, expect, it } from "vitest";
import { presetByName } from "../../../arch/index.ts";
import { withFigure } from "../../../arch/presets/named-figures.ts";
import { EXPERIMENTS, runExperiment } from "../../../src/experiments/index.ts";
import { rows, run } from "./small-runs.ts";

function withOverlap(figure: string, value: number) {
  const experiment = EXPERIMENTS.find(({ name }) => name === "walk-overlap");
  if (experiment === undefined) throw new Error("no walk-overlap");
  const preset = withFigure(presetByName("skylake"), figure, value, { basis: "assumed", source: "a test" });
  return rows(runExperiment(experiment, preset, 1, { size: "64", pages: "4K", loads: "4000" }), "walk-overlap");
}

describe("walk-overlap", () => {
  it("has as many walks at once as there are walkers, and hides hits of the second level", () => {
    const all = rows(run("walk-overlap"), "walk-overlap");
    const row = (sizeMiB: number, page: string, accesses: string) =>
      all.find((each) => each.sizeMiB === sizeMiB && each.page === page && each.accesses === accesses) ?? {};
    expect(Number(row(64, "4K", "independent").walksAtOnce)).toBeCloseTo(2, 1);
    expect(row(64, "4K", "dependent").walksAtOnce).toBe(1);
    expect(Number(row(64, "4K", "independent").timesQuicker)).toBeGreaterThan(1.9);
    expect(Number(row(2, "4K", "dependent").cyclesPerAccess)).toBeGreaterThan(5);
    expect(Number(row(2, "4K", "independent").cyclesPerAccess)).toBeLessThan(1.1);
    for (const column of ["missPercent", "secondLevelPercent", "cyclesPerWalk"]) {
      expect(row(64, "4K", "independent")[column]).toBe(row(64, "4K", "dependent")[column]);
    }
  });

  it("follows the figures: one walker, or a window of one, leaves walks one after another", () => {
    for (const figure of ["overlap.walkers", "overlap.window"]) {
      const [dependent, independent] = withOverlap(figure, 1);
      expect(independent.walksAtOnce, figure).toBe(1);
      expect(Number(independent.cyclesPerAccess), figure).toBeGreaterThan(0.9 * Number(dependent.cyclesPerAccess));
    }
    const [dependent, independent] = withOverlap("overlap.window", 1);
    expect(independent.cyclesPerAccess).toBe(dependent.cyclesPerAccess);
  });
});
