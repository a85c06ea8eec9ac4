/** Plots show what their titles and axes say: each is compared with the columns of the tables that its words name. */
import { describe, expect, it } from "vitest";
import { presetByName } from "../../../arch/index.ts";
import type { ExperimentResult, Plot } from "../../../src/experiments/base/experiment.ts";
import { EXPERIMENTS, runExperiment } from "../../../src/experiments/index.ts";
import type { Cells, Shown } from "./shown-plot.ts";

const CPUS = { name: "CPUs", key: "cpus" };
const [WORKERS, THREADS] = ["workers", "threads"].map((name) => ({ name, key: name }));
const LAZY_MAX = { name: "lazy_max_pages (pages)", key: "lazyMaxPages" };
const MEMORY = { name: "memory (MiB)", key: "sizeMiB" };
const PARTS = {
  "initiator's work": "workCycles",
  "initiator's wait": "waitCycles",
  "stolen from others": "stolenCycles",
  "waiting for lines": "lineCycles",
  refills: "refillCycles",
};
const byPolicy = (row: Cells): string => String(row.policy);
const byCpus = (row: Cells): string => `${row.cpus} CPU${row.cpus === 1 ? "" : "s"}`;
const bySetting = (row: Cells): string => String(row.setting);
const byPageAndLevels = (row: Cells): string => `${row.page}, ${row.levels} levels`;
const byPageAndAccesses = (row: Cells): string => `${row.page}, ${row.accesses}`;
const byStride = (row: Cells): string => `stride ${row.stride}`;
const pagesIn = (title: string): number => Number(/of (\d+) page/.exec(title)?.[1]);

const SHOWN: readonly Shown[] = [
  {
    experiment: "flush-cost",
    title: /^One flush of \d+ pages? against CPUs, all parts$/,
    table: "flushes",
    x: CPUS,
    yName: "cycles per flush, all CPUs",
    curves: { key: "totalCycles", nameOf: byPolicy },
    rows: (row, title) => row.pages === pagesIn(title),
  },
  {
    experiment: "flush-cost",
    title: /^One flush on 8 CPUs against its range, all parts$/,
    table: "flushes",
    x: { name: "pages of the range", key: "pages" },
    yName: "cycles per flush, all CPUs",
    curves: { key: "totalCycles", nameOf: byPolicy },
    rows: (row) => row.cpus === 8,
  },
  {
    experiment: "flush-cost",
    title: /^Parts of a flush of \d+ pages, [a-z]+$/,
    table: "flushes",
    x: CPUS,
    yName: "cycles per flush, all CPUs",
    curves: PARTS,
    rows: (row, title) => row.pages === pagesIn(title) && title.endsWith(`, ${row.policy}`),
  },
  {
    experiment: "flush-cost",
    title: /^Flushing per vunmap of a page, over all CPUs$/,
    table: "vunmaps",
    x: CPUS,
    yName: "cycles per vunmap, all CPUs",
    curves: { key: "totalCycles", nameOf: byPolicy },
  },
  {
    experiment: "flush-cost",
    title: /^Flushing per munmap of a page, a thread on every CPU$/,
    table: "munmaps",
    x: CPUS,
    yName: "cycles per munmap, all CPUs",
    curves: { key: "totalCycles", nameOf: byPolicy },
  },
  {
    experiment: "flush-ceiling",
    title: /^Cost per munmap against the ceiling$/,
    table: "ceilings",
    x: { name: "ceiling (pages)", key: "ceilingPages" },
    yName: "cycles per munmap, all CPUs",
    curves: { total: "totalCycles", ...PARTS },
  },
  {
    experiment: "lazy-threshold",
    title: /^Cost per free, all parts, over all CPUs$/,
    table: "thresholds",
    x: LAZY_MAX,
    yName: "cycles per free, all CPUs",
    curves: { key: "totalCycles", nameOf: byCpus },
  },
  {
    experiment: "lazy-threshold",
    title: /^Address space freed and not usable yet, mean over frees$/,
    table: "thresholds",
    x: LAZY_MAX,
    yName: "held back (KiB)",
    curves: { key: "heldBackMeanKiB", nameOf: byCpus },
  },
  {
    experiment: "lazy-threshold",
    title: /^Pages of page tables at the end$/,
    table: "thresholds",
    x: LAZY_MAX,
    yName: "page-table pages",
    curves: { key: "tablePages", nameOf: byCpus },
  },
  {
    experiment: "vmap-contention",
    title: /^Throughput$/,
    table: "contention",
    x: WORKERS,
    yName: "vmalloc/vfree pairs per second, whole machine",
    curves: { key: "pairsPerSecond", nameOf: bySetting },
  },
  {
    experiment: "vmap-contention",
    title: /^Time spent spinning for locks$/,
    table: "contention",
    x: WORKERS,
    yName: "lock wait (% of the workers' time)",
    curves: { key: "lockWaitPercent", nameOf: bySetting },
  },
  {
    experiment: "unmap-threads",
    title: /^Map, touch and unmap$/,
    table: "loops",
    x: THREADS,
    yName: "ns a map, touch and unmap, one thread",
    curves: { key: "loopNs", nameOf: (row) => String(row.way) },
  },
  {
    experiment: "page-tables",
    title: /^Walk cycles per access, (random|sequential)$/,
    table: "page-tables",
    x: MEMORY,
    yName: "walk cycles per access",
    curves: { key: "walkCyclesPerAccess", nameOf: byPageAndLevels },
    rows: (row, title) => title.endsWith(String(row.pattern)),
  },
  {
    experiment: "page-tables",
    title: /^Misses of all TLB levels, (random|sequential)$/,
    table: "page-tables",
    x: MEMORY,
    yName: "misses (% of accesses)",
    curves: { key: "missPercent", nameOf: byPageAndLevels },
    rows: (row, title) => title.endsWith(String(row.pattern)),
  },
  {
    experiment: "page-tables",
    title: /^Page tables that the mapping needs$/,
    table: "page-tables",
    x: MEMORY,
    yName: "page-table pages",
    curves: { key: "tablePages", nameOf: byPageAndLevels },
    rows: (row) => row.pattern === "random",
  },
  {
    experiment: "walk-overlap",
    title: /^Cycles per access$/,
    table: "walk-overlap",
    x: MEMORY,
    yName: "cycles per access",
    curves: { key: "cyclesPerAccess", nameOf: byPageAndAccesses },
  },
  {
    experiment: "walk-overlap",
    title: /^Walks at once$/,
    table: "walk-overlap",
    x: MEMORY,
    yName: "walks at once, while there are any",
    curves: { key: "walksAtOnce", nameOf: byPageAndAccesses },
  },
  {
    experiment: "tlb-curves",
    title: /^Cycles per access, (load|store|fetch)$/,
    table: "tlb-curves",
    x: { name: "pages", key: "pages" },
    yName: "cycles per access",
    curves: { key: "cyclesPerAccess", nameOf: byStride },
    rows: (row, title) => title.endsWith(String(row.access)),
  },
  {
    experiment: "tlb-curves",
    title: /^Misses of the first level, (load|store|fetch)$/,
    table: "tlb-curves",
    x: { name: "pages", key: "pages" },
    yName: "misses of the first level (% of accesses)",
    curves: { key: "firstLevelMissPercent", nameOf: byStride },
    rows: (row, title) => title.endsWith(String(row.access)),
  },
  {
    experiment: "user-flush",
    title: /^Calls on \d+ CPUs?(?:, the others \w+)?$/,
    table: "calls",
    x: { name: "pages of the range", key: "pages" },
    yName: "ns a call, on the CPU that calls",
    curves: {
      "mprotect, read-only": "mprotectReadNs",
      "mprotect, writable": "mprotectWriteNs",
      MADV_DONTNEED: "dontneedNs",
      munmap: "munmapNs",
    },
    rows: (row, title) =>
      title.startsWith(`Calls on ${row.cpus} CPU`) && (row.cpus === 1 || title.endsWith(` ${row.others}`)),
  },
  {
    experiment: "madvise-loop",
    title: /^Throughput of the machine$/,
    table: "loops",
    x: THREADS,
    yName: "loops per second, whole machine",
    curves: { key: "loopsPerSecond", nameOf: byPolicy },
  },
  {
    experiment: "guest-shootdown",
    title: /^Latency of a call$/,
    table: "shootdowns",
    x: { name: "vCPUs that do not run", key: "preempted" },
    yName: "microseconds of a call",
    curves: { key: "latencyUsec", nameOf: byPolicy },
  },
  {
    experiment: "page-fault",
    title: /^Faults of the machine$/,
    table: "faults",
    x: { name: "tasks", key: "tasks" },
    yName: "faults per second, whole machine",
    curves: { key: "faultsPerSecond", nameOf: ({ kind }) => String(kind) },
  },
  {
    experiment: "munmap-barrier",
    title: /^munmap$/,
    table: "munmaps",
    x: CPUS,
    yName: "us a munmap, on the CPU that calls",
    curves: { key: "munmapUsec", nameOf: (row) => String(row.others) },
  },
  {
    experiment: "concurrent-flush",
    title: /^mprotect on \d+ CPUs$/,
    table: "calls",
    x: { name: "pages of the range", key: "pages" },
    yName: "us an mprotect, on the CPU that calls",
    rows: (row, title) => title === `mprotect on ${row.cpus} CPUs`,
    curves: { serial: "serialUsec", concurrent: "concurrentUsec" },
  },
  {
    experiment: "pcid-ping-pong",
    title: /^A turn of a process of \d+ pages$/,
    table: "turns",
    x: { name: "processes", key: "processes" },
    yName: "microseconds a turn, one CPU",
    rows: (row, title) => title.includes(` ${row.pages} pages`),
    curves: { key: "turnUsec", nameOf: bySetting },
  },
  {
    experiment: "fork",
    title: /^Fork$/,
    table: "forks",
    x: { name: "pages of the address space", key: "pages" },
    yName: "us a fork, the address space's part",
    curves: { key: "forkUsec", nameOf: byCpus },
  },
  {
    experiment: "fork",
    title: /^A write fault that copies$/,
    table: "forks",
    x: { name: "pages of the address space", key: "pages" },
    yName: "ns a write fault that copies",
    curves: { key: "copyNs", nameOf: byCpus },
  },
  {
    experiment: "vmalloc-pages",
    title: /^vmalloc and vfree of an area$/,
    table: "areas",
    x: { name: "pages of an area", key: "pages" },
    yName: "us an area, one CPU",
    curves: { key: "bothUsec", nameOf: (row) => String(row.order) },
  },
  {
    experiment: "nested-walk",
    title: /^Walk cycles per access$/,
    table: "nested-walk",
    x: { name: "memory (MiB)", key: "sizeMiB" },
    yName: "walk cycles per access",
    curves: { key: "walkCyclesPerAccess", nameOf: byDimensions },
  },
  {
    experiment: "nested-walk",
    title: /^Misses of all TLB levels$/,
    table: "nested-walk",
    x: { name: "memory (MiB)", key: "sizeMiB" },
    yName: "misses (% of accesses)",
    curves: { key: "missPercent", nameOf: byDimensions },
  },
  {
    experiment: "fracture",
    title: /^Cycles of a round$/,
    table: "fracture",
    x: { name: "pages invalidated", key: "invlpgs" },
    yName: "cycles of the flush and of the work after it",
    curves: { key: "totalCycles", nameOf: (row) => `${row.flush}, ${row.hostPage}` },
  },
  {
    experiment: "kernel-diff",
    title: /^Lazily freed pages$/,
    table: "lazy",
    x: { name: "milliseconds", key: "milliseconds" },
    yName: "most lazily freed pages",
    curves: { key: "pages", nameOf: (row) => String(row.kernel) },
  },
];

/** Page sizes and levels of both dimensions of a row. */
function byDimensions({ guestPage, hostPage, guestLevels, hostLevels }: Cells): string {
  return hostPage === "native"
    ? `${guestPage} native, ${guestLevels} levels`
    : `${guestPage} on ${hostPage}, ${guestLevels} in ${hostLevels} levels`;
}

/** Parameters with which each experiment takes little time. */
const SMALL: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "flush-cost": { cpus: "1,8", pages: "1,33,34", resident: "16", rounds: "3" },
  "flush-ceiling": { ceilings: "0,33,512", cpus: "2", munmaps: "40", resident: "64" },
  "lazy-threshold": { cpus: "1,4", lazy_max_pages: "0,256", frees: "800" },
  "vmap-contention": { cpus: "1,4", pairs: "300" },
  "unmap-threads": { cpus: "4", threads: "1,4", loops: "40" },
  "page-tables": { size: "64,1024", accesses: "5000" },
  "walk-overlap": { size: "2,16", loads: "500" },
  "tlb-curves": { stride: "1,16", pages: "4,17,128", orders: "1" },
  "user-flush": { pages: "1,34", cpus: "1,4", rounds: "2" },
  "madvise-loop": { threads: "1,4", loops: "20", policies: "ipi,eager" },
  "page-fault": { tasks: "1,2", mib: "1" },
  "concurrent-flush": { cpus: "2,4", pages: "1,10", rounds: "2" },
  "munmap-barrier": { cpus: "1,4", rounds: "2" },
  "pcid-ping-pong": { processes: "2,3", pages: "4,8", turns: "2" },
  fork: { pages: "4,16", cpus: "1,2", rounds: "1" },
  "vmalloc-pages": { pages: "1,8", areas: "40" },
  "nested-walk": { size: "2,16", pages: "4K,2M", levels: "4,5", host_levels: "4", accesses: "300" },
  fracture: { invlpgs: "1,4", rounds: "2" },
  "guest-shootdown": { vcpus: "4", preempted: "0,2", rounds: "2" },
  "kernel-diff": { from: "6.1", to: "6.6", ops: "40", cpus: "1" },
};

function cellsOf(result: ExperimentResult, name: string): Cells[] {
  const table = result.tables.find((each) => each.name === name);
  if (table === undefined) throw new Error(`no table ${name}`);
  return table.rows.map((row) => Object.fromEntries(table.columns.map(({ key }, i) => [key, row[i]])));
}

/** What the columns that are named say, as the curves of a plot: points in order of x. */
function curvesOf({ curves, x, rows = () => true }: Shown, cells: readonly Cells[], title: string): Plot["series"] {
  const own = cells.filter((row) => rows(row, title)).sort((a, b) => Number(a[x.key]) - Number(b[x.key]));
  const pointsOf = (some: readonly Cells[], key: string): [number, number][] =>
    some.filter((row) => row[key] !== null).map((row) => [Number(row[x.key]), Number(row[key])]);
  const { key, nameOf } = curves;
  if (typeof nameOf !== "function" || typeof key !== "string") {
    return Object.entries(curves as Record<string, string>).map(([name, column]) => ({
      name,
      points: pointsOf(own, column),
    }));
  }
  return [...new Set(own.filter((row) => row[key] !== null).map(nameOf))].map((name) => ({
    name,
    points: pointsOf(
      own.filter((row) => nameOf(row) === name),
      key,
    ),
  }));
}

describe.each(EXPERIMENTS.map((experiment) => [experiment.name, experiment] as const))("%s", (name, experiment) => {
  const result = runExperiment(experiment, presetByName("skylake"), 1, SMALL[name]);

  it.each(result.plots.map((plot) => [plot.title, plot] as const))("'%s' shows just that", (title, plot) => {
    const matching = SHOWN.filter((shown) => shown.experiment === name && shown.title.test(title));
    expect(matching).toHaveLength(1);
    const [shown] = matching;
    expect([plot.xName, plot.yName]).toEqual([shown.x.name, shown.yName]);
    const expected = curvesOf(shown, cellsOf(result, shown.table), title);
    const byName = (a: { name: string }, b: { name: string }): number => (a.name < b.name ? -1 : 1);
    const [actual, wanted] = [[...plot.series].sort(byName), [...expected].sort(byName)];
    expect(actual.map((curve) => curve.name)).toEqual(wanted.map((curve) => curve.name));
    for (const [i, { points }] of actual.entries()) {
      expect(points.map(([x]) => x)).toEqual(wanted[i].points.map(([x]) => x));
      // Tables show some costs in whole cycles, plots as they were measured.
      for (const [at, [, y]] of points.entries()) {
        expect(Math.abs(y - wanted[i].points[at][1]), `${actual[i].name} at ${points[at][0]}`).toBeLessThanOrEqual(0.5);
      }
    }
  });

  it("has every plot that is described here", () => {
    for (const shown of SHOWN.filter((each) => each.experiment === name)) {
      const plots = result.plots.filter(({ title }) => shown.title.test(title));
      expect(plots.length, String(shown.title)).toBeGreaterThan(0);
    }
  });
});
