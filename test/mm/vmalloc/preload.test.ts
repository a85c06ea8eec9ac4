/** The area that each CPU keeps at hand for a split of a gap (`preload_this_cpu_lock`, `ne_fit_preload_node`). */
import { describe, expect, it } from "vitest";
import { __vmallocNodeRange, NO_EVENTS, pcpuGetVmAreas, VMALLOC_REQUEST, VMALLOC_START } from "../../../mm/index.ts";
import { bootKernel, type Kernel } from "../../../src/index.ts";

const PAGE = 4096;

/** vmalloc of a page far from everything, in the middle of a gap: a split (NE_FIT_TYPE). */
function split(kernel: Kernel, place: number, cpu = 0): number {
  const start = VMALLOC_START + 2 ** 40 + place * 2 ** 30;
  const request = { ...VMALLOC_REQUEST, range: { start, end: start + 2 ** 29 } };
  return kernel.run(() => __vmallocNodeRange(kernel.vm, PAGE, request), cpu);
}

describe("a gap is split", () => {
  it("with the object that was preloaded for this CPU before the lock was taken", () => {
    const kernel = bootKernel({ cpus: 2, memoryBytes: 2 ** 26 });
    const { neFitPreload } = kernel.vm;
    expect(neFitPreload.count).toBe(0);
    split(kernel, 0, 1);
    expect([...neFitPreload.objects].map((object) => object !== 0)).toEqual([false, false]);
    // At the left edge of a gap nothing is split: the object stays for the next one, on its CPU.
    split(kernel, 0, 1);
    expect([...neFitPreload.objects].map((object) => object !== 0)).toEqual([false, true]);
    const [, kept] = neFitPreload.objects;
    split(kernel, 1, 0);
    expect(neFitPreload.objects[1]).toBe(kept);
    split(kernel, 2, 1);
    expect(neFitPreload.objects[1]).toBe(0);
    expect(kernel.verify()).toEqual([]);
  });

  it("with one that is allocated without waiting, when preloading failed", () => {
    const kernel = bootKernel({ cpus: 1, memoryBytes: 2 ** 26 });
    kernel.faults.failAt(0, "vmapAreaPreload");
    expect(split(kernel, 0)).toBeGreaterThan(0);
    expect(kernel.faults.failures).toBe(1);
    expect(kernel.log.warnings).toBe(0);
    expect(kernel.verify()).toEqual([]);
  });

  it("after a purge, when that failed too: a warning, the failed search in the trace, and one more try", () => {
    const kernel = bootKernel({ cpus: 1, memoryBytes: 2 ** 26 });
    kernel.vfree(kernel.vmalloc(8 * PAGE));
    const { purges, lazyNr } = kernel.vm;
    expect(lazyNr).toBe(9);
    const searches: boolean[] = [];
    kernel.vm.events = { ...NO_EVENTS, alloc: (...search) => searches.push(search[6]) };
    // A vm_struct, an object for the area itself, the preload, and the one under the lock: the last two fail.
    kernel.faults.failAt(2, null, 2);
    expect(split(kernel, 0)).toBeGreaterThan(0);
    expect(kernel.faults.failures).toBe(2);
    expect(searches).toEqual([true, false]);
    expect(kernel.log.lines.filter((line) => line.startsWith("WARNING: no memory to split"))).toHaveLength(1);
    expect(kernel.vm.purges).toBe(purges + 1);
    expect(kernel.vm.lazyNr).toBe(0);
    expect(kernel.verify()).toEqual([]);
  });

  it("or not at all: the call fails with nothing changed", () => {
    const kernel = bootKernel({ cpus: 1, memoryBytes: 2 ** 26 });
    kernel.faults.failAt(2, null, Number.POSITIVE_INFINITY);
    expect(split(kernel, 0)).toBe(0);
    kernel.faults.disarm();
    expect(kernel.verify()).toEqual([]);
    expect(kernel.vm.vms.liveCount).toBe(0);
    expect(split(kernel, 0)).toBeGreaterThan(0);
  });

  it("for per-CPU areas without preloading; where there is no memory, all of them go back", () => {
    const kernel = bootKernel({ cpus: 1, memoryBytes: 2 ** 26 });
    const offsets = [0, 2 ** 24];
    const sizes = [2 ** 21, 2 ** 21];
    const free = kernel.vm.areas.liveCount;
    // Two areas and two vm_structs, then the splits: two between the areas, tried again after the purge.
    kernel.faults.failAt(4, null, Number.POSITIVE_INFINITY);
    expect(kernel.run(pcpuGetVmAreas(kernel.vm, offsets, sizes, 2 ** 21))).toBeNull();
    expect(kernel.faults.failures).toBeGreaterThan(0);
    kernel.faults.disarm();
    expect(kernel.vm.areas.liveCount).toBe(free);
    expect(kernel.verify()).toEqual([]);
    expect(kernel.run(pcpuGetVmAreas(kernel.vm, offsets, sizes, 2 ** 21))).toHaveLength(2);
  });
});
