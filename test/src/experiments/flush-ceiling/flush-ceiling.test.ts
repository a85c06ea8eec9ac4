import { describe, expect, it } from "vitest";
import { DEFAULT_KERNEL_COSTS } from "../../../../mm/index.ts";
import { column, rows, run, SKYLAKE } from "../small-runs.ts";

describe("flush-ceiling", () => {
  const result = run("flush-ceiling");

  it("trades refills for single invalidations as the ceiling grows", () => {
    const cells = rows(result, "ceilings");
    const refills = column(cells, "refillCycles");
    const work = column(cells, "workCycles");
    expect(refills[0]).toBeGreaterThan(refills[1]);
    expect(refills[1]).toBeGreaterThan(refills[2]);
    expect(work[2]).toBeGreaterThan(work[1]);
    expect(column(cells, "wholeFlushes")[2]).toBe(0);
  });

  it("finds a flush of a full 512-entry TLB to cost about as much as 77 single invalidations, refills included", () => {
    const [quick, middle, slow] = column(rows(result, "break-even"), "worthInvlpg");
    // Walks of 25, 30 and 35 cycles: the range in which hot walks are remembered to lie, and its middle.
    expect(quick).toBeGreaterThan(60);
    expect(quick).toBeLessThan(85);
    expect(middle).toBeGreaterThan(70);
    expect(middle).toBeLessThan(92);
    expect(slow).toBeGreaterThan(85);
    expect(slow).toBeLessThan(110);
    // By hand: (a call + INVPCID of everything + 512 walks) / (a 32nd of a call + INVLPG), as singles are measured by 32.
    const { invpcidAll, invlpg } = SKYLAKE.costs;
    const { callCycles, localCycles } = DEFAULT_KERNEL_COSTS.flush;
    const call = callCycles + localCycles;
    expect(middle).toBeCloseTo((call + invpcidAll.value + 512 * 30) / (call / 32 + invlpg.value), 0);
  });
});
