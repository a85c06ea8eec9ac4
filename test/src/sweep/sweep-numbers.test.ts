/** Every number of a sweep's table for people is the one that its JSON and its CSV have, rounded as it is printed. */
import { describe, expect, it } from "vitest";
import { temporaryFolder } from "../fixtures.ts";
import { mmulab } from "../run-cli.ts";

type Row = Readonly<Record<string, string | number | boolean>>;

const folder = temporaryFolder();

/** The sweep's table in each form; its points are run once. */
function forms(name: string, text: string) {
  const spec = folder.write(name, text);
  const shown = (...words: string[]) => {
    const { status, stdout } = mmulab("sweep", spec, "--jobs", "1", ...words);
    expect(status).toBe(0);
    return stdout;
  };
  const { rows, columns } = JSON.parse(shown("--json")) as { rows: Row[]; columns: string[] };
  return { rows, columns, csv: shown("--csv"), people: shown };
}

/** Headings and rows of a printed table, whose cells are two blanks or more apart. */
function cellsOf(table: string): string[][] {
  const lines = table.split("\n").filter((line) => line.startsWith("  "));
  return lines.map((line) => line.trim().split(/ {2,}/));
}

/** Holds that printed rows are those of JSON. */
function expectSaid([headings, ...printed]: string[][], rows: readonly Row[]): void {
  expect(printed).toHaveLength(rows.length);
  rows.forEach((row, i) => {
    const filled = headings.filter((name) => row[name] !== undefined && row[name] !== "");
    expect(printed[i]).toHaveLength(filled.length);
    filled.forEach((name, column) => {
      const cell = printed[i][column];
      const value = row[name];
      if (typeof value !== "number") {
        expect(cell, name).toBe(String(value));
        return;
      }
      const digits = cell.split(".")[1]?.length ?? 0;
      const said = Number(cell.replaceAll(",", ""));
      expect(Math.abs(said - value), `${name}: ${cell} for ${value}`).toBeLessThanOrEqual(0.5000001 * 10 ** -digits);
      expect(said === 0, name).toBe(value === 0);
    });
  });
}

/** Holds that rows of CSV are those of JSON; what made them stands last, quoted. */
function expectCsv(csv: string, columns: readonly string[], rows: readonly Row[]): void {
  const records = csv
    .trimEnd()
    .split(/\r?\n/)
    .map((line) => line.split(",").slice(0, columns.length));
  expect(records).toEqual([columns, ...rows.map((row) => columns.map((name) => String(row[name] ?? "")))]);
}

describe("the table of a sweep", () => {
  it("of a workload has the numbers of its JSON and CSV, in the columns that are shown and in any other", () => {
    const { rows, columns, csv, people } = forms(
      "runs.yaml",
      "workload: mixed\nseeds: 2\ngrid:\n  cpus: [1, 2]\n  operations: 300\n  costs.walk: [10, 20.5]\n",
    );
    expect(rows).toHaveLength(8);
    expectCsv(csv, columns, rows);
    expectSaid(cellsOf(people()), rows);
    expectSaid(cellsOf(people("--columns", columns.join(","))), rows);
  });

  it("of an experiment has the numbers of its JSON and CSV", () => {
    const { rows, columns, csv, people } = forms(
      "curves.yaml",
      "experiment: tlb-curves\ngrid:\n  pages: [17, 65]\n  stride: 16\n  accesses: load\n",
    );
    expectCsv(csv, columns, rows);
    expectSaid(cellsOf(people()), rows);
  });
});
