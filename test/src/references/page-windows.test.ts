import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PageWindows } from "../../../src/references/page-windows.ts";

describe("a working set by windows", () => {
  it("is what sets of page numbers say", () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.nat({ max: 30 }), fc.integer({ min: 0, max: 2 ** 35 }))),
        fc.integer({ min: 1, max: 20 }),
        (pages, window) => {
          const counted = new PageWindows(window);
          counted.touch(
            Float64Array.from(pages, (page) => page * 4096 + 7),
            0,
            pages.length,
            0,
          );
          expect(counted.pages).toBe(new Set(pages).size);
          const expected: number[] = [];
          for (let at = 0; at < pages.length; at += window) expected.push(new Set(pages.slice(at, at + window)).size);
          expect(counted.windows()).toEqual(expected);
        },
      ),
    );
  });

  it("holds for more pages than its tables begin with", () => {
    const counted = new PageWindows(50_000);
    counted.touch(
      Float64Array.from({ length: 100_000 }, (_, i) => ((i * 7919) % 40_000) * 4096),
      0,
      100_000,
      0,
    );
    expect(counted.pages).toBe(40_000);
    expect(counted.windows()).toEqual([40_000, 40_000]);
  });

  it("tells the pages of different address spaces apart", () => {
    const counted = new PageWindows(100);
    for (const space of [0, 1, 0, 2]) counted.touch(Float64Array.of(4096, 8192), 0, 2, space);
    expect(counted.pages).toBe(6);
  });
});
