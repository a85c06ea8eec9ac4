import { describe, expect, it } from "vitest";
import { PAGE_SIZE } from "../../../arch/isa/linear-address.ts";
import { exitMmap, munmap, remapVmallocRange, UserSpaces, vmallocToPage, vmallocUser } from "../../../mm/index.ts";
import { bootKernel } from "../../../src/machine/kernel.ts";

const AT = 0x40_0000;
const PAGES = 3;

function shared() {
  const kernel = bootKernel({ cpus: 1, memoryBytes: 2 ** 26 });
  const spaces = new UserSpaces(kernel.mm);
  const free = kernel.pages.freePages;
  const address = kernel.run(() => vmallocUser(kernel.vm, PAGES * PAGE_SIZE));
  const frames = Array.from({ length: PAGES }, (_, page) => vmallocToPage(kernel.vm, address + page * PAGE_SIZE));
  const map = () => {
    const mm = spaces.mmAlloc();
    expect(kernel.run(remapVmallocRange(kernel.vm, mm.tables, AT, address, 0, PAGES * PAGE_SIZE))).toBe(0);
    return mm;
  };
  return { kernel, spaces, free, address, frames, map };
}

describe("pages of a vmalloc area in a user address space", () => {
  it("stay the area's when the user unmaps them", () => {
    const { kernel, spaces, address, frames, map } = shared();
    const mm = map();
    expect(kernel.verify()).toEqual([]);
    expect(kernel.run(munmap(spaces, mm, AT, AT + PAGES * PAGE_SIZE))).toBe(0);
    expect(frames.map((frame) => kernel.pages.markOf(frame))).toEqual(frames.map(() => 3));
    expect(kernel.verify()).toEqual([]);
    const other = kernel.vmalloc(PAGES * PAGE_SIZE);
    for (let page = 0; page < PAGES; page++) {
      expect(frames).not.toContain(vmallocToPage(kernel.vm, other + page * PAGE_SIZE));
    }
    kernel.vfree(address);
    expect(kernel.verify()).toEqual([]);
  });

  it("have as many references as holders: verify finds one too many", () => {
    const { kernel, frames, map } = shared();
    map();
    kernel.pages.references.get(frames[2]);
    expect(kernel.verify()).toEqual([`frame 0x${frames[2].toString(16)} has 3 references, but 2 holders`]);
  });

  it("stay the users' when the area is freed, and are free when the last of them is gone", () => {
    const { kernel, spaces, free, address, frames, map } = shared();
    const [first, second] = [map(), map()];
    kernel.machine.memory.writeWord(frames[1], 0, 77);
    kernel.vfree(address);
    expect(kernel.vm.nrVmallocPages).toBe(0);
    expect(kernel.verify()).toEqual([]);
    for (let i = 0; i < 20; i++) kernel.machine.cpus[0].store(kernel.vmalloc(PAGE_SIZE), 4, 1);
    expect(kernel.machine.memory.readWord(frames[1], 0)).toBe(77);
    kernel.run(exitMmap(spaces, first));
    expect(kernel.verify()).toEqual([]);
    expect(kernel.machine.memory.readWord(frames[1], 0)).toBe(77);
    kernel.run(exitMmap(spaces, second));
    expect(kernel.verify()).toEqual([]);
    expect(kernel.pages.references.isEmpty).toBe(true);
    expect(kernel.pages.freePages).toBeLessThanOrEqual(free);
  });
});
