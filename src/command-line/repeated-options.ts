/** Options that are given again: those that may be repeated collect their values, all others have one value. */
import type { Command, Option } from "commander";
import { UsageError } from "./errors.ts";

const REPEATABLE = new WeakSet<Option>();

/** Lets an option be given again and again; its value is the list of what was given, in that order. */
export function repeatable(option: Option): Option {
  REPEATABLE.add(option);
  return option.argParser((word: string, before: readonly string[]) => [...before, word]).default([], "none");
}

/** Whether an option may be given again with another value. */
export function isRepeatable(option: Option): boolean {
  return REPEATABLE.has(option);
}

/**
 * Makes a command and those below it refuse an option whose value is given twice, since one of the two would not be heeded; as
 * parameters (`NAME=VALUE`) and figures (`--set`) are given once, the same value twice is refused as well. An option that takes no value
 * says nothing new the second time and is taken.
 * @throws UsageError (while the command line is read) naming the option and both values
 */
export function refuseRepeated(command: Command): void {
  for (const option of command.options) {
    if (isRepeatable(option) || !(option.required || option.optional)) continue;
    let before: string | null = null;
    // Commander emits an event for each time that an option is given.
    command.on(`option:${option.name()}`, (value: string | null) => {
      const given = value === null ? "without a value" : `'${value}'`;
      if (before !== null) {
        throw new UsageError(`${option.long ?? option.short}: given twice, ${before} and ${given}; expected once`);
      }
      before = given;
    });
  }
  for (const each of command.commands) refuseRepeated(each);
}
