/** What each version of Linux does where they differ, one rule at a time, on small situations. */
import { describe, expect, it, vi } from "vitest";
import { ACCESS_LOAD, type KernelCode, presetByName } from "../../../arch/index.ts";
import { GFP_KERNEL, GFP_NOWAIT, NO_EVENTS, VMALLOC_START, vmalloc, wait } from "../../../mm/index.ts";
import { findVmapArea } from "../../../mm/vmalloc/free-vmap-area.ts";
import { lazyRanges } from "../../../mm/vmalloc/lazy-ranges.ts";
import { bootKernel, type Kernel } from "../../../src/machine/kernel.ts";

const PAGE = 4096;
const PMD = 2 ** 21;

/** Starts of the ranges that go back to the free tree while `act` runs, in order. */
function givenBack(kernel: Kernel, act: () => void): number[] {
  const starts: number[] = [];
  kernel.vm.events = { ...NO_EVENTS, merge: (start) => starts.push(start) };
  act();
  kernel.vm.events = null;
  return starts;
}

describe("lazily freed areas", () => {
  it("merge with their neighbours when they are freed in 6.1, when they are purged in 6.12", () => {
    for (const [version, ranges] of [
      ["6.1", 1],
      ["6.6", 1],
      ["6.12", 3],
      ["7.3", 3],
    ] as const) {
      const kernel = bootKernel({ cpus: 1, kernel: version });
      const [first, second, third] = [PAGE, PAGE, PAGE].map((sizeBytes) => kernel.vmalloc(sizeBytes));
      for (const address of [third, first, second]) kernel.vfree(address);
      const [node] = kernel.vm.nodes;
      const found = lazyRanges(kernel.vm, node);
      expect(found, version).toHaveLength(ranges);
      expect([found[0].start, found.at(-1)?.end], version).toEqual([first, third + 2 * PAGE]);
      // However they are listed, all of the space is free again afterwards.
      expect(
        givenBack(kernel, () => kernel.vmUnmapAliases()),
        version,
      ).toHaveLength(ranges);
      expect(kernel.vmalloc(5 * PAGE), version).toBe(first);
      expect(kernel.verify(), version).toEqual([]);
    }
  });

  it("are given back from the lowest in 6.1, from the highest in 6.12", () => {
    for (const [version, isAscending] of [
      ["6.1", true],
      ["6.6", true],
      ["6.12", false],
      ["7.3", false],
    ] as const) {
      const kernel = bootKernel({ cpus: 1, kernel: version });
      const areas = Array.from({ length: 7 }, () => kernel.vmalloc(PAGE));
      const freed = [areas[3], areas[1], areas[5]];
      for (const address of freed) kernel.vfree(address);
      const starts = givenBack(kernel, () => kernel.vmUnmapAliases());
      const ascending = [areas[1], areas[3], areas[5]];
      expect(starts, version).toEqual(isAscending ? ascending : ascending.reverse());
    }
  });
});

describe("GFP_NOWAIT where room is only lazily freed", () => {
  it.each([
    ["6.1", true],
    ["6.12", true],
    ["7.3", false],
  ] as const)("in %s purges and finds it: %s", (version, purges) => {
    const kernel = bootKernel({ cpus: 2, kernel: version });
    const range = { start: VMALLOC_START, end: VMALLOC_START + 2 * PAGE };
    kernel.vfree(kernel.vmallocRange(PAGE, range));
    expect(kernel.vmallocRange(PAGE, range, GFP_NOWAIT)).toBe(purges ? VMALLOC_START : 0);
    expect(kernel.vm.purgesWithAreas).toBe(purges ? 1 : 0);
    if (!purges) expect(kernel.vmallocRange(PAGE, range, GFP_KERNEL)).toBe(VMALLOC_START);
    expect(kernel.verify()).toEqual([]);
  });
});

describe("an area that could not be populated", () => {
  it.each([
    ["6.12", 5],
    ["7.3", 0],
  ] as const)(
    "has in %s put %i pages on the lazy list when the call returns, and five afterwards",
    (version, pages) => {
      const kernel = bootKernel({ cpus: 1, kernel: version });
      const seen: number[] = [];
      function* allocate(): KernelCode<void> {
        kernel.faults.failAt(2, "frame", Number.POSITIVE_INFINITY);
        expect(yield* wait(vmalloc(kernel.vm, 4 * PAGE))).toBe(0);
        kernel.faults.disarm();
        seen.push(kernel.vm.lazyNr);
      }
      kernel.spawn("test", 0, allocate());
      kernel.runUntilIdle();
      expect(seen).toEqual([pages]);
      expect(kernel.vm.lazyNr).toBe(5);
      expect(kernel.verify()).toEqual([]);
    },
  );
});

describe("find_vmap_area", () => {
  it.each([
    ["6.12", [1, 2, 3, 0]],
    ["7.3", [1, 0]],
  ] as const)("in %s looks for an address in an area's second zone in the nodes %j", (version, order) => {
    const kernel = bootKernel({ cpus: 4, kernel: version });
    const zoneBytes = kernel.vm.config.zoneSizeBytes;
    const address = kernel.vmalloc(2 * zoneBytes - PAGE);
    expect(address).toBe(VMALLOC_START);
    const home = kernel.vm.addrToNode(address).id;
    const looked: number[] = [];
    for (const { id, busyLock } of kernel.vm.nodes) {
      const tryTake = busyLock.tryTake.bind(busyLock);
      vi.spyOn(busyLock, "tryTake").mockImplementation(() => {
        looked.push((id - home + 4) % 4);
        return tryTake();
      });
    }
    const area = kernel.run(findVmapArea(kernel.vm, address + zoneBytes));
    expect(kernel.vm.areas.startOf(area)).toBe(address);
    expect(looked).toEqual(order);
  });
});

describe("vmalloc_huge of 2 MiB on four NUMA nodes", () => {
  it.each([
    ["6.12", "pages of 4 KiB, right after the area before", VMALLOC_START + 2 * PAGE],
    ["7.3", "one of 2 MiB, aligned to it", VMALLOC_START + PMD],
  ] as const)("in %s takes %s", (version, _, expected) => {
    const kernel = bootKernel({ cpus: 4, numaNodes: 4, kernel: version });
    kernel.vmalloc(PAGE);
    expect(kernel.vmallocHuge(PMD)).toBe(expected);
    expect(kernel.verify()).toEqual([]);
  });
});

describe("flushes of kernel addresses on a CPU with INVLPGB", () => {
  it.each([
    ["6.12", true],
    ["7.3", false],
  ] as const)("in %s interrupt the other CPUs: %s", (version, interrupts) => {
    const kernel = bootKernel({ cpus: 4, kernel: version, preset: presetByName("zen4") });
    const address = kernel.vmalloc(PAGE);
    for (const cpu of kernel.machine.cpus) cpu.touchAs(ACCESS_LOAD, address);
    const accounts = kernel.vm.flushing.keepAccounts();
    kernel.vfree(address);
    kernel.vmUnmapAliases();
    expect(kernel.vm.flushing.smp.sent).toBe(interrupts ? 3 : 0);
    expect(accounts.records.map(({ policy }) => policy)).toEqual([interrupts ? "ipi" : "invlpgb"]);
    for (const cpu of kernel.machine.cpus) expect(() => cpu.touchAs(ACCESS_LOAD, address)).toThrow();
    expect(kernel.verify()).toEqual([]);
  });
});
