/** Each example prints what its first comment shows. */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { expectShown, shownCommands } from "./shown-commands.ts";
import { CLI } from "./src/run-cli.ts";

const ROOT = join(import.meta.dirname, "..");
const EXAMPLES = readdirSync(join(ROOT, "examples"));
const PROGRAMS: Readonly<Record<string, string>> = {
  jiti: join(ROOT, "node_modules/jiti/lib/jiti-cli.mjs"),
  mmulab: CLI,
};

/** The terminal session in an example's first comment. */
function session(name: string): string {
  const [comment] = /^\/\*\*[\s\S]*?\*\//.exec(readFileSync(join(ROOT, "examples", name), "utf8")) ?? [""];
  return [...comment.matchAll(/^ \* {5}(.*)$|^ \*$/gm)].map((line) => line[1] ?? "").join("\n");
}

describe("the examples", () => {
  it("are at least six, and all TypeScript", () => {
    expect(EXAMPLES.length).toBeGreaterThanOrEqual(6);
    for (const name of EXAMPLES) expect(name).toMatch(/^[a-z-]+\.ts$/);
  });

  it.each(EXAMPLES)("examples/%s prints what its first comment shows", (name) => {
    const [command, ...more] = shownCommands(session(name));
    expect(more).toEqual([]);
    const [npx, program, file, ...args] = command.line.split(" ");
    expect({ npx, file: file === "run" ? args[0] : file }).toEqual({ npx: "npx", file: `examples/${name}` });
    expect(command.shown.length).toBeGreaterThanOrEqual(2);
    const result = spawnSync(process.execPath, [PROGRAMS[program], file, ...args], { cwd: ROOT, encoding: "utf8" });
    expect(result).toMatchObject({ status: 0, stderr: "" });
    expectShown(result.stdout, command);
    // A session without a gap at its end is all there is.
    const shown = command.shown.join("\n").trimEnd();
    if (!shown.includes("...")) expect(result.stdout.trimEnd()).toBe(shown);
  });
});
