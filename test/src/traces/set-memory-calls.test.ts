/** Rights of kernel pages in traces: `set_memory_*` is made again, on what the trace allocated, in the trace's order. */
import { describe, expect, it } from "vitest";
import { bootKernel } from "../../../src/machine/kernel.ts";
import { traceEverything } from "../../../src/output/event-file.ts";
import { replayFtrace } from "../../../src/traces/ftrace-replay.ts";
import type { FtraceReport } from "../../../src/traces/ftrace-report.ts";
import { findWorkload } from "../../../src/workloads/index.ts";
import { temporaryFolder } from "../fixtures.ts";

const folder = temporaryFolder();

interface Costs {
  readonly flushes: number;
  readonly cycles: number;
}

/** What the flushes of a run of modules cost, and its replay. */
async function runAndReplay(version: string, cpus: number): Promise<{ run: Costs; report: FtraceReport }> {
  const kernel = bootKernel({ cpus, kernel: version });
  const lines: string[] = [];
  const accounts = kernel.vm.flushing.keepAccounts();
  const cyclesPerSecond = kernel.machine.preset.frequencyGhz.value * 1e9;
  kernel.vm.events = traceEverything(kernel, cyclesPerSecond, (line) => lines.push(line));
  findWorkload("module_load").run(kernel, { operations: 30, seed: 1, parameters: { live: 8 } });
  const file = folder.write("trace.txt", `${lines.join("\n")}\n`);
  const report = await replayFtrace(file, {
    preset: "skylake",
    memoryBytes: 2 ** 32,
    accounts: true,
    settings: { kernel: version },
  });
  return { run: { flushes: accounts.records.length, cycles: sumOf(accounts.total()) }, report };
}

function sumOf(cost: FtraceReport["flushCost"]): number {
  return cost.workCycles + cost.waitCycles + cost.stolenCycles + cost.lineCycles + cost.refillCycles;
}

describe("a trace of modules", () => {
  it.each(["6.1", "6.12", "7.3"])("costs the same to the cycle on one CPU: Linux %s", async (version) => {
    const { run, report } = await runAndReplay(version, 1);
    expect(report.differences).toEqual([]);
    expect(report.skipped).toEqual([]);
    expect(report.fullFlushes + report.rangeFlushes).toBe(run.flushes);
    // Times in a trace are whole nanoseconds.
    expect(Math.abs(sumOf(report.flushCost) / run.cycles - 1)).toBeLessThan(0.001);
    const splits = report.flushCosts?.byCause.find(({ cause }) => cause === "page split")?.flushes ?? 0;
    expect(splits).toBeGreaterThan(0);
  });

  it("costs nearly the same on several CPUs", async () => {
    const { run, report } = await runAndReplay("6.12", 3);
    expect(Math.abs((report.fullFlushes + report.rangeFlushes) / run.flushes - 1)).toBeLessThan(0.05);
    expect(Math.abs(sumOf(report.flushCost) / run.cycles - 1)).toBeLessThan(0.08);
  });
});

describe("pages that another CPU makes read-only right after they were allocated", () => {
  it("are not stored to then: who allocated them had done so before", async () => {
    const at = (task: string, cpu: number, seconds: string, text: string) =>
      `     ${task} [00${cpu}] ..... ${seconds}: ${text}`;
    const range =
      "start=0xffffffffa0000000 end=0xffffffffff000000 gfp=0xcc0 flags=0x100 node=-1 caller=load_module+0x1/0x2";
    const lines = [
      at("insmod-7", 0, "1.000000", `vmalloc_enter: (__vmalloc_node_range+0x0/0x40) size=4096 align=1 ${range}`),
      at(
        "insmod-7",
        0,
        "1.000001",
        "vmalloc_exit: (load_module+0x1/0x2 <- __vmalloc_node_range) addr=0xffffffffa0000000",
      ),
      at("insmod-8", 1, "1.000001", "set_memory_ro_enter: (set_memory_ro+0x0/0x40) addr=0xffffffffa0000000 pages=1"),
      at("insmod-8", 1, "1.000002", "set_memory_ro_exit: (x <- set_memory_ro)"),
    ];
    const file = folder.write("soon.txt", `${lines.join("\n")}\n`);
    const report = await replayFtrace(file, { preset: "skylake", memoryBytes: 2 ** 30 });
    expect(report.calls).toMatchObject({ vmalloc: { made: 1 }, set_memory_ro: { made: 1 } });
  });
});

describe("rights of pages that no call of the trace has allocated", () => {
  it("purge and flush all the same: what lies there is not known", async () => {
    const at = (seconds: string, text: string) => `     insmod-7 [000] ..... ${seconds}: ${text}`;
    const file = folder.write(
      "unknown.txt",
      [
        at("1.000000", "set_memory_ro_enter: (set_memory_ro+0x0/0x40) addr=0xffffffffc0400000 pages=3"),
        at("1.000010", "flush_tlb_all_enter: (flush_tlb_all+0x0/0x20)"),
        at("1.000014", "flush_tlb_all_exit: (change_page_attr_set_clr+0x1/0x2 <- flush_tlb_all)"),
        at("1.000020", "set_memory_ro_exit: (load_module+0x1/0x2 <- set_memory_ro)"),
        "",
      ].join("\n"),
    );
    const report = await replayFtrace(file, { preset: "skylake", memoryBytes: 2 ** 30 });
    expect(report.fullFlushes).toBe(1);
    expect(report.traced.flushes).toMatchObject({ whole: 1, pageByPage: 0 });
    expect(report.calls).toMatchObject({ set_memory_ro: { made: 1, failed: 0 } });
  });

  it("count a flush once where cpa_flush makes it by another function", async () => {
    const at = (seconds: string, text: string) => `     insmod-7 [000] ..... ${seconds}: ${text}`;
    const file = folder.write(
      "cpa.txt",
      [
        at("1.000000", "cpa_flush_enter: (cpa_flush+0x0/0x40) addr=0xffffffffc0400000 pages=3"),
        at("1.000010", "flush_tlb_all_enter: (flush_tlb_all+0x0/0x20)"),
        at("1.000014", "flush_tlb_all_exit: (cpa_flush+0x1/0x2 <- flush_tlb_all)"),
        at("1.000020", "cpa_flush_exit: (change_page_attr_set_clr+0x1/0x2 <- cpa_flush)"),
        at("2.000000", "cpa_flush_enter: (cpa_flush+0x0/0x40) addr=0xffff888012345000 pages=1"),
        at("2.000004", "cpa_flush_exit: (change_page_attr_set_clr+0x1/0x2 <- cpa_flush)"),
        "",
      ].join("\n"),
    );
    const report = await replayFtrace(file, { preset: "skylake", memoryBytes: 2 ** 30 });
    expect(report.traced.flushes).toMatchObject({ whole: 1, pageByPage: 1 });
  });
});
