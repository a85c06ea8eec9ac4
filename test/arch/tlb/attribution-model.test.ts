/** The attribution of refills, on the fast path, agrees with a plain model walk by walk. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PRESETS } from "../../../arch/index.ts";
import { carryOutMixed, isInvalidation, MixedGuest, mixedSteps } from "../fast-path/mixed-sizes.ts";
import { carryOut, close, makeGuest, type Step, spread, steps } from "../fast-path/programs.ts";
import { watchWithModel } from "./attribution-model.ts";

const INVALIDATIONS: readonly Step["do"][] = ["invlpg", "invlpg large", "flush", "switch"];
/** Long runs, in which sets of the first level are in step again after a flush, between flushes and new mappings. */
const longSteps: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("run" as const),
      first: fc.nat(700),
      count: fc.integer({ min: 500, max: 1000 }),
      stride: fc.constantFrom(1, 1, 2, 17),
      store: fc.boolean(),
    }),
  },
  { weight: 6, arbitrary: steps.filter((step) => step.do !== "run large") },
);
/** The same pages again and again between other steps: the sets of a TLB trail meanwhile (arch/tlb/noted-uses.ts). */
const loops: fc.Arbitrary<Step[]> = fc.oneof(
  {
    weight: 1,
    arbitrary: fc
      .record({
        do: fc.constant("run" as const),
        first: fc.nat(60),
        count: fc.integer({ min: 1, max: 200 }),
        stride: fc.constantFrom(1, 1, 2, 16),
        store: fc.boolean(),
      })
      .chain((step) => fc.integer({ min: 8, max: 40 }).map((rounds) => new Array<Step>(rounds).fill(step))),
  },
  { weight: 3, arbitrary: steps.map((step) => [step]) },
);
const programs = <S>(of: fc.Arbitrary<S>, maxLength: number): fc.Arbitrary<S[]> =>
  fc.array(of, { minLength: 1, maxLength });
const RUNS = Number(process.env.MMULAB_INPUTS ?? 8);

describe.each(PRESETS)("$name", (preset) => {
  test.each([
    ["of many steps on pages close to each other", programs(steps, 80), close],
    ["of many steps on pages far from each other", programs(steps, 80), spread],
    ["of long runs", programs(longSteps, 40), close],
    ["of loops", fc.array(loops, { minLength: 1, maxLength: 24 }).map((parts) => parts.flat()), close],
  ] as const)(
    "random programs %s: each flush pays what the model says, and as many walks are unexplained",
    (_, programOf, laOf) => {
      fc.assert(
        fc.property(programOf, (program) => {
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

  test("random programs on addresses whose pages change their size: each flush pays what the model says, and as many walks are unexplained", () => {
    fc.assert(
      fc.property(programs(mixedSteps, 40), (program) => {
        const [guest, other] = [new MixedGuest(preset), new MixedGuest(preset)];
        const attribution = guest.cpu.attributeFlushes();
        const model = watchWithModel(preset, other);
        program.forEach((step, at) => {
          const flush = isInvalidation(step) && at % 4 !== 3 ? at + 1 : 0;
          attribution.currentFlush = flush;
          model.currentFlush = flush;
          const seen = carryOutMixed(guest, step);
          expect(carryOutMixed(other, step)).toBe(seen);
          attribution.currentFlush = 0;
          model.currentFlush = 0;
          expect([...attribution.allCosts()]).toEqual([...model.costs]);
          expect(attribution.unexplainedWalks).toBe(model.unexplainedWalks);
        });
      }),
      { numRuns: RUNS },
    );
  });
});
