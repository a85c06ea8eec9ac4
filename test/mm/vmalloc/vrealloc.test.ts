/** vrealloc: what keeps its address, its pages and its bytes. */
import { describe, expect, it } from "vitest";
import { __GFP_ZERO, GFP_KERNEL, vmallocUser, vrealloc } from "../../../mm/index.ts";
import { VM_FLUSH_RESET_PERMS, VM_USERMAP } from "../../../mm/vmalloc/areas/vm-structs.ts";
import { bootKernel, type Kernel } from "../../../src/machine/kernel.ts";

const PAGE = 4096;

function booted(version: string): Kernel {
  return bootKernel({ cpus: 2, memoryBytes: 2 ** 26, kernel: version });
}

function vmAt({ vm }: Kernel, address: number): number {
  return vm.areas.vmOf(vm.addrToNode(address).busy.findStart(address));
}

/** Pages of the area at an address, and the size that was asked for. */
function sizes(kernel: Kernel, address: number): [pages: number, requestedBytes: number] {
  const { vms } = kernel.vm;
  const vm = vmAt(kernel, address);
  return [vms.nrPages[2 * vm], vms.requestedSizeBytes[vm]];
}

/** Stores a byte in each of some pages. */
function fill(kernel: Kernel, address: number, pages: number): void {
  for (let page = 0; page < pages; page++) kernel.machine.cpus[0].store(address + page * PAGE, 1, page + 1);
}

describe("vrealloc in Linux 6.12", () => {
  it("shrinks in place and keeps all pages, and grows into them again", () => {
    const kernel = booted("6.12");
    const address = kernel.vmalloc(6 * PAGE);
    fill(kernel, address, 6);
    expect(kernel.vrealloc(address, PAGE + 1)).toBe(address);
    expect(sizes(kernel, address)).toEqual([6, PAGE + 1]);
    expect(kernel.vrealloc(address, 6 * PAGE)).toBe(address);
    expect(kernel.machine.cpus[0].load(address + 5 * PAGE, 1)).toBe(6);
    expect(kernel.verify()).toEqual([]);
  });

  it("moves what has no room, with its bytes, and frees where it was", () => {
    const kernel = booted("6.12");
    const address = kernel.vmalloc(3 * PAGE);
    fill(kernel, address, 3);
    const moved = kernel.vrealloc(address, 3 * PAGE + 1);
    expect(moved).not.toBe(address);
    expect([0, 1, 2].map((page) => kernel.machine.cpus[0].load(moved + page * PAGE, 1))).toEqual([1, 2, 3]);
    expect(sizes(kernel, moved)).toEqual([4, 3 * PAGE + 1]);
    expect(kernel.vm.nrVmallocPages).toBe(4);
    expect(kernel.verify()).toEqual([]);
  });

  it("moves it in a guest too, whose frames are others than the machine's", () => {
    const guest = bootKernel({ cpus: 2, memoryBytes: 2 ** 26, guest: { physicalCpus: 2 } });
    const before = guest.vmalloc(3 * PAGE);
    fill(guest, before, 3);
    const after = guest.vrealloc(before, 20 * PAGE);
    expect(after).not.toBe(before);
    for (let page = 0; page < 3; page++) expect(guest.machine.cpus[0].load(after + page * PAGE, 1)).toBe(page + 1);
    expect(guest.verify()).toEqual([]);
  });

  it("keeps the old memory when there is none for the new", () => {
    const kernel = booted("6.12");
    const address = kernel.vmalloc(PAGE);
    fill(kernel, address, 1);
    kernel.faults.failAt(0, "vmStruct");
    expect(kernel.vrealloc(address, 2 * PAGE)).toBe(0);
    kernel.faults.disarm();
    expect(kernel.machine.cpus[0].load(address, 1)).toBe(1);
    expect(sizes(kernel, address)).toEqual([1, PAGE]);
  });

  it("zeroes exactly the bytes that are given up, with __GFP_ZERO", () => {
    const kernel = booted("6.12");
    const address = kernel.vmalloc(2 * PAGE);
    const [cpu] = kernel.machine.cpus;
    for (const at of [98, 99, 100, 101, PAGE, 2 * PAGE - 1]) cpu.store(address + at, 1, 7);
    kernel.run(() => vrealloc(kernel.vm, address, 100, GFP_KERNEL | __GFP_ZERO));
    const bytes = [98, 99, 100, 101, PAGE, 2 * PAGE - 1].map((at) => cpu.load(address + at, 1));
    expect(bytes).toEqual([7, 7, 0, 0, 0, 0]);
  });

  it("allocates at address 0, and frees at size 0", () => {
    const kernel = booted("6.12");
    const address = kernel.vrealloc(0, 2 * PAGE);
    expect(sizes(kernel, address)).toEqual([2, 2 * PAGE]);
    expect(kernel.vrealloc(address, 0)).toBe(0);
    expect(kernel.vm.nrVmallocPages).toBe(0);
  });
});

describe("vrealloc in Linux 7.3", () => {
  it("gives the pages of the tail back, flushed, and grows in place within those that are left", () => {
    const kernel = booted("7.3");
    const address = kernel.vmalloc(6 * PAGE);
    fill(kernel, address, 6);
    const free = kernel.pages.freePages;
    const flushes = kernel.mm.flushing.rangeFlushes;
    expect(kernel.vrealloc(address, PAGE + 1)).toBe(address);
    expect(sizes(kernel, address)).toEqual([2, PAGE + 1]);
    expect([kernel.pages.freePages - free, kernel.vm.nrVmallocPages]).toEqual([4, 2]);
    expect(kernel.mm.flushing.rangeFlushes - flushes).toBe(1);
    expect(kernel.machine.cpus[0].probe(address + PAGE).outcome).toBe("mapped");
    expect(kernel.machine.cpus[0].probe(address + 2 * PAGE).outcome).toBe("not present");
    expect(kernel.vrealloc(address, 2 * PAGE)).toBe(address);
    expect(kernel.vrealloc(address, 2 * PAGE + 1)).not.toBe(address);
    expect(kernel.verify()).toEqual([]);
  });

  it("does nothing to an area that keeps its last page", () => {
    const kernel = booted("7.3");
    const address = kernel.vmalloc(3 * PAGE);
    const { rangeFlushes } = kernel.mm.flushing;
    expect(kernel.vrealloc(address, 2 * PAGE + 1)).toBe(address);
    expect(sizes(kernel, address)).toEqual([3, 2 * PAGE + 1]);
    expect(kernel.mm.flushing.rangeFlushes).toBe(rangeFlushes);
  });

  it("keeps all pages of an area of large pages, of one for users, of one whose permissions were changed", () => {
    const kernel = booted("7.3");
    const huge = kernel.vmallocHuge(2 ** 21);
    expect(kernel.vrealloc(huge, PAGE)).toBe(huge);
    expect(sizes(kernel, huge)).toEqual([512, PAGE]);
    const ofUsers = kernel.run(() => vmallocUser(kernel.vm, 3 * PAGE));
    expect(kernel.vm.vms.flags[2 * vmAt(kernel, ofUsers)] & VM_USERMAP).toBe(VM_USERMAP);
    expect(kernel.vrealloc(ofUsers, PAGE)).toBe(ofUsers);
    expect(sizes(kernel, ofUsers)).toEqual([3, PAGE]);
    const ofModule = kernel.vmalloc(3 * PAGE);
    kernel.vm.vms.flags[2 * vmAt(kernel, ofModule)] |= VM_FLUSH_RESET_PERMS;
    expect(kernel.vrealloc(ofModule, PAGE)).toBe(ofModule);
    expect(sizes(kernel, ofModule)).toEqual([3, PAGE]);
    expect(kernel.verify()).toEqual([]);
  });
});
