import { describe, expect, it } from "vitest";
import { figuresOf, PRESETS } from "../../../arch/index.ts";
import { figureValue } from "../../../src/report/figures.ts";

describe("the value of a figure", () => {
  it.each([
    [9, "cycles", "9 cycles"],
    [1, "sets", "1 set"],
    [1, "ns", "1 ns"],
    [0, "ways", "0 ways"],
    ["xor", "", "xor"],
  ])("%j %s is written %s", (value, unit, text) => {
    expect(figureValue({ value, unit })).toBe(text);
  });

  it("is never one of many things", () => {
    for (const preset of PRESETS) {
      const all = figuresOf(preset, { guests: true, overlap: true, mitigations: true, idleStates: true });
      for (const figure of all) expect(figureValue(figure), figure.name).not.toMatch(/^1 (?!ns$)\w+s$/);
    }
  });
});
