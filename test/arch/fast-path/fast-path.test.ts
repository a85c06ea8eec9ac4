/** The fast path (arch/fast-path/README.md) leaves the state that the general path leaves. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { assumed, PageFault, PRESETS, type Preset, presetByName } from "../../../arch/index.ts";
import { allFrom } from "../../../arch/presets/figure.ts";
import { STRUCTURE_SHAPE_FIELDS } from "../../../arch/presets/preset.ts";
import { ALL, BASE, Guest } from "../guest.ts";
import { countGeneral, hardwareState, takeGeneralPath } from "./compare.ts";
import { access, carryOut, close, FAR, makeGuest, spread, steps, TARGET } from "./programs.ts";

const MADE_UP = allFrom(STRUCTURE_SHAPE_FIELDS, assumed("made up"));
/** Shapes that no preset has, but that the fast path does too: the policies of the second level and of the cache of PDEs. */
const OTHER_SHAPES: readonly Preset[] = (["round-robin", "lru"] as const).map((replacement) => {
  const skylake = presetByName("skylake");
  const { pagingStructureCaches: caches } = skylake;
  return {
    ...skylake,
    name: `skylake with ${replacement}`,
    tlbs: skylake.tlbs.map((tlb) => (tlb.name === "L2 TLB" ? { ...tlb, ways: 5, replacement } : tlb)),
    pagingStructureCaches: { ...caches, pde: { sets: 2, ways: 8, replacement, origins: MADE_UP } },
  };
});

/** Shapes that hold pages of 1 GiB in pieces: in a second level that knows a limited number of PCIDs, and in both levels. */
const SHAPES_WITH_PIECES: readonly Preset[] = [["L2 TLB 1G"], ["L1 dTLB 1G", "L2 TLB 1G"]].map((without) => {
  const skylake = presetByName("skylake");
  return {
    ...skylake,
    name: `skylake without ${without.join(" and ")}`,
    tlbs: skylake.tlbs.filter(({ name }) => !without.includes(name)),
  };
});

describe.each([...PRESETS, ...OTHER_SHAPES, ...SHAPES_WITH_PIECES])("$name", (preset) => {
  test.each([
    ["close to each other", close, 4],
    ["far from each other", spread, preset.features.la57 ? 5 : 4],
  ] as const)(
    "random programs on pages %s: same values, faults, counters, cycles, entries slot by slot, replacement state",
    (_, laOf, levels) => {
      fc.assert(
        fc.property(fc.array(steps, { minLength: 1, maxLength: 60 }), (program) => {
          const quick = makeGuest(preset, laOf, levels);
          const general = makeGuest(preset, laOf, levels);
          takeGeneralPath(general);
          for (const step of program) expect(carryOut(quick, step, laOf)).toBe(carryOut(general, step, laOf));
          expect(quick.cpu.counters()).toEqual(general.cpu.counters());
          expect(quick.machine.loop.clockCycles[0]).toBe(general.machine.loop.clockCycles[0]);
          expect(hardwareState(quick)).toEqual(hardwareState(general));
        }),
        { numRuns: 20 },
      );
    },
  );
});

test("the fast path is what runs: it finds most translations of a loop over many pages", () => {
  const guest = makeGuest("skylake");
  const general = countGeneral(guest);
  for (let round = 0; round < 4; round++) for (let i = 0; i < 1024; i += 2) guest.cpu.load(BASE + i * 4096, 4);
  expect(general()).toBeLessThan(100);
});

test.each([...PRESETS].map(({ name }) => name))(
  "the fast path is what runs after INVLPG: it walks from CR3 where no entry of a table is cached, %s",
  (preset) => {
    const guest = makeGuest(preset);
    const pages = Array.from({ length: 64 }, (_, i) => BASE + i * 2 * 4096);
    for (const la of pages) guest.cpu.load(la, 4);
    const general = countGeneral(guest);
    for (const la of pages) {
      guest.cpu.invlpg(la);
      guest.cpu.load(la, 4);
    }
    expect(general()).toBe(0);
  },
);

test("the fast path is what runs for small pages while large ones are in the TLBs too", () => {
  const guest = makeGuest("skylake");
  for (let i = 0; i < 1024; i += 2) guest.cpu.load(BASE + i * 4096, 4);
  guest.cpu.load(BASE + FAR, 4);
  const general = countGeneral(guest);
  for (let i = 0; i < 1024; i += 2) guest.cpu.load(BASE + i * 4096, 4);
  expect(general()).toBeLessThan(10);
});

test.each(PRESETS.map(({ name }) => name))(
  "a table where no memory is reads as all ones on both paths, %s",
  (preset) => {
    const outcome = (isGeneral: boolean): string => {
      const guest = new Guest({ preset, memoryBytes: 2 ** 23 + 4 * 4096 });
      if (isGeneral) takeGeneralPath(guest);
      guest.map(BASE, 2 ** 20, ALL | 0x60);
      // A frame behind the last of memory, but in the same chunk.
      guest.write(BASE + 2 ** 21, 2, BigInt((2048 + 100) * 4096 + (ALL | 0x20)));
      guest.cpu.load(BASE, 4);
      return [0, 1].map(() => access(guest, 0, BASE + 2 ** 21)).join("; ");
    };
    expect(outcome(false)).toBe(outcome(true));
  },
);

test("a TLB that knows a limited number of PCIDs learns the current one anew after everything was flushed", () => {
  const guest = makeGuest("skylake");
  const { cpu } = guest;
  const limited = cpu.mmu.tlbs.second.filter(({ isLimited }) => isLimited);
  expect(limited.length).toBeGreaterThan(0);
  // Every third page is global.
  const pages = [1, 2, 4].map(close);
  for (const la of pages) cpu.load(la, 4);
  cpu.invpcid(2, 0, BASE);
  expect(limited.map((tlb) => tlb.recentPcids())).toEqual(limited.map(() => []));
  cpu.load(pages[0], 4);
  expect(limited.map((tlb) => tlb.recentPcids())).toEqual(limited.map(() => [0]));
});

test("an entry of zeros is not present, whatever was seen before the mode changed", () => {
  const guest = new Guest({ preset: "skylake", memoryBytes: 2 ** 31 });
  const { cpu } = guest;
  for (let i = 0; i < 4; i++) guest.map(BASE + i * 4096, 2 ** 22 + i * 4096, ALL | 0x60);
  for (let i = 0; i < 4; i++) cpu.load(BASE + i * 4096, 4);
  cpu.setCpl(3);
  cpu.setCpl(0);
  expect(() => cpu.load(BASE + 5 * 4096, 4)).toThrow(PageFault);
});

test("a cache of PDEs with many sets: a PDE that the fast path puts in is found, and invalidated, where it belongs", () => {
  const skylake = PRESETS.filter(({ name }) => name === "skylake")[0];
  const { pde: few } = skylake.pagingStructureCaches;
  if (few === undefined || "sharedWith" in few) throw new Error("expected a cache of its own");
  const pde = { ...few, sets: 4096 };
  const preset = { ...skylake, name: "many sets", pagingStructureCaches: { ...skylake.pagingStructureCaches, pde } };
  const states = [false, true].map((isGeneral) => {
    const guest = new Guest({ preset, memoryBytes: 2 ** 31 });
    if (isGeneral) takeGeneralPath(guest);
    // Numbers of regions with more than eleven bits.
    const pages = [0, 1, 2, 3].map((i) => BASE + 2 ** 32 + i * 2 ** 21);
    for (const la of pages) {
      guest.map(la, TARGET, ALL | 0x60);
      guest.write(la, 2, guest.read(la, 2) | 0x20n);
    }
    for (const la of [...pages, ...pages.map((page) => page + 4096)]) access(guest, 0, la);
    return hardwareState(guest);
  });
  expect(states[0]).toEqual(states[1]);
});

test("a cached translation of a large page serves until it is invalidated, though the tables name small pages by then", () => {
  const guest = makeGuest("skylake");
  const { cpu } = guest;
  const base = BASE + 2 * FAR;
  const la = base + 5 * 4096;
  guest.map(base, TARGET, ALL | 0x60, 2);
  const seen = guest.memory.readWord((TARGET + 5 * 4096) / 4096, 0);
  expect(cpu.load(la, 4)).toBe(seen);
  guest.write(base, 2, BigInt(guest.table() * 4096 + (ALL | 0x60)));
  guest.map(la, TARGET + 900 * 4096, ALL | 0x60);
  guest.mark(TARGET + 900 * 4096, seen + 1);
  expect(cpu.load(la, 4)).toBe(seen);
  cpu.invlpg(la);
  expect(cpu.load(la, 4)).toBe(seen + 1);
});

test.each([0, 1, 2, 3, 4, 5, 6, 7])(
  "a first level that instructions and data share: a slot that was fetched from says nothing of the page put there after %i others",
  (between) => {
    const skylake = PRESETS.filter(({ name }) => name === "skylake")[0];
    const tlbs = skylake.tlbs
      .filter(({ name }) => name !== "L1 iTLB 4K")
      .map((tlb) => (tlb.name === "L1 dTLB 4K" ? { ...tlb, kinds: ["load", "store", "fetch"] as const } : tlb));
    const guest = new Guest({ preset: { ...skylake, name: "unified", tlbs }, memoryBytes: 2 ** 31 });
    const { cpu } = guest;
    const code = BASE;
    // The same low eight bits of the page number as the code, and the set that it is in; then others of that set.
    const data = BASE + 256 * 4096;
    const others = Array.from({ length: 12 }, (_, i) => BASE + (i + 1) * 16 * 4096).filter((la) => la !== data);
    for (const la of [code, ...others]) guest.map(la, TARGET + la - BASE, ALL | 0x60);
    guest.map(data, TARGET + data - BASE, ALL | 0x60);
    guest.write(data, 1, BigInt(TARGET + data - BASE + (ALL | 0x60)) | (1n << 63n));
    for (const la of [code, data, ...others]) cpu.load(la, 4);
    cpu.fetch(code, 4);
    for (const la of others.slice(0, between)) cpu.load(la, 4);
    cpu.load(data, 4);
    expect(() => cpu.fetch(data, 4)).toThrow(PageFault);
  },
);

test.each([
  { name: "4 KiB", level: 1 },
  { name: "2 MiB", level: 2 },
] as const)(
  "memory that ends within a chunk: what lies behind it reads as all ones, from a page of $name too",
  ({ level }) => {
    const guest = new Guest({ preset: "skylake", memoryBytes: 2 ** 22 + 2 ** 20 });
    const { cpu } = guest;
    const lastFrame = (2 ** 22 + 2 ** 20) / 4096 - 1;
    const inMemory = BASE + (lastFrame & 511) * 4096;
    guest.map(BASE + 510 * 4096 * 2, 2 ** 22, ALL | 0x60);
    if (level === 2) guest.map(BASE, lastFrame * 4096 - (lastFrame & 511) * 4096, ALL | 0x60, 2);
    else for (const page of [0, 1]) guest.map(inMemory + page * 4096, (lastFrame + page) * 4096, ALL | 0x60);
    for (const round of [1, 2, 3]) {
      expect(cpu.load(inMemory, 4), `round ${round}`).toBe(0);
      expect(cpu.load(inMemory + 4096, 4), `round ${round}`).toBe(0xffff_ffff);
      cpu.invlpg(inMemory);
      cpu.invlpg(inMemory + 4096);
      cpu.load(BASE + 510 * 4096 * 2, 4);
    }
  },
);

test.each(["skylake", "icelake", "zen2", "zen4"])(
  "a page of 1 GiB in which memory ends: behind it reads give ones and writes vanish, before it all goes on, %s",
  (preset) => {
    const outcome = (isGeneral: boolean): string => {
      // Memory ends within a chunk; the last frame that there is, the first that is not, one of a chunk that is not.
      const frames = (2 ** 23 + 2 ** 20) / 4096;
      const guest = new Guest({ preset, memoryBytes: frames * 4096 });
      if (isGeneral) takeGeneralPath(guest);
      const { cpu } = guest;
      guest.map(BASE, 0, ALL | 0x60, 3);
      guest.map(BASE + 2 ** 40, (frames - 1) * 4096, ALL | 0x60);
      const places = [frames - 1, frames, 4096, 1030].map((frame) => BASE + frame * 4096);
      const seen: number[] = [];
      for (let round = 0; round < 3; round++) {
        for (const la of places) {
          cpu.store(la, 4, 0x01020304 + round);
          cpu.store(la + 5, 1, round);
          cpu.store(la + 6, 2, 0x0506);
          seen.push(cpu.load(la, 4), cpu.load(la + 4, 4), cpu.load(la + 5, 1), cpu.fetch(la, 4));
          // A small page of the chunk that memory ends in: that chunk is the one accessed last.
          seen.push(cpu.load(BASE + 2 ** 40, 4), cpu.load(BASE + 2 ** 40, 4), cpu.load(la, 4));
        }
      }
      const text = seen.map((word) => word.toString(16)).join(" ");
      return `${text} ${JSON.stringify([cpu.counters(), hardwareState(guest)])}`;
    };
    const seen = outcome(false);
    expect(seen).toBe(outcome(true));
    expect(seen).toMatch(
      /^1020304 5060000 0 1020304 1020304 1020304 1020304 ffffffff ffffffff ff ffffffff 1020304 1020304 ffffffff /,
    );
  },
);
