/** The program with all commands, for what concerns all of them. */
import { Command } from "commander";
import type { CommandEntry } from "./command-entry.ts";

/** Its description, as help and the man page have it. */
export const DESCRIPTION = "A hardware-level x86-64 MMU emulator with Linux's vmalloc on top.";

/** A program with every command and its options; its commands are not meant to be run. */
export async function wholeProgram(commands: readonly CommandEntry[]): Promise<Command> {
  const program = new Command("mmulab").description(DESCRIPTION);
  for (const { name, summary, load } of commands) {
    await (await load())(program, () => {}, []);
    program.commands.find((command) => command.name() === name)?.summary(summary);
  }
  return program;
}
