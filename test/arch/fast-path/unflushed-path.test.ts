/** A flush attribution sees of accesses on the fast path what it sees of them on the general one. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PRESETS, type Preset } from "../../../arch/index.ts";
import type { FlushAttribution } from "../../../arch/tlb/flush-attribution.ts";
import { ALL, BASE, GLOBAL, Guest } from "../guest.ts";
import { attributionState, countGeneral, hardwareState, takeGeneralPath } from "./compare.ts";
import { carryOutMixed, isInvalidation, MixedGuest, type MixedStep, mixedSteps } from "./mixed-sizes.ts";
import { carryOut, close, type Layout, makeGuest, type Step, spread, steps } from "./programs.ts";

const RUNS = Number(process.env.MMULAB_INPUTS ?? 20);
const INVALIDATIONS: readonly Step["do"][] = ["invlpg", "invlpg large", "flush", "switch"];

/** Carries a program out; its invalidations are flushes with the numbers of the steps, every fourth one none that is known. */
function run(guest: Guest, attribution: FlushAttribution, program: readonly Step[], laOf: Layout): string[] {
  return program.map((step, at) => {
    attribution.currentFlush = INVALIDATIONS.includes(step.do) && at % 4 !== 3 ? at + 1 : 0;
    const seen = carryOut(guest, step, laOf);
    attribution.currentFlush = 0;
    return seen;
  });
}

/** Carries a program out on both paths: afterwards all is the same. */
function comparePaths(preset: Preset, laOf: Layout, program: readonly Step[]): void {
  compareRuns(
    () => makeGuest(preset, laOf),
    (guest, attribution) => run(guest, attribution, program, laOf),
  );
}

/** {@link comparePaths} of a program that is code. */
function compareRuns<T extends Guest>(
  make: () => T,
  program: (guest: T, attribution: FlushAttribution) => unknown,
): void {
  const [quick, general] = [make(), make()];
  const attributions = [quick, general].map(({ cpu }) => cpu.attributeFlushes());
  takeGeneralPath(general);
  expect(program(quick, attributions[0])).toEqual(program(general, attributions[1]));
  expect(quick.cpu.counters()).toEqual(general.cpu.counters());
  expect(quick.machine.loop.clockCycles[0]).toBe(general.machine.loop.clockCycles[0]);
  expect(hardwareState(quick)).toEqual(hardwareState(general));
  expect(attributionState(attributions[0])).toEqual(attributionState(attributions[1]));
}

/** {@link comparePaths} of a program on pages that change their size. */
function compareMixed(preset: Preset, program: readonly MixedStep[]): void {
  compareRuns(
    () => new MixedGuest(preset),
    (guest, attribution) =>
      program.map((step, at) => {
        attribution.currentFlush = isInvalidation(step) && at % 4 !== 3 ? at + 1 : 0;
        const seen = carryOutMixed(guest, step);
        attribution.currentFlush = 0;
        return seen;
      }),
  );
}

function flushAs(number: number, attribution: FlushAttribution, flush: () => void): void {
  attribution.currentFlush = number;
  flush();
  attribution.currentFlush = 0;
}

/** Where a page of 1 GiB is, or 512 of 2 MiB. */
const GIGABYTE = BASE + 2 ** 42;

/** Maps the same frames as one page, or as 512. */
function gigabyteOf(guest: Guest): { makeWhole: () => void; split: () => void } {
  const directory = guest.table();
  return {
    makeWhole: () => guest.map(GIGABYTE, 2 ** 30, ALL | 0x60, 3),
    split: () => {
      guest.write(GIGABYTE, 3, BigInt(directory * 4096 + ALL));
      for (let i = 0; i < 512; i++) guest.map(GIGABYTE + i * 2 ** 21, 2 ** 30 + i * 2 ** 21, ALL | 0x60, 2);
    },
  };
}

/** Stores to pages that the second level holds as loads have filled it, some without D: those are refused, and looked up in the tables. */
const REFUSED: readonly Step[] = [
  { do: "run", first: 0, count: 200, stride: 1, store: false },
  { do: "run", first: 0, count: 128, stride: 3, store: false },
  { do: "invlpg large", size: 1, page: 0 },
  { do: "directory", page: 0, level: 2, bits: 6n },
  { do: "run", first: 0, count: 382, stride: 1, store: true },
];

describe.each(PRESETS)("$name", (preset) => {
  test.each([
    ["close to each other", close],
    ["far from each other", spread],
  ])("random programs on pages %s: the same refills, notes, entries without flushes slot by slot", (_, laOf) => {
    fc.assert(
      fc.property(fc.array(steps, { minLength: 1, maxLength: 60 }), (program) => {
        comparePaths(preset, laOf, program);
      }),
      { numRuns: RUNS },
    );
  });

  test("random programs on addresses whose pages change their size: the same refills, notes, entries without flushes", () => {
    fc.assert(
      fc.property(fc.array(mixedSteps, { minLength: 1, maxLength: 40 }), (program) => {
        compareMixed(preset, program);
      }),
      { numRuns: RUNS },
    );
  });

  test("a piece that only the second level without flushes holds fills the set of the first for its page's size, which goes on apart", () => {
    compareMixed(preset, [
      { do: "loop", first: 2 ** 22, count: 1, size: 0, kind: 0, rounds: 1 },
      { do: "shape", size: 2, number: 0, isWhole: true, invlpg: 2 ** 22 },
      { do: "loop", first: 2 ** 21, count: 200, size: 2, kind: 0, rounds: 1 },
      { do: "shape", size: 1, number: 0, isWhole: false, invlpg: 0 },
      { do: "loop", first: 2 ** 21, count: 1, size: 0, kind: 0, rounds: 1 },
    ]);
  });

  test("translations that the second level has but refuses take nothing out of sets that are in step", () => {
    comparePaths(preset, close, REFUSED);
  });

  test("a walk for a page that the first level without flushes holds ends the trailing of the second-level set that it fills", () => {
    const fetched = BASE + 8 * 2 ** 26;
    compareRuns(
      () => {
        const guest = new Guest({ preset, memoryBytes: 2 ** 31 });
        for (let i = 0; i <= 8; i++) guest.map(BASE + i * 2 ** 26, 2 ** 30 + i * 4096, ALL | 0x60);
        return guest;
      },
      ({ cpu }, attribution) => {
        const loop = (rounds: number, pages: number) => {
          for (let round = 0; round < rounds; round++)
            for (let i = pages - 1; i >= 0; i--) cpu.load(BASE + i * 2 ** 26, 4);
        };
        cpu.fetch(fetched, 4);
        flushAs(1, attribution, () => cpu.flushTlbAll());
        loop(60, 8);
        cpu.fetch(fetched, 4);
        loop(5, 9);
        cpu.invlpg(fetched);
      },
    );
  });

  test("a walk for a page of 2 MiB whose page of 1 GiB the TLBs without flushes still hold is a new mapping, and no flush pays for it", () => {
    compareRuns(
      () => new Guest({ preset, memoryBytes: 2 ** 31 }),
      (guest, attribution) => {
        const { cpu } = guest;
        const { makeWhole, split } = gigabyteOf(guest);
        makeWhole();
        cpu.load(GIGABYTE, 4);
        cpu.flushTlbAll();
        for (let i = 0; i < 2; i++) cpu.load(GIGABYTE, 4);
        split();
        flushAs(1, attribution, () => cpu.invlpg(GIGABYTE));
        cpu.fetch(GIGABYTE + 6 * 2 ** 21, 4);
        cpu.load(GIGABYTE + 9 * 2 ** 21, 4);
        cpu.load(GIGABYTE, 4);
        makeWhole();
        flushAs(2, attribution, () => cpu.invlpg(GIGABYTE));
        cpu.load(GIGABYTE + 400 * 2 ** 21, 4);
        return [...attribution.allCosts()];
      },
    );
  });

  test("a second-level hit of 2 MiB is one of the page of 1 GiB around it where the first level without flushes still holds that", () => {
    compareRuns(
      () => new Guest({ preset, memoryBytes: 2 ** 31 }),
      (guest, attribution) => {
        const { cpu } = guest;
        const { makeWhole, split } = gigabyteOf(guest);
        split();
        const others = GIGABYTE + 2 ** 30;
        for (let i = 0; i < 128; i++) guest.map(others + i * 2 ** 21, 2 ** 30, ALL | 0x60, 2);
        cpu.load(GIGABYTE, 4);
        cpu.flushTlbAll();
        const loop = () => {
          cpu.load(GIGABYTE, 4);
          // More pages than the first level has room for.
          for (let i = 1; i < 128; i++) cpu.load(others + i * 2 ** 21, 4);
        };
        loop();
        makeWhole();
        cpu.invlpg(others);
        cpu.load(GIGABYTE + 400 * 2 ** 21, 4);
        split();
        flushAs(1, attribution, () => cpu.invlpg(GIGABYTE + 400 * 2 ** 21));
        for (let round = 0; round < 3; round++) loop();
      },
    );
  });

  test("hits of both levels and walks of a loop take the fast path while an attribution watches", () => {
    const guest = makeGuest(preset);
    const { cpu } = guest;
    cpu.attributeFlushes();
    for (let i = 0; i < 1024; i += 2) cpu.load(BASE + i * 4096, 4);
    const general = countGeneral(guest);
    for (const pages of [32, 256, 1024]) {
      for (let round = 0; round < 3; round++) for (let i = 0; i < pages; i += 2) cpu.load(BASE + i * 4096, 4);
    }
    expect(general()).toBeLessThan(20);
  });

  // Where the second level holds pages of 4 KiB only, a walk puts a piece there, on the general path.
  const hasPieces = !preset.tlbs.some((tlb) => tlb.level === 2 && tlb.pageSizes.includes("2M"));
  test.each([
    { name: "2 MiB", level: 2, loops: hasPieces ? [16] : [16, 256, 1100] },
    { name: "1 GiB", level: 3, loops: [4] },
  ] as const)(
    "hits and walks of a loop over pages of $name take the fast path after a flush of everything",
    ({ level, loops }) => {
      const guest = makeGuest(preset);
      const { cpu } = guest;
      const base = BASE + 2 ** 42;
      const bytes = 512 ** (level - 1) * 4096;
      for (let i = 0; i < loops[loops.length - 1]; i++)
        guest.map(base + i * bytes, 2 ** 30, ALL | GLOBAL | 0x60, level);
      cpu.attributeFlushes();
      cpu.load(base, 4);
      cpu.flushTlbAll();
      for (const pages of loops) for (let i = 0; i < pages; i++) cpu.load(base + i * bytes, 4);
      const general = countGeneral(guest);
      for (const pages of loops) {
        for (let round = 0; round < 3; round++) for (let i = 0; i < pages; i++) cpu.load(base + i * bytes, 4);
      }
      expect(general()).toBeLessThan(20);
    },
  );
});
