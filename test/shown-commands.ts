/** Commands that a document shows with what they print. */
import { expect } from "vitest";

/** A command, and the lines shown below it; `...` stands for lines left out. */
export interface ShownCommand {
  readonly line: string;
  readonly shown: string[];
}

/** The commands (lines that begin with "$ ") of a terminal session. */
export function shownCommands(session: string): ShownCommand[] {
  const found: ShownCommand[] = [];
  for (const line of session.split("\n")) {
    if (line.startsWith("$ ")) found.push({ line: line.slice(2), shown: [] });
    else found.at(-1)?.shown.push(line);
  }
  return found;
}

/** Fails unless `printed` begins with the lines shown, but for those left out. Spaces at the ends of lines do not count. */
export function expectShown(printed: string, { shown }: ShownCommand): void {
  const lines = printed.split("\n").map((each) => each.trimEnd());
  let at = 0;
  let isGap = false;
  for (const expected of shown.join("\n").trimEnd().split("\n")) {
    if (expected.trim() === "...") {
      isGap = true;
      continue;
    }
    if (isGap) at = Math.max(at, lines.indexOf(expected, at));
    isGap = false;
    expect(lines[at++]).toBe(expected);
  }
}
