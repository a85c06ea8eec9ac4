/** A trace with calls is replayed call by call, and costs what the traced run cost. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bootKernel, type Kernel } from "../../../src/machine/kernel.ts";
import { traceEverything } from "../../../src/output/event-file.ts";
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
  const cyclesPerSecond = kernel.machine.preset.frequencyGhz.value * 1e9;
  kernel.vm.flushing.keepAccounts();
  kernel.vm.events = traceEverything(kernel, cyclesPerSecond, (line) => lines.push(line));
  findWorkload(workload).run(kernel, { operations, seed: 1 });
  return { kernel, lines };
}

function replay(lines: readonly string[], options: Partial<FtraceOptions> = {}): Promise<FtraceReport> {
  return replayFtrace(folder.write("trace.txt", `${lines.join("\n")}\n`), { ...OPTIONS, ...options });
}

describe("a trace with calls", () => {
  it("may have a CPU that was busy for days between two calls", async () => {
    const { lines } = traced("module_load", 6);
    const middle = lines.length / 2;
    const apart = lines.map((line, i) => (i < middle ? line : line.replace(/ (\d+)(\.\d+: )/, " 25920$1$2")));
    expect(apart.at(-1)).toContain(" 259200.");
    const [near, far] = [await replay(lines), await replay(apart)];
    expect(far.traced.seconds).toBeGreaterThan(250_000);
    // Calls that are under way when the days begin wait in vain for what comes before their steps: some areas lie elsewhere.
    expect({ ...far.areas, atTracedAddress: 0 }).toEqual({ ...near.areas, atTracedAddress: 0 });
    // Their purges are not in the traced order either, and flush together or apart; so late the clock's numbers are an eighth of a cycle apart too.
    const flushes = near.fullFlushes + near.rangeFlushes;
    expect(Math.abs(far.fullFlushes + far.rangeFlushes - flushes)).toBeLessThan(flushes / 5);
  });

  it("may lack any events: a CPU in user mode is in the kernel again at its next call, seen to enter or not", async () => {
    const { lines } = traced("user_processes", 60);
    const without = (name: string) => lines.filter((line) => !line.includes(`: ${name}:`) || line.startsWith("#"));
    for (const some of [without("user_exit"), without("user_enter")]) {
      expect(some.length).toBeLessThan(lines.length);
      const report = await replay(some);
      expect(report.areas).toEqual((await replay(lines)).areas);
    }
    await fc.assert(
      fc.asyncProperty(fc.infiniteStream(fc.nat(9)), fc.integer({ min: 1, max: 4 }), async (draws, cpus) => {
        const kept = lines.filter((line) => line.startsWith("#") || draws.next().value !== 0);
        const { failed } = (await replay(kept, { cpus })).areas;
        expect(failed).toBe(0);
      }),
      { numRuns: 12 },
    );
  });

  it("uses memory where the trace's page walks are, in user mode too, and counts what tlb_flush counted", async () => {
    const { kernel, lines } = traced("user_processes", 1500);
    const refills = kernel.vm.flushing.keepAccounts().total().refills;
    expect(refills).toBeGreaterThan(500);
    const report = await replay(lines);
    expect(Math.abs(report.flushCost.refills / refills - 1)).toBeLessThan(0.05);
    expect(report.cyclesByActivity["user mode"]).toBeGreaterThan(0);
    const { traced: measured = [], emulated = [] } = report.shootdowns?.flushes ?? {};
    expect(measured.map(({ reason }) => reason)).toEqual(
      expect.arrayContaining(["flush on task switch", "remote shootdown", "local mm shootdown", "remote ipi send"]),
    );
    for (const { reason, whole, pageByPage } of measured) {
      const other = emulated.find((each) => each.reason === reason);
      const [there, here] = [whole + pageByPage, (other?.whole ?? 0) + (other?.pageByPage ?? 0)];
      expect(Math.abs(here - there), reason).toBeLessThanOrEqual(Math.max(5, there * 0.1));
    }
    const withoutWalks = await replay(lines.filter((line) => !line.includes("walk_completed")));
    expect(withoutWalks.flushCost.refills).toBeLessThan(refills / 2);
  });

  it("lays interrupts between CPUs, and their handlers, beside the emulated ones", async () => {
    const at = (cpu: number, seconds: string, text: string): string => `  sh-1 [00${cpu}] d.h1. ${seconds}: ${text}`;
    const callback = "generic_smp_call_function_single_interrupt+0x0/0x20";
    const report = await replay([
      at(0, "1.000000", "flush_tlb_all_enter: (flush_tlb_all+0x0/0x40)"),
      at(0, "1.000001", `ipi_send_cpumask: cpumask=1-2 callsite=on_each_cpu_cond_mask+0x2/0x30 callback=${callback}`),
      at(0, "1.000001", "ipi_send_cpu: cpu=1 callsite=native_smp_send_reschedule+0x3/0x40 callback=0x0"),
      at(1, "1.000002", "call_function_entry: vector=251"),
      at(1, "1.000004", "call_function_exit: vector=251"),
      at(2, "1.000003", "call_function_entry: vector=251"),
      at(2, "1.000007", "call_function_exit: vector=251"),
      at(0, "1.000009", "flush_tlb_all_exit: (x+0x1/0x2 <- flush_tlb_all)"),
    ]);
    expect(report.shootdowns?.flushes).toBeUndefined();
    expect(report.shootdowns?.interrupts?.traced).toMatchObject({ sent: 2, handlers: 2 });
    expect(report.shootdowns?.interrupts?.traced.handlerSeconds).toBeCloseTo(6e-6, 9);
    expect(report.shootdowns?.interrupts?.emulated).toMatchObject({ sent: 2, handlers: 2 });
  });

  it("counts interrupts as each kernel writes them: by mask or by list, by handler or by function, to one CPU or to many", async () => {
    const sent = async (...texts: string[]) => {
      const line = (text: string, i: number) => `  sh-1 [000] d.h1. 1.00000${i}: ${text}`;
      const flush = [
        "flush_tlb_all_enter: (flush_tlb_all+0x0/0x40)",
        "flush_tlb_all_exit: (x+0x1/0x2 <- flush_tlb_all)",
      ];
      return (await replay([flush[0], ...texts, flush[1]].map(line))).shootdowns?.interrupts?.traced;
    };
    const many = (mask: string, callback: string) =>
      `ipi_send_cpumask: cpumask=${mask} callsite=on_each_cpu_cond_mask+0x2/0x30 callback=${callback}`;
    const handler = "generic_smp_call_function_single_interrupt+0x0/0x20";
    expect(await sent(many("00000000,0000000e", handler))).toMatchObject({ sent: 3 });
    expect(await sent(many("80000001,00000003", handler))).toMatchObject({ sent: 4 });
    expect(await sent(many("1-3,64", handler))).toMatchObject({ sent: 4 });
    expect(await sent(many("00000003", "do_flush_tlb_all+0x0"))).toMatchObject({ sent: 2 });
    expect(await sent(many("00000003", "do_sync_core+0x0/0x40"))).toBeUndefined();
    const one = ["call_function_single_entry: vector=251", "call_function_single_exit: vector=251"];
    expect(await sent(`ipi_send_cpu: cpu=1 callsite=x+0x1/0x2 callback=${handler}`, ...one)).toMatchObject({
      sent: 1,
      handlers: 1,
    });
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
