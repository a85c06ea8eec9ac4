/** The program with all commands, for what concerns all of them. */
import { Command } from "commander";
import { listChoices } from "../command-line/option-values.ts";
import { TOPICS } from "../help/topics.ts";
import type { CommandEntry } from "./command-entry.ts";

/** Its description, as help and the man page have it. */
export const DESCRIPTION = "A hardware-level x86-64 MMU emulator with Linux's vmalloc on top.";

export const HELP_COMMAND = "help";

/** Adds the command that shows help to the program; what it does is for the caller to say. */
export function addHelpCommand(program: Command): Command {
  return program
    .helpCommand(false)
    .command(HELP_COMMAND)
    .argument("[command...]", "which command, or which topic")
    .summary("display help for a command or a topic")
    .description("Display help for a command or a topic.")
    .addHelpText("after", "\nExample:\n  $ mmulab help experiment flush-cost");
}

/** A program with every command and its options; its commands are not meant to be run. */
export async function wholeProgram(commands: readonly CommandEntry[]): Promise<Command> {
  const program = new Command("mmulab").description(DESCRIPTION);
  for (const { name, summary, load } of commands) {
    await (await load())(program, () => {}, []);
    program.commands.find((command) => command.name() === name)?.summary(summary);
  }
  const words = [...commands.map(({ name }) => name), ...TOPICS.map(({ name }) => name)];
  listChoices(addHelpCommand(program), [...new Set(words)]);
  return program;
}
