/** What made a result: version, command line, settings. Every file and every JSON object that a command writes says it. */
import { versionText } from "./program-version.ts";

/** What a result says of its making. */
export interface MadeBy {
  /** The program with its version and commit: `0.1.0 (cc0e6e2b7bb7)`. */
  readonly version: string;
  /** The words after `mmulab`. */
  readonly command: readonly string[];
  /** Values of all options of the command that have one, defaults included: settings, preset, figures, seed. */
  readonly options: Readonly<Record<string, unknown>>;
}

/** What a line of text begins with that says what made its file: a comment in ftrace's text, and in CSV as `perf stat` writes it. */
const MADE_BY_PREFIX = "# mmulab ";

let current: MadeBy | null = null;

/** Notes the command that runs. Called once, before it does anything. @param options values by name; what has no form in JSON is left out */
export function noteCommand(command: readonly string[], options: Readonly<Record<string, unknown>>): void {
  current = { version: versionText(), command: [...command], options: JSON.parse(JSON.stringify(options)) };
}

/** Notes values of options that the command uses in place of their defaults. */
export function noteOptions(options: Readonly<Record<string, unknown>>): void {
  if (current !== null) current = { ...current, options: { ...current.options, ...options } };
}

/** What makes the results of this process; null where no command runs, as in a program that uses the library. */
export function madeBy(): MadeBy | null {
  return current;
}

/** `value` with the member `madeBy` in front, where a command runs. */
export function withMadeBy<T extends object>(value: T): T & { readonly madeBy?: MadeBy } {
  return current === null ? value : { madeBy: current, ...value };
}

/** A line of comment that says what made a file of text, with its newline; empty where no command runs. */
export function madeByLine(): string {
  return current === null ? "" : `${MADE_BY_PREFIX}${JSON.stringify(current)}\n`;
}

/** Key-value metadata of a Parquet file that says what made it; empty where no command runs. */
export function madeByMetadata(): { readonly key: string; readonly value: string }[] {
  return current === null ? [] : [{ key: "mmulab", value: JSON.stringify(current) }];
}

/** An element for the head of a web page that says what made it; empty where no command runs. */
export function madeByElement(): string {
  // In a script, only the end of the script could be taken for markup.
  const text = JSON.stringify(current).replaceAll("<", "\\u003c");
  return current === null ? "" : `<script type="application/json" id="made-by">${text}</script>\n`;
}
