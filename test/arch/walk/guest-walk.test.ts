/** The two-dimensional walk: what it finds, which VM exits it ends with, and in which order (Intel SDM vol. 3C, 29.3; AMD APM vol. 2, 15.25). */
import { describe, expect, test } from "vitest";
import {
  CR0_PE,
  CR0_PG,
  CR0_WP,
  CR4_CET,
  CR4_LAM_SUP,
  CR4_LASS,
  CR4_PAE,
  EFER_LMA,
  EFER_LME,
  EFER_UAIE,
  EPT_EXECUTE,
  EPT_READ,
  EPT_WRITE,
  EptMisconfiguration,
  EptViolation,
  formatQualification,
  MachineUsageError,
  NestedPageFault,
  PageFault,
  PTE_PRESENT,
  PTE_RW,
  PTE_USER,
  presetByName,
  Vcpu,
  VmFail,
} from "../../../arch/index.ts";
import { ALL, BASE, thrown } from "../guest.ts";
import { EPT_ALL, VirtualMachine } from "../virtual-machine.ts";

const GPA = 0x4000_0000;
const HPA = 0x1_4000_0000;
const WB = 6 << 3;
const A = 1n << 8n;
const D = 1n << 9n;

/** A guest whose page at `BASE` is in guest-physical page `GPA`, and this at `HPA`. */
function mapped(config: ConstructorParameters<typeof VirtualMachine>[0] = {}): VirtualMachine {
  const vm = new VirtualMachine(config);
  vm.mapGuest(BASE, GPA);
  vm.mapSecond(GPA, HPA);
  vm.mark(HPA, 42);
  return vm;
}

const qualificationOf = (vm: VirtualMachine, access: "load" | "store" | "fetch"): string => {
  const exit = thrown(EptViolation, () =>
    vm.inGuest((cpu) => (access === "store" ? cpu.store(BASE, 4, 1) : cpu[access](BASE, 4))),
  );
  return formatQualification(exit.qualification);
};

describe.each([
  ["4 levels in 4", 4, 4, 24],
  ["5 levels in 4", 5, 4, 29],
  ["4 levels in 5", 4, 5, 29],
  ["5 levels in 5", 5, 5, 35],
] as const)("%s", (_, pagingLevels, secondLevels, fetches) => {
  test(`a load reads the page; without caches it takes ${fetches} fetches of entries`, () => {
    const vm = mapped({ pagingLevels, secondLevels });
    expect(vm.inGuest((cpu) => cpu.load(BASE, 4))).toBe(42);
    // Each dimension's entries by themselves: those of the guest, and those of the second stage for each of them and for the page.
    expect((pagingLevels + 1) * (secondLevels + 1) - 1).toBe(fetches);
    const counters = vm.cpu.counters();
    expect(counters["second_stage.walks"]).toBe(pagingLevels + 1);
    expect(counters["dtlb_load_misses.walk_completed_4k"]).toBe(1);
  });
});

test.each(["zen4", "skylake"])("%s: loads, stores and fetches reach the machine's page", (preset) => {
  const vm = mapped({ preset });
  vm.inGuest((cpu) => {
    expect(cpu.load(BASE, 4)).toBe(42);
    cpu.store(BASE, 4, 43);
    expect(cpu.fetch(BASE, 4)).toBe(43);
    expect(cpu.touch(BASE + 8)).toBe(HPA + 8);
  });
  expect(vm.memory.readWord(HPA / 4096, 0)).toBe(43);
});

describe("EPT violations and misconfigurations", () => {
  test.each([
    [0, "load", "read|linear|translated"],
    [EPT_READ | WB, "store", "write|R|linear|translated"],
    [EPT_READ | WB, "fetch", "fetch|R|linear|translated"],
    [EPT_EXECUTE | WB, "load", "read|X|linear|translated"],
    [EPT_READ | EPT_WRITE | WB, "fetch", "fetch|R|W|linear|translated"],
  ] as const)("bits %i, %s: %s", (bits, access, expected) => {
    const vm = mapped({ preset: "skylake" });
    vm.mapSecond(GPA, HPA, bits);
    expect(qualificationOf(vm, access)).toBe(expected);
  });

  test("advanced information says what the guest's tables allow", () => {
    const vm = mapped();
    vm.mapSecond(GPA, HPA, 0);
    expect(qualificationOf(vm, "load")).toBe("read|linear|translated|user|RW");
    vm.mapGuest(BASE, GPA, PTE_PRESENT);
    vm.inGuest((cpu) => cpu.invlpg(BASE));
    expect(qualificationOf(vm, "load")).toBe("read|linear|translated");
  });

  test("name the guest-physical and the linear address", () => {
    const vm = mapped();
    vm.mapSecond(GPA, HPA, 0);
    const exit = thrown(EptViolation, () => vm.inGuest((cpu) => cpu.load(BASE + 0x123, 1)));
    expect(exit.guestPhysicalAddress).toBe(GPA + 0x123);
    expect(exit.linearAddress).toBe(BASE + 0x123);
    expect(exit.message).toContain("EPT violation (read|linear|translated");
    expect(vm.cpu.vcpu).toBeNull();
  });

  test.each([1, 2, 3, 4])(
    "of a table of the guest (level %i) names its entry, as a read and write with accessed and dirty flags",
    (level) => {
      const vm = mapped();
      const { frame } = vm.guestEntry(BASE, level);
      vm.mapSecond(frame * 4096, (frame + 0x1000) * 4096, EPT_READ | WB);
      const exit = thrown(EptViolation, () => vm.inGuest((cpu) => cpu.fetch(BASE, 4)));
      expect(formatQualification(exit.qualification)).toBe("read|write|R|linear");
      expect(exit.guestPhysicalAddress).toBe(vm.guestEntryAddress(BASE, level));
    },
  );

  test.each([1, 2, 3, 4])(
    "without those flags a table (level %i) that may only be read is refused only when A or D must be set",
    (level) => {
      const vm = mapped({ accessedDirty: false });
      const { frame } = vm.guestEntry(BASE, level);
      vm.mapSecond(frame * 4096, (frame + 0x1000) * 4096, EPT_READ | WB);
      const exit = thrown(EptViolation, () => vm.inGuest((cpu) => cpu.load(BASE, 4)));
      expect(formatQualification(exit.qualification)).toBe("read|write|R|linear");
      vm.writeGuest(BASE, level, vm.readGuest(BASE, level) | 0x20n);
      expect(vm.inGuest((cpu) => cpu.load(BASE, 4))).toBe(42);
      if (level > 1) return;
      expect(thrown(EptViolation, () => vm.inGuest((cpu) => cpu.store(BASE, 4, 1))).guestPhysicalAddress).toBe(
        vm.guestEntryAddress(BASE, 1),
      );
      vm.writeGuest(BASE, 1, vm.readGuest(BASE, 1) | 0x40n);
      vm.inGuest((cpu) => cpu.store(BASE, 4, 1));
    },
  );

  test.each([
    ["writes without reads", BigInt(EPT_WRITE | WB), 1],
    ["writes and fetches without reads", BigInt(EPT_WRITE | EPT_EXECUTE | WB), 1],
    ["memory type 2", BigInt(7 | (2 << 3)), 1],
    ["memory type 3", BigInt(7 | (3 << 3)), 1],
    ["memory type 7", BigInt(7 | (7 << 3)), 1],
    ["an address bit beyond the width", BigInt(EPT_ALL) | (1n << 45n), 1],
    ["bit 12 of a large page", BigInt(EPT_ALL | 0x80 | 0x1000), 2],
    ["bit 3 of an entry that refers to a table", BigInt(0x7 | 8), 2],
    ["bit 7 of the top entry", BigInt(0x7 | 0x80), 4],
  ] as const)("misconfigured: %s", (_, bits, level) => {
    const vm = mapped({ maxPhyAddr: 45 });
    vm.writeSecond(GPA, level, bits | BigInt(level === 1 ? HPA : 0));
    const exit = thrown(EptMisconfiguration, () => vm.inGuest((cpu) => cpu.load(BASE, 4)));
    expect([exit.guestPhysicalAddress, exit.linearAddress]).toEqual(
      level === 4 ? [expect.any(Number), null] : [GPA, null],
    );
  });

  test("execute-only pages are misconfigured where the CPU does not have them", () => {
    const preset = presetByName("sapphire-rapids");
    const { virtualization } = preset;
    const features = { ...virtualization.features, eptExecuteOnly: false };
    const vm = mapped({ preset: { ...preset, virtualization: { ...virtualization, features } } });
    vm.mapSecond(GPA, HPA, EPT_EXECUTE | WB);
    thrown(EptMisconfiguration, () => vm.inGuest((cpu) => cpu.fetch(BASE, 4)));
  });

  test("a page that was fetched from is still not readable if EPT refuses that", () => {
    const vm = mapped();
    vm.mapSecond(GPA, HPA, EPT_EXECUTE | WB);
    vm.inGuest((cpu) => {
      expect(cpu.fetch(BASE, 4)).toBe(42);
      expect(() => cpu.load(BASE, 4)).toThrow("EPT violation (read|X|");
    });
  });

  test("mode-based execute control: bit 2 is for supervisor-mode addresses, bit 10 for user-mode ones", () => {
    const vm = mapped({ modeBasedExecute: true });
    vm.mapGuest(BASE + 4096, GPA, PTE_PRESENT | PTE_RW);
    vm.mapSecond(GPA, HPA, EPT_READ | EPT_EXECUTE | WB);
    expect(qualificationOf(vm, "fetch")).toBe("fetch|R|X|linear|translated|user|RW");
    expect(vm.inGuest((cpu) => cpu.fetch(BASE + 4096, 4))).toBe(42);
    vm.mapSecond(GPA, HPA, EPT_READ | (1 << 10) | WB);
    vm.cpu.invept(2, 0n);
    expect(vm.inGuest((cpu) => cpu.fetch(BASE, 4))).toBe(42);
    const exit = thrown(EptViolation, () => vm.inGuest((cpu) => cpu.fetch(BASE + 4096, 4)));
    expect(formatQualification(exit.qualification)).toBe("fetch|R|XU|linear|translated|RW");
  });

  test("a guest-physical address of 48 bits and more is not mapped by four levels", () => {
    const vm = mapped();
    vm.writeGuest(BASE, 1, (1n << 48n) | 7n);
    const exit = thrown(EptViolation, () => vm.inGuest((cpu) => cpu.load(BASE, 4)));
    expect(exit.guestPhysicalAddress).toBe(2 ** 48);
  });
});

describe("the order of faults", () => {
  test("a refusal by the guest's tables comes before one of the second stage for the page, and after one for a table", () => {
    const vm = mapped();
    vm.mapGuest(BASE, GPA, PTE_PRESENT | PTE_USER);
    vm.mapSecond(GPA, HPA, 0);
    expect(thrown(PageFault, () => vm.inGuest((cpu) => cpu.store(BASE, 4, 1))).errorCode).toBe(3);
    const { frame } = vm.guestEntry(BASE, 1);
    vm.mapSecond(frame * 4096, (frame + 0x1000) * 4096, 0);
    vm.cpu.invept(2, 0n);
    thrown(EptViolation, () => vm.inGuest((cpu) => cpu.store(BASE, 4, 1)));
  });

  test("a page fault stays in the guest", () => {
    const vm = new VirtualMachine();
    vm.cpu.enterGuest(vm.vcpu);
    thrown(PageFault, () => vm.cpu.load(BASE, 4));
    expect(vm.cpu.vcpu).toBe(vm.vcpu);
    expect(vm.cpu.cr2).toBe(BASE);
    vm.cpu.exitGuest();
    expect(vm.cpu.cr2).toBe(0);
  });

  test("CR0.WP = 0 lets the supervisor write pages that the guest makes read-only, but none that the second stage does", () => {
    const vm = mapped();
    vm.mapGuest(BASE, GPA, PTE_PRESENT);
    vm.mapSecond(GPA, HPA, EPT_READ | WB);
    vm.cpu.enterGuest(vm.vcpu);
    vm.cpu.writeCr0(vm.cpu.cr0 - CR0_WP);
    expect(vm.cpu.load(BASE, 4)).toBe(42);
    thrown(EptViolation, () => vm.cpu.store(BASE, 4, 1));
    vm.mapSecond(GPA, HPA);
    vm.inGuest((cpu) => cpu.store(BASE, 4, 44));
    expect(vm.memory.readWord(HPA / 4096, 0)).toBe(44);
  });
});

describe("accessed and dirty flags of EPT", () => {
  test("a load sets accessed, a store dirty too; those of the guest's tables are dirty", () => {
    const vm = mapped();
    vm.inGuest((cpu) => cpu.load(BASE, 4));
    expect(vm.readSecond(GPA, 1) & (A | D)).toBe(A);
    for (const level of [2, 3, 4]) expect(vm.readSecond(GPA, level) & (A | D)).toBe(A);
    vm.inGuest((cpu) => cpu.store(BASE, 4, 1));
    expect(vm.readSecond(GPA, 1) & (A | D)).toBe(A | D);
    for (const level of [1, 2, 3, 4]) {
      const { frame } = vm.guestEntry(BASE, level);
      expect(vm.readSecond(frame * 4096, 1) & (A | D)).toBe(A | D);
    }
    expect(vm.readGuest(BASE, 1) & 0x60n).toBe(0x60n);
  });

  test("a store through a cached translation sets dirty, though the guest's own D was set before", () => {
    const vm = mapped();
    vm.mapGuest(BASE, GPA, ALL | 0x60);
    vm.inGuest((cpu) => cpu.load(BASE, 4));
    expect(vm.readSecond(GPA, 1) & (A | D)).toBe(A);
    vm.inGuest((cpu) => cpu.store(BASE, 4, 1));
    expect(vm.readSecond(GPA, 1) & (A | D)).toBe(A | D);
  });

  test("nothing is set without bit 6 of the EPTP", () => {
    const vm = mapped({ accessedDirty: false });
    vm.inGuest((cpu) => cpu.store(BASE, 4, 1));
    expect(vm.readSecond(GPA, 1) & (A | D)).toBe(0n);
    expect(vm.readGuest(BASE, 1) & 0x60n).toBe(0x60n);
  });
});

describe("nested page faults (AMD)", () => {
  test.each([
    ["load", 0, 0x1_0000_0004],
    ["store", 0, 0x1_0000_0006],
    ["store", PTE_PRESENT | PTE_USER, 0x1_0000_0007],
    ["fetch", 0, 0x1_0000_0014],
    ["load", PTE_PRESENT | PTE_RW, 0x1_0000_0005],
  ] as const)("%s of a page with bits %i: EXITINFO1 %d", (access, bits, exitInfo1) => {
    const vm = mapped({ preset: "zen4" });
    vm.mapSecond(GPA, HPA, bits);
    const exit = thrown(NestedPageFault, () =>
      vm.inGuest((cpu) => (access === "store" ? cpu.store(BASE, 4, 1) : cpu[access](BASE, 4))),
    );
    expect([exit.exitInfo1, exit.guestPhysicalAddress, exit.linearAddress]).toEqual([exitInfo1, GPA, null]);
  });

  test("of the guest's tables are writes by the user; a reserved bit says so", () => {
    const vm = mapped({ preset: "zen4", maxPhyAddr: 48 });
    const { frame } = vm.guestEntry(BASE, 2);
    vm.mapSecond(frame * 4096, (frame + 0x1000) * 4096, PTE_PRESENT | PTE_USER);
    const exit = thrown(NestedPageFault, () => vm.inGuest((cpu) => cpu.load(BASE, 4)));
    expect(exit.exitInfo1).toBe(0x2_0000_0007);
    expect(exit.guestPhysicalAddress).toBe(vm.guestEntryAddress(BASE, 2));
    vm.mapSecond(frame * 4096, (frame + 0x1000) * 4096);
    vm.writeSecond(GPA, 1, BigInt(HPA) | 7n | (1n << 51n));
    expect(thrown(NestedPageFault, () => vm.inGuest((cpu) => cpu.load(BASE, 4))).exitInfo1).toBe(0x1_0000_000d);
  });
});

describe("VM entry refuses", () => {
  test.each([
    ["an EPTP with another memory type", 0x1000n | 1n | (3n << 3n)],
    ["an EPTP with three levels", 0x1000n | 6n | (2n << 3n)],
    ["an EPTP with reserved bits", 0x1000n | 6n | (3n << 3n) | (1n << 9n)],
    ["an EPTP beyond the width", (1n << 60n) | 6n | (3n << 3n)],
  ] as const)("%s", (_, eptp) => {
    const vm = mapped();
    vm.vcpu.secondStage = { eptp };
    expect(thrown(VmFail, () => vm.cpu.enterGuest(vm.vcpu)).errorNumber).toBe(7);
    expect(vm.cpu.vcpu).toBeNull();
  });

  test("ASID 0 (AMD)", () => {
    const vm = mapped({ preset: "zen4", id: 0 });
    expect(thrown(VmFail, () => vm.cpu.enterGuest(vm.vcpu)).errorNumber).toBe(-1);
  });

  test.each([
    ["CR3 beyond the width of physical addresses", { cr3: 2 ** 52 }],
    ["LAM_U57 where there is no LAM", { lamUser: 1 }],
    ["LAM_SUP where there is no LAM", { cr4: CR4_PAE + CR4_LAM_SUP }],
    ["LASS where there is none", { cr4: CR4_PAE + CR4_LASS }],
    ["CET without WP", { cr4: CR4_PAE + CR4_CET, cr0: CR0_PG + CR0_PE }],
    ["UAI, which no CPU of Intel has", { efer: EFER_LME + EFER_LMA + EFER_UAIE }],
  ])("registers of the guest that its CPU does not have: %s", (_, registers) => {
    const vm = mapped({ preset: "sapphire-rapids" });
    const vcpu = new Vcpu({ id: 1, secondStage: vm.vcpu.secondStage, registers });
    expect(thrown(VmFail, () => vm.cpu.enterGuest(vcpu)).errorNumber).toBe(0x8000_0021);
    expect(vm.cpu.vcpu).toBeNull();
    const amd = mapped({ preset: "zen4" });
    const other = new Vcpu({ id: 1, secondStage: amd.vcpu.secondStage, registers: { lamUser: 2 } });
    expect(thrown(VmFail, () => amd.cpu.enterGuest(other)).message).toMatch(/^VMEXIT_INVALID: .*LAM_U48/);
  });

  test("guests outside of 64-bit mode, which are not modelled, as a mistake of the program", () => {
    const vm = mapped();
    const vcpu = new Vcpu({ id: 1, secondStage: vm.vcpu.secondStage, registers: { cr4: 0 } });
    expect(() => vm.cpu.enterGuest(vcpu)).toThrow(MachineUsageError);
  });
});
