/** Queues of what serves one CPU at a time, beside the simplest model of a queue. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BUSY_STRETCHES, BusyTimes } from "../../../arch/time/busy-times.ts";

/** Serves somebody who comes at `at` for `cycles`; how long that one has waited. */
function occupy(busy: BusyTimes, at: number, cycles: number): number {
  const start = busy.startOf(at);
  busy.serve(start, start + cycles);
  return start - at;
}

/** What is busy from when until when, for people. */
function stretches(busy: BusyTimes): [number, number][] {
  return [...busy.from].flatMap((from, i): [number, number][] => (busy.until[i] > 0 ? [[from, busy.until[i]]] : []));
}

const arrivals = fc.array(
  fc.record({ gap: fc.nat(300), cycles: fc.integer({ min: 1, max: 200 }), early: fc.nat(400) }),
  {
    minLength: 1,
    maxLength: 60,
  },
);

describe("who comes", () => {
  it("in the order of time waits as in a queue of one server: for what is left of the work before it", () => {
    fc.assert(
      fc.property(arrivals, (all) => {
        const busy = new BusyTimes();
        let at = 1;
        let freeAt = 0;
        for (const { gap, cycles } of all) {
          at += gap;
          expect(occupy(busy, at, cycles)).toBe(Math.max(0, freeAt - at));
          freeAt = Math.max(freeAt, at) + cycles;
        }
      }),
    );
  });

  it("in any order leaves no work out: what is kept of the busy time is as long as what was served, once it has no gap", () => {
    fc.assert(
      fc.property(arrivals, (all) => {
        const busy = new BusyTimes();
        let work = 0;
        let at = 10_000;
        for (const { cycles, early } of all) {
          // Never further apart than the work before: one stretch without a gap.
          at = Math.max(10_000, at - early);
          occupy(busy, at, cycles);
          work += cycles;
          at = 10_000 + Math.floor(work / 2);
        }
        expect(stretches(busy)).toEqual([[10_000, 10_000 + work]]);
      }),
    );
  });
});

describe("a CPU whose clock is earlier than another that was served", () => {
  it("does not pass those who came at its own time: it waits at the end of the stretch that its clock lies in", () => {
    const busy = new BusyTimes();
    occupy(busy, 18_000, 5_000);
    expect(occupy(busy, 5_000, 5_000)).toBe(0);
    expect(occupy(busy, 6_000, 5_000)).toBe(4_000);
    expect(stretches(busy)).toEqual([
      [5_000, 15_000],
      [18_000, 23_000],
    ]);
  });

  it("takes its time from the stretch behind, which ends later by as much", () => {
    const busy = new BusyTimes();
    occupy(busy, 1_000, 500);
    expect(occupy(busy, 900, 300)).toBe(0);
    expect(stretches(busy)).toEqual([[900, 1_700]]);
    expect(occupy(busy, 1_400, 10)).toBe(300);
  });

  it("joins two stretches when it fills the gap between them; the oldest of too many is put right before the next, so that no work is lost", () => {
    const busy = new BusyTimes();
    for (let i = 1; i <= BUSY_STRETCHES; i++) occupy(busy, 1_000 * i, 100);
    expect(occupy(busy, 2_100, 900)).toBe(0);
    expect(stretches(busy)).toEqual([
      [1_000, 1_100],
      [2_000, 3_100],
      [4_000, 4_100],
    ]);
    occupy(busy, 5_000, 100);
    occupy(busy, 6_000, 100);
    expect(stretches(busy)[0]).toEqual([1_900, 3_100]);
    expect(occupy(busy, 1_050, 10)).toBe(0);
    expect(stretches(busy)[0]).toEqual([1_890, 3_100]);
  });
});
