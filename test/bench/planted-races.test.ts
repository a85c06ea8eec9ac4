/** The list of `npm run mutants:races` fits the code: a bug that cannot be planted would be found by nobody. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { PLANTED_RACES } from "../../bench/mutants/planted-races.ts";

describe("planted races", () => {
  it.each(PLANTED_RACES)("'$name' changes one place of $file", ({ file, search, replacement }) => {
    expect(readFileSync(file, "utf8").split(search), `of ${file}`).toHaveLength(2);
    expect(replacement).not.toBe(search);
  });

  it("are at least twenty, over all of what the explorer is for", () => {
    expect(PLANTED_RACES.length).toBeGreaterThanOrEqual(20);
    expect(new Set(PLANTED_RACES.map(({ name }) => name)).size).toBe(PLANTED_RACES.length);
  });
});
