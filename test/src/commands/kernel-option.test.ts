/** Every command that boots a kernel can be told which version of Linux. */
import { Command } from "commander";
import { describe, expect, it } from "vitest";
import { COMMANDS } from "../../../src/commands/index.ts";
import { EXPERIMENTS } from "../../../src/experiments/index.ts";
import { SETTING_COLUMNS } from "../../../src/sweep/setting-columns.ts";

/** Commands that boot no kernel of their own choice, and why. */
const WITHOUT: Readonly<Record<string, string>> = {
  "record-script": "what it prints runs on a real kernel",
  experiment: "its experiments are commands of their own",
  "experiment kernel-diff": "it has two: --from and --to",
  "experiment page-tables": "page tables on a machine without a kernel",
  "experiment nested-walk": "two stages of page tables on a machine without a kernel",
  "experiment fracture": "as nested-walk",
  "experiment tlb-curves": "TLBs of a machine without a kernel",
  "experiment walk-overlap": "walks of a machine without a kernel",
  sweep: "its specification has a column for it",
  "sweep merge": "it runs nothing",
  "sweep status": "it runs nothing",
  rerun: "it runs the command that made a file, with that command's kernel",
  new: "it writes templates",
  presets: "presets are of machines",
  completion: "it prints a script",
  calibrate: "it measures the machine at hand",
};

/** All commands with those below them, by their words. */
async function allCommands(): Promise<Map<string, Command>> {
  const program = new Command();
  for (const { load } of COMMANDS) await (await load())(program, () => {}, ["experiment"]);
  const found = new Map<string, Command>();
  const add = (command: Command, before: string): void => {
    const words = `${before} ${command.name()}`.trim();
    found.set(words, command);
    for (const below of command.commands) add(below, words);
  };
  for (const command of program.commands) add(command, "");
  return found;
}

describe("--kernel", () => {
  it("is an option of every command but those of which it is said here why not", async () => {
    const commands = await allCommands();
    expect(commands.size).toBeGreaterThan(COMMANDS.length + EXPERIMENTS.length);
    const without = [...commands].filter(([, { options }]) => !options.some(({ long }) => long === "--kernel"));
    expect(without.map(([words]) => words).sort()).toEqual(Object.keys(WITHOUT).sort());
    expect(SETTING_COLUMNS).toHaveProperty("kernel", "kernel");
  });

  it("refuses a version that is not emulated in every command that has it", async () => {
    for (const [words, command] of await allCommands()) {
      const option = command.options.find(({ long }) => long === "--kernel");
      if (option === undefined) continue;
      expect(() => option.parseArg?.("7.4", undefined), words).toThrow("6.1, 6.6, 6.12, 6.15, 7.3");
      expect(option.parseArg?.("7.3", undefined), words).toBe("7.3");
    }
  });
});
