import { describe, expect, it } from "vitest";
import { MODULES_VADDR, snapshotVmalloc } from "../../../mm/index.ts";
import { parseParameters } from "../../../src/input/parameters.ts";
import { bootKernel } from "../../../src/machine/kernel.ts";
import { runOnKernel } from "../../../src/runs/run.ts";
import type { RunReport } from "../../../src/runs/run-report.ts";
import { findWorkload, WORKLOADS } from "../../../src/workloads/index.ts";

/** Small enough for a test, large enough that everything happens. */
const WORDS: Readonly<Record<string, readonly string[]>> = {
  test_vmalloc: ["test_loop_count=20", "run_test_mask=0x77d"],
  fork_storm: ["live=20"],
  fs_buffer_cache: ["live=50", "aliases_every=100"],
  hash_table: ["size_mib=8"],
  ioremap_driver: ["live=5", "registers=6"],
  module_load: ["live=5"],
  user_processes: ["processes=3"],
};

function run(
  name: string,
  words: readonly string[] = WORDS[name] ?? [],
  cpus = 2,
  operations = 600,
  seed = 1,
  version = "6.12",
) {
  const workload = findWorkload(name);
  const kernel = bootKernel({ cpus, memoryBytes: 2 ** 31, kernel: version });
  const parameters = parseParameters(name, workload.parameters ?? [], words);
  return { kernel, report: runOnKernel(kernel, workload, { operations, seed, parameters }) };
}

const done = (report: RunReport, name: string): number => report.operations[name]?.done ?? 0;

describe.each(WORKLOADS.map(({ name }) => name))("the workload %s", (name) => {
  it("gives the same report for the same seed, and finds its memory as it left it", () => {
    const { kernel, report } = run(name);
    expect(report.memory.wrongLoads).toBe(0);
    expect(report.failure).toBeUndefined();
    expect(kernel.verify()).toEqual([]);
    expect(run(name).report).toEqual(report);
    expect(run(name, undefined, 2, 600, 2).report).not.toEqual(report);
  });
});

describe("fork_storm", () => {
  it("takes stacks of 16 KiB that are aligned to their size, and reuses a CPU's two cached ones", () => {
    const { report } = run("fork_storm", ["live=10"], 1, 8000);
    const reused = Number(report.details?.stacksReused);
    expect(reused).toBeGreaterThan(0);
    expect(done(report, "vmalloc") + reused).toBe(8000);
    expect(report.operations.vmalloc.bytes).toBe(16384 * done(report, "vmalloc"));
    // 4 pages and a guard page each.
    expect(report.vmalloc.pagesFreedLazily).toBe(5 * done(report, "vfree"));
  });
});

describe("fork_storm", () => {
  it("goes on calling vmalloc and vfree: a grace period releases many stacks, and two of them fit into a CPU's cache", () => {
    const calls = [4000, 16_000].map((operations) => run("fork_storm", ["live=50"], 2, operations).report);
    for (const [i, report] of calls.entries()) {
      expect(done(report, "vmalloc")).toBeGreaterThan(0.95 * [4000, 16_000][i]);
      expect(done(report, "vmalloc") - done(report, "vfree")).toBeLessThanOrEqual(50 + 2 * 2);
    }
  });
});

describe("module_load", () => {
  it("takes seven areas a module from the modules' range, changes their rights, and flushes each time one is protected or freed", () => {
    const { report, kernel } = run("module_load", ["live=4"], 2, 40);
    expect(done(report, "module_alloc")).toBe(7 * 40);
    // Text and rodata of both kinds change; data are not executable to begin with, ro_after_init only becomes read-only after init.
    expect([done(report, "set_memory_rox"), done(report, "set_memory_ro")]).toEqual([2 * 40, 3 * 40]);
    expect(done(report, "set_memory_nx")).toBe(3 * 40);
    const flushes = report.vmalloc.fullFlushes + report.vmalloc.rangeFlushes;
    expect(flushes).toBeGreaterThanOrEqual(5 * 40 + done(report, "execmem_free"));
    const live = snapshotVmalloc(kernel.vm).busy.filter(({ start }) => start >= MODULES_VADDR);
    expect(live).toHaveLength(4 * 4);
    expect(kernel.verify()).toEqual([]);
  });

  it("takes the text from a cache of large executable pages in 7.3, which costs more flushes", () => {
    const older = run("module_load", ["live=4"], 2, 40);
    const newer = run("module_load", ["live=4"], 2, 40, 1, "7.3");
    expect(done(newer.report, "execmem_restore_rox")).toBe(2 * 40);
    expect(done(newer.report, "set_memory_rox")).toBe(0);
    const areas = snapshotVmalloc(newer.kernel.vm).busy.filter(({ start }) => start >= MODULES_VADDR);
    // Three areas of data a module, and one region for the text of all.
    expect(areas).toHaveLength(4 * 3 + 1);
    expect(areas.filter(({ vm }) => vm?.pageOrder === 9)).toHaveLength(1);
    // Made writable and read-only again, at loading and when freed: a flush each.
    const { report: before } = older;
    expect(newer.report.vmalloc.fullFlushes).toBeGreaterThan(1.5 * before.vmalloc.fullFlushes);
    expect(newer.kernel.verify()).toEqual([]);
  });
});

describe("hash_table", () => {
  it("walks far less with 2 MiB pages than with 4 KiB pages", () => {
    const perLookup = (huge: number): number =>
      Number(run("hash_table", ["size_mib=64", `huge=${huge}`], 1, 4000).report.details?.walksPerLookup);
    expect(perLookup(1)).toBeLessThan(0.1);
    expect(perLookup(0)).toBeGreaterThan(0.8);
  });

  it("says so when there is no room for the table", () => {
    expect(run("hash_table", ["size_mib=4096"]).report.failure).toMatch(/no room for the table/);
  });
});

describe("fs_buffer_cache", () => {
  it("maps up to 64 pages from vmap blocks and more as areas of their own", () => {
    const { report } = run("fs_buffer_cache", ["live=20", "aliases_every=50"], 2, 400);
    expect(report.vmalloc.blocksMade).toBeGreaterThan(0);
    expect(done(report, "vm_map_ram")).toBe(400);
    expect(done(report, "vm_unmap_ram")).toBe(380);
    expect(done(report, "vm_unmap_aliases")).toBe(8);
    expect(report.vmalloc.areasAllocated).toBeGreaterThan(report.vmalloc.blocksMade);
  });
});

describe("user_processes", () => {
  it("shoots down user addresses on CPUs that run the same process", () => {
    const { report } = run("user_processes", ["processes=1"], 4, 800);
    expect(Number(report.details?.userShootdowns)).toBeGreaterThan(0);
    expect(done(report, "mmap")).toBeGreaterThan(done(report, "munmap"));
    expect(done(report, "vfree")).toBeGreaterThan(0);
  });
});

describe("ioremap_driver", () => {
  it("maps large ranges with 2 MiB pages", () => {
    const { report } = run("ioremap_driver", ["live=3", "registers=0"], 1, 60);
    const pages = report.operations.ioremap.bytes / 4096;
    expect(report.pageTables.leavesMapped).toBeLessThan(pages / 5);
    expect(done(report, "ioremap")).toBeGreaterThan(done(report, "iounmap"));
  });
});
