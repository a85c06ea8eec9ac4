/** The fast path (arch/fast-path/README.md) leaves the state that the general path leaves. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { assumed, CR4_PCIDE, CR4_PKE, PageFault, PRESETS, type Preset, presetByName } from "../../../arch/index.ts";
import { allFrom } from "../../../arch/presets/figure.ts";
import { STRUCTURE_SHAPE_FIELDS } from "../../../arch/presets/preset.ts";
import { ALL, BASE, GLOBAL, Guest } from "../guest.ts";
import { countGeneral, hardwareState } from "./compare.ts";

const TARGET = 2 ** 30;
/** Where the page with a number is: in two chunks of memory, one of them that of the page tables. */
const targetOf = (page: number): number => (page % 3 === 0 ? 2 ** 21 : TARGET) + page * 4096;

/** Where the pages with a number lie in the linear address space. */
type Layout = (page: number) => number;
/** One after the other: two page tables. */
const close: Layout = (page) => BASE + page * 4096;
/** 32 to a page table, four page tables to a page directory, so that most PDEs, and many PDPTEs, are not cached. */
const spread: Layout = (page) => BASE + (page >> 7) * 2 ** 30 + ((page >> 5) & 3) * 11 * 2 ** 21 + (page & 31) * 4096;

/** What somebody does to a CPU: an access, or something that changes what accesses find. */
type Step =
  | {
      readonly do: "access";
      readonly kind: number;
      readonly page: number;
      readonly far: boolean;
      readonly user: boolean;
    }
  | {
      readonly do: "run";
      readonly first: number;
      readonly count: number;
      readonly stride: number;
      readonly store: boolean;
    }
  | {
      readonly do: "map";
      readonly page: number;
      readonly far: boolean;
      readonly bits: number;
      readonly level: number;
      readonly key: number;
    }
  | {
      readonly do: "run large";
      readonly size: 1 | 2;
      readonly first: number;
      readonly count: number;
      readonly stride: number;
      readonly kind: number;
      readonly user: boolean;
    }
  | { readonly do: "invlpg large"; readonly size: 1 | 2; readonly page: number }
  | { readonly do: "directory"; readonly page: number; readonly level: number; readonly bits: bigint }
  | { readonly do: "invlpg"; readonly page: number }
  | { readonly do: "flush"; readonly type: number }
  | { readonly do: "switch"; readonly pcid: number; readonly keep: boolean }
  | { readonly do: "pkru"; readonly value: number };

const page = fc.nat(700);
/** Whether a step is about the page of 2 MiB that lies so far from the small pages, or about these. */
const far = fc.boolean();
const FAR = 2 ** 36;
const steps: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant("access" as const), kind: fc.nat(2), page, far, user: fc.boolean() }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      do: fc.constant("run" as const),
      first: page,
      count: fc.integer({ min: 1, max: 300 }),
      stride: fc.constantFrom(1, 1, 3, 16, 128),
      store: fc.boolean(),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("run large" as const),
      size: fc.constantFrom(1 as const, 2 as const),
      first: page,
      count: fc.integer({ min: 1, max: 80 }),
      stride: fc.constantFrom(0, 1, 1, 3, 8),
      kind: fc.nat(2),
      user: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("invlpg large" as const),
      size: fc.constantFrom(1 as const, 2 as const),
      page,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("map" as const),
      page,
      far,
      bits: fc.constantFrom(ALL, ALL | GLOBAL, ALL | 0x60, ALL | GLOBAL | 0x60, ALL & ~2, ALL & ~4, 0, ALL | 0x20),
      level: fc.constantFrom(1, 1, 1, 2),
      key: fc.nat(2),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant("directory" as const),
      page,
      level: fc.constantFrom(2, 2, 3),
      bits: fc.constantFrom(7n, 0x27n, 5n, 3n, 0x25n, 0x23n, 0x27n | (1n << 63n), 6n, 0xa7n),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("invlpg" as const), page }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("flush" as const), type: fc.nat(3) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("switch" as const), pcid: fc.nat(5), keep: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("pkru" as const), value: fc.constantFrom(0, 4, 8, 12) }) },
);

/** Where larger pages lie one after the other: 256 of 2 MiB in three page directories, and 80 of 1 GiB. */
const MANY_LARGE = BASE + 2 ** 40 + 2 ** 29;
const MANY_HUGE = BASE + 2 ** 41 - 30 * 2 ** 30;
/** An address in the larger page with a number, another 4 KiB page of it for another number. */
function largeLaOf(size: 1 | 2, number: number): number {
  const piece = (number & 15) * 4096;
  return size === 1 ? MANY_LARGE + (number % 256) * 2 ** 21 + piece : MANY_HUGE + (number % 80) * 2 ** 30 + piece;
}

/** A guest whose first 1024 pages are mapped, half of them with A and D set, some global. */
function makeGuest(preset: string | Preset, laOf = close): Guest {
  const guest = new Guest({ preset, memoryBytes: 2 ** 31 });
  for (let i = 0; i < 1024; i++) {
    guest.map(laOf(i), targetOf(i), ALL | (i % 2 === 0 ? 0x60 : 0) | (i % 3 === 0 ? GLOBAL : 0));
    guest.mark(targetOf(i), i);
    const large = laOf(i) - (laOf(i) % 2 ** 21) + FAR;
    guest.map(large, TARGET + (i & 3) * 2 ** 21, ALL | 0x60 | (i & 64 ? GLOBAL : 0), 2);
  }
  const attributesOf = (i: number) => (i % 5 === 0 ? ALL : ALL | 0x60) | (i & 16 ? GLOBAL : 0);
  for (let i = 0; i < 256; i++)
    guest.map(largeLaOf(1, i) - (i & 15) * 4096, TARGET + (i & 7) * 2 ** 21, attributesOf(i), 2);
  for (let i = 0; i < 80; i++) guest.map(largeLaOf(2, i) - (i & 15) * 4096, TARGET, attributesOf(i), 3);
  for (let i = 0; i < 256; i++) {
    guest.write(largeLaOf(1, i), 3, guest.read(largeLaOf(1, i), 3) | 0x20n);
    guest.write(largeLaOf(2, i), 4, guest.read(largeLaOf(2, i), 4) | 0x20n);
  }
  const { cpu } = guest;
  if (guest.machine.features.pcid) cpu.writeCr4(cpu.cr4 + CR4_PCIDE);
  if (guest.machine.features.pku) cpu.writeCr4(cpu.cr4 + CR4_PKE);
  return guest;
}

function access(guest: Guest, kind: number, la: number): string {
  const { cpu } = guest;
  try {
    if (kind === 0) return `${cpu.load(la, 4)}`;
    if (kind === 1) {
      cpu.store(la + 8, 4, la % 997);
      cpu.store(la + 14, 1, la % 251);
      return "stored";
    }
    return `${cpu.fetch(la, 4)} ${cpu.load(la + 8, 4)} ${cpu.load(la + 14, 2)}`;
  } catch (error) {
    if (error instanceof PageFault) return error.message;
    throw error;
  }
}

/** Carries a step out; what a program could see of it. */
function carryOut(guest: Guest, step: Step, laOf: Layout): string {
  const { cpu } = guest;
  switch (step.do) {
    case "access": {
      cpu.setCpl(step.user ? 3 : 0);
      const seen = access(guest, step.kind, laOf(step.page) + (step.far ? FAR : 0));
      cpu.setCpl(0);
      return seen;
    }
    case "run": {
      const seen: string[] = [];
      for (let i = 0; i < step.count; i++) {
        seen.push(access(guest, step.store ? 1 : 0, laOf((step.first + i * step.stride) % 1024)));
      }
      return seen.join(",");
    }
    case "run large": {
      const seen: string[] = [];
      cpu.setCpl(step.user ? 3 : 0);
      for (let i = 0; i < step.count; i++) {
        seen.push(access(guest, step.kind, largeLaOf(step.size, step.first + i * step.stride)));
      }
      cpu.setCpl(0);
      return seen.join(",");
    }
    case "invlpg large":
      cpu.invlpg(largeLaOf(step.size, step.page));
      return "";
    case "map": {
      const la = laOf(step.page);
      const size = step.level === 2 ? 2 ** 21 : 4096;
      const at = (step.level === 2 ? la - (la % size) : la) + (step.level === 2 && step.far ? FAR : 0);
      guest.write(
        at,
        step.level,
        BigInt(TARGET + (step.level === 2 ? 0x80 : 0) + step.bits) | (BigInt(step.key) << 59n),
      );
      return "";
    }
    case "directory": {
      const entry = guest.read(laOf(step.page), step.level);
      guest.write(laOf(step.page), step.level, (entry & 0xf_ffff_ffff_f000n) | step.bits);
      return "";
    }
    case "invlpg":
      cpu.invlpg(laOf(step.page));
      return "";
    case "flush":
      if (guest.machine.features.invpcid) cpu.invpcid(step.type, 0, BASE);
      else cpu.flushTlbAll();
      return "";
    case "switch":
      if (guest.machine.features.pcid) cpu.writeCr3(guest.root * 4096 + step.pcid, step.keep);
      else cpu.writeCr3(guest.root * 4096);
      return "";
    case "pkru":
      if (guest.machine.features.pku) cpu.writePkru(step.value);
      return "";
  }
}

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

describe.each([...PRESETS, ...OTHER_SHAPES])("$name", (preset) => {
  test.each([
    ["close to each other", close],
    ["far from each other", spread],
  ])(
    "random programs on pages %s: same values, faults, counters, cycles, entries slot by slot, replacement state",
    (_, laOf) => {
      fc.assert(
        fc.property(fc.array(steps, { minLength: 1, maxLength: 60 }), (program) => {
          const quick = makeGuest(preset, laOf);
          const general = makeGuest(preset, laOf);
          general.cpu.attributeFlushes();
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
      if (isGeneral) guest.cpu.attributeFlushes();
      guest.map(BASE, 2 ** 20, ALL | 0x60);
      // A frame behind the last of memory, but in the same chunk.
      guest.write(BASE + 2 ** 21, 2, BigInt((2048 + 100) * 4096 + (ALL | 0x20)));
      guest.cpu.load(BASE, 4);
      return [0, 1].map(() => access(guest, 0, BASE + 2 ** 21)).join("; ");
    };
    expect(outcome(false)).toBe(outcome(true));
  },
);

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
    if (isGeneral) guest.cpu.attributeFlushes();
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
