import { describe, expect, it } from "vitest";
import { rows, run, SKYLAKE } from "../small-runs.ts";

describe("concurrent-flush", () => {
  it("saves at most what the CPU's own flush takes, and nothing where that flush is all there is", () => {
    const cells = rows(run("concurrent-flush", { cpus: "1,2,16", pages: "1,10,33" }), "calls");
    for (const { cpus, pages, serialCycles, concurrentCycles } of cells) {
      const saved = Number(serialCycles) - Number(concurrentCycles);
      const own = 195 + Number(pages) * SKYLAKE.costs.invlpg.value;
      if (cpus === 1) expect(saved).toBe(0);
      else expect(saved, `${cpus} CPUs, ${pages} pages`).toBeGreaterThan(0);
      expect(saved).toBeLessThanOrEqual(own);
    }
    const two = cells.filter(({ cpus }) => cpus === 2).map(({ savedPercent }) => Number(savedPercent));
    expect(two[2]).toBeGreaterThan(two[0]);
  });
});
