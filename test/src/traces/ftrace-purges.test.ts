/** Purges of a traced kernel are made again: those that lazily freed pages explain, and those that were asked for. */
import { describe, expect, it } from "vitest";
import { ftraceText } from "../../../mm/index.ts";
import { bootKernel, type Kernel } from "../../../src/machine/kernel.ts";
import { replayFtrace } from "../../../src/traces/ftrace-replay.ts";
import type { FtraceReport } from "../../../src/traces/ftrace-report.ts";
import { temporaryFolder } from "../fixtures.ts";

const folder = temporaryFolder();
const PAGE = 4096;

/** Runs `calls` on a kernel of two CPUs whose events are traced, and replays the trace on such a kernel. */
async function runAndReplay(calls: (kernel: Kernel) => void): Promise<{ kernel: Kernel; report: FtraceReport }> {
  const kernel = bootKernel({ cpus: 2, vmalloc: { lazyMaxPages: 512 } });
  const lines: string[] = [];
  kernel.vm.flushing.keepAccounts();
  kernel.vm.events = ftraceText(kernel.machine.loop, { cyclesPerSecond: 2.6e9 }, (line) => lines.push(line));
  calls(kernel);
  const file = folder.write("trace.txt", `${lines.join("\n")}\n`);
  return { kernel, report: await replayFtrace(file, { preset: "skylake", memoryBytes: 2 ** 32 }) };
}

/** Work, waiting and stolen cycles of all flushes of a run. */
function costOf({ vm }: Kernel): number {
  const { workCycles, waitCycles, stolenCycles } = vm.flushing.keepAccounts().total();
  return workCycles + waitCycles + stolenCycles;
}

function costIn({ flushCost }: FtraceReport): number {
  return flushCost.workCycles + flushCost.waitCycles + flushCost.stolenCycles;
}

describe("the purges of a traced kernel", () => {
  it("that vm_unmap_aliases asked for are all made, and cost within 2 % of what they cost there", async () => {
    const { kernel, report } = await runAndReplay((traced) => {
      let old = 0;
      for (let i = 0; i < 60; i++) {
        traced.currentCpu = i % 2;
        const area = traced.vmalloc((1 + (i % 7)) * PAGE);
        if (old !== 0) traced.vfree(old);
        old = area;
        traced.vmUnmapAliases();
      }
    });
    expect(report.purges).toBe(60);
    expect(report.traced.purges).toBe(60);
    expect(report.areasPurged).toBe(report.traced.areasPurged);
    expect(report.areas.atTracedAddress).toBe(60);
    expect(Math.abs(costIn(report) / costOf(kernel) - 1)).toBeLessThan(0.02);
  });

  it("that the drain work made are made as often", async () => {
    const { kernel, report } = await runAndReplay((traced) => {
      for (let i = 0; i < 300; i++) {
        traced.currentCpu = i % 2;
        traced.vfree(traced.vmalloc(8 * PAGE));
        if (i % 10 === 0) traced.runUntilIdle();
      }
      traced.runUntilIdle();
    });
    expect(report.traced.purges).toBeGreaterThan(2);
    expect(report.purges).toBe(report.traced.purges);
    expect(Math.abs(costIn(report) / costOf(kernel) - 1)).toBeLessThan(0.02);
  });

  it("take what was lazily freed before the trace begins", async () => {
    const { report } = await runAndReplay((traced) => {
      const observer = traced.vm.events;
      traced.vm.events = null;
      traced.vfree(traced.vmalloc(99 * PAGE));
      traced.vm.events = observer;
      traced.vfree(traced.vmalloc(PAGE));
      traced.vmUnmapAliases();
    });
    expect(report.areasPurged).toBe(2);
    expect(report.fullFlushes).toBe(1);
  });
});
