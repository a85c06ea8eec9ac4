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
    const lines = texts.flatMap((text) => text.split("\n"));
    expect(lines.filter((line) => /^var (\{|[A-Z][A-Z0-9_]* =)/.test(line))).toEqual([]);
    expect(lines.filter((line) => /^const \{.*\bWORD_SHIFT\b.*\} = /.test(line)).length).toBeGreaterThan(5);
  });

  it("keeps what has been compiled, where the host can", () => {
    expect(readFileSync(CLI, "utf8")).toContain("enableCompileCache?.()");
  });
});
