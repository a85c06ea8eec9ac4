/** The times of hits of both levels, read off curves. */
import { describe, expect, it } from "vitest";
import { findLevels } from "../../../src/calibration/plateaus.ts";

/** Curves of a first level of 64 entries and a second that holds the rest. */
function curves(strides: number) {
  const pages = [1, 2, 4, 8, 16, 32, 48, 64, 80, 96, 128, 192, 256, 384];
  return Array.from({ length: strides }, (_, i) => ({
    stride: 2 ** i,
    points: pages.map((count) => ({ pages: count, ns: (count <= 64 ? 1.1 : 3) * (1 + (i % 3) / 200) })),
  }));
}

describe("the levels of curves", () => {
  it("are the times on which most points lie", () => {
    const { firstNs, secondNs } = findLevels(curves(10));
    expect(firstNs).toBeCloseTo(1.1, 1);
    expect(secondNs).toBeCloseTo(3, 1);
  });

  it("are not moved by single times that are far too short", () => {
    const all = curves(10);
    const shortened = all.map((curve, i) => ({
      ...curve,
      points: curve.points.map(({ pages, ns }, j) => ({ pages, ns: i > 7 && j === i - 4 ? ns / 3 : ns })),
    }));
    expect(findLevels(shortened)).toEqual(findLevels(all));
  });

  it("are unknown where there are no points", () => {
    expect(findLevels([])).toEqual({ firstNs: Number.POSITIVE_INFINITY, secondNs: null });
  });
});
