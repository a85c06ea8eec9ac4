/** `page-tables`: the same memory under pages of 4 KiB, 2 MiB and 1 GiB, and 4 and 5 levels of tables. */
import { type Cpu, Machine, PAGE_SIZE } from "../../arch/index.ts";
import {
  FaultInjection,
  KernelLog,
  NotEnoughMemory,
  PAGE_KERNEL,
  PageAllocator,
  PageTables,
  VMALLOC_START,
  vmapRangeNoflush,
} from "../../mm/index.ts";
import { type Random, randomStream } from "../machine/random.ts";
import type { Experiment, ExperimentContext, ExperimentOutcome, Plot } from "./base/experiment.ts";
import { plotByKind } from "./base/plot.ts";
import { DataTable, type Row } from "./base/table.ts";

/** Where the memory is mapped; a multiple of every page size. */
const BASE = VMALLOC_START;
const GIB = 2 ** 30;
const GIB_MIB = 1024;
const MIB = 2 ** 20;
/** Walks after a flush that are averaged. */
const COLD_WALKS = 64;

const PAGE_SIZES = [
  { name: "4K", shift: 12 },
  { name: "2M", shift: 21 },
  { name: "1G", shift: 30 },
] as const;

const COLUMNS = {
  sizeMiB: { heading: "MiB", axis: "memory (MiB)" },
  page: { heading: "page", text: true },
  levels: { heading: "levels" },
  pattern: { heading: "pattern", text: true },
  tablePages: { heading: "table pages", axis: "page-table pages" },
  missPercent: { heading: "misses %", axis: "misses (% of accesses)" },
  secondLevelPercent: { heading: "L2 hits %" },
  cyclesPerWalk: { heading: "cycles/walk", mayLack: true },
  walkCyclesPerAccess: { heading: "walk cycles/access", axis: "walk cycles per access" },
  coldWalkCycles: { heading: "cycles/walk after a flush" },
} as const;
type LoadRow = Row<typeof COLUMNS>;

/** The experiment. */
export const pageTables: Experiment = {
  name: "page-tables",
  summary: "the same memory under 4 KiB, 2 MiB and 1 GiB pages, 4 and 5 levels: tables, misses, walk cycles",
  description: `One CPU loads words at random addresses, or walks through all pages in order, in memory mapped with pages of one size. Table pages
are those that the mapping needs. The last column is a walk right after a flush of everything, when paging-structure caches are
empty and each level of tables counts. Misses are accesses that no TLB level served; walk cycles are per access, over all accesses.
1 GiB pages need memory of whole GiB; a preset without 1 GiB pages shows it as its TLBs would.`,
  parameters: [
    {
      name: "size",
      kind: "integers",
      unit: "MiB",
      low: 1,
      high: 2 ** 20,
      default: [64, 1024, 8192],
      summary: "memory in MiB",
    },
    { name: "pages", kind: "words", words: ["4K", "2M", "1G"], default: ["4K", "2M", "1G"], summary: "page sizes" },
    { name: "levels", kind: "integers", low: 4, high: 5, default: [4, 5], summary: "levels of tables" },
    {
      name: "accesses",
      kind: "integer",
      low: 1,
      high: 1e8,
      default: 100_000,
      summary: "loads for each cell, after as many to warm up",
    },
    {
      name: "pattern",
      kind: "words",
      words: ["random", "sequential"],
      default: ["random", "sequential"],
      summary: "order of the loads",
    },
  ],
  settings: [],
  hasKernel: false,
  example: "mmulab experiment page-tables --size 1024 --pages 4K,2M --levels 4",
  headline: "walkCyclesPerAccess",
  sensitivityParameters: { size: "1024", accesses: "5000" },
  run,
};

function run(context: ExperimentContext): ExperimentOutcome {
  const { parameters, onProgress } = context;
  const plan = parameters.list("size").flatMap((sizeMiB) =>
    parameters
      .words("pages")
      .filter((page) => page !== "1G" || sizeMiB % GIB_MIB === 0)
      .flatMap((page) =>
        parameters
          .list("levels")
          .flatMap((levels) => parameters.words("pattern").map((pattern) => ({ sizeMiB, page, levels, pattern }))),
      ),
  );
  const cells = plan.map((cell, i) => {
    onProgress(i, plan.length, `${cell.sizeMiB} MiB, ${cell.page}, ${cell.levels} levels`);
    return measure(context, cell);
  });
  const table = new DataTable("page-tables", "Loads from mapped memory", COLUMNS, cells);
  return {
    tables: [table.toResult()],
    plots: ["random", "sequential"]
      .filter((pattern) => cells.some((cell) => cell.pattern === pattern))
      .flatMap((pattern, i) => [
        plot(table, pattern, "walkCyclesPerAccess", `Walk cycles per access, ${pattern}`, false),
        plot(table, pattern, "missPercent", `Misses of all TLB levels, ${pattern}`, false),
        ...(i > 0 ? [] : [plot(table, pattern, "tablePages", "Page tables that the mapping needs", true)]),
      ]),
    findings: [...leftOut(parameters.list("size"), parameters.words("pages")), ...findings(cells)],
  };
}

/** A column of the table against the size of memory, a curve for each page size and number of levels. */
function plot(
  table: DataTable<typeof COLUMNS>,
  pattern: string,
  y: "walkCyclesPerAccess" | "missPercent" | "tablePages",
  title: string,
  yLog: boolean,
): Plot {
  const rows = table.rows.filter((row) => row.pattern === pattern);
  const curveOf = ({ page, levels }: LoadRow): string => `${page}, ${levels} levels`;
  return plotByKind(table, "sizeMiB", y, { title, xLog: true, yLog }, curveOf, rows);
}

/** Which sizes are not measured with 1 GiB pages, and why. */
function leftOut(sizes: readonly number[], pages: readonly string[]): string[] {
  const odd = pages.includes("1G") ? sizes.filter((sizeMiB) => sizeMiB % GIB_MIB !== 0) : [];
  return odd.map((sizeMiB) => `1G is left out for ${sizeMiB} MiB, which no whole number of such pages makes.`);
}

function findings(cells: readonly LoadRow[]): string[] {
  const lines: string[] = [];
  for (const small of cells) {
    if (small.page !== "4K" || small.levels !== 4 || small.pattern !== "random") continue;
    const same = cells.filter((cell) => cell.sizeMiB === small.sizeMiB && cell.pattern === "random");
    const others = same.filter((cell) => cell !== small);
    const described = others.map(
      (cell) => `${cell.page} and ${cell.levels} levels ${cell.walkCyclesPerAccess} (${cell.tablePages} table pages)`,
    );
    if (described.length === 0) continue;
    lines.push(
      `${small.sizeMiB} MiB at random: ${small.walkCyclesPerAccess} walk cycles per access with 4K pages and 4 levels (${small.tablePages} table pages); ${described.join("; ")}.`,
    );
  }
  return lines;
}

function measure(context: ExperimentContext, plan: Pick<LoadRow, "sizeMiB" | "page" | "levels" | "pattern">): LoadRow {
  const { parameters, seed } = context;
  const { sizeMiB, page, levels, pattern } = plan;
  const sizeBytes = sizeMiB * MIB;
  const machine = mappedMachine(
    context,
    sizeBytes,
    levels === 5 ? 5 : 4,
    PAGE_SIZES.find(({ name }) => name === page)?.shift ?? 12,
  );
  const [cpu] = machine.machine.cpus;
  const accesses = parameters.number("accesses");
  const random = randomStream(seed, 0);
  const pages = sizeBytes / PAGE_SIZE;
  let next = 0;
  const load = (): void => {
    const at = pattern === "random" ? random.between(0, pages - 1) : next++ % pages;
    cpu.touch(BASE + at * PAGE_SIZE);
  };
  for (let i = 0; i < accesses; i++) load();
  const before = cpu.counters();
  for (let i = 0; i < accesses; i++) load();
  const after = cpu.counters();
  const count = (name: keyof typeof after): number => after[name] - before[name];
  const misses = count("dTLB-load-misses");
  const walkCycles = count("dtlb_load_misses.walk_active");
  const percent = (value: number): number => Math.round((value / accesses) * 10_000) / 100;
  return {
    ...plan,
    tablePages: machine.tables.tablePages,
    missPercent: percent(misses),
    secondLevelPercent: percent(count("dtlb_load_misses.stlb_hit")),
    cyclesPerWalk: misses === 0 ? null : Math.round((walkCycles / misses) * 10) / 10,
    walkCyclesPerAccess: Math.round((walkCycles / accesses) * 100) / 100,
    coldWalkCycles: coldWalkCycles(cpu, pages, random),
  };
}

/** Cycles of a walk right after a flush of everything: no level of the tables is in the paging-structure caches. */
function coldWalkCycles(cpu: Cpu, pages: number, random: Random): number {
  let cycles = 0;
  for (let i = 0; i < COLD_WALKS; i++) {
    cpu.flushTlbAll();
    const before = cpu.counters()["dtlb_load_misses.walk_active"];
    cpu.touch(BASE + random.between(0, pages - 1) * PAGE_SIZE);
    cycles += cpu.counters()["dtlb_load_misses.walk_active"] - before;
  }
  return Math.round((cycles / COLD_WALKS) * 10) / 10;
}

/** One CPU on tables that map `sizeBytes` of physical memory at {@link BASE} with pages of one size. */
function mappedMachine(
  { preset, build }: ExperimentContext,
  sizeBytes: number,
  levels: 4 | 5,
  shift: number,
): { machine: Machine; tables: PageTables } {
  // The mapped memory begins at 4 GiB, above the hole for devices.
  const start = 4 * GIB;
  const features = { ...(levels === 5 ? { la57: true } : {}), ...(shift === 30 ? { page1g: true } : {}) };
  const machine = build(() => new Machine({ preset, memoryBytes: start + sizeBytes, features, pagingLevels: levels }));
  const { memory, loop } = machine;
  const log = new KernelLog();
  const faults = new FaultInjection();
  const tables = new PageTables(memory, new PageAllocator(memory, 1, 1, faults), faults, log, loop, levels);
  const { low, high } = PAGE_KERNEL;
  const flush = () => {
    throw new Error("nothing was mapped before");
  };
  const result = loop.runSync(0, vmapRangeNoflush(tables, flush, BASE, BASE + sizeBytes, start, low, high, shift));
  if (result < 0) throw new NotEnoughMemory(`no memory for the page tables of ${sizeBytes} bytes`);
  machine.cpus[0].writeCr3(tables.rootFrame * PAGE_SIZE);
  return { machine, tables };
}
