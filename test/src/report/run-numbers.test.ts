/** Every number of a run's report for people is the one that its JSON has, rounded as it is printed. */
import { describe, expect, it } from "vitest";
import { bootKernel } from "../../../src/machine/kernel.ts";
import { runOnKernel } from "../../../src/runs/run.ts";
import type { RunReport } from "../../../src/runs/run-report.ts";
import { renderRunReport } from "../../../src/runs/run-report-text.ts";
import { findWorkload } from "../../../src/workloads/index.ts";

const kernel = bootKernel({ cpus: 2, vmalloc: { lazyMaxPages: 256 } });
kernel.vm.flushing.keepAccounts();
const report = runOnKernel(kernel, findWorkload("mixed"), { operations: 400, seed: 3 });
const text = renderRunReport(report);
// What somebody reads who asks for JSON.
const json = JSON.parse(JSON.stringify(report)) as RunReport;
const { flushCosts } = json;
if (flushCosts === undefined) throw new Error("the run kept no accounts");

/** Cells of the lines below a heading, up to an empty line, by the first of each. */
function tableUnder(heading: string): Map<string, string[]> {
  const at = text.indexOf(`\n${heading}`);
  expect(at, heading).toBeGreaterThan(0);
  const [, ...lines] = text
    .slice(at + 1)
    .split("\n\n")[0]
    .split("\n");
  const rows = lines.map((line) => line.trim().split(/ {2,}/));
  return new Map(rows.map(([name, ...cells]) => [name, cells]));
}

/** The number that a cell says. */
function numberIn(cell: string | undefined): number {
  return Number(String(cell).replaceAll(",", ""));
}

/** Bytes of `7.59 MiB`. */
function bytesIn(cell: string): number {
  const [number, unit] = cell.split(" ");
  return Number(number) * 1024 ** ["B", "KiB", "MiB", "GiB"].indexOf(unit);
}

/** Holds that cells are numbers, each rounded to a whole one. */
function expectCells(cells: readonly string[] | undefined, values: readonly number[], what: string): void {
  expect(cells?.map(numberIn), what).toEqual(values.map((value) => Math.round(value)));
}

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

describe("a run's report for people", () => {
  it("has the calls, with sizes to three digits", () => {
    const rows = tableUnder("Operations");
    for (const [name, { done, failed, bytes }] of Object.entries(json.operations)) {
      const cells = rows.get(name) ?? [];
      expectCells(cells.slice(0, 2), [done, failed], name);
      expect(Math.abs(bytesIn(cells[2]) - bytes), name).toBeLessThanOrEqual(0.005 * bytes);
    }
    const { loads, stores, wrongLoads } = json.memory;
    const touched = /memory touched: ([\d,]+) stores?, ([\d,]+) loads? checked, ([\d,]+) wrong/.exec(text);
    expectCells(touched?.slice(1), [stores, loads, wrongLoads], "memory touched");
  });

  it("has the page tables and what the TLBs of each CPU, and of all, did", () => {
    const tables = tableUnder("Page tables");
    const { leavesMapped, leavesUnmapped, tablesAllocated, tablesFreed, tablesByLevel } = json.pageTables;
    const counts = { "leaf entries mapped": leavesMapped, "leaf entries unmapped": leavesUnmapped };
    const ofTables = { "tables allocated": tablesAllocated, "tables freed": tablesFreed };
    const all = { ...counts, ...ofTables, "tables at the end": sum(tablesByLevel) };
    for (const [name, count] of Object.entries(all)) expect(numberIn(tables.get(name)?.[0]), name).toBe(count);
    const tlbs = tableUnder("TLBs (data)");
    const rows = json.counters.map((counter) => {
      const loads = counter["dTLB-loads"];
      const stores = counter["dTLB-stores"];
      const hits = counter["dtlb_load_misses.stlb_hit"] + counter["dtlb_store_misses.stlb_hit"];
      const misses = counter["dTLB-load-misses"] + counter["dTLB-store-misses"];
      const walks = counter["dtlb_load_misses.walk_active"] + counter["dtlb_store_misses.walk_active"];
      const flushes = counter["tlb_flush.stlb_any"];
      return [loads, stores, loads + stores - hits - misses, hits, misses, walks, counter.invlpg, flushes];
    });
    for (const [cpu, row] of rows.entries()) expectCells(tlbs.get(`CPU ${cpu}`), row, `CPU ${cpu}`);
    expectCells(
      tlbs.get("all"),
      rows[0].map((_, i) => sum(rows.map((row) => row[i]))),
      "all",
    );
  });

  it("has lazy freeing", () => {
    const rows = tableUnder("Lazy freeing and flushes");
    const { vmalloc } = json;
    const counts = {
      "areas found in the free tree": vmalloc.areasAllocated - vmalloc.areasFromPools,
      "areas taken from pools": vmalloc.areasFromPools,
      "searches that failed": vmalloc.areasFailed,
      "allocations from vmap blocks": vmalloc.blockAllocations,
      "areas freed lazily": vmalloc.areasFreed,
      purges: vmalloc.purges,
      "of these by the drain work": vmalloc.drains,
      "areas purged": vmalloc.areasPurged,
      "flushes of whole TLBs": vmalloc.fullFlushes,
      "flushes page by page": vmalloc.rangeFlushes,
      "most pages lazily freed at a time": vmalloc.lazyPagesMax,
      "pages lazily freed at the end": vmalloc.lazyPages,
      "a purge is due above (pages)": vmalloc.lazyMaxPages,
    };
    for (const [name, count] of Object.entries(counts)) expect(numberIn(rows.get(name)?.[0]), name).toBe(count);
    expect(vmalloc.purges).toBeGreaterThan(0);
  });

  it("has what flushes cost and who pays for it, and totals that are the sums of their parts", () => {
    const lines = text.split("\n").map((line) => line.trim().split(/ {2,}/));
    const parts = (cost: (typeof flushCosts.byCause)[number] | (typeof flushCosts.byOrigin)[number]): number[] => [
      cost.workCycles,
      cost.waitCycles,
      cost.stolenCycles,
      cost.lineCycles,
      cost.refillCycles,
    ];
    for (const cost of flushCosts.byCause) {
      const values = [cost.flushes, cost.interrupted, ...parts(cost), sum(parts(cost))].map(Math.round);
      const said = lines.filter(
        ([cause, , ...cells]) => cause === cost.cause && cells.map(numberIn).join() === values.join(),
      );
      expect(said, cost.cause).toHaveLength(1);
    }
    for (const cost of flushCosts.byOrigin) {
      const cells = lines.find(([origin, frees]) => origin === cost.origin && numberIn(frees) === cost.frees);
      expectCells(cells?.slice(1), [cost.frees, cost.pages, ...parts(cost), sum(parts(cost))], cost.origin);
    }
  });

  it("has where the cycles went: each part, its share, and all of each CPU's clock", () => {
    const activities = tableUnder("Where the cycles of all CPUs went");
    const all = sum(json.cycles.map(({ total }) => total));
    expect(numberIn(activities.get("all")?.[0])).toBe(Math.round(all));
    for (const [name, cycles] of Object.entries(flushCosts.cyclesByActivity)) {
      const [said, percent] = activities.get(name) ?? [];
      expect(numberIn(said), name).toBe(Math.round(cycles));
      expect(Math.abs(Number(percent) - (100 * cycles) / all), name).toBeLessThanOrEqual(0.0500001);
    }
    const clocks = tableUnder("Cycles of the emulated machine");
    json.cycles.forEach(({ total, idle, spin }, cpu) => {
      const [clock, time, ...rest] = clocks.get(`CPU ${cpu}`) ?? [];
      expectCells([clock, ...rest], [total, idle, spin], `CPU ${cpu}`);
      expect(time).toBe(`${(total / json.machine.frequencyGhz / 1e6).toFixed(2)} ms`);
    });
  });
});
