/** The list of `npm run mutants:planted` fits the code: a mutant that cannot be planted would be noticed by nobody. */
import { existsSync, readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { PLANTED_MUTANTS } from "../../bench/mutants/planted-mutants.ts";

describe("planted mutants", () => {
  it.each(PLANTED_MUTANTS)("'$name' changes one place of $file", ({ file, search, replacement, test }) => {
    expect(readFileSync(file, "utf8").split(search), `of ${file}`).toHaveLength(2);
    expect(replacement).not.toBe(search);
    expect(existsSync(test), test).toBe(true);
  });
});
