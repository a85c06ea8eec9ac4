/** How a setting of a machine is written. */
export interface Setting {
  /** What stands after the name; empty for a switch. */
  readonly value: string;
  /** One line for help. */
  readonly summary: string;
  /** Values that it may have, for completion. */
  readonly words?: readonly string[];
  /** Whether it may also be a file. */
  readonly takesFiles?: boolean;
  /** @throws ValueError, UnknownNameError for text that is no such value */
  readonly parse: (text: string) => unknown;
  /** Options of the command line, by their keys, that say the same thing in another way: one of them is given. */
  readonly excludes?: readonly string[];
}
