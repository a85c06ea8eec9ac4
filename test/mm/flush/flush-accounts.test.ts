import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  ACTIVITY_FLUSH,
  ACTIVITY_INTERRUPT,
  ACTIVITY_IPI_SEND,
  ACTIVITY_IPI_WAIT,
  ACTIVITY_WALK,
  type KernelCode,
  PAGE_SIZE,
  PAUSE_RESCHED,
  PAUSE_TURN,
} from "../../../arch/index.ts";
import { FLUSH_POLICIES, flushTlbKernelRange, vfree, vmalloc, vmUnmapAliases, wait } from "../../../mm/index.ts";
import { bootKernel, type Kernel, type KernelConfig } from "../../../src/machine/kernel.ts";
import { featuresFor } from "./policy-features.ts";

function boot(config: Partial<KernelConfig> = {}): Kernel {
  return bootKernel({ cpus: 4, memoryBytes: 2 ** 28, vmalloc: { lazyMaxPages: 64 }, ...config });
}

/** Cycles of all CPUs in one account. */
function sum(kernel: Kernel, activity: number): number {
  const { loop } = kernel.machine;
  let total = 0;
  for (let cpu = 0; cpu < loop.cpus; cpu++) total += loop.accounts.cycles(cpu, activity);
  return total;
}

describe("accounts of flushes", () => {
  it("name the cause of each flush, its range, and the frees that fed it", () => {
    const kernel = boot({ vmalloc: { lazyMaxPages: 1000 } });
    const accounts = kernel.vm.flushing.keepAccounts({ perCpu: true });
    const a = kernel.vmalloc(2 * PAGE_SIZE, "first_caller+0x1/0x2");
    const b = kernel.vmalloc(5 * PAGE_SIZE, "second_caller+0x1/0x2");
    kernel.vfree(a);
    kernel.vfree(b);
    kernel.vmUnmapAliases();
    kernel.run(flushTlbKernelRange(kernel.mm.flushing, 0xc900_0000_0000, 0xc900_0010_0000));
    const [purge, call] = accounts.records;
    expect(purge).toMatchObject({
      id: 1,
      cause: "aliases",
      policy: "ipi",
      start: a,
      full: false,
      frees: 2,
      freedPages: 9,
    });
    expect(call).toMatchObject({ id: 2, cause: "call", full: true, pages: 256, frees: 0 });
    expect([...(purge.stolenFrom ?? [])].filter((cycles) => cycles > 0)).toHaveLength(3);
    const origins = accounts.costByOrigin();
    const first = origins.get("first_caller+0x1/0x2");
    const second = origins.get("second_caller+0x1/0x2");
    expect(first).toMatchObject({ frees: 1, pages: 3 });
    expect(second).toMatchObject({ frees: 1, pages: 6 });
    expect(first?.stolenCycles).toBeCloseTo(purge.stolenCycles / 3);
    expect(second?.waitCycles).toBeCloseTo((purge.waitCycles * 2) / 3);
    expect(origins.get("(call)")?.workCycles).toBe(call.workCycles);
  });

  it("say what an overflow of address space and a replaced page table cost", () => {
    const kernel = boot({ vmalloc: { lazyMaxPages: 1_000_000 } });
    const accounts = kernel.vm.flushing.keepAccounts({ refills: false });
    const window = [0xc900_1000_0000, 0xc900_1000_4000] as const;
    const area = kernel.getVmAreaRange(2 * PAGE_SIZE, 0, ...window);
    kernel.freeVmArea(area);
    expect(kernel.getVmAreaRange(3 * PAGE_SIZE, 0, ...window)).not.toBe(0);
    expect(accounts.records.map((record) => record.cause)).toEqual(["overflow"]);
  });

  it("lay later walks at the door of the flush that made them necessary, and only those", () => {
    const kernel = boot({ cpus: 2 });
    const { cpus } = kernel.machine;
    const accounts = kernel.vm.flushing.keepAccounts();
    const address = kernel.vmalloc(16 * PAGE_SIZE);
    for (let page = 0; page < 16; page++) cpus[1].touch(address + page * PAGE_SIZE);
    kernel.run(flushTlbKernelRange(kernel.mm.flushing, address, address + 4 * PAGE_SIZE));
    kernel.run(
      flushTlbKernelRange(kernel.mm.flushing, address + 8 * PAGE_SIZE, address + 8 * PAGE_SIZE + 600 * PAGE_SIZE),
    );
    for (let page = 0; page < 16; page++) cpus[1].touch(address + page * PAGE_SIZE);
    const [some, all] = accounts.records.map((record) => accounts.costOf(record));
    // The four pages went with the first flush; the whole flush then took the other twelve.
    expect(some.refills).toBe(4);
    expect(all.refills).toBe(12);
    const totals = accounts.total();
    expect(totals.refillCycles).toBe(some.refillCycles + all.refillCycles);
    expect(Math.min(some.refillCycles, all.refillCycles)).toBeGreaterThan(0);
    const before = accounts.total().refillCycles;
    for (let page = 0; page < 16; page++) cpus[1].touch(address + page * PAGE_SIZE);
    expect(accounts.total().refillCycles).toBe(before);
    expect(accounts.unexplainedWalks).toBe(0);
  });

  it("agree with where the cycles of every CPU went, whatever the threads do and whatever the policy", () => {
    const step = fc.record({
      pages: fc.integer({ min: 1, max: 40 }),
      kind: fc.constantFrom("pair", "keep", "aliases", "touch"),
    });
    const threads = fc.array(fc.array(step, { maxLength: 12 }), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(threads, fc.constantFrom(...FLUSH_POLICIES), (scripts, flushPolicy) => {
        const features = featuresFor(flushPolicy);
        const kernel = boot({ flushPolicy, features, isolatedCpus: [3] });
        const { loop, cpus } = kernel.machine;
        const accounts = kernel.vm.flushing.keepAccounts();
        function* run(cpu: number, script: (typeof scripts)[number]): KernelCode<void> {
          const kept: number[] = [];
          for (const { pages, kind } of script) {
            while (loop.mustYield()) yield PAUSE_TURN;
            if (kind === "aliases") yield* vmUnmapAliases(kernel.vm);
            else if (kind === "touch") for (const address of kept) cpus[cpu].touch(address);
            else {
              const address = yield* wait(vmalloc(kernel.vm, pages * PAGE_SIZE));
              for (let page = 0; page < pages; page++) cpus[cpu].store(address + page * PAGE_SIZE, 4, page);
              if (kind === "keep") kept.push(address);
              else yield* wait(vfree(kernel.vm, address));
            }
            if (loop.needsResched()) yield PAUSE_RESCHED;
          }
          for (const address of kept) yield* wait(vfree(kernel.vm, address));
        }
        scripts.forEach((script, cpu) => {
          kernel.spawn(`thread ${cpu}`, cpu, run(cpu, script));
        });
        kernel.runUntilIdle();
        const total = accounts.total();
        expect(sum(kernel, ACTIVITY_IPI_SEND) + sum(kernel, ACTIVITY_FLUSH)).toBe(total.workCycles);
        expect(sum(kernel, ACTIVITY_IPI_WAIT)).toBe(total.waitCycles);
        expect(sum(kernel, ACTIVITY_INTERRUPT)).toBe(total.stolenCycles);
        expect(total.refillCycles).toBeLessThanOrEqual(sum(kernel, ACTIVITY_WALK));
        expect(accounts.unexplainedWalks).toBe(0);
        for (let cpu = 0; cpu < 4; cpu++) {
          const parts = [...loop.accounts.ofCpu(cpu).values()];
          expect(parts.reduce((a, b) => a + b, 0)).toBe(loop.clockCycles[cpu]);
        }
        const shared = [...accounts.costByOrigin().values()].reduce((all, { stolenCycles }) => all + stolenCycles, 0);
        expect(shared).toBeCloseTo(total.stolenCycles, 3);
      }),
    );
  });
});
