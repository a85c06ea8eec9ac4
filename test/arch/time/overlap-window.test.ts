/** How long accesses take that do not wait for each other, against a model that works out each time from all accesses before. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { OverlapWindow } from "../../../arch/time/overlap-window.ts";

interface Access {
  readonly kind: number;
  readonly issue: number;
  readonly hit: number;
  readonly walk: number;
}

interface Times {
  readonly issued: number;
  readonly walkFrom: number;
  readonly end: number;
  /** When it and all before it are complete. */
  readonly complete: number;
}

const FETCH = 2;
const overlapOf = (walkers: number, window: number) =>
  ({
    walkers: { value: walkers, unit: "walkers", basis: "assumed", source: "a test" },
    window: { value: window, unit: "accesses", basis: "assumed", source: "a test" },
  }) as const;

/** The times of all accesses, whose first begins at `start`; walks begin in the program's order. */
function model(start: number, accesses: readonly Access[], walkers: number, window: number): Times[] {
  const all: Times[] = [];
  for (const [i, { issue, hit, walk }] of accesses.entries()) {
    const before = all.at(-1);
    const follows = before === undefined ? start : accesses[i - 1].kind === FETCH ? before.end : before.issued;
    const issued = Math.max(follows, i < window ? start : all[i - window].complete) + issue;
    const walks = all.filter((_, j) => accesses[j].walk > 0);
    let walkFrom = issued + hit;
    if (walk > 0) {
      walkFrom = Math.max(walkFrom, walks.at(-1)?.walkFrom ?? start);
      while (walks.filter((each) => each.walkFrom <= walkFrom && walkFrom < each.end).length >= walkers) walkFrom++;
    }
    const end = walkFrom + walk;
    all.push({ issued, walkFrom, end, complete: Math.max(end, before?.complete ?? start) });
  }
  return all;
}

const accesses = fc.array(
  fc.record({
    kind: fc.oneof({ weight: 6, arbitrary: fc.constantFrom(0, 1) }, { weight: 1, arbitrary: fc.constant(FETCH) }),
    issue: fc.integer({ min: 1, max: 3 }),
    hit: fc.constantFrom(0, 0, 7),
    walk: fc.oneof({ weight: 2, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.integer({ min: 1, max: 60 }) }),
  }),
  { minLength: 1, maxLength: 60 },
);

describe("independent accesses", () => {
  test("complete when a model says that works each time out from all accesses before", () => {
    fc.assert(
      fc.property(accesses, fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 20 }), (list, walkers, size) => {
        const window = new OverlapWindow(overlapOf(walkers, size));
        const expected = model(1000, list, walkers, size);
        let now = 1000;
        let exposed = 0;
        const active = [0, 0, 0];
        list.forEach(({ kind, issue, hit, walk }, i) => {
          const before = now;
          now = window.add(now, kind, issue, hit, walk);
          expect(now).toBe(expected[i].complete);
          expect(window.walkExposed).toBeLessThanOrEqual(Math.min(walk, now - before));
          exposed += window.walkExposed;
          active[kind] += window.walkActive;
        });
        expect(exposed).toBeLessThanOrEqual(now - 1000);
        for (const kind of [0, 1, FETCH]) {
          const busy = new Set<number>();
          expected.forEach(({ walkFrom, end }, i) => {
            if (list[i].kind === kind && list[i].walk > 0) for (let at = walkFrom; at < end; at++) busy.add(at);
          });
          expect(active[kind]).toBe(busy.size);
        }
      }),
      { numRuns: 400 },
    );
  });

  test("one at a time take what dependent ones take: the sum of all their parts", () => {
    fc.assert(
      fc.property(accesses, fc.integer({ min: 1, max: 6 }), (list, walkers) => {
        const window = new OverlapWindow(overlapOf(walkers, 1));
        let now = 0;
        let sum = 0;
        for (const { kind, issue, hit, walk } of list) {
          now = window.add(now, kind, issue, hit, walk);
          sum += issue + hit + walk;
          expect(now).toBe(sum);
          expect(window.walkExposed).toBe(walk);
        }
      }),
    );
  });

  test("wait for whatever made the clock go on between two of them", () => {
    const window = new OverlapWindow(overlapOf(4, 72));
    const first = window.add(0, 0, 1, 0, 30);
    expect(window.add(first, 0, 1, 0, 30) - first).toBe(1);
    expect(window.add(100, 0, 1, 0, 30)).toBe(131);
  });

  test("work that waits for none of them hides their walks, as far as it is long enough", () => {
    const window = new OverlapWindow(overlapOf(1, 72));
    let now = 0;
    for (let i = 0; i < 10; i++) now = window.work(window.add(now, 0, 1, 0, 30), 40);
    expect(now).toBe(10 * (1 + 40));
    expect(window.work(1000, 5)).toBe(1005);
    const other = new OverlapWindow(overlapOf(1, 72));
    now = 0;
    for (let i = 0; i < 10; i++) now = other.work(other.add(now, 0, 1, 0, 30), 10);
    expect(now).toBe(1 + 10 * 30);
  });

  test("go on as before from what was captured of them", () => {
    fc.assert(
      fc.property(
        accesses,
        accesses,
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 20 }),
        (list, more, walkers, size) => {
          const window = new OverlapWindow(overlapOf(walkers, size));
          const other = new OverlapWindow(overlapOf(walkers, size));
          let now = 0;
          for (const { kind, issue, hit, walk } of list) now = window.add(now, kind, issue, hit, walk);
          expect(other.fits(window.capture())).toBe(true);
          other.restore(window.capture());
          for (const { kind, issue, hit, walk } of more) {
            const after = window.add(now, kind, issue, hit, walk);
            expect(other.add(now, kind, issue, hit, walk)).toBe(after);
            now = after;
          }
        },
      ),
    );
  });
});
