import { describe, expect, it } from "vitest";
import { column, rows, run } from "../small-runs.ts";

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
});
