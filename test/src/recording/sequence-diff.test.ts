import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { diffSequences } from "../../../src/recording/sequence-diff.ts";

const diff = (expected: string, actual: string) => diffSequences([...expected], [...actual], Object.is);

describe("comparing sequences", () => {
  it("finds nothing in equal ones, and something in all others", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(3)), fc.array(fc.nat(3)), (a, b) => {
        const equal = a.length === b.length && a.every((value, i) => value === b[i]);
        expect(diffSequences(a, b, Object.is).length === 0).toBe(equal);
      }),
    );
  });

  it("reports one missing, extra or different element as one difference", () => {
    expect(diff("abcd", "abd")).toEqual([{ index: 2, expected: "c", actual: undefined }]);
    expect(diff("abd", "abcd")).toEqual([{ index: 2, expected: undefined, actual: "c" }]);
    expect(diff("abcd", "abxd")).toEqual([{ index: 2, expected: "c", actual: "x" }]);
  });

  it("names everything on one side when the other is empty", () => {
    expect(diff("ab", "")).toHaveLength(2);
    expect(diff("", "ab").map((entry) => entry.actual)).toEqual(["a", "b"]);
  });

  it("never counts more differences than the longer sequence has elements", () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (a, b) => {
        expect(diff(a, b).length).toBeLessThanOrEqual(Math.max([...a].length, [...b].length));
      }),
    );
  });
});
