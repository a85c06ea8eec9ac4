import { describe, expect, it } from "vitest";
import { bootKernel } from "../../../src/kernel.ts";
import { ChromeTrace } from "../../../src/timeline/chrome-trace.ts";
import { mixed } from "../../../src/workloads/mixed.ts";
import { runOnKernel } from "../../../src/workloads/run.ts";

interface TraceEvent {
  readonly ph: string;
  readonly name: string;
  readonly pid: number;
  readonly tid: number;
  readonly ts: number;
  readonly dur: number;
  readonly id: string;
  readonly args: Readonly<Record<string, unknown>>;
}

function traceOf(operations: number): { events: TraceEvent[]; usec: number[]; lazyPages: number } {
  const kernel = bootKernel({ cpus: 4, memoryBytes: 2 ** 30 });
  const trace = new ChromeTrace();
  trace.watch(kernel, "mixed");
  runOnKernel(kernel, mixed, { operations, seed: 3 });
  const { loop, preset } = kernel.machine;
  const parsed = JSON.parse(trace.toJson()) as { traceEvents: TraceEvent[] };
  const usec = [...loop.clockCycles].map((cycles) => cycles / preset.frequencyGhz.value / 1000);
  return { events: parsed.traceEvents, usec, lazyPages: kernel.vm.lazyNr };
}

describe("timelines", () => {
  const { events, usec, lazyPages } = traceOf(3000);
  const spans = events.filter(({ ph }) => ph === "X");

  it("have a named track a CPU", () => {
    const names = events.filter(({ name }) => name === "thread_name").map(({ args }) => args.name);
    expect(names).toEqual(["CPU 0", "CPU 1", "CPU 2", "CPU 3"]);
  });

  it("have spans for operations, lock waits, flushes and handlers", () => {
    const names = new Set(spans.map(({ name }) => name));
    for (const name of [
      "vmalloc",
      "vfree",
      "vm_map_ram",
      "lock wait",
      "IPI send",
      "IPI wait",
      "TLB flush",
      "interrupts",
      "purge",
    ]) {
      expect(names).toContain(name);
    }
  });

  it("have spans that lie within each other or apart, and within the CPU's time", () => {
    for (let cpu = 0; cpu < 4; cpu++) {
      const own = spans.filter(({ tid }) => tid === cpu).sort((a, b) => a.ts - b.ts || b.dur - a.dur);
      const open: TraceEvent[] = [];
      for (const span of own) {
        expect(span.ts + span.dur).toBeLessThanOrEqual(usec[cpu] + 0.001);
        while (open.length > 0 && open[open.length - 1].ts + open[open.length - 1].dur <= span.ts + 0.0002) open.pop();
        const outer = open[open.length - 1];
        if (outer !== undefined) expect(span.ts + span.dur).toBeLessThanOrEqual(outer.ts + outer.dur + 0.0002);
        open.push(span);
      }
    }
  });

  it("have an arrow from each interrupt's sender to its receiver, to the begin of its handler", () => {
    const starts = events.filter(({ ph }) => ph === "s");
    const ends = events.filter(({ ph }) => ph === "f");
    expect(starts.length).toBeGreaterThan(10);
    expect(ends.map(({ id }) => id).sort()).toEqual(starts.map(({ id }) => id).sort());
    for (const end of ends) {
      const start = starts.find(({ id }) => id === end.id);
      expect(start?.ts).toBeLessThan(end.ts);
      expect(start?.tid).not.toBe(end.tid);
      expect(spans.some((span) => span.name === "interrupts" && span.tid === end.tid && span.ts === end.ts)).toBe(true);
    }
  });

  it("count lazily freed pages", () => {
    const counts = events.filter(({ ph }) => ph === "C").map(({ args }) => args.pages as number);
    const falls = counts.filter((count, i) => i > 0 && count < counts[i - 1]);
    expect(falls.length).toBeGreaterThan(0);
    expect(falls.length).toBeLessThan(counts.length / 2);
    expect(counts.at(-1)).toBe(lazyPages);
  });

  it("are the same for the same seed", () => {
    expect(traceOf(3000).events).toEqual(events);
  });
});
