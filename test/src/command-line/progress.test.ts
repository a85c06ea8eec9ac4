import { describe, expect, it } from "vitest";
import { timeLeft } from "../../../src/command-line/progress.ts";

describe("the time that is left", () => {
  it.each([
    [5, "0:05 left "],
    [65.9, "1:05 left "],
    [3599, "59:59 left "],
    [7265, "2:01:05 left "],
  ])("of %f seconds is shown as %j", (seconds, text) => expect(timeLeft(seconds)).toBe(text));

  it.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY])("is not shown while nothing is known (%f)", (seconds) =>
    expect(timeLeft(seconds)).toBe(""),
  );
});
