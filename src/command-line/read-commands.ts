/** Reads the commands as data from what commander knows of them. */
import type { Argument, Command, Option } from "commander";
import type { CommandTree, OptionEntry } from "../help/command-tree.ts";
import { wordsOf } from "./option-values.ts";

/** The tree of a program, hidden options left out. */
export function commandTree(command: Command, path: readonly string[] = []): CommandTree {
  const argument: Argument | undefined = command.registeredArguments[0];
  return {
    path,
    summary: command.summary(),
    description: command.description(),
    usage: command.usage(),
    choices: argument?.argChoices ?? [],
    options: [
      ...command.options.filter(({ hidden }) => !hidden).map(optionEntry),
      {
        name: "--help",
        flags: "-h, --help",
        description: "display help for command",
        takesValue: false,
        choices: [],
        takesFiles: false,
        default: "",
      },
    ],
    commands: command.commands.map((each) => commandTree(each, [...path, each.name()])),
  };
}

function optionEntry(option: Option): OptionEntry {
  const { long, flags, description, required, optional, defaultValue, defaultValueDescription } = option;
  const { words, takesFiles } = wordsOf(option);
  return {
    name: long ?? flags,
    flags,
    description,
    takesValue: required || optional,
    choices: words,
    takesFiles,
    default: defaultValueDescription ?? (defaultValue === undefined ? "" : String(defaultValue)),
  };
}
