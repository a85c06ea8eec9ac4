/** Writes of control registers and MSRs that the CPU refuses (Intel SDM vol. 3A, 2.5, 4.1.1, 4.10.1; vol. 2B, MOV). */
import { describe, expect, test } from "vitest";
import {
  CR0_CD,
  CR0_NW,
  CR0_PE,
  CR0_PG,
  CR0_WP,
  CR4_CET,
  CR4_LA57,
  CR4_PAE,
  CR4_PCIDE,
  CR4_PGE,
  CR4_PKE,
  CR4_PKS,
  CR4_SMAP,
  CR4_SMEP,
  EFER_LMA,
  EFER_LME,
  EFER_NXE,
  EFER_SCE,
  GeneralProtectionFault,
  Machine,
  type MachineConfig,
  MachineUsageError,
  MSR_EFER,
  MSR_PAT,
  MSR_PKRS,
} from "../../../arch/index.ts";
import { thrown } from "../guest.ts";

const cpuOf = (config: MachineConfig = {}) => new Machine({ memoryBytes: 2 ** 24, ...config }).cpus[0];
const refused = (call: () => unknown): string => thrown(GeneralProtectionFault, call).reason;

test("a new machine's CPUs run with paging as Linux sets it early, with no tables", () => {
  const cpu = cpuOf();
  expect(cpu.cr0).toBe(0x8005_0033);
  expect(cpu.cr4).toBe(CR4_PAE + CR4_PGE);
  expect(cpu.rdmsr(MSR_EFER)).toBe(BigInt(EFER_SCE + EFER_LME + EFER_LMA + EFER_NXE));
  expect([cpu.cr3, cpu.cpl]).toEqual([0, 0]);
  expect(() => cpu.load(0, 4)).toThrow("#PF(0)");
});

describe("#GP", () => {
  test("CR0: PG or PE cleared, NW without CD, WP cleared under CET", () => {
    const cpu = cpuOf({ preset: "sapphire-rapids" });
    expect(refused(() => cpu.writeCr0(cpu.cr0 - CR0_PG))).toContain("PG");
    expect(refused(() => cpu.writeCr0(cpu.cr0 - CR0_PE))).toContain("PE");
    expect(refused(() => cpu.writeCr0(cpu.cr0 + CR0_NW))).toContain("CD");
    cpu.writeCr0(cpu.cr0 + CR0_NW + CR0_CD);
    cpu.writeCr4(cpu.cr4 + CR4_CET);
    expect(refused(() => cpu.writeCr0(cpu.cr0 - CR0_WP))).toContain("CET");
  });

  test("CR3: address bits at or above MAXPHYADDR, bit 63 without PCIDs, bits 52 to 62", () => {
    const cpu = cpuOf({ maxPhyAddr: 40 });
    cpu.writeCr3(2 ** 40 - 4096);
    expect(refused(() => cpu.writeCr3(2 ** 40))).toContain("MAXPHYADDR (40)");
    expect(refused(() => cpu.writeCr3(1n << 63n))).toContain("bit 63");
    expect(refused(() => cpu.writeCr3(4096, true))).toContain("bit 63");
    expect(refused(() => cpu.writeCr3(1n << 61n))).toContain("reserved");
    expect(refused(() => cpu.writeCr3(2 ** 52))).toContain("MAXPHYADDR (40)");
    expect(cpu.cr3).toBe(2 ** 40 - 4096);
  });

  test("CR4: PAE cleared, LA57 changed, PCIDE with CR3[11:0] not zero, CET without WP", () => {
    const cpu = cpuOf({ preset: "sapphire-rapids" });
    expect(refused(() => cpu.writeCr4(cpu.cr4 - CR4_PAE))).toContain("PAE");
    expect(refused(() => cpu.writeCr4(cpu.cr4 + CR4_LA57))).toContain("LA57");
    cpu.writeCr3(0x1018);
    expect(refused(() => cpu.writeCr4(cpu.cr4 + CR4_PCIDE))).toContain("CR3[11:0] = 0x18");
    cpu.writeCr3(0x1000);
    cpu.writeCr4(cpu.cr4 + CR4_PCIDE);
    cpu.writeCr3(0x1018, true);
    cpu.writeCr0(cpu.cr0 - CR0_WP);
    expect(refused(() => cpu.writeCr4(cpu.cr4 + CR4_CET))).toContain("WP");
  });

  test.each([
    ["pcid", CR4_PCIDE],
    ["smep", CR4_SMEP],
    ["smap", CR4_SMAP],
    ["pku", CR4_PKE],
    ["pks", CR4_PKS],
    ["shadowStack", CR4_CET],
  ] as const)("CR4: the bit of %s on a machine without it", (feature, bit) => {
    const has = cpuOf({ preset: "sapphire-rapids" });
    has.writeCr4(has.cr4 + bit);
    const lacks = cpuOf({ preset: "sapphire-rapids", features: { [feature]: false } });
    expect(refused(() => lacks.writeCr4(lacks.cr4 + bit))).toContain("reserved on this CPU");
  });

  test("features that a machine lacks: global pages, NXE, PKRS, PAT, MTRRs", () => {
    const cpu = cpuOf({ features: { pge: false, nx: false, pks: false, pat: false, mtrr: false } });
    expect(refused(() => cpu.writeCr4(cpu.cr4 + CR4_PGE))).toContain("reserved");
    expect(refused(() => cpu.wrmsr(MSR_EFER, EFER_LME + EFER_NXE))).toContain("reserved");
    for (const index of [MSR_PKRS, MSR_PAT, 0x2ff, 0x200]) {
      expect(() => cpu.wrmsr(index, 0)).toThrow(GeneralProtectionFault);
      expect(() => cpu.rdmsr(index)).toThrow(GeneralProtectionFault);
    }
  });

  test("EFER: LME cleared under paging, reserved bits; PKRS: bits 63 to 32; PAT and MTRRs: types that do not exist", () => {
    const cpu = cpuOf({ preset: "sapphire-rapids" });
    expect(refused(() => cpu.wrmsr(MSR_EFER, EFER_NXE))).toContain("LME");
    expect(refused(() => cpu.wrmsr(MSR_EFER, 1n << 40n))).toContain("reserved");
    expect(refused(() => cpu.wrmsr(MSR_PKRS, 1n << 32n))).toContain("reserved");
    expect(refused(() => cpu.wrmsr(MSR_PAT, 0x0203n))).toContain("type 3");
    expect(refused(() => cpu.wrmsr(0x200, 7))).toContain("type 7");
    expect(refused(() => cpu.wrmsr(0xfe, 0))).toContain("read-only");
  });

  test("all of it at CPL 3, where only WRPKRU is left", () => {
    const cpu = cpuOf();
    cpu.writeCr4(cpu.cr4 + CR4_PKE);
    cpu.setCpl(3);
    const privileged: [string, () => void][] = [
      ["MOV to CR0", () => cpu.writeCr0(cpu.cr0)],
      ["MOV to CR3", () => cpu.writeCr3(0)],
      ["MOV to CR4", () => cpu.writeCr4(cpu.cr4)],
      ["WRMSR", () => cpu.wrmsr(MSR_EFER, 0)],
      ["RDMSR", () => cpu.rdmsr(MSR_EFER)],
      ["INVLPG", () => cpu.invlpg(0)],
      ["INVPCID", () => cpu.invpcid(2, 0, 0)],
    ];
    for (const [instruction, call] of privileged) expect(refused(call)).toBe(`${instruction} at CPL 3`);
    cpu.writePkru(4);
  });

  test("INVLPG of an address that is not canonical does nothing (SDM vol. 2A, INVLPG)", () => {
    const cpu = cpuOf();
    cpu.invlpg(1n << 50n);
    expect(cpu.counters().invlpg).toBe(1);
  });
});

test("mistakes in settings of a machine name the setting, its value and what was expected", () => {
  const message = (config: MachineConfig): string => thrown(MachineUsageError, () => new Machine(config)).message;
  expect(message({ cpus: -3 })).toBe("cpus: -3: expected a whole number from 1 to 4096");
  expect(message({ memoryBytes: 4097 })).toContain("memoryBytes: 4097: expected a positive multiple of 4096");
  expect(message({ preset: "skylark" })).toContain("preset: skylark: expected one of skylake, icelake");
  expect(message({ maxPhyAddr: 53 })).toBe("maxPhyAddr: 53: expected a whole number from 36 to 52");
  expect(message({ maxPhyAddr: 36, memoryBytes: 2 ** 40 })).toContain("below 2^36");
  expect(message({ pagingLevels: 5 })).toContain("no five-level paging");
  expect(message({ features: { smop: true } as unknown as { smep: boolean } })).toContain("features: smop");
  expect(message({ features: { toString: true } as unknown as { smep: boolean } })).toContain("features: toString");
  expect(message({ features: { pcid: 1 } as unknown as { smep: boolean } })).toBe(
    "features: pcid: 1: expected true or false",
  );
});

test("CR4 takes the bit of each feature that a CPU has, and no bit of one that it has not", () => {
  const bits = {
    pge: CR4_PGE,
    pcid: CR4_PCIDE,
    smep: CR4_SMEP,
    smap: CR4_SMAP,
    pku: CR4_PKE,
    pks: CR4_PKS,
    shadowStack: CR4_CET,
  } as const;
  const all = Object.fromEntries(Object.keys(bits).map((name) => [name, true]));
  for (const [name, bit] of Object.entries(bits)) {
    for (const has of [true, false]) {
      const cpu = cpuOf({ preset: "sapphire-rapids", features: { ...all, [name]: has } });
      const write = (): unknown => cpu.writeCr4(CR4_PAE + bit);
      if (has) {
        write();
        expect(cpu.cr4, name).toBe(CR4_PAE + bit);
      } else {
        refused(write);
        expect(cpu.cr4 & bit, name).toBe(0);
      }
    }
  }
});
