import { describe, expect, it } from "vitest";
import { renderCsv, renderResult } from "../../../../src/experiments/render/result-text.ts";
import { column, rows, run } from "../small-runs.ts";

const PER_FREE = [
  "workCycles",
  "waitCycles",
  "stolenCycles",
  "lineCycles",
  "refillCycles",
  "purgeCycles",
  "totalCycles",
];

describe("lazy-threshold", () => {
  it("shows a free getting cheaper and more being held back as lazy_max_pages grows", () => {
    for (const cpus of [1, 8]) {
      const own = rows(run("lazy-threshold"), "thresholds").filter((row) => row.cpus === cpus);
      const total = column(own, "totalCycles").slice(0, 3);
      const held = column(own, "heldBackMeanKiB");
      // Without other CPUs to interrupt, a long list saves little more, and its many objects go back through partial and emptied slabs.
      if (cpus === 1) expect(Math.max(total[1], total[2])).toBeLessThan(total[0] / 10);
      else expect(total).toEqual([...total].sort((a, b) => b - a));
      expect(held).toEqual([...held].sort((a, b) => a - b));
    }
  });

  it("has no cost per purged free where nothing was purged in time, and says so", () => {
    const result = run("lazy-threshold", { cpus: "1", lazy_max_pages: "0,65536", frees: "200" });
    const [often, ...never] = rows(result, "thresholds");
    expect(PER_FREE.map((key) => typeof often[key])).toEqual(PER_FREE.map(() => "number"));
    expect(never).toHaveLength(2);
    for (const row of never) {
      expect(row.flushes).toBe(0);
      expect(PER_FREE.map((key) => row[key])).toEqual(PER_FREE.map(() => null));
    }
    expect(renderResult(result)).toMatch(/ 65,536 +0 +- +- +- +- +- +- +- +\d/);
    expect(renderCsv(result)).toMatch(/\r\n1,65536,0,{8}\d/);
    expect(result.findings.join()).toContain("8,192 (Linux's): no purge yet");
    expect(result.plots[0].series[0].points.map(([limit]) => limit)).toEqual([0]);
  });
});
