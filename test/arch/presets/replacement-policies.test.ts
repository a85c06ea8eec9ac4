/** Replacement policies as an open set: what every one of them must be. */
import { readdirSync } from "node:fs";
import { resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { REPLACEMENT_NAMES, replacementPolicy, replacementProblem } from "../../../arch/presets/replacement/index.ts";
import { afterUse } from "../../../arch/presets/replacement/policy.ts";

const FOLDER = resolve(import.meta.dirname, "../../../arch/presets/replacement");
const STATES_MAX = 2 ** 16;

test("each policy is in the file that has its name, or the name of its family: mru3-plru2 in mru-plru", () => {
  const files = readdirSync(FOLDER).map((file) => file.replace(/\.ts$/, ""));
  expect(files.filter((file) => file !== "index" && file !== "policy").sort()).toEqual(
    [...new Set(REPLACEMENT_NAMES.map((name) => name.replace(/\d+/g, "")))].sort(),
  );
});

describe.each(REPLACEMENT_NAMES)("%s", (name) => {
  const ways = Array.from({ length: 16 }, (_, i) => i + 1).filter((count) => replacementProblem(name, count) === null);

  test("exists for some number of ways, and refuses 0 and 129", () => {
    expect(ways.length).toBeGreaterThan(0);
    for (const count of [0, 129]) expect(() => replacementPolicy(name, count)).toThrow(RangeError);
  });

  test.each(ways)(
    "of %i ways: states lead to states and name ways; what was just filled is not evicted next",
    (count) => {
      const { hitUse, fillUse, victims } = replacementPolicy(name, count);
      expect([hitUse.length, fillUse.length]).toEqual([count, count]);
      if (victims === null) return;
      expect(victims.length).toBeLessThanOrEqual(STATES_MAX);
      // All states that hits and fills of victims lead to, from that of an empty set on.
      const reached = new Set([0]);
      let wrong = 0;
      for (const state of reached) {
        const victim = victims[state];
        const filled = afterUse(state, fillUse[victim]);
        if (!(victim < count && filled < victims.length) || (count > 1 && victims[filled] === victim)) wrong++;
        reached.add(filled);
        for (let way = 0; way < count; way++) {
          const hit = afterUse(state, hitUse[way]);
          if (hit < victims.length) reached.add(hit);
          else wrong++;
        }
      }
      expect(wrong).toBe(0);
    },
  );
});
