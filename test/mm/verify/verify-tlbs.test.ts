import { describe, expect, it } from "vitest";
import { entryFrame, entryLow, PTE_PRESENT, PTE_RW } from "../../../arch/isa/pte.ts";
import { getVmArea, VM_SPARSE, vmAreaMapPages, vmAreaUnmapPages } from "../../../mm/index.ts";
import { bootKernel } from "../../../src/machine/kernel.ts";
import { caught, readEntry, shown, type VariedKernel, variedKernel, writeEntry } from "./verify-state.ts";

const PAGE = 4096;

describe("verify finds TLB entries that nobody will flush", () => {
  /** A CPU that ignores every request to flush. */
  const deaf = ({ kernel }: VariedKernel, cpu: number): void => {
    Object.assign(kernel.machine.cpus[cpu], { flushTlbAll: () => {}, invlpg: () => {} });
  };

  it("but accepts stale entries in a lazily freed area and in the dirty range of a block", () => {
    const { kernel, small, inBlock } = variedKernel();
    const cpu = kernel.machine.cpus[2];
    cpu.load(small, 4);
    cpu.load(inBlock + PAGE, 4);
    expect(kernel.verify()).toEqual([]);
    kernel.vfree(small);
    kernel.vmUnmapRam(inBlock, 5);
    expect(() => cpu.load(small, 4)).not.toThrow();
    expect(() => cpu.load(inBlock + PAGE, 4)).not.toThrow();
    expect(kernel.verify()).toEqual([]);
    kernel.vmUnmapAliases();
    expect(() => cpu.load(small, 4)).toThrow();
    expect(() => cpu.load(inBlock + PAGE, 4)).toThrow();
    expect(kernel.verify()).toEqual([]);
  });

  it.each([1, 2, 33, 34, 64])("and finds none after vm_unmap_aliases of %i pages of a block alone", (pages) => {
    const kernel = bootKernel({ cpus: 2, memoryBytes: 32 * 2 ** 20 });
    const frames = kernel.allocFrames(64);
    const kept = kernel.vmMapRam(frames.slice(0, 1));
    const address = kernel.vmMapRam(frames.slice(0, pages));
    const touch = (page: number): number => kernel.machine.cpus[1].load(address + page * PAGE, 4);
    for (let page = 0; page < pages; page++) touch(page);
    kernel.vmUnmapRam(address, pages);
    expect(() => touch(pages - 1)).not.toThrow();
    kernel.vmUnmapAliases();
    expect(kernel.verify()).toEqual([]);
    for (let page = 0; page < pages; page++) expect(() => touch(page)).toThrow();
    kernel.vmUnmapRam(kept, 1);
  });

  it("and finds none after pages of a sparse area were unmapped: they are flushed at once", () => {
    const kernel = bootKernel({ cpus: 2, memoryBytes: 32 * 2 ** 20 });
    const vm = kernel.run(() => getVmArea(kernel.vm, 8 * PAGE, VM_SPARSE));
    const start = kernel.vm.vms.addr[vm];
    expect(vmAreaMapPages(kernel.vm, vm, start + PAGE, start + 5 * PAGE, kernel.allocFrames(4))).toBe(0);
    for (const cpu of kernel.machine.cpus) cpu.load(start + 4 * PAGE, 4);
    kernel.run(vmAreaUnmapPages(kernel.vm, vm, start + 3 * PAGE, start + 5 * PAGE));
    for (const cpu of kernel.machine.cpus) expect(() => cpu.load(start + 4 * PAGE, 4)).toThrow();
    expect(kernel.verify()).toEqual([]);
  });

  caught([
    [
      "of a CPU that missed the flush of a purge",
      (state) => {
        const { kernel, small } = state;
        kernel.machine.cpus[2].load(small + PAGE, 4);
        deaf(state, 2);
        kernel.vfree(small);
        kernel.vmUnmapAliases();
        return `translates ${shown(small + PAGE)} to frame`;
      },
    ],
    [
      "of a CPU that missed the flush of a block's dirty range",
      (state) => {
        const { kernel, inBlock } = state;
        kernel.machine.cpus[3].load(inBlock, 4);
        deaf(state, 3);
        kernel.vmUnmapRam(inBlock, 5);
        kernel.vmUnmapAliases();
        return `translates ${shown(inBlock)} to frame`;
      },
    ],
    [
      "of an entry that was changed without a flush",
      ({ kernel, other, small }) => {
        kernel.machine.cpus[0].load(other, 4);
        const [low, high] = readEntry(kernel, small, 1);
        writeEntry(kernel, other, 1, low, high);
        return `the tables map frame 0x${entryFrame(low, high).toString(16)} there, and no flush is owed`;
      },
    ],
    [
      "of a page that has become read-only",
      ({ kernel, other }) => {
        kernel.machine.cpus[0].load(other, 4);
        const [low, high] = readEntry(kernel, other, 1);
        writeEntry(kernel, other, 1, low & ~PTE_RW, high);
        return "the tables forbid writing there";
      },
    ],
    [
      "of a large page that was split",
      ({ kernel, huge }) => {
        kernel.machine.cpus[1].load(huge + 5 * PAGE, 4);
        writeEntry(kernel, huge, 2, 0, 0);
        writeEntry(kernel, huge + 5 * PAGE, 1, entryLow(300, PTE_PRESENT), 0);
        return `translates ${shown(huge)} to frame`;
      },
    ],
  ]);
});
