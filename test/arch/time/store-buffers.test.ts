/** Stores on their way, beside the simplest model of a store buffer. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ACTIVITY_LINE_WAIT, EventLoop, Topology } from "../../../arch/index.ts";

const [CLUSTER, SOCKET] = [40, 100];
const LINES = 6;

/** Two clusters of two cores, whose store buffers have `entries` entries; lines that CPU 0 has. */
function machine(entries: number) {
  const cpus = 4;
  const shape = { sockets: 1, coresPerSocket: cpus, threadsPerCore: 1, coresPerCluster: 2 };
  const loop = new EventLoop(cpus, new Topology(cpus, shape));
  loop.lines.transferCycles = [0, 0, CLUSTER, SOCKET, 0, 0];
  loop.lines.setStoreEntries(entries);
  const first = loop.lines.make(LINES);
  for (let line = first; line < first + LINES; line++) loop.lines.write(line);
  /** What a CPU does at 1,000 cycles; its clock after that. */
  const at1000 = (cpu: number, does: (lines: typeof loop.lines) => void): number => {
    loop.currentCpu = cpu;
    loop.clockCycles[cpu] = 1000;
    does(loop.lines);
    return loop.clockCycles[cpu];
  };
  return { loop, first, at1000 };
}

describe("a store", () => {
  it("to a line that another CPU has does not hold up its CPU, and is seen when the line is there", () => {
    const { loop, first, at1000 } = machine(8);
    expect(at1000(1, (lines) => lines.store(first))).toBe(1000);
    expect(loop.lines.seenAt(1)).toBe(1000 + CLUSTER);
    expect(loop.accounts.cycles(1, ACTIVITY_LINE_WAIT)).toBe(0);
  });

  it("to a line that its CPU has is seen at once", () => {
    const { loop, first, at1000 } = machine(8);
    at1000(0, (lines) => lines.store(first));
    expect(loop.lines.seenAt(0)).toBe(1000);
  });

  it("is fetched beside others, and seen after all that were made before it", () => {
    const { loop, first, at1000 } = machine(8);
    at1000(2, (lines) => lines.store(first));
    at1000(3, (lines) => lines.write(first + 1));
    at1000(2, (lines) => {
      lines.store(first + 1);
      lines.store(first + 2);
    });
    // One line comes from its own cluster once CPU 3 has it, the other from CPU 0.
    expect(loop.lines.seenAt(2)).toBe(1000 + SOCKET + CLUSTER);
    expect(loop.clockCycles[2]).toBe(1000);
  });

  it("is waited for by a locked instruction that fetches its line, and by nobody who reads", () => {
    const { first, at1000 } = machine(8);
    const stores = (lines: EventLoop["lines"]): void => {
      lines.store(first);
    };
    expect(at1000(2, (lines) => [stores(lines), lines.read(first + 1)])).toBe(1000 + SOCKET);
    expect(at1000(3, (lines) => [lines.store(first + 2), lines.write(first + 3)])).toBe(1000 + 2 * SOCKET);
  });

  it("waits for an entry when all are taken, in an account of its own", () => {
    const { loop, first, at1000 } = machine(2);
    const clock = at1000(2, (lines) => {
      for (let line = 0; line < 3; line++) lines.store(first + line);
    });
    expect(clock).toBe(1000 + SOCKET);
    expect(loop.accounts.cycles(2, ACTIVITY_LINE_WAIT)).toBe(SOCKET);
    expect(loop.lines.seenAt(2)).toBe(1000 + 2 * SOCKET);
  });

  it("of an earlier run is over", () => {
    const { loop, first, at1000 } = machine(1);
    at1000(2, (lines) => lines.store(first));
    loop.interrupts.beginRun();
    expect(loop.lines.seenAt(2)).toBe(1000);
    expect(at1000(2, (lines) => lines.store(first + 1))).toBe(1000);
    expect(loop.lines.seenAt(2)).toBe(1000 + SOCKET);
  });
});

describe("stores, reads and locked instructions of several CPUs", () => {
  const step = fc.record({
    cpu: fc.nat(3),
    line: fc.nat(LINES - 1),
    kind: fc.constantFrom("store" as const, "store" as const, "write" as const, "read" as const),
    computes: fc.oneof(fc.constant(0), fc.nat(150)),
  });

  it("agree with a plain model: a list of each CPU's stores, and a time at which each line is free", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 120 }), fc.integer({ min: 1, max: 4 }), (steps, entries) => {
        const { loop, first } = machine(entries);
        const clocks = [0, 0, 0, 0];
        const seen: number[][] = [[], [], [], []];
        const freeAt = new Array<number>(LINES).fill(0);
        const copies = Array.from({ length: LINES }, () => new Set([0]));
        const last = new Array<number>(LINES).fill(0);
        loop.clockCycles.fill(0);
        for (const { cpu, line, kind, computes } of steps) {
          // All come in the order of their times.
          const now = Math.max(...clocks) + computes;
          clocks[cpu] = now;
          loop.currentCpu = cpu;
          loop.clockCycles[cpu] = now;
          const distance = (from: number) => loop.lines.transferCycles[loop.topology.distance(from, cpu)];
          const others = [...copies[line]].filter((other) => other !== cpu);
          const farthest = Math.max(0, ...others.map(distance));
          const near = Math.min(...others.map(distance));
          const had = copies[line].has(cpu);
          const allSeen = Math.max(0, ...seen[cpu]);
          const isFetched = kind === "read" ? !had : others.length > 0;
          if (isFetched && kind === "read") {
            const cost = near <= CLUSTER ? near : distance(last[line]);
            if (others.length === 1) freeAt[line] = Math.max(now, freeAt[line]) + cost;
            clocks[cpu] = others.length === 1 ? freeAt[line] : now + cost;
          } else if (isFetched) {
            const from = kind === "write" ? Math.max(now, allSeen) : Math.max(now, seen[cpu].at(-entries) ?? 0);
            freeAt[line] = Math.max(from, freeAt[line]) + farthest;
            clocks[cpu] = kind === "write" ? freeAt[line] : from;
            if (kind === "store") seen[cpu].push(Math.max(allSeen, freeAt[line]));
          }
          if (kind !== "read") copies[line] = new Set([cpu]);
          else copies[line].add(cpu);
          if (kind !== "read" || !had) last[line] = cpu;
          loop.lines[kind](first + line);
          expect(loop.clockCycles[cpu]).toBe(clocks[cpu]);
          expect(loop.lines.seenAt(cpu)).toBe(Math.max(clocks[cpu], ...seen[cpu]));
        }
      }),
    );
  });
});
