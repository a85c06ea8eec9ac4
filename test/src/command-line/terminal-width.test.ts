import { describe, expect, it } from "vitest";
import { terminalWidth } from "../../../src/command-line/terminal-width.ts";

describe("the terminal's width", () => {
  it("is what COLUMNS says, else what the terminal says, else 80", () => {
    const terminal = { isTTY: true, columns: 132 };
    expect(terminalWidth(terminal, { COLUMNS: "100" })).toBe(100);
    expect(terminalWidth(terminal, {})).toBe(132);
    for (const COLUMNS of ["", "0", "-5", "wide"]) expect(terminalWidth(terminal, { COLUMNS })).toBe(132);
    expect(terminalWidth({ isTTY: true }, {})).toBe(80);
    expect(terminalWidth({ isTTY: true, columns: 0 }, {})).toBe(80);
  });

  it("has no end where the output is piped or kept", () => {
    expect(terminalWidth({}, { COLUMNS: "80" })).toBe(Number.POSITIVE_INFINITY);
    expect(terminalWidth({ isTTY: false, columns: 80 }, {})).toBe(Number.POSITIVE_INFINITY);
  });
});
