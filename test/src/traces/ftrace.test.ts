import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { EAGER_POLICY, ftraceText } from "../../../mm/index.ts";
import { bootKernel } from "../../../src/machine/kernel.ts";
import { parseFtraceLine } from "../../../src/traces/ftrace-lines.ts";
import { replayFtrace } from "../../../src/traces/ftrace-replay.ts";
import type { FtraceOptions } from "../../../src/traces/ftrace-report.ts";
import { renderFtraceReport } from "../../../src/traces/ftrace-report-text.ts";
import { temporaryFolder } from "../fixtures.ts";

const folder = temporaryFolder();
const OPTIONS: FtraceOptions = { preset: "skylake", memoryBytes: 2 ** 32 };
const ALLOC =
  "alloc_vmap_area: va_start: 18446683600570023936 size=8192 align=1 vstart=0xffffc90000000000 vend=0xffffe8ffffffffff failed=0";

/** What ftrace would have shown of random vmalloc and vfree calls, one every `gapUsec` microseconds on each CPU in turn. */
function tracedWorkload(cpus: number, calls: number): { text: string; live: number; frees: number } {
  const kernel = bootKernel({ cpus });
  const lines: string[] = [];
  kernel.vm.events = ftraceText(kernel.machine.loop, { cyclesPerSecond: 2.6e9 }, (line) => lines.push(line));
  const live: number[] = [];
  let frees = 0;
  for (let i = 0; i < calls; i++) {
    kernel.currentCpu = i % cpus;
    if ((i * 7919) % 5 < 2 && live.length > 0) {
      kernel.vfree(live.splice((i * 31) % live.length, 1)[0]);
      frees++;
    } else live.push(kernel.vmalloc((1 + ((i * 13) % 60)) * 4096));
    kernel.runUntilIdle();
  }
  return { text: `${lines.join("\n")}\n`, live: live.length, frees };
}

describe("lines of ftrace text", () => {
  const alloc = {
    event: "alloc",
    cpu: 3,
    seconds: 12.345678,
    address: 0xffffc90000000000n,
    sizeBytes: 8192,
    align: 1,
    vstart: 0xffffc90000000000n,
    vend: 0xffffe8ffffffffffn,
    failed: false,
    isTicks: false,
    hasCpu: true,
  };

  it.each([
    ["trace_pipe", `          insmod-123     [003] .....    12.345678: ${ALLOC}`],
    ["trace_pipe with flags of 6.12", `   kworker/u8:2-45     [003] d..1.    12.345678: ${ALLOC}`],
    ["a kernel without the fifth flag", `          insmod-123   [003] ....    12.345678: ${ALLOC}`],
    ["record-tgid", `          insmod-123     (    123) [003] .....    12.345678: ${ALLOC}`],
    ["an unknown tgid", `          insmod-123     (-------) [003] .....    12.345678: ${ALLOC}`],
    ["trace-cmd report", `          insmod-123   [003]    12.345678: ${ALLOC.replace(": ", ":      ")}`],
    ["perf script", `          insmod   123 [003]    12.345678: vmalloc:${ALLOC}`],
    ["perf script with process and thread", `          insmod   123/123 [003]    12.345678: vmalloc:${ALLOC}`],
    ["PREEMPT_RT, with seven flags", `          insmod-123     [003] ....1..    12.345678: ${ALLOC}`],
    ["the latency format", `  insmod-123       3..... 12345678us+: ${ALLOC}`],
    ["the latency format with flags", `  insmod-123       3d..1. 12345678us : ${ALLOC}`],
    ["a task with spaces and dashes", `   my task-x-123     [003] .....    12.345678: ${ALLOC}`],
  ])("are read as %s prints them", (_, line) => {
    expect(parseFtraceLine(line)).toMatchObject(alloc);
  });

  it("are read where the trace clock counts, or no CPU is named", () => {
    const counted = parseFtraceLine(`          insmod-123     [003] .....  281474976812345: ${ALLOC}`);
    expect(counted).toMatchObject({ ...alloc, seconds: 281474976812345, isTicks: true });
    const bare = parseFtraceLine(`insmod   123   12.345678: vmalloc:${ALLOC}`);
    expect(bare).toMatchObject({ ...alloc, cpu: 0, hasCpu: false });
  });

  it("of frees and purges are read", () => {
    const prefix = "   a-1 [000] .....     1.000000: ";
    expect(
      parseFtraceLine(`${prefix}free_vmap_area_noflush: va_start=0xffffc90000000000 nr_lazy=2 nr_lazy_max=32768`),
    ).toMatchObject({ event: "free", cpu: 0, seconds: 1, address: 0xffffc90000000000n, lazyNr: 2, lazyMax: 32768 });
    expect(
      parseFtraceLine(`${prefix}purge_vmap_area_lazy: start=0xffffffffffffffff end=0x0 num_purged=0`),
    ).toMatchObject({
      event: "purge",
      cpu: 0,
      seconds: 1,
      areas: 0,
    });
  });

  it.each([
    ["# tracer: nop", ""],
    ["", ""],
    ["cpus=4", ""],
    ["hello", "is no line of ftrace text"],
    ["version = 6", ""],
    ["CPU 3 is empty", ""],
    ["##### CPU 2 buffer started ####", ""],
    ["          demo-311     [001] .....   107.812347: <stack trace>", ""],
    ["          demo-311     [001] .....   107.812447: kernel_stack:         <stack trace >", ""],
    [" => __vmalloc_node_range_noprof", ""],
    ["=> remove_vm_area (ffffffff812d2001)", ""],
    ["\tffffffff812d1c3a free_vmap_area_noflush+0x12a ([kernel.kallsyms])", ""],
    [
      `  a-1 [000] ..... 1.0: ${ALLOC.replace("align=1 ", "")}`,
      "is a alloc_vmap_area event whose fields are not those of Linux 6.12",
    ],
  ])("%j is not used: %j", (line, reason) => {
    expect(parseFtraceLine(line)).toEqual({ event: "skip", reason });
  });

  it.each([
    ["CPU:2 [LOST 154 EVENTS]", 154],
    ["CPU:2 [2046 EVENTS DROPPED]", 2046],
    ["CPU:2 [LOST EVENTS]", null],
    ["CPU 2 had 3 events dropped", null],
  ])("%j says what the tracer lost", (line, count) => {
    expect(parseFtraceLine(line)).toEqual({ event: "lost", cpu: 2, count });
  });

  it("of other events are named in the error when there is none of vmalloc", async () => {
    expect(parseFtraceLine("  a-1 [000] ..... 1.0: sched_switch: x")).toMatchObject({ otherEvent: "sched_switch" });
    const line = "   demo-2000    [012] d...   170.430048: tlb_flush: pages:-1 reason:flush on task switch (0)";
    const file = folder.write("tlb.txt", `${line}\n`);
    await expect(replayFtrace(file, OPTIONS)).rejects.toThrow(
      /there are events \(tlb_flush\), but none of vmalloc:alloc/,
    );
  });
});

describe("a replayed ftrace trace", () => {
  it.each([1, 3])("rebuilds the areas of %d CPUs at the addresses that were traced", async (cpus) => {
    const { text, live, frees } = tracedWorkload(cpus, 400);
    const report = await replayFtrace(folder.write("trace.txt.gz", gzipSync(text)), OPTIONS);
    expect(report.skipped).toEqual([]);
    expect(report.machine.cpus).toBe(cpus);
    expect(report.areas).toMatchObject({
      allocated: live + frees,
      atTracedAddress: live + frees,
      freed: frees,
      live,
      failed: 0,
    });
    expect(report.allocCycles).toBeGreaterThan(0);
    expect(report.freeCycles).toBeGreaterThan(0);
  });

  it("purges where the trace shows a purge that lazily freed pages do not explain, as vm_unmap_aliases makes it", async () => {
    const trace = (lazyPages: number): string => {
      const lines = Array.from({ length: 5 }, (_, i) => {
        const at = (j: number): string => `     insmod-123   [000] .....    12.00${i}00${j}: `;
        const start = 0xffffc90000000000n + BigInt(i) * 0x3000n;
        const range = "vstart=0xffffc90000000000 vend=0xffffe8ffffffffff";
        return [
          `${at(1)}alloc_vmap_area: va_start: ${start} size=12288 align=4096 ${range} failed=0`,
          `${at(2)}free_vmap_area_noflush: va_start=0x${start.toString(16)} nr_lazy=${lazyPages} nr_lazy_max=8192`,
          `${at(3)}purge_vmap_area_lazy: start=0x${start.toString(16)} end=0x${start.toString(16)} num_purged=1`,
        ];
      });
      return `${lines.flat().join("\n")}\n`;
    };
    const asked = await replayFtrace(folder.write("asked.txt", trace(3)), OPTIONS);
    expect(asked).toMatchObject({ purges: 5, areasPurged: 5, traced: { purges: 5, explicitPurges: 5 } });
    const due = await replayFtrace(folder.write("due.txt", trace(9000)), OPTIONS);
    // The drain work's, and what was lazily freed before the trace begins.
    expect(due).toMatchObject({ purges: 5, areasPurged: 6, traced: { purges: 5, explicitPurges: 0 } });
  });

  it("purges by the traced lazy_max_pages, or by what it is told", async () => {
    const { text, frees } = tracedWorkload(1, 3000);
    const file = folder.write("trace.txt", text);
    const asTraced = await replayFtrace(file, OPTIONS);
    expect(asTraced.lazyMaxPages).toBe(8192);
    expect(asTraced.purges).toBe(asTraced.traced.purges);
    const often = await replayFtrace(file, { ...OPTIONS, settings: { lazyMax: 64 } });
    expect(often.purges).toBeGreaterThan(100);
    expect(often.areasPurged).toBeLessThanOrEqual(frees);
    expect(often.flushCost.workCycles).toBeGreaterThan(asTraced.flushCost.workCycles);
    const wide = await replayFtrace(file, { ...OPTIONS, cpus: 64 });
    expect(wide).toMatchObject({ lazyMaxPages: 7 * 8192, machine: { cpus: 64 } });
  });

  it("costs each free a flush of all CPUs under the eager policy", async () => {
    const { text, frees } = tracedWorkload(2, 300);
    const file = folder.write("trace.txt", text);
    const report = await replayFtrace(file, { ...OPTIONS, cpus: 8, settings: { policy: EAGER_POLICY } });
    expect(report.fullFlushes + report.rangeFlushes).toBe(frees);
    expect(report.flushCost.stolenCycles).toBeGreaterThan(frees * 7 * 100);
    expect(report.cyclesByActivity.alloc_vmap_area).toBeGreaterThan(0);
  });

  it("of a guest says what its host did", async () => {
    const { text, frees } = tracedWorkload(2, 300);
    const file = folder.write("trace.txt", text);
    const native = await replayFtrace(file, OPTIONS);
    expect(native).not.toHaveProperty("guest");
    const report = await replayFtrace(file, {
      ...OPTIONS,
      settings: { guest: true, hostPages: "2M", policy: EAGER_POLICY },
    });
    expect(report.areas.freed).toBe(frees);
    expect(report.guest).toMatchObject({ hostPages: "2M", physicalCpus: 2 });
    expect(report.guest?.vcpus).toHaveLength(2);
    // Each flush interrupts the other vCPU, for which the hypervisor writes the interrupt command register.
    for (const { icrWrites, exitCycles } of report.guest?.vcpus ?? []) {
      expect(icrWrites).toBeGreaterThan(0);
      expect(exitCycles).toBeGreaterThan(0);
    }
    expect(renderFtraceReport(report)).toMatch(/^Guest: 2 vCPUs on 2 CPUs, .* in pages of 2M/m);
  });

  it("says by line what it could not use, and why", async () => {
    const prefix = "   a-1 [000] .....     1.000000: ";
    const lines = [
      "# tracer: nop",
      `${prefix}${ALLOC}`,
      "program output",
      `${prefix}free_vmap_area_noflush: va_start=0xffffc90000aaa000 nr_lazy=2 nr_lazy_max=32768`,
      `${prefix}free_vmap_area_noflush: va_start=0xffffc90000bbb000 nr_lazy=2 nr_lazy_max=32768`,
      `${prefix}${ALLOC}`,
      `${prefix}${ALLOC.replace("failed=0", "failed=1")}`,
      `${prefix}${ALLOC.replace("size=8192", "size=100")}`,
    ];
    const report = await replayFtrace(folder.write("odd.txt", lines.join("\n")), OPTIONS);
    expect(report.skipped).toEqual([
      { reason: "is no line of ftrace text", count: 1, lines: [3] },
      { reason: "frees an area whose allocation is not in the trace", count: 2, lines: [4, 5] },
      {
        reason: "allocates where an area lies whose end the trace does not show; that one stays",
        count: 1,
        lines: [6],
      },
      { reason: "is an allocation that failed in the traced kernel", count: 1, lines: [7] },
      {
        reason: "has a size that is not whole 4 KiB pages, or an alignment that is no power of two",
        count: 1,
        lines: [8],
      },
    ]);
    const text = renderFtraceReport(report);
    expect(text).toContain("  2 lines: frees an area whose allocation is not in the trace (line 4, 5)\n");
  });

  it("takes the traced vmalloc range for its own, wherever it lies", async () => {
    const moved = ALLOC.replace("18446683600570023936", "18446623600570023936")
      .replace("0xffffc90000000000", "0xffff926e58000000")
      .replace("0xffffe8ffffffffff", "0xffffb26e57ffffff");
    const report = await replayFtrace(folder.write("kaslr.txt", `  a-1 [000] ..... 1.0: ${moved}\n`), OPTIONS);
    expect(report.areas).toMatchObject({ allocated: 1, atTracedAddress: 0, failed: 0 });
  });

  it("maps nothing for large areas that nothing shows to have pages, and says so", async () => {
    const line = (at: number, size: number, seconds: number): string =>
      `  bench-311 [001] ..... ${seconds}.000000: alloc_vmap_area: va_start: ${0xffffc90000000000n + BigInt(at)} size=${size} align=1 vstart=0xffffc90000000000 vend=0xffffe8ffffffffff failed=0`;
    const arena = 2 ** 32 + 2 ** 16 + 4096;
    const vmallocBytes = 600 * 4096 + 4096;
    const arrayBytes = 3 * 4096;
    const file = folder.write(
      "arena.txt",
      [line(0, arena, 1), line(2 ** 33, vmallocBytes, 2), line(2 ** 34, arrayBytes, 3)].join("\n"),
    );
    const report = await replayFtrace(file, { ...OPTIONS, memoryBytes: 2 ** 34 });
    expect(report.areas.allocated).toBe(3);
    expect(report.skipped).toEqual([
      { reason: expect.stringContaining("no array of page pointers follows"), count: 1, lines: [1] },
    ]);
    // 600 pages are mapped, and the array's two; an entry costs some cycles, a million of them would cost millions.
    expect(report.allocCycles).toBeLessThan(100_000);
    const freed = folder.write(
      "freed.txt",
      `${line(0, arena, 1)}\n  bench-311 [001] ..... 2.000000: free_vmap_area_noflush: va_start=0xffffc90000000000 nr_lazy=1 nr_lazy_max=24576`,
    );
    expect((await replayFtrace(freed, OPTIONS)).freeCycles).toBeLessThan(100_000);
  });

  it("goes on when a call comes to a CPU whose worker is in the middle of a drain", async () => {
    const at = (cpu: number, microseconds: number) =>
      `  a-1 [00${cpu}] ..... 0.${`${microseconds}`.padStart(6, "0")}: `;
    const range = "vstart=0xffffc90000000000 vend=0xffffe8ffffffffff failed=0";
    const alloc = (cpu: number, microseconds: number, address: string, size: number, align: number) =>
      `${at(cpu, microseconds)}alloc_vmap_area: va_start: ${BigInt(address)} size=${size} align=${align} ${range}`;
    const free = (cpu: number, microseconds: number, address: string, lazy: number) =>
      `${at(cpu, microseconds)}free_vmap_area_noflush: va_start=${address} nr_lazy=${lazy} nr_lazy_max=16384`;
    const lines = [
      alloc(0, 54, "0xffffc900003e5000", 2867228672, 1),
      alloc(1, 69, "0xffffc90000c34000", 184320, 1),
      free(0, 78, "0xffffc90000c34000", 247),
      free(0, 81, "0xffffc900003e5000", 306),
      alloc(0, 83, "0xffffc9000038e000", 65536, 1),
      alloc(1, 83, "0xffffc90000d08000", 155648, 1),
      alloc(1, 86, "0xffffc90000d3c000", 77824, 1),
      free(1, 87, "0xffffc90000d3c000", 374),
      alloc(0, 87, "0xffffc90001800000", 6295552, 2097152),
    ];
    const report = await replayFtrace(folder.write("drain.txt", `${lines.join("\n")}\n`), OPTIONS);
    expect(report.areas).toMatchObject({ allocated: 6, freed: 3, live: 3, failed: 0 });
  });

  it("is refused when it holds no event of vmalloc", async () => {
    await expect(replayFtrace(folder.write("none.txt", "hello\n"), OPTIONS)).rejects.toThrow(
      /none.txt:1: no line is ftrace/,
    );
    await expect(replayFtrace(folder.write("empty.txt", ""), OPTIONS)).rejects.toThrow(/empty.txt: is empty/);
    const free =
      " x-1 [000] ..... 1.000001: free_vmap_area_noflush: va_start=0xffffc90000005000 nr_lazy=2 nr_lazy_max=";
    await expect(
      replayFtrace(folder.write("limit.txt", `# tracer: nop\n${free}${2 ** 36 + 1}\n`), OPTIONS),
    ).rejects.toThrow("limit.txt:2: nr_lazy_max 68719476737: expected at most 68719476736");
    const onCpu4096 = free.replace("[000]", "[4096]");
    await expect(replayFtrace(folder.write("cpu.txt", `# tracer: nop\n${onCpu4096}9\n`), OPTIONS)).rejects.toThrow(
      "cpu.txt:2: CPU 4096: expected a number from 0 to 4095",
    );
    await expect(replayFtrace(folder.write("note.txt", `# cpus: 4097\n${free}9\n`), OPTIONS)).rejects.toThrow(
      "note.txt:1: 4097 CPUs: expected 4096 at most",
    );
  });
});
