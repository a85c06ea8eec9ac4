/** One set by its policy alone, beside the same visits on an emulated CPU. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PRESETS, type Preset } from "../../../arch/index.ts";
import {
  REPLACEMENT_NAMES,
  type ReplacementName,
  replacementProblem,
} from "../../../arch/presets/replacement/index.ts";
import { EmulatedTimer } from "../../../src/calibration/emulated-timer.ts";
import { SetModel } from "../../../src/calibration/set-model.ts";

const SKYLAKE = PRESETS.find(({ name }) => name === "skylake") as Preset;
const LAST_CYCLES = 40;

/** Skylake with a first level of one set. */
function withOneSet(ways: number, replacement: ReplacementName): Preset {
  const tlbs = SKYLAKE.tlbs.map((tlb) => (tlb.name === "L1 dTLB 4K" ? { ...tlb, sets: 1, ways, replacement } : tlb));
  return { ...SKYLAKE, tlbs };
}

/** Misses of a visit, once the cycle has settled. */
function missesOf(model: SetModel, visits: readonly number[]): number {
  for (let i = 0; i < 6 * visits.length; i++) model.visit(visits[i % visits.length]);
  let misses = 0;
  for (let i = 0; i < LAST_CYCLES * visits.length; i++) if (!model.visit(visits[i % visits.length])) misses++;
  return misses / (LAST_CYCLES * visits.length);
}

describe("a set that a policy is tried on", () => {
  it("misses as often as the emulated TLB does, for every policy", () => {
    const ways = 6;
    for (const name of REPLACEMENT_NAMES) {
      const size = replacementProblem(name, ways) === null ? ways : name === "mru3-plru4" ? 12 : 8;
      // Sets of 16 ways settle later than the timer's cycles.
      if (replacementProblem(name, size) !== null) continue;
      const timer = new EmulatedTimer(withOneSet(size, name));
      const cycle = fc.array(fc.nat(size + 2), { minLength: size, maxLength: 3 * size });
      fc.assert(
        fc.property(cycle, (visits) => {
          const { load, secondLevelHit } = SKYLAKE.costs;
          const hit = SKYLAKE.dataCaches[0].hitCycles.value - load.value + load.value;
          const cycles = timer.time(visits, 1) * timer.clockGhz;
          const misses = (cycles - hit) / secondLevelHit.value;
          // The emulated cycles are fewer: what settles in a pattern of several cycles is off by less than one visit.
          expect(Math.abs(misses - missesOf(new SetModel(name, size), visits))).toBeLessThan(1.5 / visits.length);
        }),
        { numRuns: 30 },
      );
    }
  });
});
