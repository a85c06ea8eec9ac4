/** The kernel's own translations: INVLPG takes them in a guest where the host's pages are smaller. */
import { describe, expect, it } from "vitest";
import { type KernelCode, PAGE_SIZE } from "../../../arch/index.ts";
import { type MmStruct, mmapPopulate, mprotect, UserSpaces, WorkingSet } from "../../../mm/index.ts";
import type { GuestPageSize } from "../../../src/guests/hypervisor.ts";
import { bootKernel } from "../../../src/machine/kernel.ts";

const START = 0x40_0000;

// biome-ignore lint/correctness/useYield: plain code on a CPU
function* switchTo(spaces: UserSpaces, mm: MmStruct): KernelCode<void> {
  spaces.switchTo(mm);
}

/** A kernel with a process of 8 pages on each of its CPUs. */
function booted(preset: string, host: GuestPageSize | null, hasWorkingSet = true) {
  const guest = host === null ? {} : { guest: { hostPages: host } };
  const kernel = bootKernel({ cpus: 2, memoryBytes: 2 ** 28, preset, ...guest });
  const spaces = new UserSpaces(kernel.mm);
  const mm = spaces.mmAlloc();
  if (hasWorkingSet) new WorkingSet(kernel.mm);
  for (const { id } of kernel.machine.cpus) kernel.run(switchTo(spaces, mm), id);
  kernel.run(mmapPopulate(spaces, mm, START, 8));
  for (const cpu of kernel.machine.cpus) for (let i = 0; i < 8; i++) cpu.store(START + i * PAGE_SIZE, 4, i + 1);
  return { kernel, spaces, mm };
}

describe("the kernel's working set", () => {
  it("costs walks after each INVLPG where the guest's pages are fractured, and none natively or below large pages", () => {
    const walksOf = (host: GuestPageSize | null): number => {
      const { kernel, spaces, mm } = booted("sapphire-rapids", host);
      const [cpu] = kernel.machine.cpus;
      const walks = (): number => {
        const counters = cpu.counters();
        return counters["dtlb_load_misses.walk_completed"] + counters["itlb_misses.walk_completed"];
      };
      const run = (pages: number, writable: boolean): number => {
        const before = walks();
        kernel.run(mprotect(spaces, mm, START, START + pages * PAGE_SIZE, writable), 0);
        return walks() - before;
      };
      run(8, false);
      run(8, true);
      // Seven pages more: what each of them costs, without what the call itself loses.
      const one = run(1, false);
      run(1, true);
      const each = (run(8, false) - one) / 7;
      expect(kernel.verify()).toEqual([]);
      return each;
    };
    // The text of the loop, the stack, flush_tlb_info.
    expect(walksOf("4K")).toBe(3);
    expect(walksOf(null)).toBe(0);
    expect(walksOf("1G")).toBe(0);
  });

  it("is no part of a kernel that does not ask for it", () => {
    const [without, withSet] = [false, true].map((has) => {
      const { kernel, spaces, mm } = booted("sapphire-rapids", null, has);
      const before = kernel.machine.loop.clockCycles[0];
      kernel.run(mprotect(spaces, mm, START, START + PAGE_SIZE, false), 0);
      return kernel.machine.loop.clockCycles[0] - before;
    });
    expect(withSet).toBeGreaterThan(without);
  });
});
