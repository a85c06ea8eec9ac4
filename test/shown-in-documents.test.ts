/** What documents show below a command is what one gets: commands that need nothing but the tool are run, and their output compared. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { expectShown, type ShownCommand, shownCommands } from "./shown-commands.ts";
import { ROOT } from "./source-files.ts";
import { CLI } from "./src/run-cli.ts";

/** Those whose commands need no file that the reader has to make first. */
const DOCUMENTS = ["docs/run.md", "docs/explore.md", "docs/flush-cost.md"];

/** Whether a command calls the tool, and the document shows what it prints. */
const isOfTool = ({ line, shown }: ShownCommand): boolean =>
  /^(npx )?mmulab /.test(line) && shown.some((each) => each !== "");

/** The commands of a document's terminal sessions that call the tool. */
function commandsOf(document: string): ShownCommand[] {
  const text = readFileSync(join(ROOT, document), "utf8");
  const fenced = [...text.matchAll(/^```\n([\s\S]*?)^```$/gm)].map((block) => block[1]);
  const indented = [...text.matchAll(/(?:^ {4}.*\n|^\n(?= {4}))+/gm)].map((block) => block[0].replace(/^ {4}/gm, ""));
  return [...fenced, ...indented].flatMap(shownCommands).filter(isOfTool);
}

describe.each(DOCUMENTS)("%s", (document) => {
  it.each(commandsOf(document))("shows what $line prints", (command) => {
    const options = command.line.replace(/^(npx )?mmulab /, "").split(" ");
    const { stdout, stderr, status } = spawnSync(process.execPath, [CLI, ...options], { cwd: ROOT, encoding: "utf8" });
    // An exploration that finds a race says so by its exit code.
    const finds = command.shown.some((line) => / fails \(/.test(line));
    expect({ status, stderr }).toEqual({ status: finds ? 1 : 0, stderr: "" });
    expectShown(stdout, command);
  });
});
