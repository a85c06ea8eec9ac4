/** Commands that a document names in its text are there, with the options that are named. Those in blocks are run elsewhere. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ROOT } from "./source-files.ts";
import { CLI } from "./src/run-cli.ts";

const DOCUMENTS = ["README.md", "docs/expectations.md"];

/** Commands that have commands of their own. */
const GROUPS = new Set(["experiment", "sweep"]);

/** What stands between backticks and begins with the command's name, blocks left out; `\|` is how a table writes `|`. */
function namedCommands(document: string): string[] {
  const text = readFileSync(join(ROOT, document), "utf8").replace(/^```[\s\S]*?^```$/gm, "");
  const spans = [...text.matchAll(/`((?:npx )?mmulab [^`\n]+)`/g)].map(([, span]) => span.replaceAll("\\|", "|"));
  return [...new Set(spans)].sort();
}

const helps = new Map<string, string>();

/** The help of a command, which is asked for once. */
function helpOf(path: readonly string[]): string {
  const key = path.join(" ");
  const known = helps.get(key);
  if (known !== undefined) return known;
  const { status, stdout } = spawnSync(process.execPath, [CLI, ...path, "--help"], { encoding: "utf8" });
  expect(status, key).toBe(0);
  helps.set(key, stdout);
  return stdout;
}

/** The words of a command's name: the first, and a second one where it has commands of its own. */
function pathOf(words: readonly string[]): string[] {
  const [name, second] = words;
  const isGroup = GROUPS.has(name) && /^[a-z][a-z-]*$/.test(second ?? "");
  return isGroup ? [name, second] : [name];
}

describe.each(DOCUMENTS)("%s", (document) => {
  it("names commands", () => {
    expect(namedCommands(document).length).toBeGreaterThan(5);
  });

  it.each(namedCommands(document))("names %s, whose command and options there are", (span) => {
    const words = span.replace(/^(?:npx )?mmulab /, "").split(/[\s|]+/);
    // The help of help itself is that of the program.
    if (words[0] === "help" || words[0].startsWith("-")) return;
    const path = pathOf(words);
    const help = helpOf(path);
    expect(help).toContain(`Usage: mmulab ${path.join(" ")} `);
    const options = words.flatMap((word) => /^--?[a-z][a-z-]*/.exec(word) ?? []);
    for (const option of options) expect(help).toMatch(new RegExp(`^ +(?:-\\w, )?${option}(?![\\w-])`, "m"));
  });
});
