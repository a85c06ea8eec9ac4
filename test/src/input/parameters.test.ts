import { describe, expect, it } from "vitest";
import { type ParameterSpec, parseParameters } from "../../../src/input/parameters.ts";

const SPECS: readonly ParameterSpec[] = [
  { name: "nr_threads", kind: "integer", default: 4, low: 1, high: 100, summary: "" },
  { name: "use_huge", kind: "boolean", default: false, summary: "" },
  { name: "sizes", kind: "integers", default: [1, 2], low: 1, high: 9, summary: "" },
  { name: "order", kind: "words", default: ["up"], words: ["up", "down"], summary: "" },
  { name: "pages", kind: "words", default: ["4K"], words: ["4K", "2M"], summary: "" },
  { name: "way", kind: "word", default: "in", words: ["in", "out", "4K"], summary: "" },
];

describe("parameters of a workload", () => {
  it("keep their defaults where none is given", () => {
    expect(parseParameters("x", SPECS, [])).toEqual({
      nr_threads: 4,
      use_huge: false,
      sizes: [1, 2],
      order: ["up"],
      pages: ["4K"],
      way: "in",
    });
  });

  it("are read as modprobe reads them", () => {
    expect(parseParameters("x", SPECS, ["nr_threads=0x10", "use_huge"])).toMatchObject({
      nr_threads: 16,
      use_huge: true,
    });
    expect(parseParameters("x", SPECS, ["sizes=3,0x9", "order=down,up"])).toMatchObject({
      sizes: [3, 9],
      order: ["down", "up"],
    });
    expect(parseParameters("x", SPECS, ["way=4KiB"]).way).toBe("4K");
    for (const word of ["1", "y", "Y", "true", "on"]) {
      expect(parseParameters("x", SPECS, [`use_huge=${word}`]).use_huge).toBe(true);
    }
    for (const word of ["0", "n", "N", "false", "off"]) {
      expect(parseParameters("x", SPECS, [`use_huge=${word}`]).use_huge).toBe(false);
    }
  });

  it.each([
    ["2-4,9", [2, 3, 4, 9]],
    ["0x2-0x3", [2, 3]],
    ["5-5", [5]],
  ])("the list %s has its ranges written out", (text, numbers) =>
    expect(parseParameters("x", SPECS, [`sizes=${text}`]).sizes).toEqual(numbers),
  );

  it.each(["4-2", "1-", "-4", "1-10", "0-3", "1-2-3", "1-x", "", "1,,2", "1-99999999999"])(
    "the list %j is refused",
    (text) =>
      expect(() => parseParameters("x", SPECS, [`sizes=${text}`])).toThrow(
        `parameter sizes: '${text}'; expected whole numbers from 1 to 9, separated by commas, or ranges FIRST-LAST`,
      ),
  );

  it.each([
    ["sizes=1,1,2", 1],
    ["sizes=1-4,8,3", 3],
    ["sizes=9,0x9", 9],
    ["order=down,up,down", "down"],
    ["pages=4K,2M,4KiB", "4K"],
  ])("the list %s is refused: its runs would be made twice", (word, twice) => {
    const [name, text] = word.split("=");
    expect(() => parseParameters("x", SPECS, [word])).toThrow(
      `parameter ${name}: '${text}'; expected each value once, and ${twice} is there twice`,
    );
  });

  it.each([
    [
      "nr_thread=4",
      "x has no parameter 'nr_thread' (did you mean nr_threads?); it has nr_threads, use_huge, sizes, order, pages, way",
    ],
    ["way=in,out", "parameter way: 'in,out'; expected one of in, out, 4K"],
    ["way=ou", "parameter way: 'ou'; expected one of in, out, 4K (did you mean out?)"],
    ["nr_threads=-1", "parameter nr_threads: '-1'; expected a whole number from 1 to 100"],
    ["nr_threads=101", "parameter nr_threads: '101'; expected a whole number from 1 to 100"],
    ["nr_threads=", "parameter nr_threads: ''; expected a whole number from 1 to 100"],
    ["nr_threads", "parameter nr_threads: no value is given; expected a whole number from 1 to 100"],
    ["nr_threads=1.5", "parameter nr_threads: '1.5'; expected a whole number from 1 to 100"],
    ["use_huge=maybe", "parameter use_huge: 'maybe'; expected on (1, y) or off (0, n)"],
    [
      "sizes=1,10",
      "parameter sizes: '1,10'; expected whole numbers from 1 to 9, separated by commas, or ranges FIRST-LAST",
    ],
    ["order=up,dawn", "parameter order: 'up,dawn'; expected a list of up, down (did you mean down?)"],
  ])("refuse %s with one line", (word, message) => {
    expect(() => parseParameters("x", SPECS, [word])).toThrow(message);
  });

  it("may be given once, and only to a workload that has some", () => {
    expect(() => parseParameters("x", SPECS, ["use_huge", "use_huge=0"])).toThrow("parameter use_huge is given twice");
    expect(() => parseParameters("mixed", [], ["a=1"])).toThrow("mixed takes no parameters, but 'a' was given");
  });
});
