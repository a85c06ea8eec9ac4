import { describe, expect, it } from "vitest";
import { presetByName } from "../../../../arch/index.ts";
import { costOfFurtherPage } from "../../../../src/experiments/base/further-page.ts";
import { EXPERIMENTS, runExperiment } from "../../../../src/experiments/index.ts";

const cost = ({ cycles }: { cycles: number }) => cycles;

describe("what a page more costs", () => {
  it("is the slope from the fewest pages to the most, in whatever order they were measured: what is paid once is not in it", () => {
    const rows = [
      { pages: 1, cycles: 1030 },
      { pages: 4, cycles: 1111 },
      { pages: 11, cycles: 1330 },
    ];
    expect(costOfFurtherPage(rows, cost)).toBe(30);
    expect(costOfFurtherPage(rows.toReversed(), cost)).toBe(30);
  });

  it("is not known where all have as many pages", () => {
    expect(costOfFurtherPage([{ pages: 8, cycles: 1000 }], cost)).toBeNull();
    expect(costOfFurtherPage([], cost)).toBeNull();
  });

  it.each(["fork", "vmalloc-pages"])(
    "is said by %s where it was measured, the same for sizes in another order",
    (name) => {
      const experiment = EXPERIMENTS.find((each) => each.name === name);
      if (experiment === undefined) throw new Error(name);
      const few = name === "fork" ? { cpus: "1", rounds: "1" } : { areas: "200" };
      const findings = (pages: string) =>
        runExperiment(experiment, presetByName("skylake"), 1, { ...few, pages }).findings.filter((each) =>
          /page/.test(each),
        );
      const costs = (pages: string) => findings(pages).map((each) => each.match(/costs[^;.]* -?[\d.]+ ns/)?.[0]);
      expect(costs("2,64").length).toBeGreaterThan(0);
      expect(costs("64,2")).toEqual(costs("2,64"));
      expect(findings("64")).toEqual([]);
    },
  );
});
