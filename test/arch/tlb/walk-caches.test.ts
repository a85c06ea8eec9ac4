/** The data caches behind the walker answer as caches do that look every line up in every level at every fetch. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { PRESETS } from "../../../arch/index.ts";
import { LineCache, WalkCaches } from "../../../arch/tlb/walk-caches.ts";

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

function contents(cache: LineCache): unknown {
  const found: number[][] = [];
  cache.forEachLine((slot, line) => found.push([slot, line]));
  cache.forEachState((set, state) => found.push([-1, set, state]));
  return found;
}
