/** Presets as data. */
import { describe, expect, test } from "vitest";
import {
  BASES,
  figuresOf,
  Machine,
  MachineUsageError,
  PRESETS,
  parsePreset,
  presetByName,
} from "../../../arch/index.ts";
import { BASE, Guest, thrown } from "../guest.ts";

/** A copy of Skylake as JSON, to be changed. */
// biome-ignore lint/suspicious/noExplicitAny: tests put wrong values of any type at any place
const json = (): any => JSON.parse(JSON.stringify(presetByName("skylake")));
const message = (preset: unknown): string => thrown(MachineUsageError, () => parsePreset(preset)).message;

test.each(PRESETS.map((preset) => [preset.name, preset] as const))(
  "%s survives JSON and builds a machine",
  (_, preset) => {
    const parsed = parsePreset(JSON.parse(JSON.stringify(preset)));
    expect(parsed).toEqual(preset);
    expect(new Machine({ preset: parsed, memoryBytes: 2 ** 24 }).preset).toBe(parsed);
  },
);

test("every figure of every preset says how it is known, and from where", () => {
  for (const preset of PRESETS) {
    const figures = figuresOf(preset);
    expect(figures.map(({ name }) => name)).toEqual(expect.arrayContaining(["costs.walk", "tlbs.0.replacement"]));
    for (const { name, basis, source, value, unit } of figures) {
      expect(BASES, name).toContain(basis);
      expect(source.length, name).toBeGreaterThan(3);
      expect(unit === "", name).toBe(typeof value === "string");
    }
  }
});

test("what is taken over from another part is assumed of this one, however well it is known there", () => {
  expect(presetByName("skylake").costs.invlpg.basis).toBe("measured");
  expect(presetByName("icelake").costs.invlpg).toMatchObject({
    basis: "assumed",
    source: expect.stringContaining("as Skylake: Hansen 2017"),
  });
});

test("figures that a CPU has no use for are not among its figures", () => {
  const names = (preset: string) => figuresOf(presetByName(preset)).map(({ name }) => name);
  expect(names("zen4")).toContain("costs.invlpgb");
  for (const name of ["costs.invlpgb", "costs.tlbsync"]) expect(names("skylake")).not.toContain(name);
  expect(names("zen2")).not.toContain("costs.invpcidAll");
});

test("the presets have the geometry of the parts", () => {
  const entries = (preset: string, name: string): string => {
    const tlb = presetByName(preset).tlbs.find((candidate) => candidate.name === name);
    return tlb === undefined ? "none" : `${tlb.sets * tlb.ways}, ${tlb.ways}-way, ${tlb.pageSizes.join("+")}`;
  };
  expect(entries("skylake", "L1 dTLB 4K")).toBe("64, 4-way, 4K");
  expect(entries("skylake", "L2 TLB")).toBe("1536, 12-way, 4K+2M");
  expect(entries("skylake", "L1 iTLB 4K")).toBe("128, 8-way, 4K");
  expect(entries("icelake", "L1 dTLB stores")).toBe("16, 16-way, 4K+2M+1G");
  expect(entries("icelake", "L2 TLB 4K+1G")).toBe("1024, 8-way, 4K+1G");
  expect(entries("sapphire-rapids", "L1 iTLB 4K")).toBe("256, 8-way, 4K");
  expect(entries("zen2", "L2 dTLB")).toBe("2048, 8-way, 4K+2M");
  expect(entries("granite-rapids", "L1 dTLB loads 4K")).toBe("96, 6-way, 4K");
  expect(entries("granite-rapids", "L2 TLB")).toBe("2048, 16-way, 4K+2M+1G");
  expect(entries("haswell", "L1 iTLB 4K")).toBe("128, 8-way, 4K");
  expect(entries("haswell", "L2 TLB")).toBe("1024, 8-way, 4K+2M");
  expect(entries("ivy-bridge", "L2 TLB")).toBe("512, 4-way, 4K");
  expect(entries("zen2", "L2 iTLB")).toBe("1024, 8-way, 4K+2M");
  expect(entries("zen3", "L1 dTLB")).toBe("64, 64-way, 4K+2M+1G");
  expect(entries("zen3", "L2 dTLB")).toBe("2048, 8-way, 4K+2M");
  expect(entries("zen3", "L2 dTLB 1G")).toBe("64, 64-way, 1G");
  expect(entries("zen3", "L2 iTLB")).toBe("512, 8-way, 4K+2M");
  expect(entries("zen5", "L1 dTLB")).toBe("96, 96-way, 4K+2M+1G");
  expect(entries("zen5", "L2 dTLB")).toBe("4096, 8-way, 4K+2M");
  expect(entries("zen5", "L2 iTLB")).toBe("2048, 8-way, 4K+2M");
  expect(entries("zen4", "L1 dTLB")).toBe("72, 72-way, 4K+2M+1G");
  expect(entries("zen4", "L2 dTLB")).toBe("3072, 12-way, 4K+2M");
});

test("a preset of one's own changes the machine: a second level of one entry", () => {
  const custom = json();
  custom.name = "tiny";
  custom.tlbs[5] = { ...custom.tlbs[5], sets: 1, ways: 1, indexHash: "linear", replacement: "lru" };
  const walks = (preset: string | ReturnType<typeof parsePreset>): number => {
    const guest = new Guest({ preset });
    for (let i = 0; i < 65; i++) guest.map(BASE + i * 4096, 2 ** 30);
    for (let i = 0; i < 65; i++) guest.cpu.load(BASE + i * 4096, 4);
    for (let i = 0; i < 65; i++) guest.cpu.load(BASE + i * 4096, 4);
    return guest.cpu.counters()["dtlb_load_misses.walk_completed"];
  };
  expect(walks("skylake")).toBe(65);
  expect(walks(parsePreset(custom))).toBeGreaterThan(65);
});

describe("a mistake is named with its place, value and what was expected", () => {
  test.each<[string, (preset: ReturnType<typeof json>) => void, string]>([
    [
      "sets",
      (preset) => {
        preset.tlbs[2].sets = 12;
      },
      "preset: tlbs.2.sets: 12",
    ],
    [
      "ways",
      (preset) => {
        preset.tlbs[2].ways = 3;
      },
      "preset: tlbs.2.ways: 3: expected 1, 2, 4, 8 or 16 ways for tree-plru",
    ],
    [
      "replacement",
      (preset) => {
        preset.tlbs[2].replacement = "random";
      },
      "preset: tlbs.2.replacement: random",
    ],
    [
      "name",
      (preset) => {
        preset.tlbs[1].name = preset.tlbs[0].name;
      },
      "preset: tlbs.1.name: L1 iTLB 4K",
    ],
    [
      "unit",
      (preset) => {
        preset.costs.invlpg.unit = "ns";
      },
      "preset: costs.invlpg.unit: ns",
    ],
    [
      "source",
      (preset) => {
        preset.memory.source = "";
      },
      "preset: memory.source: ",
    ],
    [
      "no basis",
      (preset) => {
        delete preset.costs.walk.basis;
      },
      "preset: costs.walk.basis: nothing: expected one of measured, documented, assumed",
    ],
    [
      "no origin of a part of a shape",
      (preset) => {
        delete preset.tlbs[0].origins.ways;
      },
      "preset: tlbs.0.origins.ways: nothing: expected an object",
    ],
    [
      "unknown field",
      (preset) => {
        preset.colour = "red";
      },
      "preset: colour: red: expected no field of that name, only name, description",
    ],
    [
      "missing cost",
      (preset) => {
        delete preset.costs.walk;
      },
      "preset: costs.walk: nothing",
    ],
    [
      "feature",
      (preset) => {
        preset.features.smep = 1;
      },
      "preset: features.smep: 1",
    ],
    [
      "no TLB for stores",
      (preset) => {
        preset.tlbs[2].kinds = ["load"];
      },
      "preset: tlbs: 0 of level 1 with 4K for store",
    ],
    [
      "structure cache",
      (preset) => {
        preset.pagingStructureCaches.pde = {
          sharedWith: "L9",
          origins: { sharedWith: { basis: "assumed", source: "x" } },
        };
      },
      'preset: pagingStructureCaches.pde.sharedWith: L9: expected one of "L2 TLB"',
    ],
    [
      "data cache",
      (preset) => {
        preset.dataCaches[0].ways.value = 7;
      },
      "preset: dataCaches.0.ways.value: 7",
    ],
    [
      "width",
      (preset) => {
        preset.maxPhyAddr.value = 60;
      },
      "preset: maxPhyAddr.value: 60: expected a whole number from 36 to 52",
    ],
  ])("%s", (_, change, expected) => {
    const preset = json();
    change(preset);
    expect(message(preset)).toContain(expected);
  });

  test.each([null, 5, "skylake", []])("%j is no preset", (value) => {
    expect(message(value)).toContain("preset: the whole");
  });
});
