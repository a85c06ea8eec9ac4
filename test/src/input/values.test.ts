import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ValueError } from "../../../src/input/errors.ts";
import { suggestion } from "../../../src/input/suggestion.ts";
import { memorySize, wholeNumber } from "../../../src/input/values.ts";

describe("whole numbers", () => {
  const parse = wholeNumber(1, 1024);

  it("are read when they are in range", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 1024 }), (value) => {
        expect(parse(String(value))).toBe(value);
      }),
    );
  });

  it.each(["0", "1025", "-1", "+1", "1.0", "1e2", "0x1", " 1", "1 ", "", "Infinity", "NaN", "٣"])(
    "are not %j",
    (text) => {
      expect(() => parse(text)).toThrow(ValueError);
    },
  );
});

describe("memory sizes", () => {
  const parse = memorySize(2 ** 20, 2 ** 46);

  it.each([
    ["4GiB", 2 ** 32],
    ["4 GiB", 2 ** 32],
    ["4g", 2 ** 32],
    ["1.5G", 3 * 2 ** 29],
    ["512MiB", 2 ** 29],
    ["1TiB", 2 ** 40],
    ["2097152", 2 ** 21],
    ["4096KiB", 2 ** 22],
  ])("%s is read", (text, bytes) => expect(parse(text)).toBe(bytes));

  it.each(["", "4", "4GB?", "4XiB", "-4GiB", "1GiB1", "1e9", "65TiB", "1048577", "GiB", "1..5G"])(
    "are not %j",
    (text) => {
      expect(() => parse(text)).toThrow(
        /expected a size such as 4GiB or 512MiB, a multiple of 4KiB from 1MiB to 64TiB/,
      );
    },
  );
});

describe("suggestions", () => {
  it("name what is near and nothing that is not", () => {
    expect(suggestion("mxied", ["mixed", "storm"])).toBe(" (did you mean mixed?)");
    expect(suggestion("MIXED", ["mixed", "storm"])).toBe(" (did you mean mixed?)");
    // Of three letters one may be wrong, whatever dashes are before them.
    expect(suggestion("--set", ["--out", "--json"])).toBe("");
    expect(suggestion("--sed", ["--out", "--seed"])).toBe(" (did you mean --seed?)");
    expect(suggestion("qqqqqqqq", ["mixed", "storm"])).toBe("");
    expect(suggestion("lazymax", ["memory", "lazy_max_pages"])).toBe(" (did you mean lazy_max_pages?)");
  });
});
