/** `tlb-curves`: what loads, stores and fetches take by the number of pages and their distance: the curves that show a TLB's sets and ways. */

import { type Cpu, Machine } from "../../arch/index.ts";
import { NativeSpace } from "../guests/native-space.ts";
import { type Random, randomStream } from "../machine/random.ts";
import { counted } from "../report/counted.ts";
import type { Experiment, ExperimentContext, ExperimentOutcome } from "./base/experiment.ts";
import { MACHINE_MEMORY_BYTES, MAPPED_AT, MAPPED_BITS, roundedTo } from "./base/mapped-memory.ts";
import { plotByKind } from "./base/plot.ts";
import { DataTable, type Row } from "./base/table.ts";

const PAGE_BYTES = 4096;
/** Most pages between the first of a curve and its last: what is left of the lower half of the address space. */
const SPAN_MAX = 2 ** 34;
/** Cycles of visits before the counts begin: replacement settles. */
const WARM_CYCLES = 8;
const CYCLES_MIN = 4;
/** Visits of one order that are counted, at the least. */
const VISITS_MIN = 3000;
const FIRST_LINE_BYTES = 64;
const LINES = 60;
/** A part of visits that is taken for a step of the curve. */
const STEP_PERCENT = 5;

const KINDS = [
  { name: "load", unit: "dtlb_load_misses" },
  { name: "store", unit: "dtlb_store_misses" },
  { name: "fetch", unit: "itlb_misses" },
] as const;
type Kind = (typeof KINDS)[number];

const COLUMNS = {
  access: { heading: "access", text: true },
  stride: { heading: "stride" },
  pages: { heading: "pages", axis: "pages" },
  cyclesPerAccess: { heading: "cycles/access", axis: "cycles per access" },
  firstLevelMissPercent: { heading: "L1 misses %", axis: "misses of the first level (% of accesses)" },
  walkPercent: { heading: "walks %", axis: "walks (% of accesses)" },
} as const;
type CurveRow = Row<typeof COLUMNS>;

/** The experiment. */
export const tlbCurves: Experiment = {
  name: "tlb-curves",
  summary: "what loads, stores and fetches take by the number of pages and their distance: the steps of each TLB",
  description: `One CPU visits pages that are a stride apart, one access a page, in random cyclic orders, each access waiting for the one before: what
calibrate does with the loads of the machine at hand, and what test/silicon holds of a core, for all three kinds of access. Where misses begin at
each stride shows ways, sets and index. Cycles are those of the emulated clock, on which a hit costs its issue, not its latency;
what the data cost is not in them. Numbers of pages that do not fit into the address space at a stride are left out.`,
  parameters: [
    {
      name: "accesses",
      kind: "words",
      words: KINDS.map(({ name }) => name),
      default: KINDS.map(({ name }) => name),
      summary: "kinds of access",
    },
    {
      name: "stride",
      kind: "integers",
      low: 1,
      high: 2 ** 24,
      default: [1, 4, 16, 64],
      summary: "pages from one to the next",
    },
    {
      name: "pages",
      kind: "integers",
      low: 1,
      high: 2 ** 16,
      default: [4, 6, 8, 9, 12, 16, 17, 24, 32, 64, 65, 96, 128, 256, 257, 512, 1024, 2048, 2560],
      summary: "how many",
    },
    { name: "orders", kind: "integer", low: 1, high: 1000, default: 4, summary: "random orders of each point" },
  ],
  settings: [],
  hasKernel: false,
  example: "mmulab experiment tlb-curves --preset sapphire-rapids --accesses store,fetch --stride 1,16",
  headline: "cyclesPerAccess",
  sensitivityParameters: { stride: "1,16", pages: "64,512,2560", orders: "1" },
  run,
};

function run(context: ExperimentContext): ExperimentOutcome {
  const { parameters, onProgress } = context;
  const kinds = KINDS.filter(({ name }) => parameters.words("accesses").includes(name));
  const plan = kinds.flatMap((kind) =>
    parameters.list("stride").flatMap((stride) =>
      parameters
        .list("pages")
        .filter((pages) => (pages - 1) * stride < SPAN_MAX)
        .map((pages) => ({ kind, stride, pages })),
    ),
  );
  const rows = plan.map(({ kind, stride, pages }, i) => {
    onProgress(i, plan.length, `${kind.name}, stride ${stride}, ${counted(pages, "page")}`);
    return measure(context, kind, stride, pages);
  });
  const table = new DataTable("tlb-curves", "Accesses in random cyclic orders, one a page", COLUMNS, rows);
  const curveOf = ({ stride }: CurveRow): string => `stride ${stride}`;
  const style = { xLog: true, yLog: false };
  return {
    tables: [table.toResult()],
    plots: kinds.flatMap(({ name }) => {
      const own = rows.filter(({ access }) => access === name);
      const title = (what: string) => ({ title: `${what}, ${name}`, ...style });
      return [
        plotByKind(table, "pages", "cyclesPerAccess", title("Cycles per access"), curveOf, own),
        plotByKind(table, "pages", "firstLevelMissPercent", title("Misses of the first level"), curveOf, own),
      ];
    }),
    findings: findings(rows),
  };
}

function measure(
  { parameters, preset, seed, build }: ExperimentContext,
  kind: Kind,
  stride: number,
  pages: number,
): CurveRow {
  const machine = build(() => new Machine({ preset, memoryBytes: MACHINE_MEMORY_BYTES }));
  const [cpu] = machine.cpus;
  const space = new NativeSpace(machine, 4);
  for (let i = 0; i < pages; i++) space.mapPage(MAPPED_AT + i * stride * PAGE_BYTES, 1, MAPPED_BITS);
  cpu.writeCr3(space.rootFrame * PAGE_BYTES);
  const random = randomStream(seed, 0);
  const rounds = Math.max(CYCLES_MIN, Math.ceil(VISITS_MIN / pages));
  let [hits, walks, cycles] = [0, 0, 0];
  const orders = parameters.number("orders");
  for (let order = 0; order < orders; order++) {
    const addresses = orderedAddresses(pages, stride, random);
    visit(cpu, kind, addresses, WARM_CYCLES);
    const before = cpu.counters();
    const from = machine.loop.clockCycles[0];
    visit(cpu, kind, addresses, rounds);
    const after = cpu.counters();
    cycles += machine.loop.clockCycles[0] - from;
    hits += after[`${kind.unit}.stlb_hit`] - before[`${kind.unit}.stlb_hit`];
    walks += after[`${kind.unit}.walk_completed`] - before[`${kind.unit}.walk_completed`];
  }
  const visits = orders * rounds * pages;
  return {
    access: kind.name,
    stride,
    pages,
    cyclesPerAccess: roundedTo(cycles / visits, 100),
    firstLevelMissPercent: roundedTo((100 * (hits + walks)) / visits, 100),
    walkPercent: roundedTo((100 * walks) / visits, 100),
  };
}

/** The addresses of one cycle: a line of its own in each page, so that they are those that a chain in memory would have. */
function orderedAddresses(pages: number, stride: number, random: Random): number[] {
  const order = Array.from({ length: pages }, (_, i) => i);
  for (let i = pages - 1; i > 0; i--) {
    const j = random.between(0, i);
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order.map((i) => MAPPED_AT + i * stride * PAGE_BYTES + (i % LINES) * FIRST_LINE_BYTES);
}

function visit(cpu: Cpu, { name }: Kind, addresses: readonly number[], times: number): void {
  for (let time = 0; time < times; time++) {
    for (const la of addresses) {
      if (name === "load") cpu.load(la, 4);
      else if (name === "store") cpu.store(la, 4, time);
      else cpu.fetch(la, 1);
    }
  }
}

/** Where each curve has its steps: the first number of pages with misses, and with walks. */
function findings(rows: readonly CurveRow[]): string[] {
  const curves = new Map<string, CurveRow[]>();
  for (const row of rows) {
    const name = `${row.access}, stride ${row.stride}`;
    curves.set(name, [...(curves.get(name) ?? []), row]);
  }
  return [...curves].map(([name, curve]) => {
    const first = (column: "firstLevelMissPercent" | "walkPercent"): number | undefined =>
      curve.find((row) => row[column] > STEP_PERCENT)?.pages;
    const none = "none of these numbers";
    const misses = first("firstLevelMissPercent");
    const from = misses === undefined ? `${none} of pages` : counted(misses, "page");
    return `${name}: the first level misses from ${from} on, walks begin at ${first("walkPercent") ?? none}.`;
  });
}
