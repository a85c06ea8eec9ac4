/** A probe in a guest explains both dimensions, and agrees with what an access does. */
import { describe, expect, test } from "vitest";
import { EPT_READ, EptViolation, formatProbe } from "../../../arch/index.ts";
import { ALL, BASE, thrown } from "../guest.ts";
import { VirtualMachine } from "../virtual-machine.ts";

const GPA = 0x4000_0000;
const HPA = 0x1_4000_0000;

function mapped(preset: string, bits?: number): VirtualMachine {
  const vm = new VirtualMachine({ preset });
  vm.mapGuest(BASE, GPA, ALL, 2);
  vm.mapSecond(GPA + 0x1000, HPA, bits);
  return vm;
}

describe.each(["sapphire-rapids", "zen4"])("%s", (preset) => {
  test("names the machine's address, the guest-physical one, and the smaller size; changes nothing", () => {
    const vm = mapped(preset);
    const entries = [vm.readGuest(BASE, 2), vm.readSecond(GPA + 0x1000, 1)];
    vm.inGuest((cpu) => {
      const probe = cpu.probe(BASE + 0x1234);
      expect(probe.outcome).toBe("mapped");
      expect([probe.guestPhysical, probe.physical, probe.pageSize]).toEqual([GPA + 0x1234, HPA + 0x234, "4K"]);
      expect(probe.levels.length).toBe(3);
      expect(probe.levels.map(({ secondStage }) => secondStage?.levels.length)).toEqual([4, 4, 4]);
      expect(probe.secondStage?.levels.length).toBe(4);
      expect([vm.readGuest(BASE, 2), vm.readSecond(GPA + 0x1000, 1)]).toEqual(entries);
      expect(cpu.touch(BASE + 0x1234)).toBe(probe.physical);
    });
  });

  test("says where the second stage ends it: at the page, or at a table", () => {
    const vm = mapped(preset);
    vm.inGuest((cpu) => {
      const probe = cpu.probe(BASE + 0x2000);
      expect([probe.outcome, probe.physical, probe.guestPhysical]).toEqual(["second stage", null, GPA + 0x2000]);
      expect(probe.secondStage?.outcome).toBe("not present");
    });
    const { frame } = vm.guestEntry(BASE, 2);
    vm.writeSecond(frame * 4096, 1, 0n);
    vm.inGuest((cpu) => {
      const probe = cpu.probe(BASE + 0x1000);
      expect([probe.outcome, probe.levels.length, probe.guestPhysical]).toEqual(["second stage", 2, undefined]);
      expect(probe.secondStage?.guestPhysical).toBe(frame * 4096);
    });
  });
});

test("memory types: EPT's takes the place of the MTRRs', or counts alone with IPAT (Intel SDM vol. 3C, 29.3.7)", () => {
  const typeOf = (ept: number, guestBits: number): string | null => {
    const vm = mapped("skylake", EPT_READ | ept);
    vm.mapGuest(BASE, GPA, ALL | guestBits, 2);
    return vm.inGuest((cpu) => cpu.memoryType(BASE + 0x1000));
  };
  const [uncached, writeBack, ignoresPat, pcd] = [0, 6 << 3, 1 << 6, 0x10];
  expect(typeOf(writeBack, 0)).toBe("WB");
  expect(typeOf(uncached, 0)).toBe("UC");
  expect(typeOf(writeBack, pcd)).toBe("UC");
  expect(typeOf(writeBack | ignoresPat, pcd)).toBe("WB");
});

test("its text has both dimensions", () => {
  const vm = mapped("sapphire-rapids", EPT_READ | (6 << 3));
  const text = vm.inGuest((cpu) => formatProbe(cpu.probe(BASE + 0x1000))).split("\n");
  expect(text[0]).toMatch(/^0x400000001000: 0x140000000, 4K, writable, user, executable, WB/);
  expect(text[1]).toMatch(/^ {2}PML4E \[128\] at 0x0000800400: 0x0000000000801007/);
  expect(text[2]).toMatch(/^ {6}guest-physical 0x800000: 0x1800000, 4K, RWX/);
  expect(text.at(-6)).toBe("  guest-physical 0x40001000: 0x140000000, 4K, R--");
  expect(text.at(-2)).toMatch(/^ {4}PTE {3}\[ {2}1\] at 0x.*: 0x0000000140000031 R-- a d WB leaf$/);
  expect(text.at(-1)).toBe("  entries with nothing cached: 3 of the guest's tables, 16 of the second stage");
  thrown(EptViolation, () => vm.inGuest((cpu) => cpu.store(BASE + 0x1000, 4, 1)));
});
