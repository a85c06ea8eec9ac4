/** What a command loads before it does anything: the time of its start. */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { COMMANDS } from "../../../src/commands/index.ts";
import { temporaryFolder } from "../fixtures.ts";
import { CLI } from "../run-cli.ts";

const folder = temporaryFolder();

/** Packages that are small, and that nearly everything uses. */
const SMALL = ["commander", "leven", "pretty-bytes", "pure-rand"];
/** Files of this program that a command loads at most; `run` loads six (rolldown.config.ts). */
const FILES_MAX = 32;

/** The URLs of all ES modules that a command loads. */
function loadedBy(words: readonly string[]): string[] {
  const [list, hooks, register] = ["loaded.txt", "hooks.mjs", "register.mjs"].map((name) => join(folder.path, name));
  writeFileSync(list, "");
  writeFileSync(
    hooks,
    `import { appendFileSync } from "node:fs";
    export async function load(url, context, next) {
      appendFileSync(${JSON.stringify(list)}, url + "\\n");
      return next(url, context);
    }`,
  );
  writeFileSync(register, `import { register } from "node:module"; register(${JSON.stringify(`file://${hooks}`)});`);
  execFileSync(process.execPath, ["--import", register, CLI, ...words], { stdio: ["ignore", "ignore", "inherit"] });
  return readFileSync(list, "utf8").split("\n").slice(0, -1);
}

function packagesOf(urls: readonly string[]): string[] {
  const names = urls.flatMap((url) => /.*\/node_modules\/([^/]+)/.exec(url)?.[1] ?? []);
  return [...new Set(names)].sort();
}

const ownFiles = (urls: readonly string[]): string[] => urls.filter((url) => /\/dist\/(src|command)\//.test(url));

describe("the start of a command", () => {
  it.each(COMMANDS.map(({ name }) => name))("%s --help loads small packages only, and few files", (name) => {
    const urls = loadedBy([name, "--help"]);
    expect(packagesOf(urls).filter((each) => !SMALL.includes(each))).toEqual([]);
    expect(ownFiles(urls).length).toBeGreaterThan(2);
    expect(ownFiles(urls).length).toBeLessThan(FILES_MAX);
  });

  it.each([
    "run mixed --ops 10",
    "run mixed --ops 10 --json",
    "inspect vmallocinfo --ops 10",
    "experiment page-tables --help",
    "presets skylake",
  ])("%s needs no more of them", (line) => {
    const urls = loadedBy(line.split(" "));
    expect(packagesOf(urls).filter((each) => !SMALL.includes(each))).toEqual([]);
    expect(ownFiles(urls).length).toBeLessThan(FILES_MAX);
  });

  it.each(["--version", "--help"])("%s loads nothing of the emulator", (option) => {
    const urls = loadedBy([option]);
    expect(packagesOf(urls)).toEqual(["commander", "leven"]);
    expect(ownFiles(urls).length).toBeLessThan(16);
  });
});
