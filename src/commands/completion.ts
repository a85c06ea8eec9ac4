/** `mmulab completion`: a script that completes commands, options and their values in a shell. */
import { Argument, type Command } from "commander";
import { EXIT_OK } from "../command-line/errors.ts";
import { commandTree } from "../command-line/read-commands.ts";
import { printOutput } from "../command-line/standard-streams.ts";
import { completionScript, SHELLS, type Shell } from "../help/completion.ts";
import type { AddCommand, CommandEntry } from "./command-entry.ts";
import { wholeProgram } from "./whole-program.ts";

/** What adds the command. @param commands all of the program's */
export function completionCommand(commands: readonly CommandEntry[]): AddCommand {
  return (program, exit) => addCompletionCommand(program, exit, commands);
}

function addCompletionCommand(program: Command, exit: (code: number) => void, commands: readonly CommandEntry[]): void {
  program
    .command("completion")
    .description("Print a script that completes mmulab's commands, options and their values.")
    .addArgument(new Argument("<shell>", "for which shell").choices(SHELLS))
    .addHelpText("after", '\nExamples:\n  $ eval "$(mmulab completion bash)"\n  $ mmulab completion fish > mmulab.fish')
    .action(async (shell: Shell) => {
      printOutput(completionScript(commandTree(await wholeProgram(commands)), shell));
      exit(EXIT_OK);
    });
}
