/** Transfers of lines for which CPUs come whose clocks are apart, beside the simplest model of such lines. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { LateCpus } from "../../../arch/time/hold-queue.ts";
import { LineNumbers } from "../../../arch/time/line-numbers.ts";
import { LineTransfers } from "../../../arch/time/line-transfers.ts";
import { comingApart, cyclesBetween } from "./coming-apart.ts";
import { tuplesOf } from "./late-tuples.ts";
import { nextToAct } from "./next-to-act.ts";

/** What a CPU does again and again: computes, then comes for a line, which takes `transfers` to come, and works on it. */
interface Turn {
  readonly computes: number;
  readonly line: number;
  readonly transfers: number;
  readonly works: number;
}
type Programs = readonly (readonly Turn[])[];

const LINES = 4;

/** The model: whoever comes first of all CPUs has the line next. Clocks at the end. */
function inOrder(programs: Programs): number[] {
  const clocks = programs.map(() => 0);
  const done = programs.map(() => 0);
  const freeAt = new Array<number>(LINES).fill(0);
  for (;;) {
    const cpu = nextToAct(programs, clocks, done, true);
    if (cpu < 0) return clocks;
    const { computes, line, transfers, works } = programs[cpu][done[cpu]++];
    clocks[cpu] = Math.max(clocks[cpu] + computes, freeAt[line]) + transfers + works;
    freeAt[line] = clocks[cpu];
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
  const transfers = new LineTransfers(clock, lines, waitedCycles, null);
  return { clock, transfers, waitedCycles };
}

/** CPUs that run `portions` turns in one go, always the one whose clock is furthest behind; clocks at the end, and the longest wait. */
function inPortions(programs: Programs, portions: readonly number[], byArrival = false) {
  const { clock, transfers, waitedCycles } = machine(programs.length);
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
      transfers.serve(turn.line, cpu, turn.transfers, turn.works);
      longestWait = Math.max(longestWait, waitedCycles[cpu] - waited - turn.transfers);
      expect(clocks[cpu]).toBeCloseTo(came + waitedCycles[cpu] - waited + turn.works, 6);
    }
  }
}

const turnOn = (lines: number) =>
  fc.record({
    computes: fc.oneof(cyclesBetween(0, 30), cyclesBetween(0, 600)),
    line: fc.nat(lines - 1),
    transfers: fc.oneof(cyclesBetween(1, 40), cyclesBetween(1, 300)),
    works: fc.oneof(fc.constant(0), cyclesBetween(0, 300)),
  });
/** A program for each of at least `min` and at most `max` CPUs, that come for `lines` lines. */
const programsOf = (min: number, max: number, turns: number, lines = LINES) =>
  fc.array(fc.array(turnOn(lines), { maxLength: turns }), { minLength: min, maxLength: max }).map(comingApart);
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
  made.transfers.serve(0, 0, 100, 0);
  expect(made.waitedCycles[0]).toBe(100);
  between(made);
  made.clock.currentCpu = 1;
  made.clock.clockCycles[1] = at;
  made.transfers.serve(0, 1, 100, 0);
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

describe("two transfers, each free when its CPU came", () => {
  /** Of CPU 0 from 1,000 to 1,100 cycles and of CPU 1 from 1,200 to 1,300; CPU 2 comes at `at`: how long it waits, and by how much the others are put behind. */
  function comesAmong(at: number): number[] {
    const { clock, transfers, waitedCycles } = machine(3);
    for (const [cpu, comes] of [
      [0, 1000],
      [1, 1200],
    ]) {
      clock.currentCpu = cpu;
      clock.clockCycles[cpu] = comes;
      transfers.serve(0, cpu, 100, 0);
    }
    expect(transfers.queued).toBe(0);
    clock.currentCpu = 2;
    clock.clockCycles[2] = at;
    clock.earliestCycles = at;
    transfers.serve(0, 2, 100, 0);
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
    const { clock, transfers } = machine(2, lines);
    for (let line = 0; line < lines; line++) {
      const now = 1000 * line;
      clock.earliestCycles = now;
      for (const [cpu, at] of [
        [0, now + 50],
        [1, now],
      ]) {
        clock.currentCpu = cpu;
        clock.clockCycles[cpu] = at;
        transfers.serve(line, cpu, 100, 0);
      }
    }
    expect(transfers.queued).toBeGreaterThan(0);
    expect(transfers.queued).toBeLessThan(100);
    clock.clockCycles.fill(1e9);
    clock.earliestCycles = 1e9;
    for (let line = 0; line < lines; line++) transfers.serve(line, 1, 100, 0);
    expect(transfers.queued).toBe(0);
  });
});
