import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PageRules } from "../../../src/references/page-rules.ts";

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const level = (rules: string, la: number): number => new PageRules(rules).levelOf(la);

describe("rules of page sizes", () => {
  it("are a size everywhere, or in a range", () => {
    expect([level("4K", 5), level("2M", 5), level("1G", 5)]).toEqual([1, 2, 3]);
    const rules = `2M@${MIB}-${7 * MIB},1G@0x40000000-0x80000000`;
    // Aligned pages that lie wholly in the range: those of 2 MiB from 2 to 6 MiB.
    expect([0, 1, 2, 5, 6, 7].map((at) => level(rules, at * MIB))).toEqual([1, 1, 2, 2, 1, 1]);
    expect([GIB - 1, GIB, 2 * GIB - 1, 2 * GIB].map((at) => level(rules, at))).toEqual([1, 3, 3, 1]);
  });

  it("make large pages for about the fraction of transparent huge pages that is asked for", () => {
    const rules = new PageRules("thp=0.25");
    const blocks = Array.from({ length: 4000 }, (_, i) => rules.levelOf(i * 2 * MIB));
    const huge = blocks.filter((each) => each === 2).length / blocks.length;
    expect(huge).toBeGreaterThan(0.22);
    expect(huge).toBeLessThan(0.28);
    expect([level("thp=0", 0), level("thp=1", 0)]).toEqual([1, 2]);
  });

  it("give every address of a page the same level, so that no page lies in another", () => {
    const rule = fc.constantFrom(
      "4K",
      "2M",
      "1G",
      "thp=0.5",
      `2M@${3 * MIB}-${GIB + 5 * MIB}`,
      `1G@${GIB}-${5 * GIB}`,
      `4K@4096-8192`,
    );
    fc.assert(
      fc.property(
        fc.uniqueArray(rule, { minLength: 1, maxLength: 3 }),
        fc.integer({ min: 0, max: 6 * GIB }),
        fc.nat(),
        (words, la, at) => {
          let rules: PageRules;
          try {
            rules = new PageRules(words.join(","));
          } catch {
            fc.pre(false);
            return;
          }
          const found = rules.levelOf(la);
          const size = [0, 4096, 2 * MIB, GIB][found];
          expect(rules.levelOf(Math.floor(la / size) * size + (at % size))).toBe(found);
        },
      ),
    );
  });

  it.each([
    "",
    "3M",
    "4K,2M",
    "thp=2",
    "thp=0.5,thp=0.1",
    "2M,thp=0.5",
    "2M@5-5",
    "2M@0-0x400000,1G@0x200000-0x80000000",
    "4K@0-0x2000000000000",
  ])("%j are refused", (text) => {
    expect(() => new PageRules(text)).toThrow(/expected/);
  });
});
