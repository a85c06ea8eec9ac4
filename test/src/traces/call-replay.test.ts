/** A trace with calls is replayed call by call, and costs what the traced run cost. */
import { describe, expect, it } from "vitest";
import { ftraceCalls, ftraceText, watchIdle } from "../../../mm/index.ts";
import { bootKernel, type Kernel } from "../../../src/machine/kernel.ts";
import { parseFtraceLine } from "../../../src/traces/ftrace-lines.ts";
import { replayFtrace } from "../../../src/traces/ftrace-replay.ts";
import type { FtraceOptions, FtraceReport } from "../../../src/traces/ftrace-report.ts";
import { findWorkload } from "../../../src/workloads/index.ts";
import { temporaryFolder } from "../fixtures.ts";

const folder = temporaryFolder();
const OPTIONS: FtraceOptions = { preset: "skylake", memoryBytes: 2 ** 32 };

/** A run of a workload with accounts, and its trace. */
function traced(workload: string, operations: number): { kernel: Kernel; lines: string[] } {
  const kernel = bootKernel();
  const lines: string[] = [];
  const options = { cyclesPerSecond: 2.6e9, digits: 9 } as const;
  const write = (line: string): unknown => lines.push(line);
  kernel.vm.flushing.keepAccounts();
  kernel.vm.events = ftraceText(kernel.machine.loop, options, write);
  kernel.vm.setProbes(ftraceCalls(kernel.machine.loop, options, write));
  watchIdle(kernel.machine.loop, options, write);
  findWorkload(workload).run(kernel, { operations, seed: 1 });
  return { kernel, lines };
}

function replay(lines: readonly string[], options: Partial<FtraceOptions> = {}): Promise<FtraceReport> {
  return replayFtrace(folder.write("trace.txt", `${lines.join("\n")}\n`), { ...OPTIONS, ...options });
}

/** All parts but refills: which memory is used, no trace says. */
function costOf(cost: { workCycles: number; waitCycles: number; stolenCycles: number; lineCycles: number }): number {
  return cost.workCycles + cost.waitCycles + cost.stolenCycles + cost.lineCycles;
}

describe("a trace with calls", () => {
  it.each([
    ["mixed", 400],
    ["fork_storm", 12_000],
    ["module_load", 200],
  ])("of %s gives the run's flushes, and their costs within 2 %%", async (workload, operations) => {
    const { kernel, lines } = traced(workload, operations);
    const accounts = kernel.vm.flushing.keepAccounts();
    expect(accounts.records.length).toBeGreaterThan(0);
    const report = await replay(lines);
    expect(report.skipped).toEqual([]);
    expect(report.purges).toBe(report.traced.purges);
    expect(report.fullFlushes + report.rangeFlushes).toBe(
      kernel.vm.flushing.fullFlushes + kernel.vm.flushing.rangeFlushes,
    );
    expect(Math.abs(costOf(report.flushCost) / costOf(accounts.total()) - 1)).toBeLessThan(0.02);
  });

  it("says what each task and each kind of call cost, and takes another version and policy", async () => {
    const { lines } = traced("mixed", 400);
    const report = await replay(lines, { settings: { kernel: "7.3", lazyMax: 100 }, accounts: true });
    expect(report.kernel).toBe("7.3");
    expect(report.purges).toBeGreaterThan(report.traced.purges);
    expect(report.differences.join()).toContain(`purges: ${report.traced.purges} in the traced kernel`);
    expect(report.byTask?.map(({ task }) => task).filter((task) => task.startsWith("mixed/"))).toHaveLength(4);
    expect(report.calls?.vfree.made).toBe(
      lines.filter((line) => /mixed.*vfree_enter/.test(line)).length - nested(lines),
    );
    expect(report.flushCosts?.byOrigin.map(({ origin }) => origin)).toContain("mixed_vmalloc+0x0/0x0");
  });

  it("of the recording script begins with the areas and lazily freed pages that were there", async () => {
    const at = (seconds: string, text: string): string => `  sh-1 [000] ..... ${seconds}: ${text}`;
    const report = await replay([
      "# release: 6.1.192",
      "# cpus: 2",
      "# lazy_max_pages: 16384",
      "# vmallocinfo-before: 0xff11c90000000000-0xff11c90000003000   12288 load+0x1/0x2 pages=2 vmalloc N0=2",
      "# vmallocinfo-before: 0xff11c90000003000-0xff11c90000008000   20480 unpurged vm_area",
      "# lost: 1 12",
      at(
        "1.000000",
        "vmalloc_enter: (__vmalloc_node_range+0x0/0x880) size=4096 align=1 start=0xff11c90000000000 end=0xff31c90000000000 gfp=0xcc0 flags=0x0 node=-1 caller=f+0x1/0x2",
      ),
      at("1.000010", "vmalloc_exit: (g+0x1/0x2 <- __vmalloc_node_range) addr=0xff11c90000009000"),
      at("1.000020", "vfree_enter: (vfree+0x0/0x90) addr=0xff11c90000000000"),
      at("1.000030", "vfree_exit: (h+0x1/0x2 <- vfree)"),
      at("1.000040", "vm_unmap_aliases_enter: (vm_unmap_aliases+0x0/0x30)"),
      at("1.000041", "purge_enter: (__purge_vmap_area_lazy+0x0/0x750) start=0xffffffffffffffff end=0x0"),
      at("1.000050", "purge_exit: (_vm_unmap_aliases+0x1/0x2 <- __purge_vmap_area_lazy)"),
      at("1.000060", "vm_unmap_aliases_exit: (h+0x1/0x2 <- vm_unmap_aliases)"),
    ]);
    expect(report).toMatchObject({
      kernel: "6.1",
      machine: { cpus: 2 },
      initial: { areas: 1, lazyPages: 5 },
      areas: { allocated: 1, freed: 1, live: 1 },
      purges: 1,
      traced: { purges: 1, release: "6.1.192" },
      lost: [{ cpu: 1, events: 12 }],
      skipped: [],
    });
  });
});

/** How many calls of vfree are within another: of the arrays of page pointers. */
function nested(lines: readonly string[]): number {
  let depth = 0;
  let count = 0;
  const depths = new Map<string, number>();
  for (const line of lines) {
    const event = parseFtraceLine(line);
    if ((event.event !== "enter" && event.event !== "exit") || event.call !== "vfree") continue;
    depth = depths.get(event.task) ?? 0;
    if (event.event === "enter" && depth > 0) count++;
    depths.set(event.task, depth + (event.event === "enter" ? 1 : -1));
  }
  return count;
}
