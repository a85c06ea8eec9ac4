/** Where the manuals of Intel and AMD differ (vendor.ts): entries of tables, what invalidates what, EFER. */
import { describe, expect, test } from "vitest";
import {
  type Cpu,
  CR4_PAE,
  CR4_PCIDE,
  CR4_PGE,
  CR4_PKE,
  CR4_SMAP,
  CR4_SMEP,
  EFER_LMA,
  EFER_LME,
  EFER_NXE,
  EFER_SCE,
  EFER_TCE,
  GeneralProtectionFault,
  type MachineConfig,
  MachineUsageError,
  MSR_EFER,
  PageFault,
  PF_PRESENT,
  PF_RESERVED,
  PRESETS,
  parsePreset,
  presetByName,
  type Vendor,
} from "../../../arch/index.ts";
import { ALL, BASE, GLOBAL, Guest, thrown } from "../guest.ts";

const EFER = EFER_SCE + EFER_LME + EFER_LMA + EFER_NXE;
const CR4_PSE = 2 ** 4;
const OLD = 2 ** 30;
const NEW = 2 ** 31;
/** A preset of each vendor that has all features. */
const PRESET: Record<Vendor, string> = { intel: "sapphire-rapids", amd: "zen4" };
const BOTH: readonly Vendor[] = ["intel", "amd"];

test("every preset names its vendor; one without a name is Intel's, an unknown one is refused", () => {
  const vendors = PRESETS.map(({ name, vendor }) => `${name} ${vendor}`);
  const intel = ["skylake", "icelake", "sapphire-rapids", "granite-rapids", "haswell", "ivy-bridge"];
  const amd = ["zen2", "zen3", "zen4", "zen5"];
  expect(vendors).toEqual([...intel.map((name) => `${name} intel`), ...amd.map((name) => `${name} amd`)]);
  const { vendor: _, ...rest } = presetByName("zen4");
  expect(parsePreset(rest).vendor).toBe("intel");
  expect(thrown(MachineUsageError, () => parsePreset({ ...rest, vendor: "via" })).subject).toBe("preset: vendor");
  const unknown = { ...rest, vendor: "via" } as unknown as MachineConfig["preset"];
  expect(() => new Guest({ preset: unknown })).toThrow("preset: vendor: via: expected one of intel, amd");
});

describe.each(BOTH)("entries that refer to tables on %s", (vendor) => {
  const levels = [4, 5] as const;
  /** The reserved bits of an entry of a level (2 PDE to 5 PML5E) among bits 6 to 11 and 52 to 62. */
  const reserved = (level: number): number[] => (level < 4 ? [] : vendor === "amd" ? [7, 8] : [7]);
  const bits = [6, 7, 8, 9, 10, 11, 52, 55, 58, 59, 62];

  test.each(levels)(
    "with %i levels: which bits of which entry are reserved, for the walk and the probe alike",
    (count) => {
      for (let level = 2; level <= count; level++) {
        for (const bit of bits) {
          if (bit === 7 && level < 4) continue;
          const guest = new Guest({ preset: PRESET[vendor], pagingLevels: count });
          guest.map(BASE, OLD);
          guest.mark(OLD, 1);
          guest.write(BASE, level, guest.read(BASE, level) | (1n << BigInt(bit)));
          const what = `level ${level}, bit ${bit}`;
          const probe = guest.cpu.probe(BASE);
          if (reserved(level).includes(bit)) {
            expect(thrown(PageFault, () => guest.cpu.load(BASE, 4)).errorCode, what).toBe(PF_PRESENT | PF_RESERVED);
            expect(probe.outcome, what).toBe("reserved bit");
            expect(probe.levels[probe.levels.length - 1].reservedBits, what).toBe(1n << BigInt(bit));
          } else {
            expect(guest.cpu.load(BASE, 4), what).toBe(1);
            expect(probe.outcome, what).toBe("mapped");
          }
        }
      }
    },
  );
});

test.each(BOTH)("%s: PS = 1 in a PDPTE is a 1 GiB page where the CPU has them, and reserved where not", (vendor) => {
  for (const page1g of [true, false]) {
    const guest = new Guest({ preset: PRESET[vendor], features: { page1g }, memoryBytes: 2 ** 34 });
    guest.mark(2 ** 32, 1);
    guest.map(BASE, 2 ** 32, ALL, 3);
    const probe = guest.cpu.probe(BASE);
    if (page1g) {
      expect(guest.cpu.load(BASE, 4)).toBe(1);
      expect([probe.outcome, probe.pageSize]).toEqual(["mapped", "1G"]);
    } else {
      expect(thrown(PageFault, () => guest.cpu.load(BASE, 4)).errorCode).toBe(PF_PRESENT | PF_RESERVED);
      expect([probe.outcome, probe.levels[1].reservedBits, probe.levels[1].leaf]).toEqual([
        "reserved bit",
        128n,
        false,
      ]);
    }
  }
});

describe.each(BOTH)("%s: what a change of CR4 removes", (vendor) => {
  /** Bits and what is left when they are set, and when they are cleared: of "1", "2" (PCIDs) and "global". */
  const everything = "1 2 global";
  const rows: [string, number, { set: string; clear: string }][] = [
    ["PGE", CR4_PGE, { set: "", clear: "" }],
    ["PSE", CR4_PSE, vendor === "amd" ? { set: "", clear: "" } : { set: everything, clear: everything }],
    ["SMEP", CR4_SMEP, { set: vendor === "amd" ? everything : "2 global", clear: everything }],
    ["PKE", CR4_PKE, { set: vendor === "amd" ? "" : everything, clear: everything }],
    ["SMAP", CR4_SMAP, { set: everything, clear: everything }],
  ];

  /** What is left of translations of PCIDs 1 (the current one) and 2 and of a global one after `change`. */
  function left(prepare: (cpu: Cpu) => void, change: (cpu: Cpu) => void): string {
    const guest = new Guest({ preset: PRESET[vendor] });
    const { cpu, root } = guest;
    guest.mark(OLD, 1);
    guest.mark(NEW, 2);
    cpu.setAlignmentCheck(true);
    prepare(cpu);
    cpu.writeCr4(cpu.cr4 + CR4_PCIDE);
    guest.map(BASE, OLD);
    guest.map(BASE + 2 ** 30, OLD, ALL | GLOBAL);
    for (const pcid of [2, 1]) {
      cpu.writeCr3(root * 4096 + pcid, true);
      cpu.load(BASE, 4);
    }
    cpu.load(BASE + 2 ** 30, 4);
    guest.map(BASE, NEW);
    guest.map(BASE + 2 ** 30, NEW, ALL | GLOBAL);
    change(cpu);
    const kept: string[] = [];
    for (const pcid of [1, 2]) {
      cpu.writeCr3(root * 4096 + pcid, true);
      if (cpu.load(BASE, 4) === 1) kept.push(String(pcid));
    }
    if (cpu.load(BASE + 2 ** 30, 4) === 1) kept.push("global");
    return kept.join(" ");
  }

  test.each(rows)("%s", (_, bit, expected) => {
    const isOn = (cpu: Cpu): boolean => (cpu.cr4 & bit) !== 0;
    const turn = (on: boolean) => (cpu: Cpu) => {
      if (isOn(cpu) !== on) cpu.writeCr4(cpu.cr4 + (on ? bit : -bit));
    };
    expect(left(turn(true), turn(false))).toBe(expected.clear);
    expect(left(turn(false), turn(true))).toBe(expected.set);
    expect(left(turn(true), (cpu) => cpu.writeCr4(cpu.cr4))).toBe(everything);
  });

  test("PCIDE from 1 to 0: everything", () => {
    const guest = new Guest({ preset: PRESET[vendor] });
    const { cpu, root } = guest;
    guest.mark(OLD, 1);
    guest.mark(NEW, 2);
    guest.map(BASE, OLD, ALL | GLOBAL);
    cpu.writeCr4(cpu.cr4 + CR4_PCIDE);
    cpu.load(BASE, 4);
    guest.map(BASE, NEW, ALL | GLOBAL);
    cpu.writeCr3(root * 4096, true);
    expect(cpu.load(BASE, 4)).toBe(1);
    cpu.writeCr4(cpu.cr4 - CR4_PCIDE);
    expect(cpu.load(BASE, 4)).toBe(2);
    expect(() => cpu.writeCr4(cpu.cr4 - CR4_PAE)).toThrow(GeneralProtectionFault);
  });
});

describe("EFER", () => {
  const refused = (vendor: Vendor, value: number): boolean => {
    const { cpu } = new Guest({ preset: PRESET[vendor] });
    try {
      cpu.wrmsr(MSR_EFER, value);
      return false;
    } catch (error) {
      if (error instanceof GeneralProtectionFault) return true;
      throw error;
    }
  };

  test("LMA written as 0 is ignored on Intel and #GP on AMD", () => {
    const { cpu } = new Guest({ preset: PRESET.intel });
    cpu.wrmsr(MSR_EFER, EFER - EFER_LMA);
    expect(cpu.rdmsr(MSR_EFER)).toBe(BigInt(EFER));
    expect(refused("amd", EFER - EFER_LMA)).toBe(true);
  });

  test("bits 7:1 are reserved on Intel and read as zero on AMD; bits 9, 16, 19, 22 and above are reserved", () => {
    expect(refused("intel", EFER + 2)).toBe(true);
    const { cpu } = new Guest({ preset: PRESET.amd });
    cpu.wrmsr(MSR_EFER, EFER + 0xfe);
    expect(cpu.rdmsr(MSR_EFER)).toBe(BigInt(EFER));
    for (const vendor of BOTH) {
      for (const bit of [9, 12, 16, 19, 22, 31, 32, 50]) expect(refused(vendor, EFER + 2 ** bit), `${bit}`).toBe(true);
    }
  });

  test("TCE is there on AMD only, and not on a CPU without it", () => {
    expect(refused("intel", EFER + EFER_TCE)).toBe(true);
    expect(refused("amd", EFER + EFER_TCE)).toBe(false);
    const { cpu } = new Guest({ preset: PRESET.amd, features: { tce: false } });
    expect(() => cpu.wrmsr(MSR_EFER, EFER + EFER_TCE)).toThrow(GeneralProtectionFault);
    const amd = new Guest({ preset: PRESET.amd }).cpu;
    amd.wrmsr(MSR_EFER, EFER + EFER_TCE);
    expect(amd.rdmsr(MSR_EFER)).toBe(BigInt(EFER + EFER_TCE));
  });
});

test("AMD has 8 pairs of variable-range MTRRs, Intel 10; an MSR behind them is #GP", () => {
  for (const [vendor, pairs] of [
    ["intel", 10],
    ["amd", 8],
  ] as const) {
    const { cpu } = new Guest({ preset: PRESET[vendor] });
    expect(Number(cpu.rdmsr(0xfe) & 0xffn)).toBe(pairs);
    for (let pair = 0; pair < pairs; pair++) {
      cpu.wrmsr(0x200 + 2 * pair, 0x1000_0000n * BigInt(pair + 1));
      cpu.wrmsr(0x201 + 2 * pair, 0xf000_0800n);
    }
    expect(cpu.rdmsr(0x200 + 2 * (pairs - 1))).toBe(0x1000_0000n * BigInt(pairs));
    for (const index of [0x200 + 2 * pairs, 0x201 + 2 * pairs]) {
      expect(() => cpu.wrmsr(index, 0)).toThrow(GeneralProtectionFault);
      expect(() => cpu.rdmsr(index)).toThrow(GeneralProtectionFault);
    }
    // Each range is looked at, the last one too.
    guestTypes(cpu, pairs);
  }
});

/** Every range set above is uncacheable. */
function guestTypes(cpu: Cpu, pairs: number): void {
  for (let pair = 0; pair < pairs; pair++) {
    expect(cpu.memoryTypes.mtrrType(0x1000_0000 * (pair + 1) + 4096), `range ${pair}`).toBe(0);
  }
  expect(cpu.memoryTypes.mtrrType(0x1000_0000 * (pairs + 1))).toBe(6);
}

/** Regions of 2 MiB whose PDEs are cached; the second pages of each are in no TLB. */
const PLACES = { near: BASE, far: BASE + 2 ** 32 } as const;

/** A machine whose CPUs have cached the PDEs of both places under PCIDs 1 (current) and 2. */
function withCachedPdes(preset: string, tce: boolean, cpus = 1): Guest {
  const guest = new Guest({ preset, cpus });
  guest.mark(OLD, 1);
  guest.mark(NEW, 2);
  for (const place of Object.values(PLACES)) {
    guest.map(place, OLD);
    guest.map(place + 4096, OLD);
  }
  for (const cpu of guest.machine.cpus) {
    if (tce) cpu.wrmsr(MSR_EFER, EFER + EFER_TCE);
    cpu.writeCr4(cpu.cr4 + CR4_PCIDE);
    for (const pcid of [2, 1]) {
      cpu.writeCr3(guest.root * 4096 + pcid, true);
      for (const place of Object.values(PLACES)) cpu.load(place, 4);
    }
  }
  return guest;
}

/** The PDEs that a CPU still has cached, as `place/PCID`: their tables are replaced first. */
function cachedPdes(guest: Guest, cpu: Cpu = guest.cpu): string {
  for (const place of Object.values(PLACES)) {
    const table = guest.table();
    guest.write(place, 2, BigInt(table * 4096 + ALL));
    guest.map(place + 4096, NEW);
  }
  const kept: string[] = [];
  for (const pcid of [1, 2]) {
    cpu.writeCr3(guest.root * 4096 + pcid, true);
    for (const [name, place] of Object.entries(PLACES)) {
      if (cpu.load(place + 4096, 4) === 1) kept.push(`${name}/${pcid}`);
    }
  }
  return kept.join(" ");
}

describe("cached entries that refer to tables, left by an invalidation of the near page", () => {
  const ALL_PDES = "near/1 far/1 near/2 far/2";
  const other = "near/2 far/2";
  const rows: [string, (cpu: Cpu) => void, { intel: string; amd: string; tce: string }][] = [
    ["nothing", () => undefined, { intel: ALL_PDES, amd: ALL_PDES, tce: ALL_PDES }],
    ["INVLPG", (cpu) => cpu.invlpg(BASE), { intel: other, amd: "", tce: "far/1 near/2 far/2" }],
    [
      "INVPCID 0",
      (cpu) => cpu.invpcid(0, 2, BASE),
      { intel: "near/1 far/1 far/2", amd: "", tce: "near/1 far/1 far/2" },
    ],
    [
      "INVPCID 1",
      (cpu) => cpu.invpcid(1, 2, BASE),
      { intel: "near/1 far/1", amd: "near/1 far/1", tce: "near/1 far/1" },
    ],
    ["MOV to CR3", (cpu) => cpu.writeCr3(cpu.cr3), { intel: other, amd: other, tce: other }],
  ];
  test.each(rows)("%s", (_, invalidate, expected) => {
    for (const [preset, tce, left] of [
      [PRESET.intel, false, expected.intel],
      [PRESET.amd, false, expected.amd],
      [PRESET.amd, true, expected.tce],
    ] as const) {
      const guest = withCachedPdes(preset, tce);
      invalidate(guest.cpu);
      expect(cachedPdes(guest), `${preset}${tce ? " with TCE" : ""}`).toBe(left);
    }
  });

  const broadcasts: [string, Parameters<Cpu["invalidations"]["invlpgb"]>[0], { without: string; tce: string }][] = [
    ["the page in PCID 2", { la: BASE, pcid: 2, includeGlobals: false }, { without: "", tce: "near/1 far/1 far/2" }],
    ["the page in every PCID", { la: BASE, includeGlobals: false }, { without: "", tce: "far/1 far/2" }],
    [
      "the page in every PCID, final translations only",
      { la: BASE, includeGlobals: true, finalOnly: true },
      { without: ALL_PDES, tce: ALL_PDES },
    ],
    ["PCID 2", { pcid: 2, includeGlobals: false }, { without: "near/1 far/1", tce: "near/1 far/1" }],
    ["everything but globals", { includeGlobals: false }, { without: "", tce: "" }],
  ];
  test.each(broadcasts)(
    "INVLPGB of %s; the EFER.TCE of the CPU that broadcasts decides for all",
    (_, request, expected) => {
      for (const tce of [false, true]) {
        const guest = withCachedPdes(PRESET.amd, false, 2);
        const [first, second] = guest.machine.cpus;
        if (tce) first.wrmsr(MSR_EFER, EFER + EFER_TCE);
        first.invalidations.invlpgb(request);
        if (tce) first.wrmsr(MSR_EFER, EFER);
        first.invalidations.tlbsync();
        expect(cachedPdes(guest, second), `${tce}`).toBe(tce ? expected.tce : expected.without);
      }
    },
  );
});

describe("a cached PDE that refers to a table no longer used, whose entry there is not present", () => {
  function stale(preset: string): Guest {
    const guest = new Guest({ preset });
    guest.map(BASE, OLD);
    guest.cpu.load(BASE, 4);
    const table = guest.table();
    guest.write(BASE, 2, BigInt(table * 4096 + ALL));
    guest.map(BASE + 4096, NEW);
    guest.mark(NEW, 2);
    return guest;
  }

  test("Intel: may cause a page fault, which removes it (SDM vol. 3A, 4.10.3.2 and 4.10.4.1)", () => {
    const { cpu } = stale(PRESET.intel);
    expect(thrown(PageFault, () => cpu.load(BASE + 4096, 4)).errorCode).toBe(0);
    expect(cpu.load(BASE + 4096, 4)).toBe(2);
  });

  test("AMD: the walk is repeated without it before a fault is raised (APM vol. 2, 5.5.3)", () => {
    const { cpu } = stale(PRESET.amd);
    expect(cpu.load(BASE + 4096, 4)).toBe(2);
    expect(cpu.counters()["page-faults"]).toBe(0);
    expect(thrown(PageFault, () => cpu.load(BASE + 8192, 4)).errorCode).toBe(0);
  });
});
