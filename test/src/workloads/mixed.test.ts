import { describe, expect, it } from "vitest";
import { sumCounters } from "../../../arch/index.ts";
import { bootKernel } from "../../../src/machine/kernel.ts";
import { tlbCounts } from "../../../src/report/tlb-counts.ts";
import { runWorkload } from "../../../src/runs/run.ts";
import { findWorkload } from "../../../src/workloads/index.ts";
import { mixed } from "../../../src/workloads/mixed.ts";

const OPTIONS = { operations: 4000, seed: 1 };

describe("the mixed workload", () => {
  it("makes every kind of call, on every CPU, and finds its memory as it left it", () => {
    const report = runWorkload(mixed, { cpus: 4 }, OPTIONS);
    expect(Object.keys(report.operations).sort()).toEqual([
      "ioremap",
      "iounmap",
      "vfree",
      "vm_map_ram",
      "vm_unmap_aliases",
      "vm_unmap_ram",
      "vmalloc",
      "vmalloc_huge",
      "vmap",
      "vunmap",
      "vzalloc",
    ]);
    const done = Object.values(report.operations).reduce((sum, count) => sum + count.done, 0);
    expect(done).toBe(OPTIONS.operations);
    expect(report.memory.wrongLoads).toBe(0);
    expect(report.memory.loads).toBeGreaterThan(OPTIONS.operations);
    expect(report.kernelWarnings).toBe(0);
    for (const cpu of report.cycles) expect(cpu.total).toBeGreaterThan(0);
  });

  it("gives the same report for the same seed, and another for another", () => {
    const first = runWorkload(mixed, { cpus: 3 }, OPTIONS);
    expect(runWorkload(mixed, { cpus: 3 }, OPTIONS)).toEqual(first);
    const other = runWorkload(mixed, { cpus: 3 }, { ...OPTIONS, seed: 2 });
    expect({ ...other, seed: 1 }).not.toEqual(first);
  });

  it("reports what the page tables, the TLBs and the purges did", () => {
    const report = runWorkload(mixed, { cpus: 2 }, { operations: 20_000, seed: 3 });
    const { pageTables, vmalloc } = report;
    expect(pageTables.leavesMapped).toBeGreaterThan(pageTables.leavesUnmapped);
    expect(pageTables.tablesAllocated).toBeGreaterThan(0);
    expect(vmalloc.purges).toBeGreaterThan(0);
    expect(vmalloc.areasPurged).toBeGreaterThan(0);
    expect(vmalloc.fullFlushes + vmalloc.rangeFlushes).toBeGreaterThan(0);
    expect(vmalloc.lazyPagesMax).toBeLessThanOrEqual(vmalloc.pagesFreedLazily);
    expect(vmalloc.lazyPages).toBeLessThanOrEqual(vmalloc.lazyPagesMax);
    const tlb = tlbCounts(sumCounters(report.counters));
    expect(tlb.loads).toBe(report.memory.loads);
    expect(tlb.stores).toBe(report.memory.stores);
    expect(tlb.firstLevelHits + tlb.secondLevelHits + tlb.misses).toBe(tlb.loads + tlb.stores);
    expect(tlb.firstLevelHits).toBeGreaterThan(0);
    expect(tlb.misses).toBeGreaterThan(0);
    expect(tlb.walkCycles).toBeGreaterThan(0);
    expect(tlb.fullFlushes).toBeGreaterThan(0);
  });

  it("lives with a machine that runs out of memory", () => {
    const report = runWorkload(mixed, { cpus: 4, memoryBytes: 2 ** 25 }, OPTIONS);
    expect(report.operations.vmalloc_huge.failed).toBeGreaterThan(0);
    expect(report.memory.wrongLoads).toBe(0);
  });

  it("finds memory that changed behind its back", () => {
    const kernel = bootKernel({ cpus: 2 });
    const cpu = kernel.machine.cpus[0];
    const load = cpu.load.bind(cpu);
    cpu.load = (la, sizeBytes) => load(la, sizeBytes) ^ 1;
    expect(mixed.run(kernel, OPTIONS).wrongLoads).toBeGreaterThan(0);
  });

  it("tells how far it is", () => {
    const seen: number[] = [];
    runWorkload(mixed, { cpus: 2 }, { ...OPTIONS, onProgress: (operations) => seen.push(operations) });
    expect(seen.length).toBeGreaterThan(5);
    expect(seen.at(-1)).toBeLessThanOrEqual(OPTIONS.operations);
  });
});

describe("workloads by name", () => {
  it("are found, or the nearest is suggested", () => {
    expect(findWorkload("mixed")).toBe(mixed);
    expect(() => findWorkload("mixd")).toThrow("unknown workload 'mixd' (did you mean mixed?)");
    expect(() => findWorkload("something-else")).toThrow(/^unknown workload 'something-else'; mmulab run --list/);
  });
});
