/** Areas of all vmap nodes in order of address: lists that are in order, put in order together. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { orderOfRuns } from "../../../../src/view/model/merge-runs.ts";

describe("the order of runs", () => {
  it("is that of a stable sort, whatever runs there are", () => {
    const run = fc.array(fc.integer({ min: 0, max: 50 }), { maxLength: 20 }).map((list) => list.sort((a, b) => a - b));
    fc.assert(
      fc.property(fc.array(run, { maxLength: 12 }), (runs) => {
        const numbers = Float64Array.from(runs.flat());
        const sorted = [...numbers.keys()].sort((a, b) => numbers[a] - numbers[b] || a - b);
        expect([...orderOfRuns(numbers)]).toEqual(sorted);
      }),
    );
  });
});
