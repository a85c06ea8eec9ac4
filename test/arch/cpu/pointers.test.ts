/**
 * What a CPU does with a pointer before it looks at any page table: linear-address masking (LAM; Intel SDM vol. 1, "Linear-Address
 * Pre-Processing"), upper-address ignore (UAI; AMD APM vol. 2, 5.10), canonical addresses, linear-address space separation (LASS).
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { captureCpus, restoreCpus } from "../../../arch/cpu/cpu-state.ts";
import {
  ACCESS_FETCH,
  ACCESS_IMPLICIT_LOAD,
  ACCESS_IMPLICIT_STORE,
  ACCESS_LOAD,
  ACCESS_SHADOW_STACK_LOAD,
  ACCESS_STORE,
  ACCESS_USER_SHADOW_STACK_STORE,
  type Access,
  type Cpu,
  CR3_LAM_U48,
  CR3_LAM_U57,
  CR4_CET,
  CR4_LAM_SUP,
  CR4_LASS,
  CR4_SMAP,
  EFER_UAIE,
  GeneralProtectionFault,
  MSR_EFER,
  PageFault,
  PTE_PRESENT,
  PTE_RW,
} from "../../../arch/index.ts";
import { ALL, Guest, thrown } from "../guest.ts";

const FEATURES = { lam: true, lass: true };
const intel = (pagingLevels: 4 | 5 = 4) => new Guest({ preset: "sapphire-rapids", features: FEATURES, pagingLevels });

/** What a CPU is set to. */
interface Setting {
  readonly levels: 4 | 5;
  readonly lamU57: boolean;
  readonly lamU48: boolean;
  readonly lamSup: boolean;
  readonly uai: boolean;
  readonly lass: boolean;
  readonly smap: boolean;
  readonly ac: boolean;
  readonly cpl: number;
}

const bit = (address: bigint, number: number): number => Number((address >> BigInt(number)) & 1n);
const ones = (address: bigint, from: number, to: number): boolean[] =>
  Array.from({ length: from - to + 1 }, (_, i) => bit(address, to + i) === 1);

/** The address that a pointer stands for; null where the manual's table refuses it. */
function masked(pointer: bigint, { levels, lamU57, lamU48, lamSup, uai }: Setting): bigint | null {
  const width = levels === 5 ? 57 : 48;
  const extended = (from: number) => BigInt.asUintN(64, BigInt.asIntN(from + 1, pointer));
  if (uai) {
    const address = extended(56);
    return new Set(ones(address, 63, width - 1)).size === 1 ? address : null;
  }
  const isUser = bit(pointer, 63) === 0;
  if (isUser && lamU57) {
    const mustBeZero = levels === 5 ? [bit(pointer, 56) === 1] : ones(pointer, 56, 47);
    return mustBeZero.includes(true) ? null : extended(56);
  }
  if (isUser && lamU48) return bit(pointer, 47) === 1 ? null : extended(47);
  if (!isUser && lamSup) return bit(pointer, width - 1) === 0 ? null : extended(width - 1);
  return new Set(ones(pointer, 63, width - 1)).size === 1 ? pointer : null;
}

/** Whether LASS refuses an access to a byte. */
function lassRefuses(address: bigint, access: Access, { lass, smap, ac, cpl }: Setting): boolean {
  if (!lass) return false;
  const implicit = access === ACCESS_IMPLICIT_LOAD || access === ACCESS_IMPLICIT_STORE;
  const userMode = (cpl === 3 && !implicit) || access === ACCESS_USER_SHADOW_STACK_STORE;
  if (userMode) return bit(address, 63) === 1;
  if (bit(address, 63) === 1) return false;
  if (access === ACCESS_FETCH) return true;
  return smap && (implicit || !ac);
}

function expectedOf(pointer: bigint, size: number, access: Access, setting: Setting): string {
  const { levels, lamU48, lamU57, uai } = setting;
  const width = levels === 5 ? 57 : 48;
  const isData = access !== ACCESS_FETCH;
  const plain = { ...setting, lamU48: false, lamU57: false, lamSup: false, uai: false };
  const address = masked(pointer, isData ? setting : plain);
  if (address === null) return "#GP";
  for (let i = 0n; i < BigInt(size); i++) {
    const byte = BigInt.asUintN(64, address + i);
    if (new Set(ones(byte, 63, width - 1)).size !== 1 || lassRefuses(byte, access, setting)) return "#GP";
    if (isData && !uai && lamU48 && !lamU57 && bit(byte, 63) === 0 && bit(byte, 47) === 1) return "#GP";
  }
  return `#PF ${address.toString(16)}`;
}

function set(cpu: Cpu, s: Setting): void {
  cpu.setCpl(0);
  cpu.writeCr3(BigInt(cpu.cr3) | (s.lamU57 ? CR3_LAM_U57 : 0n) | (s.lamU48 ? CR3_LAM_U48 : 0n));
  const off = [CR4_LAM_SUP, CR4_LASS, CR4_SMAP].reduce(
    (cr4, each) => (Math.floor(cr4 / each) % 2 ? cr4 - each : cr4),
    cpu.cr4,
  );
  cpu.writeCr4(off + (s.lamSup ? CR4_LAM_SUP : 0) + (s.lass ? CR4_LASS : 0) + (s.smap ? CR4_SMAP : 0));
  if (s.uai) cpu.wrmsr(MSR_EFER, cpu.rdmsr(MSR_EFER) | BigInt(EFER_UAIE));
  cpu.setAlignmentCheck(s.ac);
  cpu.setCpl(s.cpl);
}

function outcome(cpu: Cpu, access: () => unknown): string {
  try {
    access();
    return "ok";
  } catch (error) {
    if (error instanceof PageFault) {
      const address = BigInt.asUintN(64, typeof cpu.cr2 === "bigint" ? cpu.cr2 : BigInt.asIntN(48, BigInt(cpu.cr2)));
      return `#PF ${address.toString(16)}`;
    }
    if (error instanceof GeneralProtectionFault) return "#GP";
    throw error;
  }
}

const anyPointer = fc.oneof(
  fc.bigInt(0n, (1n << 64n) - 1n),
  fc
    .tuple(fc.constantFrom(47n, 48n, 56n, 57n, 63n, 64n), fc.bigInt(-9n, 9n), fc.bigInt(0n, 127n), fc.boolean())
    .map(([edge, by, tag, isKernel]) => {
      const address = BigInt.asUintN(64, (1n << edge) + by);
      return BigInt.asUintN(64, (isKernel ? ~address : address) ^ (tag << 56n));
    }),
);

const settings = (uai: boolean) =>
  fc.record({
    levels: fc.constantFrom(4, 5) as fc.Arbitrary<4 | 5>,
    lamU57: uai ? fc.constant(false) : fc.boolean(),
    lamU48: uai ? fc.constant(false) : fc.boolean(),
    lamSup: uai ? fc.constant(false) : fc.boolean(),
    uai: uai ? fc.boolean() : fc.constant(false),
    lass: uai ? fc.constant(false) : fc.boolean(),
    smap: fc.boolean(),
    ac: fc.boolean(),
    cpl: fc.constantFrom(0, 3),
  });

const ACCESSES: readonly Access[] = [
  ACCESS_LOAD,
  ACCESS_STORE,
  ACCESS_FETCH,
  ACCESS_IMPLICIT_LOAD,
  ACCESS_IMPLICIT_STORE,
];

describe.each([
  ["sapphire-rapids with LAM and LASS", { preset: "sapphire-rapids", features: FEATURES }, false],
  ["zen4, which has UAI", { preset: "zen4" }, true],
] as const)("%s", (_name, config, hasUai) => {
  test("every pointer is refused, or faults at the address that it stands for", () => {
    fc.assert(
      fc.property(
        settings(hasUai),
        fc.array(fc.tuple(anyPointer, fc.constantFrom(...ACCESSES), fc.integer({ min: 1, max: 8 })), {
          minLength: 30,
          maxLength: 30,
        }),
        (setting, accesses) => {
          const { cpu } = new Guest({ ...config, pagingLevels: setting.levels, memoryBytes: 2 ** 24 });
          set(cpu, setting);
          for (const [pointer, access, size] of accesses) {
            const expected = expectedOf(pointer, size, access, setting);
            const what = () => cpu.load64(pointer, size, access);
            const store = () => cpu.store64(pointer, 0n, size, access);
            const got = outcome(cpu, access === ACCESS_STORE || access === ACCESS_IMPLICIT_STORE ? store : what);
            expect(`${pointer.toString(16)} by ${access} of ${size}: ${got}`).toBe(
              `${pointer.toString(16)} by ${access} of ${size}: ${expected}`,
            );
            if (access > ACCESS_FETCH || size > 4) continue;
            const short = [
              () => cpu.load(pointer, size),
              () => cpu.store(pointer, size, 0),
              () => cpu.fetch(pointer, size),
            ];
            expect(outcome(cpu, short[access])).toBe(expected);
          }
        },
      ),
      { numRuns: 150 },
    );
  });
});

test("shadow-stack accesses are masked as other data accesses, and WRUSS counts as one of the user for LASS", () => {
  const { cpu } = intel();
  cpu.writeCr4(cpu.cr4 + CR4_CET + CR4_LASS + CR4_SMAP);
  cpu.writeCr3(BigInt(cpu.cr3) | CR3_LAM_U48);
  const tagged = (0x55n << 48n) | 0x7000n;
  expect(outcome(cpu, () => cpu.load64(tagged, 8, ACCESS_SHADOW_STACK_LOAD))).toBe("#GP");
  expect(outcome(cpu, () => cpu.store64(tagged, 0n, 8, ACCESS_USER_SHADOW_STACK_STORE))).toBe("#PF 7000");
  const kernel = 0xffff_8000_0000_0000n;
  expect(outcome(cpu, () => cpu.store64(kernel, 0n, 8, ACCESS_USER_SHADOW_STACK_STORE))).toBe("#GP");
  expect(outcome(cpu, () => cpu.load64(kernel, 8, ACCESS_SHADOW_STACK_LOAD))).toBe("#PF ffff800000000000");
});

test("a masked pointer reads what the plain one does, in the same TLB entry", () => {
  const guest = intel(5);
  const { cpu } = guest;
  const at = (1n << 55n) | 0x5_0008n;
  guest.map(at, 0x50_0000);
  cpu.writeCr3(BigInt(cpu.cr3) | CR3_LAM_U57);
  cpu.store(at, 4, 0x1234);
  const walks = cpu.counters()["dtlb_load_misses.walk_completed"];
  expect(cpu.load(at | (0x2an << 57n), 4)).toBe(0x1234);
  expect(cpu.counters()["dtlb_load_misses.walk_completed"]).toBe(walks);
});

test("INVLPG, INVPCID and probes are not masked", () => {
  const guest = intel();
  const { cpu } = guest;
  guest.map(0x5000, 0x50_0000);
  cpu.writeCr3(BigInt(cpu.cr3) | CR3_LAM_U57);
  const tagged = (1n << 60n) | 0x5000n;
  cpu.load(tagged, 4);
  guest.map(0x5000, 0x60_0000);
  guest.mark(0x60_0000, 7);
  cpu.invlpg(tagged);
  expect(cpu.load(tagged, 4)).toBe(0);
  expect(() => cpu.invpcid(0, 0, tagged)).toThrow(GeneralProtectionFault);
  expect(() => cpu.probe(tagged)).toThrow(GeneralProtectionFault);
  cpu.invlpg(0x5000n);
  expect(cpu.load(tagged, 4)).toBe(7);
});

test("a CPU refuses to set what it does not have", () => {
  const { cpu } = new Guest({ preset: "icelake" });
  expect(() => cpu.writeCr3(BigInt(cpu.cr3) | CR3_LAM_U57)).toThrow(GeneralProtectionFault);
  expect(() => cpu.writeCr3(BigInt(cpu.cr3) | CR3_LAM_U48)).toThrow(GeneralProtectionFault);
  for (const flag of [CR4_LAM_SUP, CR4_LASS])
    expect(() => cpu.writeCr4(cpu.cr4 + flag)).toThrow(GeneralProtectionFault);
  expect(() => cpu.wrmsr(MSR_EFER, cpu.rdmsr(MSR_EFER) | BigInt(EFER_UAIE))).toThrow(GeneralProtectionFault);
  const zen3 = new Guest({ preset: "zen3" }).cpu;
  expect(() => zen3.wrmsr(MSR_EFER, zen3.rdmsr(MSR_EFER) | BigInt(EFER_UAIE))).toThrow(GeneralProtectionFault);
  const zen4 = new Guest({ preset: "zen4" }).cpu;
  zen4.wrmsr(MSR_EFER, zen4.rdmsr(MSR_EFER) | BigInt(EFER_UAIE));
  expect(zen4.rdmsr(MSR_EFER) & BigInt(EFER_UAIE)).toBe(BigInt(EFER_UAIE));
});

test("MOV from CR3 shows what was written of masking, at CPL 0; a saved state keeps it", () => {
  const guest = intel();
  const value = BigInt(guest.root * 4096) | CR3_LAM_U48;
  guest.cpu.writeCr3(value);
  expect(guest.cpu.readCr3()).toBe(value);
  const other = intel();
  restoreCpus(other.machine.cpus, captureCpus(guest.machine.cpus));
  expect(other.cpu.readCr3()).toBe(value);
  expect(outcome(other.cpu, () => other.cpu.load((3n << 50n) | 0x123n, 1))).toBe("#PF 123");
  guest.cpu.setCpl(3);
  expect(() => guest.cpu.readCr3()).toThrow(GeneralProtectionFault);
});

describe("LASS", () => {
  const LOWER_PAGE = 0x5000;
  const UPPER_PAGE = 0x8000_0000_7000;
  const UPPER_USER_PAGE = 0x8000_0000_9000;
  const isUser = (page: number) => page !== UPPER_PAGE;

  test("refuses before paging: no walk, no A bit, CR2 as it was, whatever the tables say", () => {
    const guest = intel();
    const { cpu } = guest;
    guest.map(LOWER_PAGE, 0x50_0000, PTE_PRESENT | PTE_RW);
    cpu.writeCr4(cpu.cr4 + CR4_LASS + CR4_SMAP);
    const before = cpu.counters();
    for (const page of [LOWER_PAGE, 0x9000]) {
      expect(thrown(GeneralProtectionFault, () => cpu.load(page, 4)).reason).toContain("LASS");
    }
    expect(thrown(GeneralProtectionFault, () => cpu.fetch(LOWER_PAGE, 4)).reason).toContain("LASS");
    expect(cpu.counters()).toEqual(before);
    expect(guest.flags(LOWER_PAGE, 1).accessed).toBe(false);
    expect(cpu.cr2).toBe(0);
    // Unlike SMAP, LASS looks at no page: one of the supervisor in the lower half is refused as well.
    cpu.setAlignmentCheck(true);
    expect(cpu.load(LOWER_PAGE, 4)).toBe(0);
    expect(() => cpu.fetch(LOWER_PAGE, 4)).toThrow(GeneralProtectionFault);
  });

  test("any sequence of accesses and changes of mode agrees with the rules, hot caches or not", () => {
    const step = fc.oneof(
      fc.record({ do: fc.constant("cpl" as const), to: fc.constantFrom(0, 3) }),
      fc.record({ do: fc.constant("ac" as const), to: fc.boolean() }),
      fc.record({ do: fc.constant("cr4" as const), lass: fc.boolean(), smap: fc.boolean() }),
      fc.record({
        do: fc.constantFrom("load" as const, "store" as const, "fetch" as const, "touch" as const, "implicit" as const),
        page: fc.constantFrom(LOWER_PAGE, UPPER_PAGE, UPPER_USER_PAGE),
        size: fc.constantFrom(1, 4),
      }),
    );
    fc.assert(
      fc.property(fc.array(step, { minLength: 20, maxLength: 60 }), (steps) => {
        const guest = intel();
        const { cpu } = guest;
        for (const page of [LOWER_PAGE, UPPER_PAGE, UPPER_USER_PAGE]) {
          guest.map(page, 0x50_0000 + (page % 2 ** 20), isUser(page) ? ALL : PTE_PRESENT | PTE_RW);
        }
        let s: Setting = {
          levels: 4,
          lamU57: false,
          lamU48: false,
          lamSup: false,
          uai: false,
          lass: false,
          smap: false,
          ac: false,
          cpl: 0,
        };
        for (const each of steps) {
          if (each.do === "cpl") s = { ...s, cpl: each.to };
          else if (each.do === "ac") s = { ...s, ac: each.to };
          else if (each.do === "cr4") s = { ...s, lass: each.lass, smap: each.smap };
          if (each.do === "cpl" || each.do === "ac" || each.do === "cr4") {
            set(cpu, s);
            continue;
          }
          const { page, size } = each;
          const kinds: Record<typeof each.do, Access> = {
            load: ACCESS_LOAD,
            touch: ACCESS_LOAD,
            store: ACCESS_STORE,
            fetch: ACCESS_FETCH,
            implicit: ACCESS_IMPLICIT_LOAD,
          };
          const access = kinds[each.do];
          const address = page < 2 ** 47 ? BigInt(page) : BigInt(page) + (0xffffn << 48n);
          const userMode = s.cpl === 3 && access !== ACCESS_IMPLICIT_LOAD;
          const smapRefuses = !userMode && isUser(page) && s.smap && access !== ACCESS_FETCH;
          const refused = (userMode && !isUser(page)) || (smapRefuses && (access === ACCESS_IMPLICIT_LOAD || !s.ac));
          const expected = lassRefuses(address, access, s) ? "#GP" : refused ? `#PF ${address.toString(16)}` : "ok";
          const got = outcome(cpu, () => {
            if (each.do === "touch") cpu.touch(page);
            else if (access === ACCESS_STORE) cpu.store(page, size, 1);
            else if (access === ACCESS_FETCH) cpu.fetch(page, size);
            else if (access === ACCESS_LOAD) cpu.load(page, size);
            else cpu.loadAs(access, page, size);
          });
          expect(got).toBe(expected);
        }
      }),
      { numRuns: 150 },
    );
  });
});
