/** The commands as data: for completion, the man page and checks. */

/** An option. */
export interface OptionEntry {
  /** `--cpus`. */
  readonly name: string;
  /** `--cpus <number>`. */
  readonly flags: string;
  readonly description: string;
  /** Whether a value follows. */
  readonly takesValue: boolean;
  /** The values that are known. */
  readonly choices: readonly string[];
  /** Whether its value may also be a file. */
  readonly takesFiles: boolean;
  /** The default as words; empty when there is none. */
  readonly default: string;
}

/** A command with what is below it. */
export interface CommandTree {
  /** Words after `mmulab`: `experiment flush-cost`; empty for the program. */
  readonly path: readonly string[];
  readonly summary: string;
  readonly description: string;
  /** `<view> [file]`. */
  readonly usage: string;
  /** The values that the first argument may have, as far as they are listed. */
  readonly choices: readonly string[];
  readonly options: readonly OptionEntry[];
  readonly commands: readonly CommandTree[];
}

/** All commands of a tree, the program first. */
export function allCommands(tree: CommandTree): CommandTree[] {
  return [tree, ...tree.commands.flatMap(allCommands)];
}
