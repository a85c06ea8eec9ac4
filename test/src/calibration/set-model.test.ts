/** One set by its policy alone, beside the same visits on an emulated CPU. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PRESETS, type Preset } from "../../../arch/index.ts";
import {
  REPLACEMENT_NAMES,
  type ReplacementName,
  replacementProblem,
} from "../../../arch/presets/replacement/index.ts";
import { EmulatedTimer, timedCycles, WARM_CYCLES } from "../../../src/calibration/emulated-timer.ts";
import { SetModel } from "../../../src/calibration/set-model.ts";

const SKYLAKE = PRESETS.find(({ name }) => name === "skylake") as Preset;
/** Skylake with a first level of one set. */
function withOneSet(ways: number, replacement: ReplacementName): Preset {
  const tlbs = SKYLAKE.tlbs.map((tlb) => (tlb.name === "L1 dTLB 4K" ? { ...tlb, sets: 1, ways, replacement } : tlb));
  return { ...SKYLAKE, tlbs };
}

/** Misses of the timed visits of a cycle, as the emulated timer goes through them. */
function missesOf(model: SetModel, visits: readonly number[]): number {
  const count = (cycles: number): number => {
    let misses = 0;
    for (let i = 0; i < cycles * visits.length; i++) if (!model.visit(visits[i % visits.length])) misses++;
    return misses;
  };
  count(WARM_CYCLES);
  const cycles = timedCycles(visits.length);
  return count(cycles) / cycles;
}

describe("a set that a policy is tried on", () => {
  // What is timed need not be settled: a cycle may come to its pattern late, or to one of several cycles. So the model makes the same visits.
  it("misses exactly as often as the emulated TLB does in the same visits, for every policy", () => {
    for (const name of REPLACEMENT_NAMES) {
      const size = [6, 8, 12, 16].find((ways) => replacementProblem(name, ways) === null) as number;
      const timer = new EmulatedTimer(withOneSet(size, name));
      const cycle = fc.array(fc.nat(size + 2), { minLength: size, maxLength: 3 * size });
      fc.assert(
        fc.property(cycle, (visits) => {
          const hitCycles = SKYLAKE.dataCaches[0].hitCycles.value;
          const missedCycles = (timer.time(visits, 1) * timer.clockGhz - hitCycles) * visits.length;
          const misses = missedCycles / SKYLAKE.costs.secondLevelHit.value;
          expect(misses).toBeCloseTo(missesOf(new SetModel(name, size), visits), 6);
        }),
        { numRuns: 30 },
      );
    }
  });
});
