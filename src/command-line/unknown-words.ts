/** Options and commands that do not exist, and what may have been meant. */
import { type Command, CommanderError } from "commander";
import { UnknownNameError } from "../input/errors.ts";
import { suggestion } from "../input/suggestion.ts";
import { SETTING_NAMES } from "../settings/setting-names.ts";

/** Of commander's complaints, those about a name that is not known. */
const UNKNOWN = /^error: unknown (option|command) '([^']*)'/;

/** Options of other commands that say what machine it is: the points of a sweep have them from its grid. */
const COLUMNS_OF_SWEEPS = ["preset", "set", "cpus", "memory", ...SETTING_NAMES].map((name) => `--${name}`);

/**
 * What to report in place of `error`: for an option or a command that does not exist one with what may have been meant, where a value
 * after `=` is no part of the option's name; all other errors as they are.
 * @param argv the command line, by which the command is found whose option it would be
 */
export function explainUnknown(error: unknown, program: Command, argv: readonly string[]): unknown {
  if (!(error instanceof CommanderError)) return error;
  const [, kind, word] = UNKNOWN.exec(error.message) ?? [];
  if (kind === undefined) return error;
  const name = word.replace(/=.*$/s, "");
  const command = commandOf(program, argv);
  if (command.name() === "sweep" && COLUMNS_OF_SWEEPS.includes(name)) {
    const line = `unknown option '${name}': a sweep has it as a column of its grid (mmulab sweep --help)`;
    return new UnknownNameError(line, name, optionsOf(command));
  }
  const known = kind === "option" ? optionsOf(command) : command.commands.map((each) => each.name());
  return new UnknownNameError(`unknown ${kind} '${name}'${suggestion(name, known)}`, name, known);
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
