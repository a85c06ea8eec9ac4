/** The bundled command. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { CLI } from "../run-cli.ts";

const CHUNKS = join(CLI, "../../command/src/chunks");

describe("the bundled command", () => {
  it("declares constants as constants, which V8 folds into the code, and not as variables", () => {
    const texts = readdirSync(CHUNKS)
      .filter((name) => name.endsWith(".js"))
      .map((name) => readFileSync(join(CHUNKS, name), "utf8"));
    const found = (pattern: RegExp) => texts.flatMap((text) => text.match(pattern) ?? []);
    expect(found(/\bvar ?(?:\{|[A-Z][A-Z0-9_]* ?=)/g)).toEqual([]);
    // Imported constants that a module has taken out of an object or named anew, and those of modules themselves.
    expect(found(/\bconst ?\{[^}]*\bWORD_SHIFT\b[^}]*\} ?=/g).length).toBeGreaterThan(5);
  });

  it("keeps what has been compiled, where the host can", () => {
    expect(readFileSync(CLI, "utf8")).toContain("enableCompileCache?.()");
  });
});
