/** The numbers of every experiment: printed as they are in JSON, CSV and HTML; possible; and of machines whose accounts add up. */
import { describe, expect, it } from "vitest";
import { figuresOf, PRESETS, presetByName } from "../../../arch/index.ts";
import { DEFAULT_KERNEL_COSTS, kernelFiguresOf } from "../../../mm/index.ts";
import type { ExperimentResult, ResultTable, Value } from "../../../src/experiments/base/experiment.ts";
import { EXPERIMENTS, findExperiment, runExperiment } from "../../../src/experiments/index.ts";
import { renderHtml } from "../../../src/experiments/render/result-html.ts";
import { renderCsv, renderInputs, renderResult } from "../../../src/experiments/render/result-text.ts";
import { withSensitivity } from "../../../src/experiments/sensitivity.ts";
import { hypervisorFigures } from "../../../src/guests/hypervisor-costs.ts";
import type { Kernel } from "../../../src/machine/kernel.ts";
import { figureValue } from "../../../src/report/figures.ts";
import { ALL_USED } from "../../../src/report/preset-tables.ts";
import { choiceOf } from "../../../src/settings/figure-choice.ts";
import { SMALL, TINY } from "./small-runs.ts";

const NAMES = EXPERIMENTS.map(({ name }) => name);
/** Columns that are differences, and so may be below 0: between two kernels, and what a change saves. */
const DIFFERENCES: readonly string[] = ["difference", "byTiming", "alone", "undone", "beyond", "savedPercent"];

/** Columns that have no figure where nothing was purged, or no walk made: means over these. */
const MAY_LACK: Readonly<Record<string, RegExp>> = {
  "lazy-threshold": /Cycles$/,
  "page-tables": /^cyclesPerWalk$/,
  "nested-walk": /^cyclesPerWalk$/,
  "walk-overlap": /^(cyclesPerWalk|walksAtOnce)$/,
};

const SKYLAKE_RUNS = new Map<string, ReturnType<typeof runOn>>();

/** A run of an experiment on Skylake, the same for all who ask. */
function observed(name: string): ReturnType<typeof runOn> {
  const known = SKYLAKE_RUNS.get(name) ?? runOn("skylake", name);
  SKYLAKE_RUNS.set(name, known);
  return known;
}

/** Runs an experiment with parameters that take next to no time; `kernels` are those that it booted. */
function runOn(preset: string, name: string, notesUse = false) {
  const kernels: Kernel[] = [];
  const observer = { onProgress: () => {}, onKernel: (kernel: Kernel) => kernels.push(kernel) };
  const given = { ...SMALL[name], ...TINY[name] };
  const result = runExperiment(findExperiment(name), presetByName(preset), 1, given, observer, {}, notesUse);
  // What somebody reads who asks for JSON.
  return { result: JSON.parse(JSON.stringify(result)) as ExperimentResult, kernels };
}

/** The number that a printed cell says: `1,234.5`. */
function numberIn(cell: string): number {
  expect(cell).toMatch(/^-?\d{1,3}(,\d{3})*(\.\d+)?$/);
  return Number(cell.replaceAll(",", ""));
}

/**
 * Holds that cells of a column say the values: words as they are, numbers with the same decimals each, rounded to these, and 0 only for
 * what is 0.
 */
function expectSaid(cells: readonly string[], values: readonly Value[]): void {
  expect(cells).toHaveLength(values.length);
  const numbers = cells.filter((_, i) => typeof values[i] === "number");
  const decimals = new Set(numbers.map((cell) => cell.split(".")[1]?.length ?? 0));
  expect(decimals.size, cells.join("; ")).toBeLessThanOrEqual(1);
  const [digits = 0] = decimals;
  values.forEach((value, i) => {
    if (typeof value !== "number") {
      expect(cells[i]).toBe(value ?? "-");
      return;
    }
    const said = numberIn(cells[i]);
    const what = `${cells[i]} for ${value}`;
    if (Number.isInteger(value)) expect(said, what).toBe(value);
    else expect(Math.abs(said - value), what).toBeLessThanOrEqual(0.5000001 * 10 ** -digits);
    expect(said === 0, what).toBe(value === 0);
  });
}

/** The cells of a printed table, by its title: columns are two blanks or more apart, and none is empty. */
function printedTable(text: string, { title }: ResultTable): string[][] {
  const lines = text
    .slice(text.indexOf(`\n${title}\n`) + title.length + 2)
    .split("\n\n")[0]
    .split("\n");
  return lines.filter((line) => line !== "").map((line) => line.trim().split(/ {2,}/));
}

/** The cells of a table of a page, by its title. */
function htmlTableOf(html: string, title: string): string[][] {
  const escaped = title
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
  const table = html.slice(html.indexOf(`aria-label="${escaped}"><table>`)).split("</table>")[0];
  return table
    .split("<tr>")
    .slice(1)
    .map((row) => [...row.matchAll(/<t[hd][^>]*>(.*?)<\/t[hd]>/gs)].map(([, cell]) => plain(cell)));
}

function plain(html: string): string {
  return html
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">")
    .replaceAll("&quot;", '"')
    .replaceAll("&#39;", "'")
    .replaceAll("&amp;", "&");
}

/** Name, value, basis and source of each figure that is printed, each without its blanks, since all may go over several lines. */
function printedFigures(text: string): string[][] {
  const figures: string[][] = [];
  for (const line of text.split("\n")) {
    const cells = [line.slice(2, 22), line.slice(24, 37), line.slice(39, 49), line.slice(51)].map(unspaced);
    // Longer ones are sentences.
    if (!line.startsWith("  ") || line.trim() === "" || line.length > 80) continue;
    if (["measured", "documented", "assumed"].includes(cells[2])) figures.push(cells);
    else
      figures.at(-1)?.forEach((_, i, cellsSoFar) => {
        cellsSoFar[i] += cells[i];
      });
  }
  return figures;
}

function unspaced(text: string): string {
  return text.replaceAll(/\s/g, "");
}

/** The cells of CSV (RFC 4180). */
function csvRows(csv: string): string[][] {
  return csv
    .split("\r\n")
    .map((line) =>
      [...line.matchAll(/(?:^|,)("(?:[^"]|"")*"|[^,]*)/g)].map(([, cell]) =>
        cell.replace(/^"|"$/g, "").replaceAll('""', '"'),
      ),
    );
}

/** Times that no column has in cycles, by experiment: what other columns of the row say. Those of lock_stat are as the kernel shows them. */
const TIMES_ALONE: Readonly<Record<string, readonly string[]>> = {
  "flush-cost": ["initiatorUsec"],
  "guest-shootdown": ["latencyMaxUsec"],
  "page-fault": ["munmapUsec"],
};

/** The stems of keys with a time or with cycles: `forkNsPerPage` and `forkCyclesPerPage` are of the same. */
function stemsOf({ name, tables }: ExperimentResult, unit: RegExp): string[] {
  const keys = tables
    .filter((table) => table.name !== "lock-stat")
    .flatMap(({ columns }) => columns.map(({ key }) => key));
  const alone = TIMES_ALONE[name] ?? [];
  return keys.filter((key) => unit.test(key) && !alone.includes(key)).map((key) => key.replace(unit, ""));
}

describe("what an experiment prints", () => {
  it.each(NAMES)("%s: whatever it says in nanoseconds or microseconds it says in cycles, too", (name) => {
    const { result } = observed(name);
    const times = stemsOf(result, /(?:Ns|Usec)(?=$|Per)|^usec(?=Per)/);
    expect(stemsOf(result, /Cycles(?=$|Per)|^cycles(?=Per)/)).toEqual(expect.arrayContaining(times));
  });

  it.each(NAMES)("%s: every cell of its tables, its CSV and its page is what its JSON has, rounded", (name) => {
    const { result } = observed(name);
    const text = renderResult(result);
    const html = renderHtml(result, findExperiment(name));
    const csv = csvRows(renderCsv(result));
    const titles = new Set(result.tables.map(({ title }) => title));
    expect(titles.size).toBe(result.tables.length);
    for (const table of result.tables) {
      const [head, ...printed] = printedTable(text, table);
      const [htmlHead, ...shown] = htmlTableOf(html, table.title);
      const headings = table.columns.map(({ heading }) => heading);
      expect([head, htmlHead]).toEqual([headings, headings]);
      const keys = table.columns.map(({ key }) => key);
      const at = csv.findIndex((row) => row.join() === keys.join()) + 1;
      expect(at, table.name).toBeGreaterThan(0);
      expect([printed.length, shown.length]).toEqual([table.rows.length, table.rows.length]);
      table.rows.forEach((row, i) => {
        // Nothing stands where a row has no word.
        expect(printed[i]).toEqual(shown[i].filter((cell) => cell !== ""));
        expect(csv[at + i].slice(0, row.length)).toEqual(row.map((value) => String(value ?? "")));
      });
      for (const column of keys.keys())
        expectSaid(
          shown.map((cells) => cells[column]),
          table.rows.map((row) => row[column]),
        );
    }
    for (const finding of result.findings) expect(text).toContain(`\n  ${finding}\n`);
  });

  it.each(NAMES)(
    "%s: --inputs has every figure of its JSON with value, unit, how it is known and its source",
    (name) => {
      const { result } = runOn("skylake", name, true);
      const used = result.inputs.filter((input) => input.used === true);
      const others = result.inputs.filter((input) => input.used === false);
      expect(used.length + others.length).toBe(result.inputs.length);
      expect(printedFigures(renderInputs(result))).toHaveLength(used.length);
      const printed = printedFigures(renderInputs(result, true));
      expect(printed).toHaveLength(result.inputs.length);
      const page = renderHtml(result, findExperiment(name));
      const html = ["Inputs", "Not used"].flatMap((title) => htmlTableOf(page, title).slice(1));
      expect(html).toHaveLength(result.inputs.length);
      const whole = htmlTableOf(renderHtml(observed(name).result, findExperiment(name)), "Inputs").slice(1);
      expect(whole.map(([figure]) => figure)).toEqual(result.inputs.map((input) => input.name));
      [...used, ...others].forEach((input, i) => {
        const { name: figure, value, basis, source } = input;
        expect(source, figure).not.toBe("");
        expect(["measured", "documented", "assumed"]).toContain(basis);
        const said = [figureValue(input), basis, source].map(unspaced).join("\n");
        const own = printed.filter(([words, ...cells]) => figure.endsWith(words) && cells.join("\n") === said);
        expect(own.length, figure).toBeGreaterThan(0);
        expect([html[i][0], html[i][3], html[i][4]]).toEqual([figure, basis, source]);
        expect(html[i][2].replaceAll(",", "").split(" ")[0]).toBe(String(value));
      });
    },
  );

  it.each(NAMES)("%s: doubling every figure that --inputs does not list changes nothing", (name) => {
    const { result } = observed(name);
    const listed = new Set(result.inputs.map((input) => input.name));
    const others = [
      ...figuresOf(presetByName("skylake"), ALL_USED),
      ...kernelFiguresOf(DEFAULT_KERNEL_COSTS),
      ...hypervisorFigures(),
    ].filter((figure) => !listed.has(figure.name) && typeof figure.value === "number");
    expect(others.length).toBeGreaterThan(0);
    const words = others.map((figure) => `${figure.name}=${2 * Number(figure.value)}`);
    const figures = choiceOf("skylake", presetByName("skylake"), words);
    const given = { ...SMALL[name], ...TINY[name] };
    const again = runExperiment(findExperiment(name), figures.preset, 1, given, undefined, { figures });
    expect(again.tables).toEqual(result.tables);
  });

  it("has the figures of a table of sensitivity too", () => {
    const figures = choiceOf("skylake", presetByName("skylake"), []);
    const experiment = findExperiment("munmap-barrier");
    const given = TINY["munmap-barrier"];
    const settings = { figures };
    const again = { experiment, seed: 1, given, settings, column: experiment.headline };
    const result = withSensitivity(
      runExperiment(experiment, figures.preset, 1, given, undefined, settings),
      again,
      () => {},
    );
    const table = result.tables.at(-1) as ResultTable;
    const [, ...printed] = printedTable(renderResult(result), table);
    expect(printed).toEqual(table.rows.map((row) => row.map(String)));
  });
});

describe("numbers of an experiment", () => {
  const numbersOf = (result: ExperimentResult) =>
    result.tables.flatMap(({ name, columns, rows }) =>
      rows.flatMap((row) => row.map((value, i) => ({ table: name, key: columns[i].key, value }))),
    );

  it.each(PRESETS.map(({ name }) => name))(
    "are possible on %s: none below 0 that is no difference, no part over the whole",
    (preset) => {
      for (const name of NAMES) {
        const { result } = runOn(preset, name);
        for (const table of result.tables) expect(table.rows.length, `${name}, ${table.name}`).toBeGreaterThan(0);
        for (const { table, key, value } of numbersOf(result)) {
          const what = `${name}, ${table}, ${key}: ${value}`;
          // JSON has null for what is no number, too.
          if (!(MAY_LACK[name]?.test(key) ?? false)) expect(value, what).not.toBeNull();
          if (typeof value !== "number") continue;
          if (!DIFFERENCES.includes(key)) expect(value, what).toBeGreaterThanOrEqual(0);
          if (/Percent$/.test(key)) expect(value, what).toBeLessThanOrEqual(100);
        }
        for (const { title, series } of result.plots) {
          for (const { points } of series)
            for (const point of points) expect(point, `${name}, ${title}`).not.toContain(null);
        }
        for (const finding of result.findings) expect(finding, name).not.toMatch(/NaN|undefined|Infinity|\bnull\b/);
      }
    },
  );
});

describe("the machines of an experiment", () => {
  it.each(EXPERIMENTS.filter(({ hasKernel }) => hasKernel !== false).map(({ name }) => name))(
    "%s: every cycle of every CPU is in an account",
    (name) => {
      const { kernels } = observed(name);
      expect(kernels.length).toBeGreaterThan(0);
      for (const { machine } of kernels) {
        const { accounts } = machine.loop;
        machine.cpus.forEach((_, cpu) => {
          const parts = [...accounts.ofCpu(cpu)];
          const clock = machine.loop.clockCycles[cpu];
          expect(parts.filter(([, cycles]) => !(cycles > 0))).toEqual([]);
          expect(
            parts.reduce((sum, [, cycles]) => sum + cycles, 0),
            `CPU ${cpu}`,
          ).toBeCloseTo(clock, 4);
        });
      }
    },
  );
});
