/** The attribution of refills, on the fast path, agrees with a plain model walk by walk. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PRESETS } from "../../../arch/index.ts";
import { carryOut, close, makeGuest, type Step, spread, steps } from "../fast-path/programs.ts";
import { watchWithModel } from "./attribution-model.ts";

const INVALIDATIONS: readonly Step["do"][] = ["invlpg", "invlpg large", "flush", "switch"];
const RUNS = Number(process.env.MMULAB_INPUTS ?? 12);

describe.each(PRESETS)("$name", (preset) => {
  test.each([
    ["close to each other", close],
    ["far from each other", spread],
  ])(
    "random programs on pages %s: each flush pays what the model says, and as many walks are unexplained",
    (_, laOf) => {
      fc.assert(
        fc.property(fc.array(steps, { minLength: 1, maxLength: 80 }), (program) => {
          const [guest, other] = [makeGuest(preset, laOf), makeGuest(preset, laOf)];
          const attribution = guest.cpu.attributeFlushes();
          const model = watchWithModel(preset, other);
          program.forEach((step, at) => {
            // Every fourth invalidation is one of no known flush.
            const flush = INVALIDATIONS.includes(step.do) && at % 4 !== 3 ? at + 1 : 0;
            attribution.currentFlush = flush;
            model.currentFlush = flush;
            const seen = carryOut(guest, step, laOf);
            expect(carryOut(other, step, laOf)).toBe(seen);
            attribution.currentFlush = 0;
            model.currentFlush = 0;
            expect([...attribution.allCosts()]).toEqual([...model.costs]);
            expect(attribution.unexplainedWalks).toBe(model.unexplainedWalks);
          });
        }),
        { numRuns: RUNS },
      );
    },
  );
});
