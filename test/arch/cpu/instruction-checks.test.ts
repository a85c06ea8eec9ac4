/**
 * What each instruction checks, and in which order: #UD where the CPU does not have it, #GP by privilege level, then the
 * operands (Intel SDM vol. 2, "Operation" and "Exceptions" of each instruction; AMD APM vol. 3).
 */
import { describe, expect, test } from "vitest";
import {
  ACCESS_SHADOW_STACK_LOAD,
  ACCESS_SHADOW_STACK_STORE,
  ACCESS_USER_SHADOW_STACK_STORE,
  type Cpu,
  CR0_PG,
  CR0_WP,
  CR4_CET,
  CR4_PCIDE,
  CR4_PKE,
  GeneralProtectionFault,
  INVLPGB_2M,
  INVLPGB_ASID,
  INVLPGB_FINAL_ONLY,
  INVLPGB_GLOBAL,
  INVLPGB_NESTED,
  INVLPGB_PCID,
  INVLPGB_VA,
  InvalidOpcode,
  Machine,
  type MachineConfig,
  MachineUsageError,
  MSR_EFER,
  MSR_PAT,
  MSR_PKRS,
  PageFault,
} from "../../../arch/index.ts";
import { ALL, BASE, Guest } from "../guest.ts";

const cpuOf = (config: MachineConfig = {}): Cpu => new Machine({ memoryBytes: 2 ** 24, ...config }).cpus[0];

/** What an instruction does, as a short text: the exception, `usage: field` for a mistake of the caller, `ok`. */
function outcome(call: () => unknown): string {
  try {
    call();
    return "ok";
  } catch (error) {
    if (error instanceof InvalidOpcode) return "#UD";
    if (error instanceof GeneralProtectionFault) return "#GP";
    if (error instanceof PageFault) return "#PF";
    if (error instanceof MachineUsageError) return `usage: ${error.subject}`;
    throw error;
  }
}

const NON_CANONICAL = 1n << 50n;

/** Instructions that a CPU may lack, with operands that are wrong as well. */
const LACKED: [string, MachineConfig, (cpu: Cpu) => unknown][] = [
  ["INVPCID", { features: { invpcid: false } }, (cpu) => cpu.invpcid(9, 5000, NON_CANONICAL)],
  ["INVPCID", { features: { invpcid: false } }, (cpu) => cpu.invpcid(0.5, -1, Number.NaN)],
  ["INVLPGB", {}, (cpu) => cpu.invalidations.invlpgb({ la: -1, pages: 0.5, includeGlobals: true })],
  ["INVLPGB", {}, (cpu) => cpu.invalidations.invlpgbRegisters({ rax: 0xfffn, ecx: -1, edx: 0.5 })],
  ["TLBSYNC", {}, (cpu) => cpu.invalidations.tlbsync()],
  ["WRPKRU with CR4.PKE = 0", {}, (cpu) => cpu.writePkru(-1)],
  ["shadow-stack load with CR4.CET = 0", {}, (cpu) => cpu.loadAs(ACCESS_SHADOW_STACK_LOAD, NON_CANONICAL, 4)],
  ["WRSS with CR4.CET = 0", {}, (cpu) => cpu.storeAs(ACCESS_SHADOW_STACK_STORE, NON_CANONICAL, 4, 0)],
  ["WRUSS with CR4.CET = 0", {}, (cpu) => cpu.store64(NON_CANONICAL, 0n, 8, ACCESS_USER_SHADOW_STACK_STORE)],
  ["WRUSS with CR4.CET = 0", {}, (cpu) => cpu.load64(NON_CANONICAL, 8, ACCESS_USER_SHADOW_STACK_STORE)],
];

test.each(LACKED)("%s raises #UD before anything else is checked", (_, config, call) => {
  for (const cpl of [0, 3]) {
    const cpu = cpuOf(config);
    cpu.setCpl(cpl);
    expect(outcome(() => call(cpu))).toBe("#UD");
  }
});

/** Privileged instructions, with operands that no register could hold: the privilege level comes first. */
const PRIVILEGED: [string, (cpu: Cpu) => unknown][] = [
  ["MOV to CR0", (cpu) => cpu.writeCr0(-1)],
  ["MOV to CR3", (cpu) => cpu.writeCr3(0.5)],
  ["MOV to CR4", (cpu) => cpu.writeCr4(Number.NaN)],
  ["WRMSR", (cpu) => cpu.wrmsr(0.5, -1)],
  ["RDMSR", (cpu) => cpu.rdmsr(-1)],
  ["INVLPG", (cpu) => cpu.invlpg(0.5)],
  ["INVPCID", (cpu) => cpu.invpcid(-1, -1, -1)],
  ["INVLPGB", (cpu) => cpu.invalidations.invlpgb({ la: 0.5, includeGlobals: false })],
  ["TLBSYNC", (cpu) => cpu.invalidations.tlbsync()],
  ["WRUSS", (cpu) => cpu.storeAs(ACCESS_USER_SHADOW_STACK_STORE, 0.5, 4, 0)],
];

describe.each(PRIVILEGED)("%s", (_, call) => {
  test.each([1, 2, 3])("is #GP at CPL %i before its operands are checked", (cpl) => {
    const cpu = cpuOf({ preset: "zen4" });
    cpu.writeCr4(cpu.cr4 + CR4_CET);
    cpu.setCpl(cpl);
    expect(outcome(() => call(cpu))).toBe("#GP");
    cpu.setCpl(0);
    if (call !== PRIVILEGED[8][1]) expect(outcome(() => call(cpu))).toMatch(/^usage/);
  });
});

describe("MOV to CR0 and CR4", () => {
  const high = [1n << 32n, 1n << 63n, (1n << 64n) - 1n, 0xffff_ffffn << 32n];

  test("any bit above 31 is #GP, as a number and as a bigint, and changes nothing", () => {
    const cpu = cpuOf();
    const { cr0, cr4 } = cpu;
    for (const bits of high) {
      expect(outcome(() => cpu.writeCr0(BigInt(cr0) | bits))).toBe("#GP");
      expect(outcome(() => cpu.writeCr4(BigInt(cr4) | bits))).toBe("#GP");
    }
    expect(outcome(() => cpu.writeCr0(cr0 + 2 ** 32))).toBe("#GP");
    expect(outcome(() => cpu.writeCr4(cr4 + 2 ** 52))).toBe("#GP");
    expect(outcome(() => cpu.writeCr4(-1n))).toBe("#GP");
    expect([cpu.cr0, cpu.cr4]).toEqual([cr0, cr4]);
  });

  test("a bigint of 32 bits is as good as a number", () => {
    const cpu = cpuOf();
    cpu.writeCr0(BigInt(cpu.cr0 - CR0_WP));
    expect(cpu.cr0 & CR0_WP).toBe(0);
    cpu.writeCr4(BigInt(cpu.cr4 + CR4_PKE));
    expect(cpu.cr4 & CR4_PKE).not.toBe(0);
    expect(outcome(() => cpu.writeCr0(BigInt(cpu.cr0 - CR0_PG)))).toBe("#GP");
  });

  test("reserved bits of CR0's low word stay 0 and ET stays 1; those of CR4's are #GP", () => {
    const cpu = cpuOf();
    cpu.writeCr0(cpu.cr0 + 2 ** 6 + 2 ** 17 + 2 ** 28 - 2 ** 4);
    expect(cpu.cr0).toBe(0x8005_0033);
    for (const bit of [13, 14, 15, 19, 25, 26, 27, 28, 29, 30, 31]) {
      expect(
        outcome(() => cpu.writeCr4(cpu.cr4 + 2 ** bit)),
        `bit ${bit}`,
      ).toBe("#GP");
    }
  });
});

test.each([
  ["CR0", (cpu: Cpu, value: number | bigint) => cpu.writeCr0(value)],
  ["CR3", (cpu: Cpu, value: number | bigint) => cpu.writeCr3(value)],
  ["CR4", (cpu: Cpu, value: number | bigint) => cpu.writeCr4(value)],
  ["an MSR", (cpu: Cpu, value: number | bigint) => cpu.wrmsr(MSR_EFER, value)],
] as const)("what no register of 64 bits can hold is a mistake of the caller: %s", (_, write) => {
  const cpu = cpuOf();
  for (const value of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, 1n << 64n, -(1n << 63n) - 1n]) {
    expect(
      outcome(() => write(cpu, value)),
      String(value),
    ).toMatch(/^usage/);
  }
});

test("MSRs: a number that no ECX can hold is a mistake of the caller, one without a register is #GP", () => {
  const cpu = cpuOf({ preset: "sapphire-rapids" });
  for (const index of [-1, 0.5, Number.NaN, 2 ** 32]) {
    expect(outcome(() => cpu.wrmsr(index, 0))).toBe("usage: number of an MSR");
    expect(outcome(() => cpu.rdmsr(index))).toBe("usage: number of an MSR");
  }
  for (const index of [0, 0x10, 0x214, 0x251, 0xc000_0081, 2 ** 32 - 1]) {
    expect(outcome(() => cpu.wrmsr(index, 0))).toBe("#GP");
    expect(outcome(() => cpu.rdmsr(index))).toBe("#GP");
  }
  expect([MSR_EFER, MSR_PAT, MSR_PKRS].map((index) => outcome(() => cpu.rdmsr(index)))).toEqual(["ok", "ok", "ok"]);
});

describe("INVPCID (Intel SDM vol. 2A)", () => {
  const rows: [type: number, pcid: number, la: number | bigint, withPcids: string, without: string][] = [
    [0, 0, BASE, "ok", "ok"],
    [0, 0, NON_CANONICAL, "#GP", "#GP"],
    [0, 5, BASE, "ok", "#GP"],
    [0, 4095, 0xffff_8000_0000_0000n, "ok", "#GP"],
    [0, 4096, BASE, "#GP", "#GP"],
    [0, 0, 0.5, "usage: linear address", "usage: linear address"],
    [1, 5, NON_CANONICAL, "ok", "#GP"],
    [1, 0, NON_CANONICAL, "ok", "ok"],
    [1, 4096, 0, "#GP", "#GP"],
    [2, 5, NON_CANONICAL, "ok", "ok"],
    [2, 4096, 0, "#GP", "#GP"],
    [3, 4095, NON_CANONICAL, "ok", "ok"],
    [3, 2 ** 40, 0, "#GP", "#GP"],
    [4, 0, 0, "#GP", "#GP"],
    [2 ** 40, 0, 0, "#GP", "#GP"],
    [1.5, 0, 0, "usage: INVPCID type", "usage: INVPCID type"],
    [-1, 0, 0, "usage: INVPCID type", "usage: INVPCID type"],
    [1, 0.5, 0, "usage: INVPCID descriptor's PCID", "usage: INVPCID descriptor's PCID"],
    [2, -1, 0, "usage: INVPCID descriptor's PCID", "usage: INVPCID descriptor's PCID"],
  ];
  test.each(rows)("type %d, PCID %d, address %d", (type, pcid, la, withPcids, without) => {
    const cpu = cpuOf();
    expect(outcome(() => cpu.invpcid(type, pcid, la))).toBe(without);
    cpu.writeCr4(cpu.cr4 + CR4_PCIDE);
    expect(outcome(() => cpu.invpcid(type, pcid, la))).toBe(withPcids);
  });
});

describe("INVLPGB (AMD APM vol. 3)", () => {
  const page = 0xffff_c000_0000_0000n;
  const all = BigInt(INVLPGB_VA | INVLPGB_PCID | INVLPGB_ASID | INVLPGB_GLOBAL | INVLPGB_FINAL_ONLY);
  const rows: [string, rax: bigint, ecx: number, edx: number, withPcids: string, without: string][] = [
    ["nothing valid: everything but globals", 0n, 0, 0, "ok", "ok"],
    ["everything", BigInt(INVLPGB_GLOBAL), 0, 0, "ok", "ok"],
    ["all that there is", page | all, INVLPGB_2M + 7, 0x0fff_0000, "ok", "#GP"],
    ["PCID 0", page | BigInt(INVLPGB_VA | INVLPGB_PCID), 0, 0, "ok", "ok"],
    ["another PCID", BigInt(INVLPGB_PCID), 0, 0x0001_0000, "ok", "#GP"],
    ["a PCID that is not valid", BigInt(INVLPGB_VA), 0, 0x0001_0000, "ok", "ok"],
    ["an ASID of a guest", BigInt(INVLPGB_ASID), 0, 3, "ok", "ok"],
    ["more pages than InvlpgbCountMax", page | BigInt(INVLPGB_VA), 8, 0, "#GP", "#GP"],
    ["ECX all ones in its count", page | BigInt(INVLPGB_VA), 0xffff, 0, "#GP", "#GP"],
    ["an address that is not canonical", (1n << 50n) | BigInt(INVLPGB_VA), 0, 0, "#GP", "#GP"],
    ["an address that is not valid and not canonical", 1n << 50n, 0, 0, "ok", "ok"],
    ["nested translations", page | BigInt(INVLPGB_VA | INVLPGB_NESTED), 0, 0, "#GP", "#GP"],
    ...[6, 7, 8, 9, 10, 11].map((bit): [string, bigint, number, number, string, string] => [
      `rAX bit ${bit}`,
      1n << BigInt(bit),
      0,
      0,
      "#GP",
      "#GP",
    ]),
    ...[16, 20, 30].map((bit): [string, bigint, number, number, string, string] => [
      `ECX bit ${bit}`,
      0n,
      2 ** bit,
      0,
      "#GP",
      "#GP",
    ]),
    ...[28, 29, 30, 31].map((bit): [string, bigint, number, number, string, string] => [
      `EDX bit ${bit}`,
      0n,
      0,
      2 ** bit,
      "#GP",
      "#GP",
    ]),
    ["rAX of 65 bits", 1n << 64n, 0, 0, "usage: INVLPGB rAX", "usage: INVLPGB rAX"],
    ["ECX of 33 bits", 0n, 2 ** 32, 0, "usage: INVLPGB ECX", "usage: INVLPGB ECX"],
    ["EDX with a fraction", 0n, 0, 0.5, "usage: INVLPGB EDX", "usage: INVLPGB EDX"],
  ];
  test.each(rows)("%s", (_, rax, ecx, edx, withPcids, without) => {
    const cpu = cpuOf({ preset: "zen4" });
    const issued = (): number => cpu.counters().invlpgb;
    expect(outcome(() => cpu.invalidations.invlpgbRegisters({ rax, ecx, edx }))).toBe(without);
    expect(issued()).toBe(without === "ok" ? 1 : 0);
    cpu.writeCr4(cpu.cr4 + CR4_PCIDE);
    expect(outcome(() => cpu.invalidations.invlpgbRegisters({ rax, ecx, edx }))).toBe(withPcids);
  });

  const requests: [string, Parameters<Cpu["invalidations"]["invlpgb"]>[0], string][] = [
    ["an address with a fraction", { la: 0.5, includeGlobals: true }, "usage: linear address"],
    ["an address beyond 48 bits", { la: 2 ** 48, includeGlobals: true }, "usage: linear address"],
    ["half a page", { la: 0, pages: 0.5, includeGlobals: true }, "usage: INVLPGB pages"],
    ["less than no pages", { la: 0, pages: -1, includeGlobals: true }, "usage: INVLPGB pages"],
    ["no page: one less is 65,535", { la: 0, pages: 0, includeGlobals: true }, "#GP"],
    ["nine pages", { la: 0, pages: 9, includeGlobals: true }, "#GP"],
    ["nine pages without an address", { pages: 9, includeGlobals: true }, "#GP"],
    ["eight pages", { la: 0, pages: 8, includeGlobals: true }, "ok"],
    ["a stride of 1 GiB", { la: 0, strideBytes: 2 ** 30, includeGlobals: true }, "usage: INVLPGB stride"],
    ["a stride of 2 MiB", { la: 0, strideBytes: 2 ** 21, includeGlobals: true }, "ok"],
    ["PCID 4096", { pcid: 4096, includeGlobals: true }, "#GP"],
    ["PCID 2^16", { pcid: 2 ** 16, includeGlobals: true }, "usage: INVLPGB PCID"],
    ["half a PCID", { pcid: 0.5, includeGlobals: true }, "usage: INVLPGB PCID"],
  ];
  test.each(requests)("asked for with %s", (_, request, expected) => {
    const cpu = cpuOf({ preset: "zen4" });
    cpu.writeCr4(cpu.cr4 + CR4_PCIDE);
    expect(outcome(() => cpu.invalidations.invlpgb(request))).toBe(expected);
  });
});

describe("shadow-stack accesses (Intel SDM vol. 2D, WRSS and WRUSS)", () => {
  const rows: [string, (cpu: Cpu) => unknown, string][] = [
    ["WRUSSD, 4-byte aligned", (cpu) => cpu.storeAs(ACCESS_USER_SHADOW_STACK_STORE, BASE + 4, 4, 0), "#PF"],
    ["WRUSSD, 2-byte aligned", (cpu) => cpu.storeAs(ACCESS_USER_SHADOW_STACK_STORE, BASE + 2, 4, 0), "#GP"],
    ["WRUSSQ, 8-byte aligned", (cpu) => cpu.store64(BASE + 8, 0n, 8, ACCESS_USER_SHADOW_STACK_STORE), "#PF"],
    ["WRUSSQ, 4-byte aligned", (cpu) => cpu.store64(BASE + 4, 0n, 8, ACCESS_USER_SHADOW_STACK_STORE), "#GP"],
    ["WRSSD, 1-byte aligned", (cpu) => cpu.storeAs(ACCESS_SHADOW_STACK_STORE, BASE + 1, 4, 0), "#GP"],
    ["a pop of 8 bytes, 4-byte aligned", (cpu) => cpu.load64(BASE + 4, 8, ACCESS_SHADOW_STACK_LOAD), "#PF"],
    ["a pop of 8 bytes, 2-byte aligned", (cpu) => cpu.load64(BASE + 2, 8, ACCESS_SHADOW_STACK_LOAD), "#GP"],
    ["WRUSSD of an address that is not canonical", (cpu) => cpu.storeAs(7, NON_CANONICAL, 4, 0), "#GP"],
  ];
  test.each(rows)("%s", (_, call, expected) => {
    const cpu = cpuOf({ preset: "sapphire-rapids" });
    cpu.writeCr4(cpu.cr4 + CR4_CET);
    expect(outcome(() => call(cpu))).toBe(expected);
  });
});

describe("an access that begins in the lower half and goes on into the gap of non-canonical addresses", () => {
  const top = 2 ** 47;
  const rows: [string, (cpu: Cpu) => unknown, string][] = [
    ["load of 4, last byte outside", (cpu) => cpu.load(top - 3, 4), "#GP"],
    ["load of 4, all inside", (cpu) => cpu.load(top - 4, 4), "ok"],
    ["load of 2", (cpu) => cpu.load(top - 1, 2), "#GP"],
    ["load of 1", (cpu) => cpu.load(top - 1, 1), "ok"],
    ["store of 4", (cpu) => cpu.store(top - 2, 4, 1), "#GP"],
    ["fetch of 3", (cpu) => cpu.fetch(top - 2, 3), "#GP"],
    ["load of 8", (cpu) => cpu.load64(top - 7), "#GP"],
    ["load of 8, all inside", (cpu) => cpu.load64(top - 8), "ok"],
    ["store of 8 by a bigint", (cpu) => cpu.store64(BigInt(top - 1), 1n), "#GP"],
    ["implicit load", (cpu) => cpu.loadAs(3, top - 1, 4), "#GP"],
    ["load of the upper half", (cpu) => cpu.load(top, 4), "ok"],
  ];
  test.each(rows)("%s", (_, call, expected) => {
    const guest = new Guest();
    guest.map(top - 4096, 2 ** 30, ALL);
    guest.map(top, 2 ** 30 + 4096, ALL);
    const before = guest.cpu.counters();
    expect(outcome(() => call(guest.cpu))).toBe(expected);
    if (expected === "ok") return;
    expect(guest.cpu.counters()).toEqual(before);
    expect(guest.flags(top - 4096, 1)).toEqual({ accessed: false, dirty: false });
  });

  test("is #GP even where nothing is mapped, while one past the highest address goes on at 0", () => {
    const guest = new Guest();
    expect(outcome(() => guest.cpu.load(top - 1, 4))).toBe("#GP");
    expect(outcome(() => guest.cpu.load(2 ** 48 - 1, 4))).toBe("#PF");
    guest.map(2 ** 48 - 4096, 2 ** 30);
    guest.map(0, 2 ** 30 + 4096);
    expect(outcome(() => guest.cpu.load(2 ** 48 - 1, 4))).toBe("ok");
  });
});
