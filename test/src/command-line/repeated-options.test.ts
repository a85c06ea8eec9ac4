/** Options that are given twice, over all commands: one value is never dropped in silence. */
import { type Command, Option } from "commander";
import { describe, expect, it } from "vitest";
import { isRepeatable, refuseRepeated, repeatable } from "../../../src/command-line/repeated-options.ts";
import { COMMANDS } from "../../../src/commands/index.ts";
import { wholeProgram } from "../../../src/commands/whole-program.ts";
import { mmulab } from "../run-cli.ts";

/** A command and all below it, with the words that name each. */
function allOf(command: Command, path: readonly string[] = []): [path: string, command: Command][] {
  return [[path.join(" "), command], ...command.commands.flatMap((each) => allOf(each, [...path, each.name()]))];
}

const takesValue = (option: Option): boolean => option.required || option.optional;

/** All commands as they read command lines, each value taken as the text that it is. */
const program = await wholeProgram(COMMANDS);
refuseRepeated(program);
const ALL = allOf(program);
for (const [, { options }] of ALL) {
  for (const option of options) if (!isRepeatable(option)) option.argParser((text: string) => text);
}

describe("an option that is given twice", () => {
  it("is refused with both values where it has one value, in every command", () => {
    const seen = new Set<string>();
    for (const [path, command] of ALL) {
      for (const option of command.options.filter((each) => takesValue(each) && !isRepeatable(each))) {
        const flag = option.long ?? "";
        seen.add(flag);
        const line = `${path} ${flag}: given twice, 'a' and 'b'; expected once`;
        expect(() => command.parseOptions([flag, "a", `${flag}=b`]), `${path} ${flag}`).toThrow(
          line.slice(path.length + 1),
        );
      }
    }
    expect([...seen]).toEqual(
      expect.arrayContaining(["--preset", "--seed", "--cpus", "--policy", "--html", "--sensitivity"]),
    );
  });

  it("keeps both values in their order where it may be repeated, and its help says so", () => {
    const seen = new Set<string>();
    for (const [path, command] of ALL) {
      for (const option of command.options.filter(isRepeatable)) {
        seen.add(String(option.long));
        command.parseOptions([`${option.long}=a`, `${option.long}=b`, `${option.long}=a`]);
        expect(command.getOptionValue(option.attributeName()), `${path} ${option.long}`).toEqual(["a", "b", "a"]);
        expect(option.description, `${path} ${option.long}`).toContain("may be repeated");
      }
    }
    expect([...seen].sort()).toEqual(["--against", "--bug", "--set", "--with"]);
  });

  it("says nothing new where it takes no value", () => {
    for (const [path, command] of ALL) {
      for (const option of command.options.filter((each) => !takesValue(each))) {
        const flag = option.long ?? "";
        command.parseOptions([flag, flag]);
        expect(command.getOptionValue(option.attributeName()), `${path} ${flag}`).toBe(!option.negate);
      }
    }
  });

  it("is counted anew for each program", async () => {
    const option = repeatable(new Option("--many <x>", ""));
    expect([option.defaultValue, isRepeatable(option), isRepeatable(new Option("--one <x>", ""))]).toEqual([
      [],
      true,
      false,
    ]);
    const again = await wholeProgram(COMMANDS);
    refuseRepeated(again);
    const run = again.commands.find((each) => each.name() === "run");
    run?.parseOptions(["--preset", "zen4"]);
    expect(run?.getOptionValue("preset")).toBe("zen4");
  });
});

describe("mmulab", () => {
  it.each([
    [["run", "--preset", "zen4", "--preset", "skylake"], "--preset: given twice, 'zen4' and 'skylake'"],
    [["run", "--cpus", "2", "--cpus=2"], "--cpus: given twice, '2' and '2'"],
    [["experiment", "flush-cost", "--cpus", "1", "--pages", "1", "--cpus", "2"], "--cpus: given twice, '1' and '2'"],
    [
      ["experiment", "flush-cost", "--sensitivity", "--sensitivity=x"],
      "--sensitivity: given twice, without a value and 'x'",
    ],
    [["replay", "--references", "a", "--references", "b"], "--references: given twice, 'a' and 'b'"],
    [["sweep", "a.yaml", "--jobs", "1", "--jobs", "2"], "--jobs: given twice, '1' and '2'"],
  ])("%j says which, with exit code 2", (args, says) => {
    expect(mmulab(...args)).toMatchObject({ status: 2, stdout: "", stderr: `mmulab: ${says}; expected once\n` });
  });
});
