/** What the list of commands has of each: enough to show it, and a way to load the rest. */
import type { Command } from "commander";

/** Adds a command with its options to the program; `exit` takes its exit code, `argv` is the command line without `node` and the script. */
export type AddCommand = (
  program: Command,
  exit: (code: number) => void,
  argv: readonly string[],
) => void | Promise<void>;

/** A command that is not loaded yet. */
export interface CommandEntry {
  readonly name: string;
  /** One line for the list of commands. */
  readonly summary: string;
  readonly load: () => Promise<AddCommand>;
}
