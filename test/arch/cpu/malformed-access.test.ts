/** What is no access at all is refused as a mistake of the caller, whatever the caches hold, and leaves no trace. */
import { describe, expect, test } from "vitest";
import { ACCESS_LOAD, type Cpu, MachineUsageError, PRESETS, parsePreset, presetByName } from "../../../arch/index.ts";
import { ALL, BASE, Guest } from "../guest.ts";

/** Where a page of 2 MiB begins whose tag in a TLB differs from this address by a fraction. */
const LARGE = 0;
/** The first page of a table of 4 KiB pages. */
const SMALL = BASE;

const FRACTIONS = [0.5, 0.25, 0.75, 0.75 + 2 / 32, 0.75 + 3 / 32, 1 / 32, 2 / 32, 2 ** -5 + 0.75];
const MALFORMED = [
  ...[SMALL, SMALL + 4096, SMALL + 0x123 * 4096, LARGE, LARGE + 2 ** 21].flatMap((page) =>
    FRACTIONS.map((fraction) => page + fraction),
  ),
  SMALL + 0xffc + 0.5,
  -1,
  -4096,
  SMALL - 2 ** 48,
  2 ** 48,
  SMALL + 2 ** 48,
  2 ** 53,
  1e300,
  Number.NaN,
  Number.POSITIVE_INFINITY,
  Number.NEGATIVE_INFINITY,
];

const ACCESSES: [string, (cpu: Cpu, la: number) => unknown][] = [
  ["load of 4", (cpu, la) => cpu.load(la, 4)],
  ["load of 1", (cpu, la) => cpu.load(la, 1)],
  ["load of 3", (cpu, la) => cpu.load(la, 3)],
  ["store of 4", (cpu, la) => cpu.store(la, 4, 1)],
  ["store of 2", (cpu, la) => cpu.store(la, 2, 1)],
  ["fetch of 4", (cpu, la) => cpu.fetch(la, 4)],
  ["fetch of 1", (cpu, la) => cpu.fetch(la, 1)],
  ["touch", (cpu, la) => cpu.touch(la)],
  ["touchAs", (cpu, la) => cpu.touchAs(ACCESS_LOAD, la)],
  ["load64", (cpu, la) => cpu.load64(la)],
  ["store64", (cpu, la) => cpu.store64(la, 1n)],
  ["loadAs", (cpu, la) => cpu.loadAs(ACCESS_LOAD, la, 4)],
  ["storeAs", (cpu, la) => cpu.storeAs(1, la, 4, 1)],
  ["INVLPG", (cpu, la) => cpu.invlpg(la)],
  ["probe", (cpu, la) => cpu.probe(la)],
];

/** PDEs and PDPTEs in one cache that is no TLB. */
function sharedStructures(): ReturnType<typeof parsePreset> {
  const json = JSON.parse(JSON.stringify(presetByName("skylake")));
  json.name = "shared structures";
  json.pagingStructureCaches = {
    pde: { ...json.pagingStructureCaches.pde, sets: 1, ways: 4, replacement: "lru" },
    pdpte: { sharedWith: "pde", origins: { sharedWith: { basis: "assumed", source: "this test" } } },
  };
  return parsePreset(json);
}

/** A guest whose caches hold small pages, the tables above them, and large pages when asked for. */
function guestOf(preset: ReturnType<typeof parsePreset>, isHot: boolean, hasLarge: boolean): Guest {
  const guest = new Guest({ preset });
  for (let page = 0; page < 512; page++) guest.map(SMALL + page * 4096, 2 ** 30 + page * 4096);
  for (let page = 0; page < 2; page++) guest.map(LARGE + page * 2 ** 21, 2 ** 31 + page * 2 ** 21, ALL, 2);
  if (!isHot) return guest;
  const { cpu } = guest;
  if (hasLarge) for (let page = 0; page < 2; page++) cpu.store(LARGE + page * 2 ** 21, 4, 1);
  for (let round = 0; round < 2; round++) {
    for (let page = 0; page < 512; page += 3) {
      cpu.store(SMALL + page * 4096, 4, page);
      cpu.load(SMALL + page * 4096, 4);
      cpu.fetch(SMALL + page * 4096, 4);
    }
  }
  for (const page of [0, 1, 0x123]) cpu.store(SMALL + page * 4096, 4, page);
  return guest;
}

describe.each([...PRESETS, sharedStructures()].map((preset) => [preset.name, preset] as const))("%s", (_, preset) => {
  test.each([
    ["with empty caches", false, false],
    ["with hot caches", true, false],
    ["with hot caches and large pages", true, true],
  ])("an address that is none is refused %s", (_name, isHot, hasLarge) => {
    const guest = guestOf(preset, isHot, hasLarge);
    const { cpu } = guest;
    const before = JSON.stringify(cpu.counters());
    const clock = guest.machine.loop.clockCycles[0];
    const accepted: string[] = [];
    for (const [name, access] of ACCESSES) {
      for (const la of MALFORMED) {
        try {
          access(cpu, la);
          accepted.push(`${name} ${la}`);
        } catch (error) {
          if (!(error instanceof MachineUsageError)) throw error;
          expect(error.subject).toBe("linear address");
        }
      }
    }
    expect(accepted).toEqual([]);
    expect(JSON.stringify(cpu.counters())).toBe(before);
    expect(guest.machine.loop.clockCycles[0]).toBe(clock);
  });

  test("a size that no access has is refused, with hot caches too", () => {
    const { cpu } = guestOf(preset, true, false);
    for (const sizeBytes of [0, -4, 9, 1.5, 4.5, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => cpu.load(SMALL, sizeBytes), `load ${sizeBytes}`).toThrow(MachineUsageError);
      expect(() => cpu.store(SMALL, sizeBytes, 0), `store ${sizeBytes}`).toThrow(MachineUsageError);
      expect(() => cpu.fetch(SMALL, sizeBytes), `fetch ${sizeBytes}`).toThrow(MachineUsageError);
      expect(() => cpu.load64(SMALL, sizeBytes), `load64 ${sizeBytes}`).toThrow(MachineUsageError);
      expect(() => cpu.store64(SMALL, 0n, sizeBytes), `store64 ${sizeBytes}`).toThrow(MachineUsageError);
    }
    expect(() => cpu.load(SMALL, 8)).toThrow("load64");
    expect(() => cpu.store(SMALL, 5, 0)).toThrow("store64");
  });

  test("text is no address, with hot caches too", () => {
    const { cpu } = guestOf(preset, true, false);
    const text = String(SMALL) as unknown as number;
    for (const [name, access] of ACCESSES) {
      // `touch` has no form for bigints, and asks for no type on its way.
      if (!name.startsWith("touch")) expect(() => access(cpu, text), name).toThrow(MachineUsageError);
    }
  });

  test("a kind of access that there is not is refused", () => {
    const { cpu } = guestOf(preset, true, false);
    for (const kind of [-1, 8, 0.5, Number.NaN] as unknown as (typeof ACCESS_LOAD)[]) {
      expect(() => cpu.touchAs(kind, SMALL)).toThrow("kind of access");
      expect(() => cpu.loadAs(kind, SMALL, 4)).toThrow("kind of access");
      expect(() => cpu.storeAs(kind, SMALL, 4, 0)).toThrow("kind of access");
      expect(() => cpu.load64(SMALL, 8, kind)).toThrow("kind of access");
      expect(() => cpu.store64(SMALL, 0n, 8, kind)).toThrow("kind of access");
    }
  });
});
