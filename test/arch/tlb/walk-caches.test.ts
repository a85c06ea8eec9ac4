/** The data caches behind the walker answer as caches do that look every line up in every level at every fetch. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { PRESETS } from "../../../arch/index.ts";
import { DeferredFetches } from "../../../arch/tlb/deferred-fetches.ts";
import { LineCache, type TakeBytes } from "../../../arch/tlb/line-cache.ts";
import { LineCacheShape } from "../../../arch/tlb/line-cache-shape.ts";
import { WalkCaches } from "../../../arch/tlb/walk-caches.ts";

const PAGE_BYTES = 4096;
const takeBytes: TakeBytes = (bytes) => [new ArrayBuffer(bytes), 0];

test.each(PRESETS)("fetches of lines that share sets or not, $name: cycles, lines and replacement state", (preset) => {
  const line = fc.tuple(fc.nat(12), fc.constantFrom(0, 1, 5, 63), fc.constantFrom(64, 4096, 2 ** 17, 2 ** 28));
  fc.assert(
    fc.property(fc.array(line, { minLength: 1, maxLength: 400 }), fc.nat(400), (lines, clearedAt) => {
      const caches = new WalkCaches(preset, takeBytes);
      const make = () =>
        preset.dataCaches.map((each) => alone(each.sizeBytes.value, each.ways.value, each.hitCycles.value));
      let levels = make();
      for (const [i, [tag, low, stride]] of lines.entries()) {
        const number = tag * stride + low;
        if (i === clearedAt) {
          caches.clear();
          levels = make();
        }
        let cycles = preset.memory.value;
        for (const level of [...levels].reverse()) {
          if (level.use(number)) cycles = level.shape.hitCycles;
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
        const [later, now] = [new WalkCaches(preset, takeBytes), new WalkCaches(preset, takeBytes)];
        const paid = [0, 0, 0];
        const expected = [0, 0, 0];
        for (const { line, stride, kind, isLater } of fetches) {
          expected[kind] += now.fetch(line * stride);
          if (isLater === 0) {
            paid[kind] += later.fetch(line * stride);
            continue;
          }
          add(later.deferral, line * stride, kind);
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
  const make = () => [alone(20 * 64 * 8, 20, 4), alone(4096, 4, 9)];
  fc.assert(
    fc.property(fc.array(fc.nat(500), { minLength: 1, maxLength: 900 }), (lines) => {
      const levels = make();
      const deferred = new DeferredFetches(make(), 77);
      let cycles = 0;
      for (const line of lines) {
        const [near, far] = levels.map((level) => level.use(line));
        cycles += near ? 4 : far ? 9 : 77;
        add(deferred, line, 1);
      }
      deferred.make();
      expect([...deferred.unpaidCycles]).toEqual([0, cycles, 0]);
      expect(deferred.levels.map(contents)).toEqual(levels.map(contents));
    }),
    { numRuns: 20 },
  );
});

test.each([
  ["a level of few sets", 2 ** 21, 16, 2],
  ["a level of more sets than 16 bits count", 2 ** 23, 1, 4],
])("%s: lines that come to scattered sets are written side by side", (_, sizeBytes, ways, numberBytes) => {
  const cache = alone(sizeBytes, ways, 10);
  const { sets } = cache.shape;
  const bytes = new Uint8Array(cache.words.buffer);
  const lines = Array.from({ length: 64 }, (_, i) => ((i * 37) % 64) * (sets / 64) + i * sets);
  expect(lines.filter((line) => cache.use(line))).toEqual([]);
  expect(lines.filter((line) => !cache.use(line))).toEqual([]);
  // What 64 sets have is in two pages at the most, of however many sets; the rows' numbers by set are scattered. Either may begin within a page.
  const numberPages = Math.min(64, (sets * numberBytes) / PAGE_BYTES);
  expect(writtenPages(bytes)).toBeLessThanOrEqual(numberPages + 1 + 2 + 1);
  expect(writtenPages(bytes)).toBeGreaterThanOrEqual(numberPages);
  cache.clear();
  expect(writtenPages(bytes)).toBe(0);
});

test("data caches that are emptied take no other memory", () => {
  let taken = 0;
  const caches = new WalkCaches(PRESETS[0], (bytes) => {
    taken++;
    return takeBytes(bytes);
  });
  expect(taken).toBe(0);
  for (let i = 0; i < 5; i++) {
    expect(caches.fetch(1234)).toBe(PRESETS[0].memory.value);
    caches.clear();
    caches.fetch(99);
    caches.reset(7);
    caches.reset(Number.NaN);
  }
  expect(taken).toBe(1);
});

function alone(sizeBytes: number, ways: number, hitCycles: number): LineCache {
  const shape = new LineCacheShape({ sizeBytes, ways, hitCycles }, 0);
  return new LineCache(shape, new Int32Array(shape.end));
}

function writtenPages(bytes: Uint8Array): number {
  let pages = 0;
  for (let at = 0; at < bytes.length; at += PAGE_BYTES) {
    if (bytes.subarray(at, at + PAGE_BYTES).some((byte) => byte !== 0)) pages++;
  }
  return pages;
}

function add(deferred: DeferredFetches, line: number, kind: number): void {
  deferred.lines[deferred.count] = line;
  deferred.kinds[deferred.count++] = kind;
}

function contents(cache: LineCache): unknown {
  const found: number[][] = [];
  cache.forEachLine((slot, line) => found.push([slot, line]));
  cache.forEachState((set, state) => found.push([-1, set, state]));
  return found;
}
