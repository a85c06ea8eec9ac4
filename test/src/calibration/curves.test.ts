/** Files of curves: written, read again, and refused with the place of the mistake. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatCurves, type MeasuredCurves, parseCurves } from "../../../src/calibration/curves.ts";
import { InputFileError } from "../../../src/input/errors.ts";

const ns = fc.double({ min: 0.01, max: 1000, noNaN: true });
const points = fc.uniqueArray(fc.record({ pages: fc.integer({ min: 1, max: 600 }), ns }), {
  minLength: 1,
  maxLength: 8,
  selector: ({ pages }) => pages,
});
const sortedPoints = points.map((each) => each.toSorted((a, b) => a.pages - b.pages));
const pages = fc.array(fc.integer({ min: 0, max: 600_000 }), { maxLength: 9 });
const sequence = fc.record({
  visits: fc.array(fc.nat(600_000), { minLength: 1, maxLength: 9 }),
  leastNs: ns,
  medianNs: ns,
});
const measured: fc.Arbitrary<MeasuredCurves> = fc.record({
  origin: fc.record({
    processor: fc.string(),
    vendor: fc.constantFrom("GenuineIntel", "AuthenticAMD", ""),
    isVirtual: fc.constantFrom(true, false, null),
    hugePages: fc.string(),
    madeBy: fc.string(),
  }),
  clockGhz: fc.option(fc.double({ min: 0.5, max: 8, noNaN: true })),
  disagreeing: fc.double({ min: 0, max: 1, noNaN: true }),
  loads: fc.array(fc.record({ stride: fc.integer({ min: 1, max: 65_536 }), points: sortedPoints }), {
    minLength: 1,
    maxLength: 4,
  }),
  sets: fc.array(fc.record({ targets: pages, fillers: pages, points: sortedPoints }), { maxLength: 3 }),
  firstLevelSequences: fc.array(sequence, { maxLength: 3 }),
  secondLevelSequences: fc.array(sequence, { maxLength: 3 }),
});

function problem(text: string): string {
  try {
    parseCurves("curves", text);
  } catch (error) {
    expect(error).toBeInstanceOf(InputFileError);
    return (error as Error).message;
  }
  return "none";
}

describe("a file of curves", () => {
  it("is read as it was written", () => {
    fc.assert(
      fc.property(measured, (curves) => {
        expect(parseCurves("a", formatCurves(curves))).toEqual(curves);
      }),
    );
  });

  it("can be lines of text, whose points may stand in any order", () => {
    const { loads, clockGhz } = parseCurves("a", "stride    4: 8:2.5 1:1.67\n\nstride 65536: 2:1.7\n");
    expect(loads).toEqual([
      {
        stride: 4,
        points: [
          { pages: 1, ns: 1.67 },
          { pages: 8, ns: 2.5 },
        ],
      },
      { stride: 65536, points: [{ pages: 2, ns: 1.7 }] },
    ]);
    expect(clockGhz).toBe(null);
  });

  it("is refused with its name, the line or the field, and what was expected", () => {
    expect(problem("stride 4: 1:1.67\nstride 4: one:2\n")).toBe("curves:2: expected `stride S: pages:ns pages:ns ...`");
    expect(problem("")).toBe("curves: has no curve");
    expect(problem("stride 0: 1:1.67")).toMatch(/^curves:1: /);
    expect(problem("{")).toMatch(/^curves: is no JSON/);
    expect(problem('{"format":"mmulab-curves","version":2}')).toMatch(
      /^curves: is no file of curves .*: version: expected /,
    );
  });
});
