import { describe, expect, it } from "vitest";
import { FLUSH_POLICIES } from "../../../mm/index.ts";
import { bootKernel } from "../../../src/machine/kernel.ts";
import { runOnKernel } from "../../../src/runs/run.ts";
import { ChromeTrace } from "../../../src/timeline/chrome-trace.ts";
import { mixed } from "../../../src/workloads/mixed.ts";
import { userProcesses } from "../../../src/workloads/user-processes.ts";
import { featuresFor } from "../../mm/flush/policy-features.ts";
import { checkFloatingSpans, processTrace, type TraceEvent } from "./trace-processor.ts";

function traceOf(operations: number): { json: string; nsec: number[]; lazyPages: number; sent: number } {
  const kernel = bootKernel({ cpus: 4, memoryBytes: 2 ** 30 });
  const trace = new ChromeTrace();
  trace.watch(kernel, "mixed");
  runOnKernel(kernel, mixed, { operations, seed: 3 });
  const { loop, preset } = kernel.machine;
  const nsec = [...loop.clockCycles].map((cycles) => cycles / preset.frequencyGhz.value);
  return { json: trace.toJson(), nsec, lazyPages: kernel.vm.lazyNr, sent: kernel.vm.flushing.smp.sent };
}

describe("timelines", () => {
  const { json, nsec, lazyPages, sent } = traceOf(3000);
  const trace = processTrace(json);

  it("have a named track a CPU, in a named process", () => {
    expect([...trace.processNames.values()]).toEqual(["mixed"]);
    expect([...trace.threadNames.values()]).toEqual(["CPU 0", "CPU 1", "CPU 2", "CPU 3"]);
  });

  it("have spans for operations, lock waits, flushes and handlers", () => {
    const names = new Set(trace.slices.map(({ name }) => name));
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

  it("say in the spans' arguments which call each belongs to: size, address, caller, range", () => {
    const { traceEvents } = JSON.parse(json) as { traceEvents: TraceEvent[] };
    const spans = traceEvents.filter(({ ph }) => ph === "X");
    const argsOf = (name: string) => spans.filter((span) => span.name === name).map(({ args }) => args);
    const address = expect.stringMatching(/^0xffff[c-e][0-9a-f]{11}$/);
    for (const args of argsOf("vmalloc")) {
      expect(args).toMatchObject({ call: "vmalloc", size: expect.any(Number), caller: "mixed_vmalloc+0x0/0x0" });
    }
    const made = argsOf("vmalloc").map((args) => args?.address);
    expect(made).toContainEqual(address);
    const freed = argsOf("vfree").map((args) => args?.addr);
    expect(freed.filter((addr) => made.includes(addr)).length).toBeGreaterThan(10);
    const ranges = argsOf("IPI send");
    for (const range of ranges) {
      expect(range).toMatchObject({ call: "flush_tlb_kernel_range", start: address, end: address });
    }
    const handlers = argsOf("interrupts");
    expect(handlers.length).toBeGreaterThan(10);
    // A handler shows the range of a flush that was sent: the sender's.
    for (const handler of handlers) expect(ranges).toContainEqual(handler);
  });

  it("have spans within each CPU's time", () => {
    for (const { track, endNsec } of trace.slices) {
      expect(endNsec).toBeLessThanOrEqual(nsec[Number(track.split("/")[1])] + 1);
    }
  });

  it("have an arrow from the sending of each interrupt to its handler", () => {
    expect(sent).toBeGreaterThan(10);
    expect(trace.flows).toHaveLength(sent);
    for (const { from, to } of trace.flows) {
      expect(from.name).toBe("IPI send");
      expect(to.name).toBe("interrupts");
      expect(from.startNsec).toBeLessThan(to.startNsec);
      expect(from.track).not.toBe(to.track);
    }
  });

  it("have nothing but interrupts within lock waits, sending, waiting, flushes and context switches", () => {
    const innermost = ["lock wait", "IPI send", "IPI wait", "TLB flush", "context switch"];
    for (const outer of trace.slices.filter(({ name }) => innermost.includes(name))) {
      const within = trace.slices.filter(
        ({ track, depth, startNsec }) =>
          track === outer.track &&
          depth === outer.depth + 1 &&
          startNsec >= outer.startNsec &&
          startNsec < outer.endNsec,
      );
      for (const { name } of within) expect(name).toBe("interrupts");
    }
  });

  it("have spans that nest in floating-point arithmetic too", () => {
    checkFloatingSpans(json);
  });

  it("count lazily freed pages", () => {
    const counts = trace.counters.get("1/lazily freed pages") ?? [];
    const falls = counts.filter((count, i) => i > 0 && count < counts[i - 1]);
    expect(falls.length).toBeGreaterThan(0);
    expect(falls.length).toBeLessThan(counts.length / 2);
    expect(counts.at(-1)).toBe(lazyPages);
  });

  it("are the same for the same seed", () => {
    expect(traceOf(3000).json).toBe(json);
  });

  it.each([...FLUSH_POLICIES])(
    "are read without loss of user processes under $name with page-table isolation",
    (policy) => {
      const features = featuresFor(policy);
      const kernel = bootKernel({
        cpus: 6,
        memoryBytes: 2 ** 30,
        flushPolicy: policy,
        features,
        pageTableIsolation: true,
        isolatedCpus: [4, 5],
        vmalloc: { lazyMaxPages: 100 },
      });
      const watched = new ChromeTrace();
      watched.watch(kernel, policy.name);
      runOnKernel(kernel, userProcesses, { operations: 3000, seed: 5 });
      const { slices, flows } = processTrace(watched.toJson());
      checkFloatingSpans(watched.toJson());
      expect(flows).toHaveLength(kernel.vm.flushing.smp.sent);
      expect(slices.some(({ name }) => name === "user mode")).toBe(true);
    },
  );
});

describe("a trace processor", () => {
  const wrap = (...events: object[]): string => JSON.stringify({ traceEvents: events });
  const name = { ph: "M", name: "thread_name", pid: 1, tid: 0, args: { name: "CPU 0" } };
  const span = (ts: number, dur: number) => ({ ph: "X", name: "s", pid: 1, tid: 0, ts, dur });

  it.each([
    ["spans that overlap in part", [name, span(1, 2), span(2, 2)], "overlaps s"],
    ["a span a nanosecond too long", [name, span(1, 2), span(1.5, 1.5011)], "overlaps s"],
    ["an arrow outside of spans", [name, span(1, 2), { ph: "s", id: "1", pid: 1, tid: 0, ts: 3 }], "not within"],
    ["an arrow that never ends", [name, span(1, 2), { ph: "s", id: "1", pid: 1, tid: 0, ts: 2 }], "never end"],
    ["a track without a name", [span(1, 2)], "has no name"],
  ])("refuses %s", (_what, events, why) => {
    expect(() => processTrace(wrap(...events))).toThrow(why);
  });
});
