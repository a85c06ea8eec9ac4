/**
 * What a kernel shows of a run with a seed, in the kernel's own formats, line by line: trace events, probed calls and idle CPUs, then
 * `/proc/vmallocinfo` and the dump of its page tables. `--update` writes `traced-runs.txt` anew after a change that means to move it.
 */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  dumpPageTables,
  ftraceCalls,
  ftraceText,
  VMALLOC_DUMP_END,
  VMALLOC_START,
  vmallocinfo,
  watchIdle,
} from "../../mm/index.ts";
import { bootKernel } from "../../src/machine/kernel.ts";
import { runOnKernel } from "../../src/runs/run.ts";
import { findWorkload } from "../../src/workloads/all-workloads.ts";

/** Workloads and the version of the kernel that each runs on. */
const RUNS = [
  ["mixed", 60, "6.12"],
  ["user_processes", 40, "7.3"],
  ["module_load", 8, "6.1"],
] as const;

describe("runs with a seed", () => {
  it("show the same lines to those who trace them", async () => {
    const lines = RUNS.flatMap(([workload, operations, version]) => {
      const kernel = bootKernel({ cpus: 3, memoryBytes: 2 ** 27, kernel: version, vmalloc: { lazyMaxPages: 64 } });
      const { loop } = kernel.machine;
      const shown: string[] = [];
      const options = { cyclesPerSecond: 2e9, digits: 9, showKernelFlushes: true } as const;
      const write = (line: string) => shown.push(line);
      kernel.vm.setProbes(ftraceCalls(loop, options, write));
      watchIdle(loop, options, write);
      kernel.vm.events = ftraceText(loop, options, write);
      runOnKernel(kernel, findWorkload(workload), { operations, seed: 3 });
      return [
        `## ${workload}, Linux ${version}: ${shown.length} lines, of which the first`,
        ...shown.slice(0, 150),
        ...vmallocinfo(kernel.vm),
        ...dumpPageTables(kernel.tables, VMALLOC_START, VMALLOC_DUMP_END),
        "",
      ];
    });
    await expect(lines.join("\n")).toMatchFileSnapshot(join(import.meta.dirname, "traced-runs.txt"));
  });
});
