/** Disjoint address ranges against a set of single pages. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { AddressRanges } from "../../../mm/lib/address-ranges.ts";

const PAGES = 40;

/** The ranges that a set of pages makes, neighbours in one. */
function rangesOf(pages: ReadonlySet<number>): [number, number][] {
  const found: [number, number][] = [];
  for (const page of [...pages].sort((a, b) => a - b)) {
    const last = found.at(-1);
    if (last !== undefined && last[1] === page) last[1]++;
    else found.push([page, page + 1]);
  }
  return found;
}

function listed(ranges: AddressRanges): [number, number][] {
  return Array.from({ length: ranges.count }, (_, i) => [ranges.startOf(i), ranges.endOf(i)]);
}

describe("disjoint address ranges", () => {
  it("hold what a set of pages holds, merged, whatever is added and taken", () => {
    const step = fc.record({
      adds: fc.boolean(),
      start: fc.nat(PAGES),
      pages: fc.integer({ min: 1, max: 6 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const ranges = new AddressRanges();
        const model = new Set<number>();
        for (const { adds, start, pages } of steps) {
          const wanted = Array.from({ length: pages }, (_, i) => start + i);
          if (!adds) {
            const index = ranges.indexOf(start);
            expect(index >= 0).toBe(model.has(start));
            if (index < 0) continue;
            const taken = Math.min(pages, ranges.endOf(index) - ranges.startOf(index));
            for (let i = 0; i < taken; i++) model.delete(ranges.startOf(index) + i);
            ranges.takeLowest(index, taken);
          } else if (wanted.some((page) => model.has(page))) {
            expect(() => ranges.insertMerged(start, start + pages)).toThrow(RangeError);
          } else {
            ranges.insertMerged(start, start + pages);
            for (const page of wanted) model.add(page);
          }
          expect(listed(ranges)).toEqual(rangesOf(model));
        }
      }),
      { numRuns: 200 },
    );
  });

  it("keep neighbours apart that are to stay apart, and refuse what overlaps or is empty", () => {
    const ranges = new AddressRanges();
    ranges.insert(8, 12);
    ranges.insert(12, 13);
    ranges.insert(4, 8);
    expect(listed(ranges)).toEqual([
      [4, 8],
      [8, 12],
      [12, 13],
    ]);
    expect([3, 4, 11, 12, 13].map((address) => ranges.indexOf(address))).toEqual([-1, 0, 1, 2, -1]);
    expect(() => ranges.insert(5, 6)).toThrow("[0x5, 0x6) overlaps another range or is empty");
    expect(() => ranges.insert(3, 5)).toThrow(RangeError);
    expect(() => ranges.insert(20, 20)).toThrow(RangeError);
  });
});
