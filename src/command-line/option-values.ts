/** Values of options in commander's terms. */
import { type Command, InvalidArgumentError } from "commander";
import { ValueError } from "../input/errors.ts";

/**
 * A parser for commander out of one that knows nothing of options: commander names the option and the value, the parser says
 * what was expected.
 * @throws InvalidArgumentError (from the parser) for a value that `parse` refuses without saying what it was for
 */
export function optionParser<T>(parse: (text: string) => T): (text: string) => T {
  return (text) => {
    try {
      return parse(text);
    } catch (error) {
      if (!(error instanceof ValueError) || error.subject !== "") throw error;
      const { expected = "" } = error;
      throw new InvalidArgumentError(`Expected ${expected}.`);
    }
  };
}

/** Lists in help and completion what a command's first argument may be; it may be others too (a file), and is checked elsewhere. */
export function listChoices(command: Command, choices: readonly string[]): void {
  command.registeredArguments[0].argChoices = [...choices];
}
