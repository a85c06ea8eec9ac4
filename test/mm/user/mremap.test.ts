/** Moving pages in a user address space, and taking them away without mmap_lock. */
import { describe, expect, it } from "vitest";
import { DONE, EINVAL, mmapPopulate, mremap, UserSpaces, unmapMappingRange } from "../../../mm/index.ts";
import { bootKernel } from "../../../src/machine/kernel.ts";

const PAGE = 4096;
const OLD = 0x400000;
const NEW = 0x7f00_0000_0000;

/** A process with four pages, each holding its number plus one, that CPUs 0 and 1 run and have read. */
function process() {
  const kernel = bootKernel({ cpus: 2, memoryBytes: 2 ** 26, proveLocking: true });
  const spaces = UserSpaces.of(kernel.mm);
  const mm = spaces.mmAlloc();
  kernel.run(() => mmapPopulate(spaces, mm, OLD, 4));
  const { cpus } = kernel.machine;
  for (const cpu of cpus) {
    kernel.run(() => {
      spaces.switchTo(mm);
      return DONE;
    }, cpu.id);
    for (let i = 0; i < 4; i++) cpu.store(OLD + i * PAGE, 4, i + 1);
  }
  return { kernel, spaces, mm, cpus };
}

describe("mremap", () => {
  it("moves pages with what they hold; the old addresses fault on every CPU", () => {
    const { kernel, spaces, mm, cpus } = process();
    expect(kernel.run(() => mremap(spaces, mm, OLD + PAGE, OLD + 3 * PAGE, NEW))).toBe(0);
    for (const cpu of cpus) {
      expect([cpu.load(NEW, 4), cpu.load(NEW + PAGE, 4)]).toEqual([2, 3]);
      expect([cpu.load(OLD, 4), cpu.load(OLD + 3 * PAGE, 4)]).toEqual([1, 4]);
      for (const la of [OLD + PAGE, OLD + 2 * PAGE]) expect(() => cpu.load(la, 4)).toThrow("#PF");
    }
    expect(kernel.verify()).toEqual([]);
    expect(kernel.log.lines.filter((line) => line.startsWith("WARNING"))).toEqual([]);
  });

  it("moves over holes, and there and back", () => {
    const { kernel, spaces, mm, cpus } = process();
    kernel.run(() => unmapMappingRange(spaces, mm, OLD + PAGE, OLD + 2 * PAGE));
    kernel.run(() => mremap(spaces, mm, OLD, OLD + 4 * PAGE, NEW));
    expect(() => cpus[0].load(NEW + PAGE, 4)).toThrow("#PF");
    kernel.run(() => mremap(spaces, mm, NEW, NEW + 4 * PAGE, OLD));
    expect([OLD, OLD + 2 * PAGE, OLD + 3 * PAGE].map((la) => cpus[1].load(la, 4))).toEqual([1, 3, 4]);
    expect(kernel.verify()).toEqual([]);
  });

  it.each([
    ["the kernel's half", OLD, OLD + PAGE, 0x8000_0000_0000],
    ["a place that overlaps", OLD, OLD + 4 * PAGE, OLD + PAGE],
    ["no pages", OLD, OLD, NEW],
    ["half a page", OLD, OLD + PAGE / 2, NEW],
  ])("refuses %s", (_what, start, end, to) => {
    const { kernel, spaces, mm } = process();
    expect(kernel.run(() => mremap(spaces, mm, start, end, to))).toBe(-EINVAL);
    expect(mm.mmapLock.isHeld).toBe(false);
  });
});

describe("unmap_mapping_range", () => {
  it("gives pages back while their tables stay, and needs no mmap_lock", () => {
    const { kernel, spaces, mm, cpus } = process();
    const tables = [...mm.tables.tables];
    const free = kernel.pages.freePages;
    expect(kernel.run(() => unmapMappingRange(spaces, mm, OLD, OLD + 2 * PAGE))).toBe(0);
    expect(kernel.pages.freePages).toBe(free + 2);
    expect(mm.tables.tables).toEqual(tables);
    for (const cpu of cpus) {
      expect(() => cpu.load(OLD, 4)).toThrow("#PF");
      expect(cpu.load(OLD + 2 * PAGE, 4)).toBe(3);
    }
    expect(kernel.verify()).toEqual([]);
    expect(kernel.run(() => unmapMappingRange(spaces, mm, OLD, OLD))).toBe(-EINVAL);
  });
});
