/** `--sensitivity`: which assumed figures move a result, against experiments whose results are known functions of figures. */
import { describe, expect, it } from "vitest";
import { figuresOf, presetByName } from "../../../arch/index.ts";
import type { Experiment } from "../../../src/experiments/base/experiment.ts";
import { EXPERIMENTS, runExperiment } from "../../../src/experiments/index.ts";
import { withSensitivity } from "../../../src/experiments/sensitivity.ts";
import { choiceOf } from "../../../src/settings/figure-choice.ts";
import { rows, TINY } from "./small-runs.ts";

const FEW_LOADS = { accesses: "100", pages: "4K", levels: "4", pattern: "random" };

/** An experiment that computes its column from the preset's figures; or from those of a machine that it boots, the kernel's among them. */
function experimentOf(
  result: (figure: (name: string) => number, row: number) => number | null,
  isBooted = false,
): Experiment {
  return {
    name: "known",
    summary: "",
    description: "",
    parameters: [],
    settings: [],
    example: "",
    headline: "result",
    run: ({ boot, preset: chosen }) => {
      const kernel = isBooted ? boot(1, "known", { memoryBytes: 2 ** 25 }) : null;
      const preset = kernel?.machine.preset ?? chosen;
      const figures = new Map(figuresOf(preset).map(({ name, value }) => [name, Number(value)]));
      figures.set("kernel.ipi.sendCycles", kernel?.mm.costs.ipi.sendCycles ?? 0);
      const columns = ["row", "result"].map((key) => ({ key, heading: key }));
      const table = [1, 2].map((row) => [`row ${row}`, result((name) => figures.get(name) ?? Number.NaN, row)]);
      return { tables: [{ name: "known", title: "", columns, rows: table }], plots: [], findings: ["found"] };
    },
  };
}

function sensitivityOf(experiment: Experiment, words: readonly string[] = [], column = experiment.headline) {
  const figures = choiceOf("skylake", presetByName("skylake"), words);
  const given = { ...TINY[experiment.name], ...(experiment.name === "page-tables" ? FEW_LOADS : {}) };
  const run = { experiment, seed: 1, given, settings: { figures }, column };
  const result = runExperiment(experiment, figures.preset, 1, run.given, undefined, run.settings);
  const progress: number[] = [];
  const more = withSensitivity(result, run, (done, total) => progress.push(done / total));
  return { result, more, table: rows(more, "sensitivity"), progress };
}

describe("the sensitivity of a result", () => {
  it("is 2 to a figure that it grows with the square of, -1 to one that it falls with, 0 to all others", () => {
    const known = experimentOf((figure) => (3 * figure("kernel.ipi.sendCycles") ** 2) / figure("costs.walk"), true);
    const { table, more, result } = sensitivityOf(known);
    expect(table).toEqual([
      {
        figure: "kernel.ipi.sendCycles",
        value: "120 cycles",
        atHalf: "0.250",
        atDouble: "4.000",
        elasticity: "2.000",
        rowsMoved: 2,
      },
      {
        figure: "costs.walk",
        value: "21 cycles",
        atHalf: "2.000",
        atDouble: "0.500",
        elasticity: "-1.000",
        rowsMoved: 2,
      },
    ]);
    expect(more.findings.slice(0, 1)).toEqual(result.findings);
    expect(more.findings[1]).toMatch(/^2 of \d+ assumed figures move result, most of all kernel.ipi.sendCycles.$/);
    expect(more.findings[2]).toContain("costs.store");
    expect(more.tables.slice(0, -1)).toEqual(result.tables);
  });

  it("counts every row alike, however large its result is", () => {
    const known = experimentOf((figure, row) => (row === 1 ? 1e9 : figure("costs.walk")));
    const { table } = sensitivityOf(known);
    expect(table).toMatchObject([{ figure: "costs.walk", atHalf: "0.750", atDouble: "1.500", rowsMoved: 1 }]);
  });

  it("has figures that move rows in opposite directions, and those that move a result from 0", () => {
    // Rows of 1 + x and 3 - x: the mean of their ratios stays 1.
    const opposite = experimentOf((figure, row) => {
      const x = figure("costs.walk") / 21 - 1;
      return row === 1 ? 1 + x / 2 : 1 - x / 2;
    });
    expect(sensitivityOf(opposite).table).toMatchObject([{ figure: "costs.walk", atDouble: "1.000", rowsMoved: 2 }]);
    const fromZero = experimentOf((figure, row) => (row === 1 ? 5 : figure("costs.walk") - 21));
    expect(sensitivityOf(fromZero).table).toMatchObject([{ figure: "costs.walk", rowsMoved: 1 }]);
  });

  it("leaves out rows that have no figure, and counts one that gets or loses its figure as moved", () => {
    const lacking = experimentOf((figure, row) => (row === 1 ? null : figure("costs.walk")));
    expect(sensitivityOf(lacking).table).toMatchObject([
      { figure: "costs.walk", atHalf: "0.500", atDouble: "2.000", rowsMoved: 1 },
    ]);
    const losing = experimentOf((figure, row) =>
      row === 1 && figure("costs.walk") > 21 ? null : figure("costs.walk"),
    );
    expect(sensitivityOf(losing).table).toMatchObject([
      { figure: "costs.walk", atHalf: "0.500", atDouble: "2.000", rowsMoved: 2 },
    ]);
  });

  it("is asked of the figures that the experiment names as its inputs: of guests where it has them", () => {
    const known = experimentOf(() => 1);
    const guests = sensitivityOf({ ...known, runsGuests: true }).more.findings.join(" ");
    for (const name of ["virtualization.costs.vmExit", "hypervisor.fault"]) {
      expect(guests).toContain(name);
      expect(sensitivityOf(known).more.findings.join(" ")).not.toContain(name);
    }
  });

  it("names the figures that are 0, of which there is no half", () => {
    const { more } = sensitivityOf(
      experimentOf(() => 1),
      ["costs.walk=0"],
    );
    expect(more.findings.at(-1)).toBe("Assumed and 0, of which there is no half, not changed: costs.walk.");
  });

  it("is not asked of figures that are measured or documented, but of those that were given", () => {
    const known = experimentOf((figure) => figure("costs.invlpg"));
    expect(sensitivityOf(known).table).toEqual([]);
    expect(sensitivityOf(known, ["costs.invlpg=77"]).table).toMatchObject([
      { value: "77 cycles", elasticity: "1.000" },
    ]);
  });

  it("says where no machine can have half or twice a figure", () => {
    const known = experimentOf((figure) => figure("tlbs.2.ways"));
    // Twice 16 ways is no tree.
    const { table } = sensitivityOf(known, ["tlbs.2.ways=16"]);
    expect(table).toMatchObject([
      { figure: "tlbs.2.ways", atHalf: "0.500", atDouble: "not possible", elasticity: "1.000" },
    ]);
  });

  it("tells how far it is, from the first run to the last", () => {
    const { progress } = sensitivityOf(experimentOf(() => 1));
    expect(progress[0]).toBe(0);
    expect(progress.at(-1)).toBeGreaterThan(0.98);
    expect(progress).toEqual([...progress].sort((a, b) => a - b));
  });

  it("is found in few runs where few figures count, and figures whose changes would cancel are found all the same", () => {
    let runs = 0;
    const known = experimentOf((figure) => {
      runs++;
      return figure("costs.walk") / figure("costs.invpcidContext");
    });
    const { table, more } = sensitivityOf(known);
    expect(table).toMatchObject([{ figure: "costs.walk" }, { figure: "costs.invpcidContext" }]);
    // Two rows a run. Each figure by itself would be two runs.
    const figures = Number(/of (\d+) assumed figures/.exec(more.findings[1])?.[1]);
    expect(figures).toBeGreaterThan(50);
    expect(runs / 2).toBeLessThan(figures);
  });

  it("follows a column that is named, and refuses one that has no numbers", () => {
    const known = experimentOf((figure) => figure("costs.walk"));
    expect(() => sensitivityOf(known, [], "row")).toThrow("has no column of numbers 'row'; it has result");
    expect(() => sensitivityOf(known, [], "rsult")).toThrow("(did you mean result?)");
  });

  it("of walks rests on what a walk costs, and on nothing of the kernel", () => {
    const [pageTables] = EXPERIMENTS.filter(({ name }) => name === "page-tables");
    const { table } = sensitivityOf(pageTables);
    const moved = table.map(({ figure }) => String(figure));
    expect(moved).toContain("costs.walk");
    expect(moved.filter((name) => name.startsWith("kernel."))).toEqual([]);
  });

  it.each(EXPERIMENTS)(
    "of $name follows a column that its first table has, with parameters that it has",
    (experiment) => {
      const names = experiment.parameters.map(({ name }) => name);
      const small = Object.keys(experiment.sensitivityParameters ?? {});
      expect(small).not.toEqual([]);
      for (const name of small) expect(names).toContain(name);
      const [table] = runExperiment(experiment, presetByName("skylake"), 1, TINY[experiment.name]).tables;
      const at = table.columns.findIndex(({ key }) => key === experiment.headline);
      expect(table.rows.some((row) => typeof row[at] === "number")).toBe(true);
      expect(table.rows.every((row) => typeof row[at] === "number" || row[at] === null)).toBe(true);
    },
  );
});
