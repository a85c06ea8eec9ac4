/** The data caches behind the walker answer as caches do that look every line up in every level at every fetch. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { PRESETS } from "../../../arch/index.ts";
import { DeferredFetches } from "../../../arch/tlb/deferred-fetches.ts";
import { LineCache } from "../../../arch/tlb/line-cache.ts";
import { WalkCaches } from "../../../arch/tlb/walk-caches.ts";

test.each(PRESETS)("fetches of lines that share sets or not, $name: cycles, lines and replacement state", (preset) => {
  const line = fc.tuple(fc.nat(12), fc.constantFrom(0, 1, 5, 63), fc.constantFrom(64, 4096, 2 ** 17, 2 ** 28));
  fc.assert(
    fc.property(fc.array(line, { minLength: 1, maxLength: 400 }), fc.nat(400), (lines, clearedAt) => {
      const caches = new WalkCaches(preset);
      const make = () =>
        preset.dataCaches.map((each) => new LineCache(each.sizeBytes.value, each.ways.value, each.hitCycles.value));
      let levels = make();
      for (const [i, [tag, low, stride]] of lines.entries()) {
        const number = tag * stride + low;
        if (i === clearedAt) {
          caches.clear();
          levels = make();
        }
        let cycles = preset.memory.value;
        for (const level of [...levels].reverse()) {
          const slot = level.find(number);
          if (slot < 0) level.insert(number);
          else level.hit(slot, number);
          if (slot >= 0) cycles = level.hitCycles;
        }
        expect(caches.fetch(number)).toBe(cycles);
      }
      if (clearedAt === lines.length) return;
      expect(caches.caches.map(contents)).toEqual(levels.map(contents));
    }),
    { numRuns: 20 },
  );
});

test.each(PRESETS)(
  "fetches left for later, $name: what each kind of access pays, lines and replacement state, as one by one",
  (preset) => {
    const fetch = fc.record({
      line: fc.nat(3000),
      stride: fc.constantFrom(1, 64, 4096),
      kind: fc.nat(2),
      isLater: fc.nat(50),
    });
    fc.assert(
      fc.property(fc.array(fetch, { minLength: 1, maxLength: 3000 }), (fetches) => {
        const [later, now] = [new WalkCaches(preset), new WalkCaches(preset)];
        const paid = [0, 0, 0];
        const expected = [0, 0, 0];
        for (const { line, stride, kind, isLater } of fetches) {
          expected[kind] += now.fetch(line * stride);
          if (isLater === 0) {
            paid[kind] += later.fetch(line * stride);
            continue;
          }
          later.deferral.add(line * stride, kind);
          if (later.deferral.isFull) later.makeDeferred();
        }
        later.settle()?.forEach((cycles, kind) => {
          paid[kind] += cycles;
        });
        expect(paid).toEqual(expected);
        expect(later.last).toBe(now.last);
        expect(later.caches.map(contents)).toEqual(now.caches.map(contents));
      }),
      { numRuns: 20 },
    );
  },
);

test("caches with sets of more ways than a vector has marks are used one by one", () => {
  const make = () => [new LineCache(20 * 64 * 8, 20, 4), new LineCache(4096, 4, 9)];
  fc.assert(
    fc.property(fc.array(fc.nat(500), { minLength: 1, maxLength: 900 }), (lines) => {
      const levels = make();
      const deferred = new DeferredFetches(make(), 77);
      let cycles = 0;
      for (const line of lines) {
        const [near, far] = levels.map((level) => level.use(line));
        cycles += near ? 4 : far ? 9 : 77;
        deferred.add(line, 1);
      }
      expect(deferred.make()).toBe(lines.at(-1));
      expect([...deferred.unpaidCycles]).toEqual([0, cycles, 0]);
      expect(deferred.levels.map(contents)).toEqual(levels.map(contents));
    }),
    { numRuns: 20 },
  );
});

function contents(cache: LineCache): unknown {
  const found: number[][] = [];
  cache.forEachLine((slot, line) => found.push([slot, line]));
  cache.forEachState((set, state) => found.push([-1, set, state]));
  return found;
}
