import { describe, expect, it } from "vitest";
import { plotByColumn, plotByKind } from "../../../../src/experiments/base/plot.ts";
import { DataTable } from "../../../../src/experiments/base/table.ts";

describe("a plot of a table's columns", () => {
  const table = new DataTable(
    "t",
    "One of it",
    {
      cpus: { heading: "CPUs", axis: "CPUs" },
      workCycles: { heading: "work", axis: "cycles", curve: "work" },
      freePages: { heading: "free", axis: "pages", curve: "free pages" },
      policy: { heading: "policy", text: true },
    } as const,
    [
      { cpus: 1, workCycles: 10, freePages: 7, policy: "ipi" },
      { cpus: 2, workCycles: 30, freePages: 5, policy: "ipi" },
    ],
  );
  const style = { title: "Work", xLog: false, yLog: false };

  it("takes its axes' texts from the columns", () => {
    expect(plotByKind(table, "cpus", "workCycles", style, ({ policy }) => policy)).toEqual({
      ...style,
      xName: "CPUs",
      yName: "cycles",
      series: [
        {
          name: "ipi",
          points: [
            [1, 10],
            [2, 30],
          ],
        },
      ],
    });
  });

  it("is refused for columns of different quantities", () => {
    expect(() => plotByColumn(table, "cpus", ["workCycles", "freePages"], style)).toThrow(
      "columns workCycles, freePages of t are not one quantity: cycles; pages",
    );
  });

  it("does not compile for a column that is not there, is text, or has no text for an axis or legend", () => {
    // @ts-expect-error there is no such column
    expect(() => plotByKind(table, "cpus", "waitCycles", style, () => "")).toThrow();
    // @ts-expect-error words cannot be plotted
    expect(() => plotByKind(table, "cpus", "policy", style, () => "")).toThrow();
    // @ts-expect-error the legend has no words for it
    plotByColumn(table, "cpus", ["cpus"], style);
  });
});
