/** CPUs of large machines have parts of common arrays (`CommonArrays`): what the last of them does is what one with arrays of its own does. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PRESETS } from "../../../arch/index.ts";
import type { Guest } from "../guest.ts";
import { attributionState, hardwareState } from "./compare.ts";
import { carryOut, close, makeGuest, type Step, steps } from "./programs.ts";

/** CPUs of a machine whose CPUs have common arrays. */
const MANY = 66;
const RUNS = 4;
const INVALIDATIONS: readonly Step["do"][] = ["invlpg", "invlpg large", "flush", "switch"];
const programs = fc.array(steps, { minLength: 1, maxLength: 80 });

function clockOf({ machine, cpu }: Guest): number {
  return machine.loop.clockCycles[cpu.id];
}

/** What a step comes to, without the number of the CPU. */
function seen(guest: Guest, step: Step): string {
  return `${carryOut(guest, step, close)}`.replaceAll(/ on CPU \d+/g, "");
}

/** Carries a program out on the last CPU of two machines; afterwards both are the same. */
function compare([many, alone]: readonly [Guest, Guest], program: readonly Step[], before: (at: number) => void): void {
  program.forEach((step, at) => {
    before(at);
    expect(seen(many, step)).toBe(seen(alone, step));
  });
  expect(many.cpu.counters()).toEqual(alone.cpu.counters());
  expect(clockOf(many)).toBe(clockOf(alone));
  expect(hardwareState(many)).toEqual(hardwareState(alone));
}

describe.each([...PRESETS])("$name", (preset) => {
  test("random programs: same values, faults, counters, cycles, entries slot by slot, replacement state; other CPUs have nothing of them", () => {
    fc.assert(
      fc.property(programs, (program) => {
        const many = makeGuest(preset, close, 4, MANY);
        expect(many.machine.cpus[0].mmu.arrays.words).toBe(many.cpu.mmu.arrays.words);
        const before = many.machine.cpus.slice(0, -1).map(({ mmu }) => mmu.arrays.ownWords.slice());
        compare([many, makeGuest(preset)], program, () => {});
        many.machine.cpus.slice(0, -1).forEach(({ mmu }, cpu) => {
          // The first 16 words of the first CPU are where pages are asked for, and ends of chains.
          const from = cpu === 0 ? 16 : 0;
          const now = mmu.arrays.ownWords;
          expect(now.findIndex((word, at) => at >= from && word !== before[cpu][at])).toBe(-1);
        });
      }),
      { numRuns: RUNS },
    );
  });

  test("random programs while refills are attributed to flushes: it knows the same", () => {
    fc.assert(
      fc.property(programs, (program) => {
        const guests = [makeGuest(preset, close, 4, MANY), makeGuest(preset)] as const;
        const attributions = guests.map(({ cpu }) => cpu.attributeFlushes());
        compare(guests, program, (at) => {
          const isNumbered = INVALIDATIONS.includes(program[at].do) && at % 4 !== 3;
          for (const attribution of attributions) attribution.currentFlush = isNumbered ? at + 1 : 0;
        });
        expect(attributionState(attributions[0])).toEqual(attributionState(attributions[1]));
      }),
      { numRuns: RUNS },
    );
  });
});
