/** Options and commands that do not exist, and what may have been meant. */
import { type Command, CommanderError } from "commander";
import { UnknownNameError, unknownName } from "../input/errors.ts";
import { suggestion } from "../input/suggestion.ts";
import { SETTING_NAMES } from "../settings/setting-names.ts";

/** Of commander's complaints, those about a name that is not known. */
const UNKNOWN = /^error: unknown (option|command) '([^']*)'/;

/** Those about a word that is none of a list's: the word, what it is the value of, the list. */
const NO_CHOICE =
  /^error: (?:command-argument value '(.*)' is invalid for argument '([^']*)'|option '([^']*)' argument '(.*)' is invalid)\. Allowed choices are (.*)\.$/s;

/** Settings of a machine as options; each experiment takes those that it does not choose. */
const SETTINGS = SETTING_NAMES.map((name) => `--${name}`);

/** Options of other commands that say what machine it is: the points of a sweep have them from its grid. */
const COLUMNS_OF_SWEEPS = [...["preset", "set", "cpus", "memory"].map((name) => `--${name}`), ...SETTINGS];

/**
 * What to report in place of `error`: for an option or a command that does not exist one with what may have been meant, where a value
 * after `=` is no part of the option's name; all other errors as they are.
 * @param argv the command line, by which the command is found whose option it would be
 */
export function explainUnknown(error: unknown, program: Command, argv: readonly string[]): unknown {
  if (!(error instanceof CommanderError)) return error;
  const [, kind, word] = UNKNOWN.exec(error.message) ?? [];
  if (kind === undefined) return explainChoice(error);
  const name = word.replace(/=.*$/s, "");
  const command = commandOf(program, argv);
  if (command.name() === "sweep" && COLUMNS_OF_SWEEPS.includes(name)) {
    const line = `unknown option '${name}': a sweep has it as a column of its grid (mmulab sweep --help)`;
    return new UnknownNameError(line, name, optionsOf(command));
  }
  if (command.parent?.name() === "experiment" && SETTINGS.includes(name)) {
    const line = `unknown option '${name}': ${command.name()} does not take this setting (mmulab experiment ${command.name()} --help lists those that it takes)`;
    return new UnknownNameError(line, name, optionsOf(command));
  }
  const known = kind === "option" ? optionsOf(command) : command.commands.map((each) => each.name());
  return new UnknownNameError(`unknown ${kind} '${name}'${suggestion(name, known)}`, name, known);
}

/** For a word that is none of those that an argument or an option may be: one with what may have been meant. */
function explainChoice(error: CommanderError): unknown {
  const [found, argument, kind, flags, value, choices] = NO_CHOICE.exec(error.message) ?? [];
  if (found === undefined) return error;
  const known = choices.split(", ");
  return kind === undefined
    ? unknownName("value", value, known, flags.replace(/[ ,].*$/s, ""))
    : unknownName(kind, argument, known);
}

/** The command that a command line names: the innermost, as `experiment flush-cost`. */
function commandOf(program: Command, argv: readonly string[]): Command {
  let command = program;
  for (const word of argv) command = command.commands.find((each) => each.name() === word) ?? command;
  return command;
}

/** The options of a command and of those that it belongs to. */
function optionsOf(command: Command): string[] {
  const own = command.options.flatMap(({ long }) => long ?? []);
  return command.parent === null ? [...own, "--help"] : [...own, ...optionsOf(command.parent)];
}
