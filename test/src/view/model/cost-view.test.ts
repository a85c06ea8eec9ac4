import { describe, expect, it } from "vitest";
import { costView } from "../../../../src/view/model/cost-view.ts";
import { pictureOf } from "../../../../src/view/model/picture.ts";
import { DEFAULT_SCENARIO } from "../../../../src/view/model/scenario.ts";
import { Session } from "../../../../src/view/model/session.ts";

const sum = (parts: readonly number[]): number => parts.reduce((total, part) => total + part, 0);

describe("costs", () => {
  const session = new Session({ ...DEFAULT_SCENARIO, operations: 300, settings: { "lazy-max": "64" } });
  session.goTo(400);
  const { kernel, tracks } = session;
  const costs = costView(kernel, tracks);

  it("of all CPUs sum up to their clocks", () => {
    expect(sum(costs.activities.map(([, cycles]) => cycles))).toBeCloseTo(sum([...kernel.machine.loop.clockCycles]), 3);
  });

  it("of a call sum up to its time, and none is negative", () => {
    expect(costs.calls.length).toBeGreaterThan(20);
    for (const { parts, fromCycles, toCycles } of costs.calls) {
      expect(sum(parts)).toBeCloseTo(toCycles - fromCycles, 3);
      expect(Math.min(...parts)).toBeGreaterThan(-1e-6);
    }
  });

  it("of calls of one CPU lie within what its activities have", () => {
    const waits = new Map(costs.activities);
    for (const name of ["lock wait", "waiting for lines", "IPI wait"]) {
      const inCalls = sum(tracks.calls.ended.items.map(({ parts }) => parts[name] ?? 0));
      expect(inCalls, name).toBeLessThanOrEqual(waits.get(name) ?? 0);
    }
    expect(sum(tracks.calls.ended.items.map(({ parts }) => parts["waiting for lines"] ?? 0))).toBeGreaterThan(0);
  });

  it("of flushes are those of the accounts, refills included", () => {
    const total = kernel.vm.flushing.keepAccounts().total();
    expect(costs.flushCount).toBeLessThan(40);
    expect(costs.flushes).toHaveLength(costs.flushCount);
    const { workCycles, waitCycles, stolenCycles, lineCycles, refillCycles } = total;
    const all = [workCycles, waitCycles, stolenCycles, lineCycles, refillCycles];
    all.forEach((cycles, part) => {
      expect(sum(costs.flushes.map(({ parts }) => parts[part]))).toBeCloseTo(cycles, 3);
    });
    expect(refillCycles).toBeGreaterThan(0);
  });
});

describe("counters", () => {
  const session = new Session({ ...DEFAULT_SCENARIO, operations: 300, settings: { "lazy-max": "64" } });
  session.goTo(400);

  it("are those of the CPUs and of vmalloc, up to now, in the order of steps", () => {
    const { counters, position } = pictureOf(session, { cpu: null, address: null });
    const { vm, machine } = session.kernel;
    const last = counters[counters.length - 1];
    expect(last.position).toBe(position);
    expect(last.lazyPages).toBe(vm.lazyNr);
    const all = (pattern: RegExp): number =>
      sum(
        machine.cpus.map((cpu) =>
          sum(
            Object.entries(cpu.counters())
              .filter(([name]) => pattern.test(name))
              .map(([, value]) => value),
          ),
        ),
      );
    expect(last.walkCycles).toBe(all(/^[di]tlb_.*misses\.walk_active$/));
    expect(last.walks).toBe(all(/^[di]tlb_.*misses\.walk_completed$/));
    for (let i = 1; i < counters.length; i++) {
      expect(counters[i].position).toBeGreaterThan(counters[i - 1].position);
      expect(counters[i].walks).toBeGreaterThanOrEqual(counters[i - 1].walks);
    }
    expect(Math.max(...counters.map(({ lazyPages }) => lazyPages))).toBeGreaterThan(64);
  });

  it("thin out in a long run, and end with it", () => {
    const long = new Session({ ...DEFAULT_SCENARIO, operations: 8000 });
    long.runTo("end");
    const samples = long.tracks.counters.since(0, long.position, 1e6);
    expect(long.position).toBeGreaterThan(4096);
    expect(samples.length).toBeGreaterThan(2000);
    expect(samples.length).toBeLessThan(4200);
    expect(samples[samples.length - 1].position).toBe(long.position);
  });
});
