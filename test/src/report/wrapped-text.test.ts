/** Text on a narrow terminal. */
import { describe, expect, it } from "vitest";
import { wrapProse, wrapText } from "../../../src/report/wrapped-text.ts";

describe("a line that is wider than the terminal", () => {
  it("is broken between words", () => {
    expect(wrapText("one two three four\nfive", 9)).toBe("one two\nthree\nfour\nfive");
    expect(wrapText("one two three", 13)).toBe("one two three");
  });

  it("goes on under its last column, or under its first word", () => {
    expect(wrapText("  name   what it is and does", 20)).toBe("  name   what it is\n         and does");
    expect(wrapText("  what it is and does", 12)).toBe("  what it is\n  and does");
    // The last column begins too far to the right.
    expect(wrapText("a                 b c d e", 20)).toBe("a                 b\nc d e");
  });

  it("stays whole where it is one word, or a command to be copied", () => {
    expect(wrapText("a 0xffffffffffffffff b", 8)).toBe("a\n0xffffffffffffffff\nb");
    expect(wrapText("  $ mmulab run mixed", 10)).toBe("  $ mmulab run mixed");
  });

  it("goes on in the line below in prose that was broken at another width", () => {
    const prose = "one two three\nfour\nfive\n\nsix\nseven\n  $ a long command";
    expect(wrapProse(prose, 9)).toBe("one two\nthree\nfour five\n\nsix\nseven\n  $ a long command");
    expect(wrapProse(prose, Number.POSITIVE_INFINITY)).toBe(prose);
  });

  it("stays whole where nobody looks at a terminal", () => {
    const line = "word ".repeat(100);
    expect(wrapText(line, Number.POSITIVE_INFINITY)).toBe(line);
  });
});
