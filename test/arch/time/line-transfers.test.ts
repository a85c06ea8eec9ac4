/** Transfers of lines for which CPUs come whose clocks are apart, beside the simplest model of such lines. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { LateCpus } from "../../../arch/time/hold-queue.ts";
import { LineNumbers } from "../../../arch/time/line-numbers.ts";
import { LineTransfers } from "../../../arch/time/line-transfers.ts";
import { tuplesOf } from "./late-tuples.ts";
import { nextToAct } from "./next-to-act.ts";

/** What a CPU does again and again: computes, then comes for a line, which takes `transfers` to come, and works on it. */
interface Turn {
  readonly computes: number;
  readonly line: number;
  readonly transfers: number;
  readonly works: number;
  /** Does not wait for it: it stores. */
  readonly goesOn: boolean;
}
type Programs = readonly (readonly Turn[])[];

const LINES = 4;
/** From one CPU of a cluster of two to the other. */
const WITHIN = 10;

/** The model: whoever comes first of all CPUs has the line next. Clocks at the end. */
function inOrder(programs: Programs): number[] {
  const clocks = programs.map(() => 0);
  const done = programs.map(() => 0);
  const freeAt = new Array<number>(LINES).fill(0);
  for (;;) {
    const cpu = nextToAct(programs, clocks, done, true);
    if (cpu < 0) return clocks;
    const { computes, line, transfers, works, goesOn } = programs[cpu][done[cpu]++];
    clocks[cpu] += computes;
    freeAt[line] = Math.max(clocks[cpu], freeAt[line]) + transfers + works;
    if (!goesOn) clocks[cpu] = freeAt[line];
  }
}

/** Transfers, and clocks that the test sets. */
function machine(cpus: number, lineCount = LINES) {
  const clockCycles = new Float64Array(cpus);
  const clock = {
    clockCycles,
    earliestCycles: 0,
    interrupts: { run: 1 },
    currentCpu: 0,
    delayForLine(late: LateCpus): void {
      for (const [cpu, fromCycles, cycles] of tuplesOf(late)) {
        expect(fromCycles).toBeLessThanOrEqual(clockCycles[cpu]);
        expect(cycles).toBeGreaterThan(0);
        if (cpu !== clock.currentCpu) clockCycles[cpu] += cycles;
      }
    },
  };
  const lines = new LineNumbers();
  lines.grow(lineCount);
  const waitedCycles = new Float64Array(cpus);
  const transfers = new LineTransfers(clock, lines, {
    clusterOf: Array.from({ length: cpus }, (_, cpu) => cpu >> 1),
    transferWithin: () => WITHIN,
  });
  /** A CPU comes for a line and, unless it goes on, waits until it has done its work there. */
  const serve = (
    line: number,
    cpu: number,
    transferCycles: number,
    works: number,
    goesOn = false,
    joins = false,
  ): void => {
    const until = transfers.serve(line, cpu, transferCycles, works, joins, goesOn);
    if (goesOn) return;
    waitedCycles[cpu] += until - works - clockCycles[cpu];
    clockCycles[cpu] = until;
  };
  return { clock, transfers, waitedCycles, serve };
}

/** CPUs that run `portions` turns in one go, always the one whose clock is furthest behind; clocks at the end, and the longest wait. */
function inPortions(programs: Programs, portions: readonly number[], byArrival = false) {
  const { clock, transfers, waitedCycles, serve } = machine(programs.length);
  const clocks = clock.clockCycles;
  const done = programs.map(() => 0);
  let longestWait = 0;
  for (let step = 0; ; step++) {
    const cpu = nextToAct(programs, clocks, done, byArrival);
    if (cpu < 0) return { clocks, longestWait, queued: transfers.queued };
    clock.currentCpu = cpu;
    clock.earliestCycles = clocks[cpu];
    for (let i = portions[step % portions.length]; i > 0 && done[cpu] < programs[cpu].length; i--) {
      const turn = programs[cpu][done[cpu]++];
      clocks[cpu] += turn.computes;
      const [came, waited] = [clocks[cpu], waitedCycles[cpu]];
      serve(turn.line, cpu, turn.transfers, turn.works, turn.goesOn);
      longestWait = Math.max(longestWait, waitedCycles[cpu] - waited - turn.transfers);
      expect(clocks[cpu]).toBeCloseTo(came + waitedCycles[cpu] - waited + (turn.goesOn ? 0 : turn.works), 6);
    }
  }
}

const cycles = (max: number, min = 0) => fc.double({ min, max, noNaN: true });
const turnOn = (lines: number, stores: boolean) =>
  fc.record({
    computes: fc.oneof(cycles(30), cycles(600)),
    line: fc.nat(lines - 1),
    transfers: fc.oneof(cycles(40, 1), cycles(300, 1)),
    works: fc.oneof(fc.constant(0), cycles(300)),
    goesOn: stores ? fc.boolean() : fc.constant(false),
  });
/** A program for each of at least `min` and at most `max` CPUs, that come for `lines` lines. */
const programsOf = (min: number, max: number, turns: number, lines = LINES, stores = false) =>
  fc.array(fc.array(turnOn(lines, stores), { maxLength: turns }), { minLength: min, maxLength: max });
const portions = fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 20 });

/** Sums of real numbers in another order differ in their last bits. */
function expectSame(clocks: Float64Array, expected: readonly number[]): void {
  clocks.forEach((clock, cpu) => {
    expect(clock).toBeCloseTo(expected[cpu], 6);
  });
}

describe("CPUs that the loop runs in the order of their times", () => {
  it("have each line as in the model", () => {
    fc.assert(
      fc.property(programsOf(1, 6, 30), (programs) => {
        expectSame(inPortions(programs, [1], true).clocks, inOrder(programs));
      }),
    );
  });

  it("have each line as in the model when some of them store and go on", () => {
    fc.assert(
      fc.property(programsOf(1, 6, 30, LINES, true), (programs) => {
        expectSame(inPortions(programs, [1], true).clocks, inOrder(programs));
      }),
    );
  });
});

describe("CPUs that the loop runs ahead of each other", () => {
  it("wait for a line for no longer than each of the others has it once", () => {
    fc.assert(
      fc.property(programsOf(1, 8, 60), portions, (programs, sizes) => {
        const longest = Math.max(0, ...programs.flat().map(({ transfers, works }) => transfers + works));
        const { longestWait } = inPortions(programs, sizes);
        expect(longestWait).toBeLessThanOrEqual((programs.length - 1) * longest + 1e-6);
      }),
    );
  });

  it("have it as in the model if they are two", () => {
    fc.assert(
      fc.property(programsOf(2, 2, 60, 1), portions, (programs, sizes) => {
        expectSame(inPortions(programs, sizes).clocks, inOrder(programs));
      }),
    );
  });

  it("do not wait for a store that others come before: one that is put behind ends later, and its CPU has gone on", () => {
    const { clock, serve } = machine(2);
    const comes = (cpu: number, at: number, goesOn: boolean): void => {
      clock.currentCpu = cpu;
      clock.clockCycles[cpu] = at;
      serve(0, cpu, 100, 0, goesOn);
    };
    comes(0, 1000, true);
    expect(clock.clockCycles[0]).toBe(1000);
    comes(1, 950, false);
    expect([...clock.clockCycles]).toEqual([1000, 1050]);
    // CPU 0's store is from 1,050 to 1,150 now.
    comes(1, 1060, false);
    expect([...clock.clockCycles]).toEqual([1000, 1250]);
  });

  it("do no less work a second, and no more, than in the model, however many they are", () => {
    fc.assert(
      fc.property(programsOf(12, 12, 150, 1), portions, (programs, sizes) => {
        const last = Math.max(...inOrder(programs));
        const took = Math.max(...inPortions(programs, sizes).clocks);
        expect(Math.abs(took - last)).toBeLessThan(0.1 * last + 12 * 600);
      }),
      { numRuns: 20 },
    );
  });
});

/** CPU 0 moves a line at 1,000 cycles for 100, then CPU 1 comes for it at `at`; how long that takes. */
function comesLate(at: number, between: (made: ReturnType<typeof machine>) => void = () => {}): number {
  const made = machine(2);
  made.clock.clockCycles[0] = 1000;
  made.serve(0, 0, 100, 0);
  expect(made.waitedCycles[0]).toBe(100);
  between(made);
  made.clock.currentCpu = 1;
  made.clock.clockCycles[1] = at;
  made.serve(0, 1, 100, 0);
  return made.waitedCycles[1];
}

describe("a transfer that was earlier in a run", () => {
  it("is waited for, however long ago the loop ran it", () => {
    expect([comesLate(999), comesLate(1000), comesLate(1040), comesLate(1100)]).toEqual([100, 200, 160, 100]);
  });

  it("is over when a call from outside begins", () => {
    const took = comesLate(1040, ({ clock }) => {
      clock.interrupts.run++;
    });
    expect(took).toBe(100);
  });
});

describe("a CPU that comes for a line to write", () => {
  /** CPUs 0 and 1 are of a cluster, and so are 2 and 3. Each comes at its time; when each has the line in the end. */
  function inClusters(...comes: readonly (readonly [cpu: number, at: number])[]): number[] {
    const { clock, serve } = machine(4);
    for (const [cpu, at] of comes) {
      clock.currentCpu = cpu;
      clock.clockCycles[cpu] = at;
      clock.earliestCycles = at;
      serve(0, cpu, 100, 0, false, true);
    }
    return [...clock.clockCycles];
  }

  it("has it behind one of its cluster, before those of others who came before it", () => {
    expect(inClusters([0, 1000], [2, 1010], [1, 1020])).toEqual([1100, 1100 + WITHIN, 1200 + WITHIN, 0]);
  });

  it("has it in its turn once it has left the cluster, or when its cluster is last in any case", () => {
    expect(inClusters([0, 1000], [2, 1010], [1, 1101])).toEqual([1100, 1300, 1200, 0]);
    expect(inClusters([0, 1000], [2, 1010], [3, 1020])).toEqual([1100, 0, 1200, 1300]);
  });

  it("has it once while it is in the cluster", () => {
    expect(inClusters([0, 1000], [2, 1010], [1, 1020], [0, 1100])).toEqual([1310, 1110, 1210, 0]);
  });

  it("has it when a plain model says, in which a queue has a place behind each cluster's last", () => {
    fc.assert(
      fc.property(programsOf(2, 8, 25, 1), (programs) => {
        const { clock, serve } = machine(programs.length);
        const clocks = programs.map(() => 0);
        const done = programs.map(() => 0);
        let queue: { cpu: number; cycles: number; end: number }[] = [];
        for (;;) {
          const cpu = nextToAct(programs, clocks, done, true);
          if (cpu < 0) break;
          const { computes, transfers, works } = programs[cpu][done[cpu]++];
          const now = clocks[cpu] + computes;
          clock.currentCpu = cpu;
          clock.clockCycles[cpu] = now;
          clock.earliestCycles = now;
          serve(0, cpu, transfers, works, false, true);
          const isOwn = (other: { cpu: number }) => other.cpu >> 1 === cpu >> 1;
          const last = queue.findLastIndex((other) => isOwn(other) && other.end >= now);
          const visit = queue.slice(queue.findLastIndex((other, i) => i <= last && !isOwn(other)) + 1, last + 1);
          const isQueued = queue.length > 0 && queue[queue.length - 1].end > now;
          const joins = isQueued && last >= 0 && last < queue.length - 1 && visit.every((other) => other.cpu !== cpu);
          const place = joins ? last + 1 : queue.length;
          const before = queue[place - 1]?.end ?? 0;
          queue.splice(place, 0, { cpu, cycles: (joins ? WITHIN : transfers) + works, end: 0 });
          let end = Math.max(before, now);
          for (const each of queue.slice(place)) {
            end += each.cycles;
            each.end = end;
            clocks[each.cpu] = end;
          }
          // Who comes later comes behind all that are over.
          if (queue.length > 100) queue = queue.slice(-50);
        }
        expectSame(clock.clockCycles, clocks);
      }),
    );
  });
});

describe("two transfers, each free when its CPU came", () => {
  /** Of CPU 0 from 1,000 to 1,100 cycles and of CPU 1 from 1,200 to 1,300; CPU 2 comes at `at`: how long it waits, and by how much the others are put behind. */
  function comesAmong(at: number): number[] {
    const { clock, transfers, waitedCycles, serve } = machine(3);
    for (const [cpu, comes] of [
      [0, 1000],
      [1, 1200],
    ]) {
      clock.currentCpu = cpu;
      clock.clockCycles[cpu] = comes;
      serve(0, cpu, 100, 0);
    }
    expect(transfers.queued).toBe(0);
    clock.currentCpu = 2;
    clock.clockCycles[2] = at;
    clock.earliestCycles = at;
    serve(0, 2, 100, 0);
    return [waitedCycles[2], clock.clockCycles[0] - 1100, clock.clockCycles[1] - 1300];
  }

  it("are both there for who comes before either, between them or within one", () => {
    expect(comesAmong(800)).toEqual([100, 0, 0]);
    expect(comesAmong(950)).toEqual([100, 50, 0]);
    expect(comesAmong(1050)).toEqual([150, 0, 0]);
    expect(comesAmong(1130)).toEqual([100, 0, 30]);
    expect(comesAmong(1250)).toEqual([150, 0, 0]);
    expect(comesAmong(1300)).toEqual([100, 0, 0]);
  });
});

describe("queues", () => {
  it("go once all in them are over: when somebody comes for their line, or when there are many", () => {
    const lines = 1000;
    const { clock, transfers, serve } = machine(2, lines);
    for (let line = 0; line < lines; line++) {
      const now = 1000 * line;
      clock.earliestCycles = now;
      for (const [cpu, at] of [
        [0, now + 50],
        [1, now],
      ]) {
        clock.currentCpu = cpu;
        clock.clockCycles[cpu] = at;
        serve(line, cpu, 100, 0);
      }
    }
    expect(transfers.queued).toBeGreaterThan(0);
    expect(transfers.queued).toBeLessThan(100);
    clock.clockCycles.fill(1e9);
    clock.earliestCycles = 1e9;
    for (let line = 0; line < lines; line++) serve(line, 1, 100, 0);
    expect(transfers.queued).toBe(0);
  });
});
