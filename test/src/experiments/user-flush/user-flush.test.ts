/** mprotect and MADV_DONTNEED of a thread, beside what a core of Emerald Rapids did in a virtual machine (`test/silicon/syscalls.txt`). */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { presetByName } from "../../../../arch/index.ts";
import { EXPERIMENTS, runExperiment } from "../../../../src/experiments/index.ts";
import { column, rows, run } from "../small-runs.ts";

const SILICON_GHZ = 3;
const PAGES = [1, 2, 4, 8, 16, 32, 33, 34, 48, 128, 512];

/** Cycles of a call on silicon, by number of pages. */
function silicon(what: string): Map<number, number> {
  const lines = readFileSync(join(import.meta.dirname, "../../../silicon/syscalls.txt"), "utf8")
    .trimEnd()
    .split("\n");
  return new Map(
    lines.map((line) => {
      const pages = Number(/n=(\d+)/.exec(line)?.[1]);
      return [pages, SILICON_GHZ * Number(new RegExp(`\\b${what} (\\d+)`).exec(line)?.[1])];
    }),
  );
}

const [experiment] = EXPERIMENTS.filter(({ name }) => name === "user-flush");
const preset = presetByName("sapphire-rapids");
const emulated = rows(
  runExperiment(experiment, preset, 1, { cpus: "1", pages: PAGES.join(","), rounds: "3" }),
  "calls",
);

/** Emulated cycles over cycles on silicon, by number of pages. */
function ratios(key: string, what: string): Map<number, number> {
  const measured = silicon(what);
  const cycles = column(emulated, key).map((ns) => ns * preset.frequencyGhz.value);
  return new Map(PAGES.map((pages, i) => [pages, cycles[i] / (measured.get(pages) ?? Number.NaN)]));
}

describe("calls beside silicon", () => {
  it.each([
    ["mprotectReadNs", "mprotect_ro", 0.75],
    ["mprotectWriteNs", "mprotect_rw", 0.7],
    ["dontneedNs", "dontneed", 0.75],
  ])("%s of pages that are flushed whole costs what silicon takes", (key, what, least) => {
    const found = ratios(key, what);
    for (const pages of [48, 128, 512]) {
      expect(found.get(pages), `${pages} pages`).toBeGreaterThan(least);
      expect(found.get(pages), `${pages} pages`).toBeLessThan(1.25);
    }
  });

  it("page by page less than there: a guest's INVLPG drops more than the page, and what follows walks two dimensions", () => {
    const found = ratios("mprotectReadNs", "mprotect_ro");
    for (const pages of [2, 4, 8, 16, 32, 33]) {
      expect(found.get(pages), `${pages} pages`).toBeGreaterThan(0.55);
      expect(found.get(pages), `${pages} pages`).toBeLessThan(1);
    }
  });

  it("drop at the flush ceiling, to write or to read", () => {
    for (const key of ["mprotectReadNs", "mprotectWriteNs", "dontneedNs", "munmapNs"]) {
      const of = (pages: number) => Number(emulated[PAGES.indexOf(pages)][key]);
      expect(of(34)).toBeLessThan(of(33));
      expect(of(33)).toBeGreaterThan(of(32));
    }
  });
});

describe("user-flush", () => {
  it("costs more where other CPUs run the process; idle and lazy ones need not be told", () => {
    const result = rows(run("user-flush", { others: "idle,lazy,busy", pages: "1" }), "calls");
    const cost = (others: string) => Number(result.find((row) => row.others === others)?.mprotectReadNs);
    expect(cost("busy")).toBeGreaterThan(2 * cost("idle"));
    expect(cost("lazy")).toBeLessThan(1.5 * cost("idle"));
  });
});
