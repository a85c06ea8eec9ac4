/** Charging pages to a memory cgroup: the CPU's stock, the counters of all levels, and what is charged at all. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { FRAME_CALLER, FRAME_USER } from "../../../mm/frames/frame-uses.ts";
import { MEMCG_CHARGE_BATCH, type MemCgroup, OBJ_CGROUP_POINTER_BYTES } from "../../../mm/frames/mem-cgroup.ts";
import {
  __vmallocNode,
  DEFAULT_KERNEL_COSTS,
  exitMmap,
  GFP_KERNEL,
  GFP_KERNEL_ACCOUNT,
  mmapPopulate,
  NUMA_NO_NODE,
  UserSpaces,
} from "../../../mm/index.ts";
import { bootKernel, type Kernel } from "../../../src/machine/kernel.ts";

const COSTS = DEFAULT_KERNEL_COSTS;
const ATOMIC = COSTS.lock.uncontendedCycles;

function charged(memcgLevels = 3, cpus = 2): { kernel: Kernel; memcg: MemCgroup } {
  const kernel = bootKernel({ cpus, memcgLevels });
  return { kernel, memcg: kernel.pages.memcg as MemCgroup };
}

/** Cycles that `call` takes CPU `cpu`, without waits for lines. */
function cycles(kernel: Kernel, cpu: number, call: () => void): number {
  const { loop } = kernel.machine;
  loop.currentCpu = cpu;
  const began = loop.clockCycles[cpu] - loop.lines.waitedCycles[cpu];
  call();
  return loop.clockCycles[cpu] - loop.lines.waitedCycles[cpu] - began;
}

function vmallocPages(kernel: Kernel, pages: number, gfp: number): number {
  return kernel.run(() => __vmallocNode(kernel.vm, pages * 4096, 1, gfp, NUMA_NO_NODE, "a_test+0x0/0x0"));
}

describe("pages of vmalloc", () => {
  it("are charged only with __GFP_ACCOUNT, to every level, 64 at a time", () => {
    const { kernel, memcg } = charged();
    vmallocPages(kernel, 10, GFP_KERNEL);
    expect([...memcg.usagePages]).toEqual([0, 0, 0]);
    const address = vmallocPages(kernel, 10, GFP_KERNEL_ACCOUNT);
    expect([...memcg.usagePages]).toEqual([64, 64, 64]);
    expect([...memcg.stockPages]).toEqual([54, 0]);
    kernel.vfree(address);
    expect([...memcg.stockPages]).toEqual([64, 0]);
    expect([...memcg.usagePages]).toEqual([64, 64, 64]);
  });

  it("go back into the stock of the CPU that frees them, which keeps 64 at most and then takes all off the counters", () => {
    const { kernel, memcg } = charged(1);
    const address = vmallocPages(kernel, 65, GFP_KERNEL_ACCOUNT);
    expect([...memcg.stockPages]).toEqual([63, 0]);
    kernel.currentCpu = 1;
    kernel.vfree(address);
    expect([...memcg.stockPages]).toEqual([63, 0]);
    expect([...memcg.usagePages]).toEqual([63]);
  });

  it("cost a charge each, and an atomic on each level once in 64 pages", () => {
    const [plain, three] = [GFP_KERNEL, GFP_KERNEL_ACCOUNT].map((gfp) => {
      const { kernel } = charged(3, 1);
      return cycles(kernel, 0, () => vmallocPages(kernel, 64, gfp));
    });
    expect(three - plain).toBe(64 * COSTS.pages.chargeCycles + 3 * ATOMIC);
  });
});

describe("user pages", () => {
  it("are charged where there is a cgroup, and taken off the counters a batch at a time", () => {
    const { kernel, memcg } = charged(2, 1);
    const frames = Uint32Array.from({ length: 40 }, () => kernel.pages.allocPages(0, 0, FRAME_USER, GFP_KERNEL));
    expect([...memcg.usagePages]).toEqual([64, 64]);
    const took = cycles(kernel, 0, () => kernel.pages.freeBulk(0, frames, 0, 40));
    // Batches of 31 and of 9.
    expect(took).toBe(40 * COSTS.pages.unchargeCycles + 2 * 2 * ATOMIC);
    expect([...memcg.usagePages]).toEqual([24, 24]);
    expect([...memcg.stockPages]).toEqual([24]);
  });

  it("of several CPUs make the counters' lines move", () => {
    const { kernel } = charged(2, 4);
    const { loop } = kernel.machine;
    const take = (cpu: number): number => {
      loop.currentCpu = cpu;
      const waited = loop.lines.waitedCycles[cpu];
      const frame = kernel.pages.allocPages(cpu, 0, FRAME_USER, GFP_KERNEL);
      expect(frame).not.toBe(0);
      return loop.lines.waitedCycles[cpu] - waited;
    };
    const transfer = loop.lines.transferCycles[loop.topology.distance(0, 1)];
    // Lists are filled, and the stock of CPU 0.
    take(0);
    loop.currentCpu = 1;
    kernel.pages.allocPages(1, 0, FRAME_CALLER, GFP_KERNEL);
    expect(take(1)).toBe(2 * transfer);
    expect(take(1)).toBe(0);
  });
});

describe("page tables and objects", () => {
  const TEXT = 0x40_0000;

  it("of users are charged, and given back with them; the kernel's are not", () => {
    const { kernel, memcg } = charged(1, 1);
    const inUse = (): number => memcg.usagePages[0] - memcg.stockPages[0];
    vmallocPages(kernel, 1, GFP_KERNEL);
    expect(memcg.usagePages[0]).toBe(0);
    const spaces = new UserSpaces(kernel.mm);
    const before = kernel.pages.freePages;
    const mm = spaces.mmAlloc();
    kernel.run(mmapPopulate(spaces, mm, TEXT, 3));
    // Three pages, a table of each level, and one for objects, of which mm_struct is one.
    expect(before - kernel.pages.freePages).toBe(3 + 4);
    expect(inUse()).toBe(3 + 4 + 1);
    expect(memcg.stockBytes[0]).toBe(4096 - kernel.mm.slabs.mm.objectBytes - OBJ_CGROUP_POINTER_BYTES);
    kernel.run(exitMmap(spaces, mm));
    kernel.run(spaces.lru.lruAddDrainAll());
    expect(before - kernel.pages.freePages).toBe(0);
    expect(inUse()).toBe(1);
    expect(memcg.stockBytes[0]).toBe(4096);
    expect(kernel.verify()).toEqual([]);
  });

  it("keep a page of bytes at most on each CPU: the rest goes to its stock", () => {
    const { memcg, kernel } = charged(2, 2);
    const sizes = fc.array(
      fc.record({ bytes: fc.integer({ min: 8, max: 5000 }), cpu: fc.nat(1), frees: fc.boolean() }),
    );
    fc.assert(
      fc.property(sizes, (all) => {
        const live: number[] = [];
        for (const { bytes, cpu, frees } of all) {
          kernel.machine.loop.currentCpu = cpu;
          const freed = frees ? live.shift() : undefined;
          if (freed !== undefined) memcg.unchargeObject(freed);
          else if (live.push(bytes) > 0) memcg.chargeObject(bytes);
          const sum = (values: ArrayLike<number>): number => Array.from(values).reduce((a, b) => a + b, 0);
          const charged = 4096 * (memcg.usagePages[1] - sum(memcg.stockPages));
          expect(charged).toBe(sum(live) + live.length * OBJ_CGROUP_POINTER_BYTES + sum(memcg.stockBytes));
          expect(Math.min(...memcg.stockBytes)).toBeGreaterThanOrEqual(0);
        }
        for (const bytes of live) memcg.unchargeObject(bytes);
        expect(Math.max(...memcg.stockBytes)).toBeLessThan(2 * 4096);
      }),
      { numRuns: 30 },
    );
  });
});

it("what is charged, less what CPUs keep, is what is in use: whatever is taken and given back", () => {
  const steps = fc.array(
    fc.record({ cpu: fc.nat(3), frees: fc.boolean(), account: fc.boolean(), pages: fc.integer({ min: 1, max: 150 }) }),
    {
      maxLength: 40,
    },
  );
  fc.assert(
    fc.property(steps, (all) => {
      const { kernel, memcg } = charged(2, 4);
      const live: { address: number; pages: number; account: boolean }[] = [];
      for (const { cpu, frees, account, pages } of all) {
        kernel.currentCpu = cpu;
        const freed = frees ? live.shift() : undefined;
        if (freed !== undefined) kernel.vfree(freed.address);
        else
          live.push({
            address: vmallocPages(kernel, pages, account ? GFP_KERNEL_ACCOUNT : GFP_KERNEL),
            pages,
            account,
          });
        const used = live.reduce((sum, area) => sum + (area.account ? area.pages : 0), 0);
        const stocked = memcg.stockPages.reduce((sum, each) => sum + each, 0);
        expect([...memcg.usagePages]).toEqual([used + stocked, used + stocked]);
        expect(Math.max(...memcg.stockPages)).toBeLessThanOrEqual(MEMCG_CHARGE_BATCH);
      }
    }),
    { numRuns: 15 },
  );
});

it("a setting that is no number of levels is refused", () => {
  expect(() => bootKernel({ cpus: 1, memcgLevels: 17 })).toThrow(
    /memcgLevels 17: expected a whole number from 0 to 16/,
  );
});
