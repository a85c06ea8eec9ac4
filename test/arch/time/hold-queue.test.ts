/** Queues of a fair lock that plain code takes on CPUs whose clocks are apart, beside the simplest model of such a lock. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type HandOver, HOLDS_MAX, HoldQueue } from "../../../arch/time/hold-queue.ts";
import { comingApart, cyclesBetween } from "./coming-apart.ts";
import { tuplesOf } from "./late-tuples.ts";
import { nextToAct } from "./next-to-act.ts";

/** What a CPU does again and again: computes, then works under the lock. */
interface Turn {
  readonly computes: number;
  readonly works: number;
}

/** Cycles that the lock takes from one CPU to another, without anybody who waits, and with. */
const FREE = 3;
const QUEUED = 7;

function handOverCycles(from: number, to: number, isQueued: boolean): number {
  if (from < 0 || from === to) return 0;
  return isQueued ? QUEUED : FREE;
}

/** The model: whoever comes first of all CPUs has the lock next. Clocks at the end. */
function inOrder(programs: readonly (readonly Turn[])[]): number[] {
  const clocks = programs.map(() => 0);
  const done = programs.map(() => 0);
  let freeAt = 0;
  let last = -1;
  for (;;) {
    const cpu = nextToAct(programs, clocks, done, true);
    if (cpu < 0) return clocks;
    const { computes, works } = programs[cpu][done[cpu]++];
    const comes = clocks[cpu] + computes;
    const isQueued = freeAt > comes;
    freeAt = Math.max(freeAt, comes) + handOverCycles(last, cpu, isQueued) + works;
    clocks[cpu] = freeAt;
    last = cpu;
  }
}

/** CPUs that run `portions` turns in one go, always the one whose clock is furthest behind; clocks at the end, and the longest wait. */
function inPortions(programs: readonly (readonly Turn[])[], portions: readonly number[], byArrival = false) {
  const clocks = programs.map(() => 0);
  const done = programs.map(() => 0);
  let longestWait = 0;
  const waits = (cycles: number) => {
    longestWait = Math.max(longestWait, cycles);
  };
  const handOver: HandOver = {
    handOverCycles,
    putBehind: (late) => {
      for (const [cpu, from, cycles] of tuplesOf(late)) {
        expect(from).toBeLessThanOrEqual(clocks[cpu]);
        expect(cycles).toBeGreaterThan(0);
        clocks[cpu] += cycles;
      }
    },
    waitsLonger: (was, cycles) => {
      expect(cycles).toBeGreaterThan(was);
      waits(cycles);
    },
  };
  const queue = new HoldQueue(handOver);
  for (let step = 0; ; step++) {
    const cpu = nextToAct(programs, clocks, done, byArrival);
    if (cpu < 0) return { clocks, longestWait, kept: queue.length };
    const floor = clocks[cpu];
    for (let i = portions[step % portions.length]; i > 0 && done[cpu] < programs[cpu].length; i--) {
      const { computes, works } = programs[cpu][done[cpu]++];
      const comes = clocks[cpu] + computes;
      const freeAt = queue.come(comes, floor);
      waits(freeAt - comes);
      const until = freeAt + handOverCycles(queue.predecessor, cpu, freeAt > comes) + works;
      clocks[cpu] = until;
      queue.serve(cpu, comes, freeAt - comes, works, until);
    }
  }
}

const turn = fc.record({
  computes: fc.oneof(cyclesBetween(0, 30), cyclesBetween(0, 600)),
  works: fc.oneof(cyclesBetween(0, 40), cyclesBetween(0, 300)),
});
/** A program for each of at least `min` and at most `max` CPUs. */
const programsOf = (min: number, max: number, turns: number) =>
  fc.array(fc.array(turn, { maxLength: turns }), { minLength: min, maxLength: max }).map(comingApart);
const portions = fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 20 });

/** Sums of real numbers in another order differ in their last bits. */
function expectSame(clocks: readonly number[], expected: readonly number[]): void {
  clocks.forEach((clock, cpu) => {
    expect(clock).toBeCloseTo(expected[cpu], 6);
  });
}

describe("CPUs that the loop runs in the order of their times", () => {
  it("have the lock as in the model, and few holds are kept that nobody can come before", () => {
    fc.assert(
      fc.property(programsOf(1, 6, 30), (programs) => {
        const { clocks, kept } = inPortions(programs, [1], true);
        expectSame(clocks, inOrder(programs));
        expect(kept).toBeLessThanOrEqual(8 * programs.length);
      }),
    );
  });
});

describe("CPUs that the loop runs ahead of each other", () => {
  it("wait for no longer than each of the others has the lock once", () => {
    fc.assert(
      fc.property(programsOf(1, 8, 40), portions, (programs, sizes) => {
        const longestHold = Math.max(0, ...programs.flat().map(({ works }) => works)) + QUEUED;
        const { longestWait } = inPortions(programs, sizes);
        expect(longestWait).toBeLessThanOrEqual((programs.length - 1) * longestHold + 1e-6);
      }),
    );
  });

  it("have the lock as in the model if they are two: what one had too early is later by what the other has first", () => {
    fc.assert(
      fc.property(programsOf(2, 2, 40), portions, (programs, sizes) => {
        expectSame(inPortions(programs, sizes).clocks, inOrder(programs));
      }),
    );
  });

  // Of three, the third may come between two holds of which the second had waited for the first: its clock does not go back.
  it("do no less work a second, and no more, than in the model, however many they are", () => {
    fc.assert(
      fc.property(programsOf(12, 12, 150), portions, (programs, sizes) => {
        const last = Math.max(...inOrder(programs));
        const took = Math.max(...inPortions(programs, sizes).clocks);
        expect(Math.abs(took - last)).toBeLessThan(0.1 * last + 12 * 300);
      }),
      { numRuns: 20 },
    );
  });
});

describe("one CPU that comes before three holds of another", () => {
  it("has the lock after the one that is under way; the second begins when it gives it back, and each later one behind that", () => {
    const later: [number, number, number][] = [];
    const waits: [number, number][] = [];
    const queue = new HoldQueue({
      handOverCycles: () => 0,
      putBehind: (late) => later.push(...tuplesOf(late)),
      waitsLonger: (...told) => waits.push(told),
    });
    for (const comes of [0, 10, 40]) {
      expect(queue.come(comes, 0)).toBe(comes);
      queue.serve(0, comes, 0, 10, comes + 10);
    }
    expect(queue.come(5, 5)).toBe(10);
    queue.serve(1, 5, 5, 25, 35);
    // The second hold waits from 10 until 35, by which its CPU comes for the third at 65 in place of 40, and waits for nobody.
    expect(later).toEqual([[0, 10, 25]]);
    expect(waits).toEqual([[0, 25]]);
    expect(queue.come(66, 66)).toBe(75);
    expect(queue.predecessor).toBe(0);
  });
});

it("keeps a limited number of holds where nobody says that the oldest are over", () => {
  const queue = new HoldQueue({ handOverCycles, putBehind: () => {}, waitsLonger: () => {} });
  for (let i = 0; i < HOLDS_MAX + 100; i++) {
    queue.come(10 * i, 0);
    queue.serve(0, 10 * i, 0, 10, 10 * i + 10);
  }
  expect(queue.length).toBe(HOLDS_MAX);
  queue.clear();
  expect([queue.length, queue.lastCpu, queue.predecessor]).toEqual([0, 0, 0]);
});
