import fc from "fast-check";
import { beforeEach, describe, expect, it } from "vitest";
import { type CacheMode, getVmArea, VM_ALLOC } from "../../../mm/index.ts";
import { MemoryTypes } from "../../../mm/page-tables/memtype.ts";
import { bootKernel, type Kernel } from "../../../src/machine/kernel.ts";

const PAGE = 4096;
const DEVICE = 0xe000_0000;
/** PWT, PCD and PAT of a 4 KiB leaf. */
const CACHE_BITS = 0x98;

let kernel: Kernel;

beforeEach(() => {
  kernel = bootKernel({ cpus: 1, memoryBytes: 64 * 2 ** 20 });
});

function cacheBits(address: number): number {
  const { cursor } = kernel.tables;
  expect(cursor.seek(address)).toBe(1);
  return cursor.low & CACHE_BITS;
}

function mapped(phys: number, pages: number, mode: CacheMode): number {
  const address = kernel.ioremap(phys, pages * PAGE, mode);
  expect(address).not.toBe(0);
  return cacheBits(address);
}

describe("ioremap", () => {
  it.each([
    ["uc-", 0x10],
    ["uc", 0x18],
    ["wc", 0x08],
    ["wt", 0x98],
    ["wp", 0x88],
    // The MTRRs say uncached of what is no memory, so that write-back is not to be had.
    ["wb", 0x10],
  ] as const)("maps with mode %s by the bits 0x%x where nothing else is mapped", (mode, bits) => {
    expect(mapped(DEVICE, 2, mode)).toBe(bits);
    expect(kernel.log.lines).toEqual([]);
  });

  it("takes the mode of a mapping that is there, without a word", () => {
    expect(mapped(DEVICE, 4, "wc")).toBe(0x08);
    expect(mapped(DEVICE + PAGE, 1, "uc-")).toBe(0x08);
    expect(mapped(DEVICE + 3 * PAGE, 4, "uc")).toBe(0x08);
    // That range was reserved as it was mapped, beyond the first mapping as well.
    expect(mapped(DEVICE + 6 * PAGE, 1, "uc-")).toBe(0x08);
    expect(mapped(DEVICE + 7 * PAGE, 1, "uc-")).toBe(0x10);
    expect(kernel.log.lines).toEqual([]);
    expect(kernel.verify()).toEqual([]);
  });

  it("forgets the mode with the last mapping of a page", () => {
    const first = kernel.ioremap(DEVICE, PAGE, "wc");
    const second = kernel.ioremap(DEVICE + 8, 16, "uc-");
    kernel.iounmap(first);
    expect(mapped(DEVICE, 1, "uc")).toBe(0x08);
    kernel.iounmap(second);
    expect(mapped(DEVICE, 1, "uc")).toBe(0x08);
    expect(kernel.log.lines).toEqual([]);
  });

  it("is refused where mappings of different modes are, and leaves everything as it was", () => {
    mapped(DEVICE, 1, "wc");
    mapped(DEVICE + PAGE, 1, "uc-");
    expect(kernel.ioremap(DEVICE, 2 * PAGE, "uc-")).toBe(0);
    expect(kernel.log.lines).toEqual([
      "x86/PAT: sync:0 conflicting memory types e0000000-e0002000 write-combining<->uncached-minus",
      "x86/PAT: memtype_reserve failed [mem 0xe0000000-0xe0001fff], track uncached-minus, req uncached-minus",
      "ioremap memtype_reserve failed -16",
    ]);
    expect(kernel.verify()).toEqual([]);
    expect(mapped(DEVICE + PAGE, 1, "wt")).toBe(0x10);
  });

  it("is refused write-through where write-combining is mapped: that would be laxer than asked for", () => {
    mapped(DEVICE, 1, "wc");
    expect(kernel.ioremap(DEVICE, PAGE, "wt")).toBe(0);
    expect(kernel.log.lines).toEqual(["ioremap error for 0xe0000000-0xe0001000, requested 0x4, got 0x1"]);
    expect(kernel.verify()).toEqual([]);
  });

  it("that finds no room reserves nothing", () => {
    for (let shift = 40; shift >= 28; shift--)
      while (kernel.run(() => getVmArea(kernel.vm, 2 ** shift, VM_ALLOC)) !== 0);
    expect(kernel.ioremap(DEVICE, 2 ** 29, "wc")).toBe(0);
    expect(kernel.mm.memoryTypes.overlapping(0, 2 ** 52)).toEqual([]);
  });
});

it("iounmap of what no ioremap made says so: its physical address is 0", () => {
  kernel.iounmap(kernel.vmalloc(3 * PAGE));
  expect(kernel.log.lines).toEqual(["x86/PAT: sync:0 freeing invalid memtype [mem 0x00000000-0x00002fff]"]);
});

it("ranges are found, and taken out whole or from their end, as a plain list says", () => {
  const step = fc.record({ start: fc.nat(40), length: fc.integer({ min: 1, max: 12 }), what: fc.nat(2) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const types = new MemoryTypes();
      const model: { start: number; end: number }[] = [];
      for (const { start, length, what } of steps) {
        const end = start + length;
        if (what === 0) {
          types.add(start, end, "uc-");
          model.push({ start, end });
        } else if (what === 1) {
          const exact = model.findIndex((range) => range.start === start && range.end === end);
          const longer = model
            .filter((range) => range.start < start && range.end === end)
            .sort((a, b) => a.start - b.start)[0];
          expect(types.remove(start, end)).toBe(exact >= 0 || longer !== undefined);
          if (exact >= 0) model.splice(exact, 1);
          else if (longer !== undefined) longer.end = start;
        }
        const expected = model.filter((range) => range.start < end && range.end > start).map((range) => range.start);
        expect(types.overlapping(start, end).map((range) => range.start)).toEqual(expected.sort((a, b) => a - b));
      }
    }),
  );
});
