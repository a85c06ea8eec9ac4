/** A hypervisor maps guest memory when the guest touches it, in pages of the size asked for, for either vendor. */
import { describe, expect, test } from "vitest";
import { Machine, PTE_PRESENT, PTE_RW, PTE_USER, VmExit } from "../../../arch/index.ts";
import { NotEnoughMemory } from "../../../mm/index.ts";
import { GuestSpace } from "../../../src/guests/guest-space.ts";
import { GUEST_PAGE_SIZES, Hypervisor, levelOfPage } from "../../../src/guests/hypervisor.ts";
import { randomStream } from "../../../src/machine/random.ts";

const LA = 0x1000_0000_0000;
const BITS = PTE_PRESENT | PTE_RW | PTE_USER;

const cases = (["sapphire-rapids", "zen4"] as const).flatMap((preset) =>
  GUEST_PAGE_SIZES.flatMap((guest) => GUEST_PAGE_SIZES.map((host) => [preset, guest, host] as const)),
);

describe.each(cases)("%s, guest pages of %s on host pages of %s", (preset, guest, host) => {
  test.each([4, 5] as const)("%i levels of the guest: one exit a page of the host, then the data", (levels) => {
    const machine = new Machine({ preset, memoryBytes: 2 ** 38, features: { la57: true, page1g: true } });
    const [cpu] = machine.cpus;
    const hypervisor = new Hypervisor(machine, { pageSize: host, levels: 4 });
    const space = new GuestSpace(hypervisor, levels);
    space.mapPage(LA, levelOfPage(guest), BITS);
    const vcpu = space.vcpu(1);
    const tablesOnly = hypervisor.pages;
    const at = LA + 0x230;
    let exits = 0;
    const retried = (access: () => unknown): unknown => {
      for (;;) {
        try {
          if (cpu.vcpu === null) cpu.enterGuest(vcpu);
          return access();
        } catch (exit) {
          if (!(exit instanceof VmExit)) throw exit;
          exits++;
          hypervisor.handleExit(exit);
        }
      }
    };
    retried(() => cpu.store(at, 4, 0x1234));
    expect(exits).toBe(1);
    expect(retried(() => cpu.load(at, 4))).toBe(0x1234);
    expect(exits).toBe(1);
    expect(hypervisor.pages).toBe(tablesOnly + 1);
    expect(hypervisor.sizeBytes).toBe(hypervisor.pages * 4096 * 512 ** (levelOfPage(host) - 1));
    expect(space.tablesByLevel[levels]).toBe(1);
  });
});

test("memory that runs out is said", () => {
  const machine = new Machine({ preset: "sapphire-rapids", memoryBytes: 2 ** 32 });
  const make = () => new Hypervisor(machine, { pageSize: "1G", levels: 4 }).frameOf(0);
  for (let i = 0; i < 2; i++) expect(make).toThrow(NotEnoughMemory);
});

test("scattered pages of a guest are all different, and its tables among them", () => {
  const machine = new Machine({ preset: "sapphire-rapids", memoryBytes: 2 ** 38 });
  const hypervisor = new Hypervisor(machine, { pageSize: "4K", levels: 4 });
  const frames = 64;
  const space = new GuestSpace(hypervisor, 4, { frames, random: randomStream(1) });
  const given = new Set<number>();
  for (let i = 0; i < frames - 4; i++) given.add(space.mapPage(LA + i * 4096, 1, BITS));
  expect(given.size).toBe(frames - 4);
  expect(() => space.mapPage(LA + frames * 4096, 1, BITS)).toThrow(NotEnoughMemory);
});
