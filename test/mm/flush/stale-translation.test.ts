import { describe, expect, it } from "vitest";
import { PageFault } from "../../../arch/isa/faults.ts";
import { PAGE_SIZE } from "../../../arch/isa/linear-address.ts";
import { vmallocToPfn } from "../../../mm/index.ts";
import { bootKernel } from "../../../src/machine/kernel.ts";

const WRITE_NOT_PRESENT = 2;

/** Runs `access` and returns the page fault that it raises. */
function faultOf(access: () => void): PageFault {
  try {
    access();
  } catch (fault) {
    if (fault instanceof PageFault) return fault;
    throw fault;
  }
  throw new Error("no page fault was raised");
}

describe("memory that vmalloc returned", () => {
  it("is the frame that the page tables name", () => {
    const kernel = bootKernel({ cpus: 2 });
    const address = kernel.vmalloc(3 * PAGE_SIZE);
    kernel.machine.cpus[0].store(address + PAGE_SIZE + 8, 4, 0x1234_5678);
    const frame = vmallocToPfn(kernel.vm, address + PAGE_SIZE);
    expect(kernel.machine.memory.readWord(frame, 2)).toBe(0x1234_5678);
    expect(kernel.machine.cpus[1].load(address + PAGE_SIZE + 8, 4)).toBe(0x1234_5678);
  });

  it("faults at its guard page with a write to what is not present", () => {
    const kernel = bootKernel({ cpus: 1 });
    const address = kernel.vmalloc(PAGE_SIZE);
    const fault = faultOf(() => kernel.machine.cpus[0].store(address + PAGE_SIZE, 4, 1));
    expect(fault).toMatchObject({ errorCode: WRITE_NOT_PRESENT, linearAddress: address + PAGE_SIZE });
  });

  it("can still be used through a TLB entry after vfree, until the purge has flushed it", () => {
    const kernel = bootKernel({ cpus: 2 });
    const [user, bystander] = kernel.machine.cpus;
    const address = kernel.vmalloc(PAGE_SIZE);
    const frame = vmallocToPfn(kernel.vm, address);
    user.store(address, 4, 1);
    kernel.vfree(address);

    user.store(address, 4, 2);
    expect(kernel.machine.memory.readWord(frame, 0)).toBe(2);
    expect(user.load(address, 4)).toBe(2);
    expect(faultOf(() => bystander.store(address, 4, 3)).errorCode).toBe(WRITE_NOT_PRESENT);

    kernel.vmUnmapAliases();
    const fault = faultOf(() => user.store(address, 4, 4));
    expect(fault).toMatchObject({ errorCode: WRITE_NOT_PRESENT, linearAddress: address, cpu: 0 });
    expect(kernel.machine.memory.readWord(frame, 0)).toBe(2);
  });

  it("is purged by the drain work once more than lazy_max_pages are free", () => {
    const kernel = bootKernel({ cpus: 1, vmalloc: { lazyMaxPages: 16 } });
    const cpu = kernel.machine.cpus[0];
    const addresses = Array.from({ length: 12 }, () => kernel.vmalloc(PAGE_SIZE));
    for (const address of addresses) cpu.store(address, 4, 7);
    for (const address of addresses) kernel.vfree(address);
    expect(kernel.vm.drainWork?.isPending).toBe(true);
    expect(cpu.load(addresses[11], 4)).toBe(7);
    kernel.runUntilIdle();
    expect(kernel.vm.lazyNr).toBe(0);
    expect(() => cpu.load(addresses[11], 4)).toThrow(PageFault);
  });
});
