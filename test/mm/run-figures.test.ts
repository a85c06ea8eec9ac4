/**
 * A seed gives the same run on every machine, down to the cycle, and in every version unless what something costs or when it happens is
 * changed on purpose: then `npx vitest run test/mm/run-figures.test.ts --update` writes `run-figures.txt` anew, and what differs there
 * says what the change has moved.
 */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { flushPolicyByName, lockStatistics, vmallocinfo, vmallocMeminfo } from "../../mm/index.ts";
import type { ParameterValues } from "../../src/input/parameters.ts";
import { bootKernel, type Kernel, type KernelConfig } from "../../src/machine/kernel.ts";
import { runOnKernel } from "../../src/runs/run.ts";
import { findWorkload } from "../../src/workloads/all-workloads.ts";

interface Run {
  readonly workload: string;
  readonly operations: number;
  readonly parameters?: ParameterValues;
  readonly config: Partial<KernelConfig>;
}

const policy = flushPolicyByName;
const SMALL = { cpus: 4, memoryBytes: 2 ** 28, vmalloc: { lazyMaxPages: 256 } };

/** Every workload, policy and version, and what settings switch on. */
const RUNS: Readonly<Record<string, Run>> = {
  "interrupts, two NUMA nodes": { workload: "mixed", operations: 400, config: { ...SMALL, numaNodes: 2 } },
  "eager flushes, Linux 6.1": {
    workload: "mixed",
    operations: 200,
    config: { ...SMALL, flushPolicy: policy("eager"), kernel: "6.1" },
  },
  "flushes put off for an isolated CPU": {
    workload: "user_processes",
    operations: 200,
    config: { ...SMALL, flushPolicy: policy("deferred"), isolatedCpus: [3] },
  },
  "broadcast flushes, Linux 7.3": {
    workload: "user_processes",
    operations: 400,
    config: { ...SMALL, cpus: 6, preset: "zen4", flushPolicy: policy("invlpgb"), kernel: "7.3" },
  },
  "remote actions": {
    workload: "user_processes",
    operations: 200,
    config: { ...SMALL, preset: "granite-rapids", flushPolicy: policy("rar") },
  },
  "page-table isolation, locks checked": {
    workload: "user_processes",
    operations: 100,
    config: { ...SMALL, pageTableIsolation: true, proveLocking: true },
  },
  "processes that come and go, two sockets": {
    workload: "fork_storm",
    operations: 300,
    config: { ...SMALL, topology: { sockets: 2, coresPerSocket: 1, threadsPerCore: 2 } },
  },
  "small mappings, Linux 6.6": { workload: "fs_buffer_cache", operations: 300, config: { ...SMALL, kernel: "6.6" } },
  "modules, Linux 7.3": { workload: "module_load", operations: 120, config: { ...SMALL, kernel: "7.3" } },
  "the kernel's own tests, two at a time": {
    workload: "test_vmalloc",
    operations: 1,
    parameters: { test_loop_count: 5, run_test_mask: 0x739, nr_pages: 2, test_repeat_count: 1, nr_threads: 2 },
    config: { ...SMALL, cpus: 2 },
  },
  devices: { workload: "ioremap_driver", operations: 120, config: SMALL },
};

/** Figures of a kernel after a run, one line each. */
function figuresOf(kernel: Kernel): string[] {
  const { mm, vm, machine, pages } = kernel;
  const { accounts, vmstat, smp, fullFlushes, rangeFlushes } = mm.flushing;
  const record = (name: string, values: object): string => `${name}: ${JSON.stringify(values)}`;
  const info = vmallocinfo(vm);
  return [
    record("cycles", Object.fromEntries(machine.loop.accounts.total())),
    record("clocks", [...machine.loop.clockCycles]),
    record("kernel flushes", { fullFlushes, rangeFlushes, ipis: smp.sent }),
    ...vmstat.lines(),
    record("flushes", accounts?.total() ?? {}),
    ...[...(accounts?.costByOrigin() ?? [])].map(([origin, cost]) => record(`  ${origin}`, cost)),
    ...lockStatistics(machine.loop).map(({ name, ...values }) => record(name, Object.values(values))),
    ...vmallocMeminfo(vm),
    record("areas", { lines: info.length, pages: vm.nrVmallocPages, lazy: vm.lazyNr, purges: vm.purges }),
    ...info.slice(-3),
    record("page tables", [...mm.tables.tables, mm.tables.leavesSet, mm.tables.leavesCleared]),
    record("pages", { free: pages.freePages, allocated: pages.allocatedPages, freed: pages.freedPages }),
    record("log", kernel.log.lines),
  ];
}

describe("runs with a seed", () => {
  it("cost what they did, cycle by cycle", async () => {
    const lines = Object.entries(RUNS).flatMap(([name, { workload, config, ...options }]) => {
      const kernel = bootKernel(config);
      kernel.mm.flushing.keepAccounts({ refills: false });
      const report = runOnKernel(kernel, findWorkload(workload), { ...options, seed: 7 });
      return [`## ${workload}: ${name}`, JSON.stringify(report.operations), ...figuresOf(kernel), ""];
    });
    await expect(lines.join("\n")).toMatchFileSnapshot(join(import.meta.dirname, "run-figures.txt"));
  });
});
