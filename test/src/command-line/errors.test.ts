import { CommanderError } from "commander";
import { describe, expect, it } from "vitest";
import { Deadlock, MachineUsageError, PageFault } from "../../../arch/index.ts";
import { EXIT_DIFFERENCES, EXIT_OK, EXIT_USAGE, endingOf, UsageError } from "../../../src/command-line/errors.ts";
import { optionParser } from "../../../src/command-line/option-values.ts";
import { InputFileError, unknownName } from "../../../src/input/errors.ts";
import { wholeNumber } from "../../../src/input/values.ts";

describe("the end of the program after an error", () => {
  it("is one line and exit code 2 for a mistake of the user", () => {
    expect(endingOf(new UsageError("--a and --b"))).toEqual({ line: "--a and --b", exitCode: EXIT_USAGE });
    expect(endingOf(new InputFileError("f", 3, "is cut short", 7))).toEqual({
      line: "f:3:7: is cut short",
      exitCode: EXIT_USAGE,
    });
    expect(endingOf(new MachineUsageError("cpus", 0, "more"))).toEqual({
      line: "cpus: 0: expected more",
      exitCode: EXIT_USAGE,
    });
  });

  it("is exit code 1 where the command ran and the machine came to a stop", () => {
    expect(endingOf(new Deadlock(["kworker"]))?.exitCode).toBe(EXIT_DIFFERENCES);
  });

  it("is the option library's own line on one line, and nothing after help", () => {
    expect(endingOf(new CommanderError(1, "x", "error: unknown option\n  (did you mean y?)"))).toEqual({
      line: "unknown option (did you mean y?)",
      exitCode: EXIT_USAGE,
    });
    expect(endingOf(new CommanderError(0, "commander.helpDisplayed", ""))).toEqual({ line: "", exitCode: EXIT_OK });
    expect(endingOf(new CommanderError(1, "commander.help", "(outputHelp)"))).toEqual({
      line: "",
      exitCode: EXIT_USAGE,
    });
  });

  it("is left to Node, with a stack, for faults of the program: a page fault that nobody handled is one", () => {
    expect(endingOf(new PageFault(0, 0, 0))).toBeNull();
    expect(endingOf(new TypeError("undefined is not a function"))).toBeNull();
  });
});

describe("the parser of an option", () => {
  it("tells the option library what was expected, and passes on errors that say what they are about", () => {
    expect(() => optionParser(wholeNumber(1, 4))("9")).toThrow("Expected a whole number from 1 to 4.");
    expect(optionParser(wholeNumber(1, 4))("3")).toBe(3);
    const refuse = (): never => {
      throw unknownName("policy", "ipj", ["ipi"]);
    };
    expect(() => optionParser(refuse)("ipj")).toThrow("unknown policy 'ipj' (did you mean ipi?); there are ipi");
  });
});
