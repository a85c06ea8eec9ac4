/** Values of options in commander's terms. */
import { type Command, InvalidArgumentError, type Option } from "commander";
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

interface OptionWords {
  readonly words: readonly string[];
  /** Whether its value may also be a file. */
  readonly takesFiles: boolean;
}

const KNOWN_WORDS = new WeakMap<Option, OptionWords>();

/** Lists in completion what the value of an option may be, which is checked elsewhere. @param takesFiles whether it may also be a file */
export function listWords(option: Option, words: readonly string[], takesFiles: boolean): Option {
  KNOWN_WORDS.set(option, { words, takesFiles });
  return option;
}

/** What completion lists of the values of an option. */
export function wordsOf(option: Option): OptionWords {
  return KNOWN_WORDS.get(option) ?? { words: option.argChoices ?? [], takesFiles: option.argChoices === undefined };
}

/** Lists in help and completion what a command's first argument may be; it may be others too (a file), and is checked elsewhere. */
export function listChoices(command: Command, choices: readonly string[]): void {
  command.registeredArguments[0].argChoices = [...choices];
}
