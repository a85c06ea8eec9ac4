/** Commands are loaded when they are asked for, and are called what the list says. */
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Command } from "commander";
import { describe, expect, it } from "vitest";
import { COMMANDS } from "../../../src/commands/index.ts";
import { ROOT } from "../../source-files.ts";

/** Files that are loaded together with `file`: what it imports other than by `import()`, and so on. */
function loadedWith(file: string, found = new Set<string>()): Set<string> {
  if (found.has(file)) return found;
  found.add(file);
  const text = readFileSync(join(ROOT, file), "utf8");
  for (const [, isType, specifier] of text.matchAll(/^(?:import|export) (type )?[^;]*?from "(\.[^"]+)";/gm)) {
    if (isType === undefined) loadedWith(join(dirname(file), specifier), found);
  }
  return found;
}

describe("the commands", () => {
  it("add themselves under the name that the list has", async () => {
    for (const { name, load } of COMMANDS) {
      const program = new Command();
      await (await load())(program, () => {}, []);
      expect(program.commands.map((command) => command.name())).toEqual([name]);
    }
  });

  it("are not loaded for the list of them, nor for one another: the start of the program is quick", () => {
    const loaded = [...loadedWith("src/cli.ts")];
    expect(loaded).toContain("src/commands/index.ts");
    expect(loaded.length).toBeLessThan(22);
    expect(
      loaded.filter((file) => /^(mm|arch\/(?!isa\/errors)|src\/(machine|experiments|workloads))/.test(file)),
    ).toEqual([]);
  });
});
