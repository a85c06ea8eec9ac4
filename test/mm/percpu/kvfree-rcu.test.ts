import { describe, expect, it } from "vitest";
import { wait } from "../../../mm/index.ts";
import { KVFREE_BULK_MAX_ENTRIES, KvfreeRcu } from "../../../mm/percpu/kvfree-rcu.ts";
import { bootKernel, type Kernel } from "../../../src/machine/kernel.ts";

const CYCLES_PER_SECOND = 1e9;
const TIMES = { ticksPerSecond: 1000, gracePeriodTicks: 5 };

function freeInThread(kernel: Kernel, rcu: KvfreeRcu, count: number): number[] {
  const areas = Array.from({ length: count }, () => kernel.vmalloc(4096));
  const code = function* () {
    for (const area of areas) yield* wait(rcu.free(area));
  };
  kernel.spawn("test", 0, code());
  return areas;
}

describe("kvfree_rcu", () => {
  it("frees a full page of pointers a tick and a grace period later, not before", () => {
    const kernel = bootKernel({ cpus: 1 });
    const rcu = new KvfreeRcu(kernel.vm, CYCLES_PER_SECOND, TIMES);
    const used = kernel.vm.nrVmallocPages;
    freeInThread(kernel, rcu, KVFREE_BULK_MAX_ENTRIES);
    const { loop } = kernel.machine;
    const since = loop.clockCycles[0];
    loop.run(() => loop.clockCycles[0] >= since + 5e6);
    expect(kernel.vm.nrVmallocPages).toBe(used + KVFREE_BULK_MAX_ENTRIES);
    kernel.machine.loop.run(() => rcu.batches > 0);
    expect(kernel.vm.nrVmallocPages).toBe(used);
    expect(loop.clockCycles[0] - since).toBeGreaterThanOrEqual(6e6);
    expect(loop.clockCycles[0] - since).toBeLessThan(8e6);
  });

  it("frees a few pointers five seconds later", () => {
    const kernel = bootKernel({ cpus: 1 });
    const rcu = new KvfreeRcu(kernel.vm, CYCLES_PER_SECOND, TIMES);
    const used = kernel.vm.nrVmallocPages;
    freeInThread(kernel, rcu, 3);
    kernel.runUntilIdle();
    expect(kernel.machine.loop.clockCycles[0]).toBeGreaterThan(5e9);
    expect(rcu.batches).toBe(1);
    expect(kernel.vm.nrVmallocPages).toBe(used);
    expect(kernel.verify()).toEqual([]);
  });
});
