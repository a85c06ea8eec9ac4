/** What is cached of guests, and what removes it (Intel SDM vol. 3C, 29.4; AMD APM vol. 2, 15.16): a changed entry is not seen before. */
import { describe, expect, test } from "vitest";
import {
  CR4_PAE,
  CR4_PCIDE,
  CR4_PGE,
  cachedGuestTranslations,
  cachedTranslations,
  EptViolation,
  encodeEptp,
  TLB_CONTROL_ALL,
  TLB_CONTROL_GUEST,
  TLB_CONTROL_GUEST_NON_GLOBAL,
  Vcpu,
} from "../../../arch/index.ts";
import { ALL, BASE, GLOBAL, thrown } from "../guest.ts";
import { VirtualMachine, type VirtualMachineConfig } from "../virtual-machine.ts";

const [GPA, OTHER_GPA] = [0x4000_0000, 0x4000_1000];
const [OLD, NEW] = [0x1_4000_0000, 0x1_8000_0000];
const OTHER_PAGE = BASE + 0x20_0000;

/** A guest that has the page at `BASE` cached, in `OLD`, on a part that caches guest-physical pages if none is named. */
function cached(config: VirtualMachineConfig = {}, bits = ALL): VirtualMachine {
  const vm = new VirtualMachine({ preset: "icelake", ...config });
  vm.mapGuest(BASE, GPA, bits);
  vm.mapGuest(OTHER_PAGE, OTHER_GPA, bits);
  vm.mapSecond(GPA, OLD);
  vm.mapSecond(OTHER_GPA, NEW);
  vm.mark(OLD, 1);
  vm.mark(NEW, 2);
  expect(vm.inGuest((cpu) => cpu.load(BASE, 4))).toBe(1);
  return vm;
}

const read = (vm: VirtualMachine): number => vm.inGuest((cpu) => cpu.load(BASE, 4));

/** What reads see after a change of the guest's entry, and after one of the second stage's, each followed by an action. */
function seenAfter(action: (vm: VirtualMachine) => void, config: VirtualMachineConfig = {}, bits = ALL): string {
  const guest = cached(config, bits);
  guest.mapGuest(BASE, OTHER_GPA, bits);
  action(guest);
  const second = cached(config, bits);
  second.mapSecond(GPA, NEW);
  action(second);
  return [read(guest), read(second)].map((value) => (value === 2 ? "new" : "old")).join(" ");
}

const togglePge = (vm: VirtualMachine): void =>
  vm.inGuest((cpu) => {
    cpu.writeCr4(CR4_PAE);
    cpu.writeCr4(CR4_PAE + CR4_PGE);
  });
const inGuest =
  (action: (cpu: VirtualMachine["cpu"]) => void) =>
  (vm: VirtualMachine): void =>
    vm.inGuest(action);

describe("Intel: what a change of the guest's entry, and of the second stage's, needs to be seen", () => {
  test.each<[string, (vm: VirtualMachine) => void, string, string]>([
    ["nothing", () => {}, "old old", "old old"],
    ["INVLPG in the guest", inGuest((cpu) => cpu.invlpg(BASE)), "new old", "new old"],
    ["INVLPG of another page in the guest", inGuest((cpu) => cpu.invlpg(OTHER_PAGE)), "old old", "old old"],
    ["MOV to CR3 in the guest", inGuest((cpu) => cpu.writeCr3(cpu.cr3)), "new old", "old old"],
    ["a change of CR4.PGE in the guest", togglePge, "new old", "new old"],
    ["INVPCID 0 in the guest", inGuest((cpu) => cpu.invpcid(0, 0, BASE)), "new old", "old old"],
    ["INVPCID 1 in the guest", inGuest((cpu) => cpu.invpcid(1, 0, 0)), "new old", "old old"],
    ["INVPCID 2 in the guest", inGuest((cpu) => cpu.invpcid(2, 0, 0)), "new old", "new old"],
    ["INVPCID 3 in the guest", inGuest((cpu) => cpu.invpcid(3, 0, 0)), "new old", "old old"],
    ["INVLPG in the host", (vm) => vm.cpu.invlpg(BASE), "old old", "old old"],
    ["INVPCID 2 in the host", (vm) => vm.cpu.invpcid(2, 0, 0), "old old", "old old"],
    ["MOV to CR3 in the host", (vm) => vm.cpu.writeCr3(0), "old old", "old old"],
    ["INVVPID 0", (vm) => vm.cpu.invvpid(0, 1, BASE), "new old", "new old"],
    ["INVVPID 0 of another page", (vm) => vm.cpu.invvpid(0, 1, OTHER_PAGE), "old old", "old old"],
    ["INVVPID 0 of another VPID", (vm) => vm.cpu.invvpid(0, 2, BASE), "old old", "old old"],
    ["INVVPID 1", (vm) => vm.cpu.invvpid(1, 1), "new old", "new old"],
    ["INVVPID 1 of another VPID", (vm) => vm.cpu.invvpid(1, 2), "old old", "old old"],
    ["INVVPID 2", (vm) => vm.cpu.invvpid(2, 0), "new old", "new old"],
    ["INVVPID 3", (vm) => vm.cpu.invvpid(3, 1), "new old", "old old"],
    ["INVEPT 1", (vm) => vm.cpu.invept(1, vm.eptp), "new new", "new new"],
    [
      "INVEPT 1 of another root",
      (vm) => vm.cpu.invept(1, encodeEptp({ rootFrame: 0x7777, levels: 4, accessedDirty: true })),
      "old old",
      "old old",
    ],
    ["INVEPT 2", (vm) => vm.cpu.invept(2, 0n), "new new", "new new"],
  ])("%s", (_, action, local, global) => {
    expect(seenAfter(action)).toBe(local);
    expect(seenAfter(action, {}, ALL | GLOBAL)).toBe(global);
  });

  test("without a VPID each VM exit and entry removes translations, but not guest-physical mappings", () => {
    expect(seenAfter(() => {}, { id: 0 })).toBe("new old");
    expect(seenAfter((vm) => vm.cpu.invept(2, 0n), { id: 0 })).toBe("new new");
  });

  test("where a part caches no guest-physical pages, what removes the guest's translation makes the second stage's change seen too", () => {
    const preset = "sapphire-rapids";
    expect(seenAfter(() => {}, { preset })).toBe("old old");
    expect(
      seenAfter(
        inGuest((cpu) => cpu.invlpg(BASE)),
        { preset },
      ),
    ).toBe("new new");
    expect(seenAfter((vm) => vm.cpu.invvpid(1, 1), { preset })).toBe("new new");
  });

  test("guest-physical mappings serve other VPIDs with the same root, and other linear addresses", () => {
    const vm = cached();
    vm.mapSecond(GPA, NEW);
    vm.mapGuest(OTHER_PAGE, GPA);
    expect(vm.inGuest((cpu) => cpu.load(OTHER_PAGE, 4))).toBe(1);
    const other = new Vcpu({ id: 2, secondStage: vm.pointer, registers: { cr3: vm.guestRoot * 4096 } });
    vm.cpu.enterGuest(other);
    expect(vm.cpu.load(BASE, 4)).toBe(1);
    vm.cpu.exitGuest();
    vm.cpu.invept(1, vm.eptp);
    vm.cpu.enterGuest(other);
    expect(vm.cpu.load(BASE, 4)).toBe(2);
  });

  test("an EPT violation removes what was cached for its addresses: permission that was given is seen at once", () => {
    const vm = cached();
    vm.mapSecond(GPA, OLD, 1 | (6 << 3));
    vm.cpu.invept(2, 0n);
    expect(read(vm)).toBe(1);
    thrown(EptViolation, () => vm.inGuest((cpu) => cpu.store(BASE, 4, 5)));
    vm.mapSecond(GPA, OLD);
    vm.inGuest((cpu) => cpu.store(BASE, 4, 5));
    expect(read(vm)).toBe(5);
    // So it is if an entry that refers to a table gave it, which caches may hold too.
    const above = vm.readSecond(GPA, 2);
    vm.writeSecond(GPA, 2, above & ~2n);
    vm.cpu.invept(2, 0n);
    thrown(EptViolation, () => vm.inGuest((cpu) => cpu.store(BASE, 4, 6)));
    vm.writeSecond(GPA, 2, above);
    vm.inGuest((cpu) => cpu.store(BASE, 4, 6));
  });

  test("INVLPG in a guest reaches the translations of its VPID under other roots", () => {
    const vm = cached();
    // The same tables of the second stage under another root.
    const root = 0x40_0000 / 4096;
    for (let word = 0; word < 1024; word++) vm.memory.writeWord(root, word, vm.memory.readWord(vm.secondRoot, word));
    const eptp = encodeEptp({ rootFrame: root, levels: 4, accessedDirty: true });
    vm.mapGuest(BASE, OTHER_GPA);
    vm.vcpu.secondStage = { eptp };
    vm.inGuest((cpu) => cpu.invlpg(BASE));
    vm.vcpu.secondStage = vm.pointer;
    expect(read(vm)).toBe(2);
  });

  test("PCIDs of a guest are its own", () => {
    const vm = cached({}, ALL);
    const inPcid = (pcid: number, act: (cpu: VirtualMachine["cpu"]) => number): number =>
      vm.inGuest((cpu) => {
        if ((cpu.cr4 & CR4_PCIDE) === 0) cpu.writeCr4(cpu.cr4 + CR4_PCIDE);
        cpu.writeCr3(vm.guestRoot * 4096 + pcid, true);
        return act(cpu);
      });
    expect(inPcid(5, (cpu) => cpu.load(BASE, 4))).toBe(1);
    vm.mapGuest(BASE, OTHER_GPA);
    expect(inPcid(6, (cpu) => cpu.load(BASE, 4))).toBe(2);
    expect(inPcid(5, (cpu) => cpu.load(BASE, 4))).toBe(1);
    vm.inGuest((cpu) => cpu.invpcid(1, 6, 0));
    expect(inPcid(5, (cpu) => cpu.load(BASE, 4))).toBe(1);
    vm.inGuest((cpu) => cpu.invpcid(1, 5, 0));
    expect(inPcid(5, (cpu) => cpu.load(BASE, 4))).toBe(2);
  });
});

describe("AMD: what a change of the guest's entry, and of the nested one, needs to be seen", () => {
  const control = (value: number) => (vm: VirtualMachine) => {
    vm.vcpu.tlbControl = value;
    vm.cpu.enterGuest(vm.vcpu);
    vm.cpu.exitGuest();
    vm.vcpu.tlbControl = 0;
  };
  const broadcast = (asid: number, la?: number) => (vm: VirtualMachine) => {
    const request = { asid, includeGlobals: true };
    vm.cpu.invalidations.invlpgb(la === undefined ? request : { ...request, la });
    vm.cpu.invalidations.tlbsync();
  };

  test.each<[string, (vm: VirtualMachine) => void, string, string]>([
    ["nothing", () => {}, "old old", "old old"],
    ["TLB_CONTROL 1", control(TLB_CONTROL_ALL), "new new", "new new"],
    ["TLB_CONTROL 3", control(TLB_CONTROL_GUEST), "new new", "new new"],
    ["TLB_CONTROL 7", control(TLB_CONTROL_GUEST_NON_GLOBAL), "new new", "old old"],
    ["INVLPGA", (vm) => vm.cpu.invlpga(BASE, 1), "new old", "new old"],
    ["INVLPGA of another ASID", (vm) => vm.cpu.invlpga(BASE, 2), "old old", "old old"],
    ["INVLPGA of the host", (vm) => vm.cpu.invlpga(BASE, 0), "old old", "old old"],
    ["INVLPGA of another page", (vm) => vm.cpu.invlpga(OTHER_PAGE, 1), "old old", "old old"],
    ["INVLPGB of the ASID", broadcast(1), "new old", "new old"],
    ["INVLPGB of a page of the ASID", broadcast(1, BASE), "new old", "new old"],
    ["INVLPGB of the host", broadcast(0), "old old", "old old"],
    ["INVLPGB of the host in the guest", (vm) => vm.inGuest(() => broadcast(0)(vm)), "new old", "new old"],
    ["INVLPG in the guest", inGuest((cpu) => cpu.invlpg(BASE)), "new old", "new old"],
    ["MOV to CR3 in the guest", inGuest((cpu) => cpu.writeCr3(cpu.cr3)), "new old", "old old"],
    ["a change of CR4.PGE in the guest", togglePge, "new old", "new old"],
    ["MOV to CR3 in the host", (vm) => vm.cpu.writeCr3(0), "old old", "old old"],
  ])("%s", (_, action, local, global) => {
    expect(seenAfter(action, { preset: "zen4" })).toBe(local);
    expect(seenAfter(action, { preset: "zen4" }, ALL | GLOBAL)).toBe(global);
  });

  test("an ASID that is given other tables without a flush still has its old translations", () => {
    const vm = cached({ preset: "zen4" });
    vm.vcpu.secondStage = { nestedCr3: 0x123_4000 };
    expect(read(vm)).toBe(1);
    vm.vcpu.tlbControl = TLB_CONTROL_GUEST;
    expect(() => read(vm)).toThrow("#NPF");
  });

  test("INVLPGB reaches the ASID on other CPUs, no later than TLBSYNC", () => {
    const vm = cached({ preset: "zen4", cpus: 2 });
    const [cpu, other] = vm.machine.cpus;
    const readOther = (): number => {
      other.enterGuest(vm.vcpu);
      const value = other.load(BASE, 4);
      other.exitGuest();
      return value;
    };
    expect(readOther()).toBe(1);
    vm.mapGuest(BASE, OTHER_GPA);
    cpu.invalidations.invlpgb({ asid: 1, la: BASE, includeGlobals: false });
    expect(readOther()).toBe(1);
    cpu.invalidations.tlbsync();
    expect(readOther()).toBe(2);
  });
});

describe("the host and its guests", () => {
  test("do not use each other's translations of an address, predicted or not", () => {
    const vm = cached();
    const { cpu, memory } = vm;
    // The host's own tables for the same address: frames above those of the guest's.
    const tables = [0x2000, 0x2001, 0x2002, 0x2003];
    tables.forEach((frame, at) => {
      const index = Math.floor(BASE / 2 ** (39 - 9 * at)) % 512;
      memory.writeWord(frame, index * 2, ((at < 3 ? tables[at + 1] : NEW / 4096) << 12) | ALL);
      memory.writeWord(frame, index * 2 + 1, at < 3 ? 0 : Math.floor(NEW / 2 ** 32));
    });
    cpu.writeCr3(tables[0] * 4096);
    for (let i = 0; i < 3; i++) {
      expect([cpu.load(BASE, 4), cpu.load(BASE, 4)]).toEqual([2, 2]);
      expect(vm.inGuest(() => [cpu.load(BASE, 4), cpu.load(BASE, 4)])).toEqual([1, 1]);
    }
    expect(cpu.counters()["dtlb_load_misses.walk_completed"]).toBe(2);
    expect(cachedTranslations(cpu).every(({ frame }) => frame === NEW / 4096)).toBe(true);
    const ofGuest = cachedGuestTranslations(cpu);
    expect(ofGuest.length).toBeGreaterThan(0);
    expect(ofGuest.every(({ frame, id, la }) => frame === OLD / 4096 && id === 1 && la === BASE)).toBe(true);
  });

  test("registers, CR2, PAT and the privilege level are those of whoever runs", () => {
    const vm = cached();
    const before = [vm.cpu.cr0, vm.cpu.cr3, vm.cpu.cr4, vm.cpu.cpl];
    vm.inGuest((cpu) => {
      expect(cpu.cr3).toBe(vm.guestRoot * 4096);
      cpu.wrmsr(0x277, 0n);
      cpu.setCpl(3);
    });
    expect([vm.cpu.cr0, vm.cpu.cr3, vm.cpu.cr4, vm.cpu.cpl]).toEqual(before);
    expect(vm.cpu.rdmsr(0x277)).not.toBe(0n);
    vm.cpu.enterGuest(vm.vcpu);
    expect(vm.cpu.cpl).toBe(3);
    vm.cpu.setCpl(0);
    expect(vm.cpu.rdmsr(0x277)).toBe(0n);
  });
});

describe("sizes of pages", () => {
  const SIZES = [0, 4096, 2 ** 21, 2 ** 30];
  const pairs = [1, 2, 3].flatMap((guest) => [1, 2, 3].map((second) => [guest, second] as const));

  test.each(pairs)("guest level %i on second-stage level %i: the smaller one is cached", (guestLevel, secondLevel) => {
    const vm = new VirtualMachine({ preset: "granite-rapids" });
    vm.mapGuest(BASE, GPA, ALL, guestLevel);
    vm.mapSecond(GPA, OLD, undefined, secondLevel);
    vm.mark(OLD, 1);
    expect(read(vm)).toBe(1);
    const [entry] = cachedGuestTranslations(vm.cpu);
    expect(entry.sizeBytes).toBe(Math.min(SIZES[guestLevel], SIZES[secondLevel]));
    expect(entry.guestSizeBytes).toBe(Math.max(SIZES[guestLevel], entry.sizeBytes));
  });

  /** Walks of a second read of both halves of a 2 MiB page of the guest on 4 KiB pages, and of another page, after an INVLPG. */
  function walksAfter(preset: string, invalidated: number): number {
    const vm = cached({ preset });
    const large = BASE + 2 ** 30;
    vm.mapGuest(large, 0x5000_0000, ALL, 2);
    for (const offset of [0, 0x1000]) vm.mapSecond(0x5000_0000 + offset, NEW + offset);
    const readAll = (cpu: VirtualMachine["cpu"]): void => {
      for (const la of [large, large + 0x1000, BASE]) cpu.load(la, 4);
    };
    vm.inGuest(readAll);
    vm.inGuest((cpu) => cpu.invlpg(invalidated));
    const before = vm.cpu.counters()["dtlb_load_misses.walk_completed"];
    vm.inGuest(readAll);
    return vm.cpu.counters()["dtlb_load_misses.walk_completed"] - before;
  }

  test("INVLPG of one address of a fractured page removes all of its pieces", () => {
    expect(walksAfter("zen4", BASE + 2 ** 30 + 0x1f_f000)).toBe(2);
  });

  test("while pieces may be cached, INVLPG of any address in the guest removes all of its translations on Intel's parts", () => {
    expect(walksAfter("sapphire-rapids", 0x1000)).toBe(3);
    expect(walksAfter("zen4", 0x1000)).toBe(0);
  });
});
