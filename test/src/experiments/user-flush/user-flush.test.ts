/** mprotect and MADV_DONTNEED of a thread, beside what a core of Emerald Rapids did in a virtual machine (`test/silicon/syscalls.txt`). */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { presetByName } from "../../../../arch/index.ts";
import { EXPERIMENTS, runExperiment } from "../../../../src/experiments/index.ts";
import { readSettings } from "../../../../src/settings/machine-settings.ts";
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
const [native, guest] = ["false", "true"].map((isGuest) => {
  const observer = { onProgress: () => {}, onKernel: () => {} };
  // As it was measured: the least of many runs, on a kernel (6.18) that does not drain the batch for the LRU lists on the way. Guests of that
  // build have memory cgroups, three levels deep where one was looked at.
  const given = { cpus: "1", pages: PAGES.join(","), rounds: "31", of: "least" };
  const kernel = { kernel: "7.3", "memcg-levels": "3" };
  const settings = readSettings(isGuest === "true" ? { ...kernel, guest: isGuest, "host-pages": "4K" } : kernel);
  return rows(runExperiment(experiment, preset, 1, given, observer, settings), "calls");
});

/** Emulated cycles over cycles on silicon, by number of pages. */
function ratios(emulated: typeof guest, key: string, what: string): Map<number, number> {
  const measured = silicon(what);
  const cycles = column(emulated, key).map((ns) => ns * preset.frequencyGhz.value);
  return new Map(PAGES.map((pages, i) => [pages, cycles[i] / (measured.get(pages) ?? Number.NaN)]));
}

/** What 34 pages cost of what 33 pages cost. */
function step(costs: readonly number[]): number {
  return costs[PAGES.indexOf(34)] / costs[PAGES.indexOf(33)];
}

describe("calls of a guest beside silicon", () => {
  it.each([
    ["mprotectReadNs", "mprotect_ro"],
    ["mprotectWriteNs", "mprotect_rw"],
    ["dontneedNs", "dontneed"],
  ])("%s costs within a quarter of what silicon takes, by any number of pages", (key, what) => {
    for (const [pages, ratio] of ratios(guest, key, what)) {
      expect(ratio, `${pages} pages`).toBeGreaterThan(0.75);
      expect(ratio, `${pages} pages`).toBeLessThan(1.25);
    }
  });

  it.each([
    ["mprotectReadNs", "mprotect_ro"],
    ["mprotectWriteNs", "mprotect_rw"],
    ["dontneedNs", "dontneed"],
  ])("%s drops at the flush ceiling as there, within 15 percent", (key, what) => {
    const measured = silicon(what);
    const there = step(PAGES.map((pages) => measured.get(pages) ?? Number.NaN));
    expect(Math.abs(step(column(guest, key)) / there - 1)).toBeLessThan(0.15);
  });

  it("are dearer than native ones page by page, where each INVLPG takes the kernel's own translations, and alike beyond", () => {
    for (const key of ["mprotectReadNs", "dontneedNs"]) {
      const times = PAGES.map((_, i) => column(guest, key)[i] / column(native, key)[i]);
      expect(times[PAGES.indexOf(33)]).toBeGreaterThan(1.15);
      for (const pages of [34, 48, 128, 512]) expect(times[PAGES.indexOf(pages)]).toBeLessThan(1.03);
    }
  });

  it("drop at the flush ceiling natively too, to write or to read", () => {
    for (const key of ["mprotectReadNs", "mprotectWriteNs", "dontneedNs", "munmapNs"]) {
      const of = (pages: number) => Number(native[PAGES.indexOf(pages)][key]);
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

  it("lazy CPUs, which ran before each round, are interrupted where page tables are freed: by munmap of a whole table's pages, by nothing else", () => {
    const given = { others: "idle,lazy,busy", cpus: "8", pages: "512" };
    const [idle, lazy, busy] = rows(run("user-flush", given), "cycles");
    expect(Number(lazy.munmapCycles)).toBeGreaterThan(Number(idle.munmapCycles) + 2500);
    expect(Number(lazy.munmapCycles)).toBeGreaterThan(Number(busy.munmapCycles));
    expect(lazy.dontneedCycles).toBe(idle.dontneedCycles);
    expect(lazy.mprotectWriteCycles).toBe(idle.mprotectWriteCycles);
    // The first flush of a round reads what they have written: the line of mm_cpumask, and the line of each with is_lazy.
    const { cluster } = presetByName("skylake").lineTransfers;
    const transferCycles = cluster.value * presetByName("skylake").frequencyGhz.value;
    const lines = (Number(lazy.mprotectReadCycles) - Number(idle.mprotectReadCycles)) / transferCycles;
    expect(lines).toBeGreaterThan(7);
    expect(lines).toBeLessThan(10);
  });
});
