/** `walk-overlap`: accesses that wait for each other beside accesses that do not, by footprint. */

import { type Cpu, Machine } from "../../arch/index.ts";
import { GUEST_PAGE_SIZES, type GuestPageSize, levelOfPage } from "../guests/hypervisor.ts";
import { NativeSpace } from "../guests/native-space.ts";
import { randomStream } from "../machine/random.ts";
import { counted } from "../report/counted.ts";
import type { Experiment, ExperimentContext, ExperimentOutcome } from "./base/experiment.ts";
import {
  footprintsParameter,
  isWholePages,
  MACHINE_MEMORY_BYTES,
  MAPPED_AT,
  MAPPED_BITS,
  roundedTo,
} from "./base/mapped-memory.ts";
import { plotByKind } from "./base/plot.ts";
import { DataTable, type Row } from "./base/table.ts";

const MIB = 2 ** 20;
const PAGE_BYTES = 4096;
const ACCESSES = ["dependent", "independent"] as const;
const DEPENDENT = "dependent";

const COLUMNS = {
  sizeMiB: { heading: "MiB", axis: "memory (MiB)" },
  page: { heading: "page", text: true },
  accesses: { heading: "accesses", text: true },
  cyclesPerAccess: { heading: "cycles/access", axis: "cycles per access" },
  secondLevelPercent: { heading: "L2 hits %" },
  missPercent: { heading: "misses %", axis: "misses (% of accesses)" },
  cyclesPerWalk: { heading: "cycles/walk", mayLack: true },
  walksAtOnce: { heading: "walks at once", mayLack: true, axis: "walks at once, while there are any" },
  timesQuicker: { heading: "times quicker" },
} as const;
type OverlapRow = Row<typeof COLUMNS>;
type Plan = Pick<OverlapRow, "sizeMiB" | "page" | "accesses">;

/** The experiment. */
export const walkOverlap: Experiment = {
  name: "walk-overlap",
  summary:
    "loads that wait for each other beside loads that do not: what page walkers and the window hide, by footprint",
  description: `One CPU loads words at random addresses of memory that is mapped with pages of one size. Dependent loads are those of a list: each
says where the next one goes, so it waits for the whole of a second-level hit or a page walk. Independent ones are those of a scan
or a copy: the core runs ahead by overlap.window accesses, and overlap.walkers walks are under way at once (--set changes both).
Cycles per access are of the CPU's clock; cycles per walk those of each walk for itself. Times quicker compares
with the dependent row of the same footprint and page size. What the data cost is in none of them.`,
  parameters: [
    footprintsParameter([1, 4, 64, 1024]),
    { name: "pages", kind: "words", words: GUEST_PAGE_SIZES, default: ["4K", "2M"], summary: "page sizes" },
    {
      name: "loads",
      kind: "integer",
      low: 1,
      high: 1e8,
      default: 50_000,
      summary: "loads for each row, after as many to warm up",
    },
  ],
  settings: [],
  hasKernel: false,
  overlaps: true,
  example: "mmulab experiment walk-overlap --size 64,1024 --pages 4K --set overlap.walkers=1",
  headline: "cyclesPerAccess",
  sensitivityParameters: { size: "2,64", loads: "2000" },
  run,
};

function run(context: ExperimentContext): ExperimentOutcome {
  const { onProgress } = context;
  const plan = rowsOf(context);
  const rows: OverlapRow[] = [];
  plan.forEach((row, i) => {
    onProgress(i, plan.length, `${row.sizeMiB} MiB, ${row.page}, ${row.accesses}`);
    const measured = measure(context, row);
    const base = rows.find(({ sizeMiB, page }) => sizeMiB === row.sizeMiB && page === row.page) ?? measured;
    rows.push({ ...measured, timesQuicker: roundedTo(base.cyclesPerAccess / measured.cyclesPerAccess, 100) });
  });
  const table = new DataTable("walk-overlap", "Loads at random addresses", COLUMNS, rows);
  const curveOf = ({ page, accesses }: OverlapRow): string => `${page}, ${accesses}`;
  const style = { xLog: true, yLog: false };
  return {
    tables: [table.toResult()],
    plots: [
      plotByKind(table, "sizeMiB", "cyclesPerAccess", { title: "Cycles per access", ...style }, curveOf),
      plotByKind(table, "sizeMiB", "walksAtOnce", { title: "Walks at once", ...style }, curveOf),
    ],
    findings: findings(rows, context),
  };
}

function rowsOf({ parameters }: ExperimentContext): Plan[] {
  return parameters.list("size").flatMap((sizeMiB) =>
    parameters
      .words("pages")
      .filter((page) => isWholePages(sizeMiB, page))
      .flatMap((page) => ACCESSES.map((accesses) => ({ sizeMiB, page, accesses }))),
  );
}

function measure(context: ExperimentContext, plan: Plan): OverlapRow {
  const { parameters, seed } = context;
  const { cpu, clock } = machineWith(context, plan);
  const loads = parameters.number("loads");
  const random = randomStream(seed, 0);
  const pages = (plan.sizeMiB * MIB) / PAGE_BYTES;
  const maker = plan.accesses === DEPENDENT ? cpu : cpu.independent;
  const make = (): void => {
    for (let i = 0; i < loads; i++) maker.touch(MAPPED_AT + random.between(0, pages - 1) * PAGE_BYTES);
  };
  make();
  const before = cpu.counters();
  const from = clock();
  make();
  const after = cpu.counters();
  const count = (event: string): number => (after[event] ?? 0) - (before[event] ?? 0);
  const active = count("dtlb_load_misses.walk_active");
  const pending = Math.max(active, count("dtlb_load_misses.walk_pending"));
  const misses = count("dTLB-load-misses");
  return {
    ...plan,
    cyclesPerAccess: roundedTo((clock() - from) / loads, 100),
    secondLevelPercent: roundedTo((100 * count("dtlb_load_misses.stlb_hit")) / loads, 100),
    missPercent: roundedTo((100 * misses) / loads, 100),
    cyclesPerWalk: misses === 0 ? null : roundedTo(pending / misses, 10),
    walksAtOnce: active === 0 ? null : roundedTo(pending / active, 100),
    timesQuicker: 1,
  };
}

/** A CPU with the memory mapped, and its clock. */
function machineWith({ preset, build }: ExperimentContext, { sizeMiB, page }: Plan): { cpu: Cpu; clock: () => number } {
  const machine = build(() => new Machine({ preset, memoryBytes: MACHINE_MEMORY_BYTES, features: { page1g: true } }));
  const [cpu] = machine.cpus;
  const level = levelOfPage(page as GuestPageSize);
  const space = new NativeSpace(machine, 4);
  const end = MAPPED_AT + sizeMiB * MIB;
  for (let la = MAPPED_AT; la < end; la += PAGE_BYTES * 512 ** (level - 1)) space.mapPage(la, level, MAPPED_BITS);
  cpu.writeCr3(space.rootFrame * PAGE_BYTES);
  return { cpu, clock: () => machine.loop.clockCycles[0] };
}

function findings(rows: readonly OverlapRow[], { preset }: ExperimentContext): string[] {
  const { walkers, window } = preset.overlap;
  const lines = [
    `${preset.name}: ${walkers.value} page walkers, a window of ${counted(window.value, "access", "accesses")}.`,
  ];
  for (const row of rows) {
    if (row.accesses === DEPENDENT) continue;
    const waits = rows.find((each) => each !== row && each.sizeMiB === row.sizeMiB && each.page === row.page);
    lines.push(
      `${row.sizeMiB} MiB of ${row.page} pages: ${counted(waits?.cyclesPerAccess ?? 0, "cycle")} a dependent load, ${row.cyclesPerAccess} an independent one, ${row.timesQuicker} times as quick.`,
    );
  }
  return lines;
}
