/** `lazy-threshold`: what a free costs against `lazy_max_pages`, and what is held back for it. */

import { compute, type KernelCode, PAGE_SIZE, PAUSE_RESCHED, PAUSE_TURN } from "../../../arch/index.ts";
import { lazyMaxPages as linuxLazyMaxPages, vfree, vmalloc, wait } from "../../../mm/index.ts";
import { randomStream } from "../../machine/random.ts";
import { counted } from "../../report/counted.ts";
import { grouped } from "../../report/numbers.ts";
import type { Experiment, ExperimentContext, ExperimentOutcome } from "../base/experiment.ts";
import { kernelExperimentSettings } from "../base/kernel-settings.ts";
import { plotByKind } from "../base/plot.ts";
import { DataTable, type Row } from "../base/table.ts";
import { LazyGauge } from "./lazy-gauge.ts";

const RESIDENT_CYCLES = 3000;

const COLUMNS = {
  cpus: { heading: "CPUs" },
  lazyMaxPages: { heading: "lazy_max_pages", axis: "lazy_max_pages (pages)" },
  flushes: { heading: "flushes" },
  workCycles: { heading: "work", mayLack: true },
  waitCycles: { heading: "wait", mayLack: true },
  stolenCycles: { heading: "stolen", mayLack: true },
  lineCycles: { heading: "lines", mayLack: true },
  refillCycles: { heading: "refills", mayLack: true },
  purgeCycles: { heading: "purging", mayLack: true },
  totalCycles: { heading: "total", mayLack: true, axis: "cycles per free, all CPUs" },
  heldBackMeanKiB: { heading: "held back KiB", axis: "held back (KiB)" },
  heldBackMaxKiB: { heading: "most KiB" },
  tablePages: { heading: "table pages", axis: "page-table pages" },
} as const;
type ThresholdRow = Row<typeof COLUMNS>;

/** The experiment. */
export const lazyThreshold: Experiment = {
  name: "lazy-threshold",
  summary: "cost per free against lazy_max_pages, with memory and address space held back",
  description: `CPU 0 allocates, touches and frees areas of 1 to --pages pages; the other CPUs compute and touch resident pages now and then.
Cost per free that was purged: the flushes in their parts and the purges' own work, over all CPUs; none where nothing was purged in time. Held back: address space freed and not
usable yet (mean over frees, and most), and the pages of page tables that the spread of addresses needs.`,
  parameters: [
    { name: "cpus", kind: "integers", low: 1, high: 1024, default: [1, 4, 16, 64], summary: "numbers of CPUs" },
    {
      name: "lazy_max_pages",
      kind: "integers",
      unit: "pages",
      low: 0,
      high: 2 ** 30,
      default: [0, 64, 256, 1024, 4096, 8192, 16384, 32768, 65536],
      summary: "values of lazy_max_pages; Linux's own, fls(CPUs) * 8192, is added",
    },
    {
      name: "frees",
      kind: "integer",
      low: 1,
      high: 10_000_000,
      default: 20_000,
      summary: "frees measured for each cell",
    },
    { name: "pages", kind: "integer", unit: "pages", low: 1, high: 512, default: 8, summary: "most pages of an area" },
    {
      name: "resident",
      kind: "integer",
      unit: "pages",
      low: 0,
      high: 4096,
      default: 64,
      summary: "resident pages of each other CPU",
    },
  ],
  settings: kernelExperimentSettings([], ["vmap-nodes"]),
  example: "mmulab experiment lazy-threshold --cpus 4,64 --lazy-max 1024,8192,65536",
  headline: "totalCycles",
  sensitivityParameters: { cpus: "4", lazy_max_pages: "64,8192" },
  run,
};

function run(context: ExperimentContext): ExperimentOutcome {
  const { parameters, onProgress } = context;
  const cpuCounts = parameters.list("cpus");
  const given = parameters.list("lazy_max_pages");
  const limitsOf = (cpus: number) => [...new Set([...given, linuxLazyMaxPages(cpus)])].sort((a, b) => a - b);
  const plan = cpuCounts.flatMap((cpus) => limitsOf(cpus).map((limit) => ({ cpus, limit })));
  const label = ({ cpus, limit }: (typeof plan)[number]): string =>
    `${counted(cpus, "CPU")}, ${counted(limit, "page")}`;
  const cells = context.points.each(plan, label, (point) => {
    onProgress(plan.indexOf(point), plan.length, label(point));
    return measure(context, point.cpus, point.limit);
  });
  const table = new DataTable("thresholds", "One free: cycles over all CPUs", COLUMNS, cells);
  const plot = (y: "totalCycles" | "heldBackMeanKiB" | "tablePages", title: string, yLog: boolean) =>
    plotByKind(table, "lazyMaxPages", y, { title, xLog: true, yLog }, ({ cpus }) => cpusName(cpus));
  return {
    tables: [table.toResult()],
    plots: [
      plot("totalCycles", "Cost per free, all parts, over all CPUs", true),
      plot("heldBackMeanKiB", "Address space freed and not usable yet, mean over frees", true),
      plot("tablePages", "Pages of page tables at the end", false),
    ],
    findings: cpuCounts.map((cpus) => findingOf(cells.filter((cell) => cell.cpus === cpus))),
  };
}

/** What the thresholds 0, 1024 and Linux's own cost on one number of CPUs, in a sentence. */
function findingOf(cells: readonly ThresholdRow[]): string {
  const linux = linuxLazyMaxPages(cells[0].cpus);
  const described = cells
    .filter((cell) => cell.lazyMaxPages === linux || cell.lazyMaxPages === 0 || cell.lazyMaxPages === 1024)
    .map((cell) => {
      const whose = cell.lazyMaxPages === linux ? " (Linux's)" : "";
      const cost = cell.totalCycles === null ? "no purge yet" : `${grouped(cell.totalCycles)} cycles`;
      return `${grouped(cell.lazyMaxPages)}${whose}: ${cost}, ${grouped(cell.heldBackMeanKiB)} KiB held back`;
    });
  return `${cpusName(cells[0].cpus)}, per free: ${described.join("; ")}.`;
}

function cpusName(cpus: number): string {
  return counted(cpus, "CPU");
}

function measure({ parameters, seed, boot }: ExperimentContext, cpus: number, lazyMaxPages: number): ThresholdRow {
  const kernel = boot(cpus, `lazy_max_pages ${lazyMaxPages}, ${counted(cpus, "CPU")}`, { vmalloc: { lazyMaxPages } });
  const { vm, machine } = kernel;
  const { loop } = machine;
  const accounts = vm.flushing.keepAccounts();
  const frees = parameters.number("frees");
  const pagesMax = parameters.number("pages");
  const resident = parameters.number("resident");
  const gauge = new LazyGauge();
  let done = false;
  function* freer(): KernelCode<void> {
    const random = randomStream(seed, 0);
    for (let i = 0; i < frees; i++) {
      while (loop.mustYield()) yield PAUSE_TURN;
      const pages = random.between(1, pagesMax);
      const address = yield* wait(vmalloc(vm, pages * PAGE_SIZE, "lazy_threshold+0x0/0x0"));
      for (let page = 0; page < pages; page++) machine.cpus[0].touch(address + page * PAGE_SIZE);
      yield* wait(vfree(vm, address));
      gauge.sample(vm.lazyNr);
      if (loop.needsResched()) yield PAUSE_RESCHED;
    }
    done = true;
  }
  function* worker(cpu: number, area: number): KernelCode<void> {
    while (!done && loop.currentThread !== null) {
      // One look at everything for each stretch of work: what a flush took is missed soon after.
      for (let page = 0; page < resident; page++) machine.cpus[cpu].touch(area + page * PAGE_SIZE);
      yield* compute(loop.currentThread, RESIDENT_CYCLES * Math.max(1, resident));
    }
  }
  kernel.spawn("freer", 0, freer());
  for (let cpu = 1; cpu < cpus; cpu++) {
    const area = resident === 0 ? 0 : kernel.vmalloc(resident * PAGE_SIZE, "resident+0x0/0x0");
    kernel.spawn(`worker/${cpu}`, cpu, worker(cpu, area));
  }
  kernel.runUntilIdle();
  const cost = accounts.total();
  const purging = loop.accounts.activity("purge");
  let purgeCycles = 0;
  for (let cpu = 0; cpu < cpus; cpu++) purgeCycles += loop.accounts.cycles(cpu, purging);
  // What was freed after the last purge has cost nothing yet.
  const purged = accounts.frees.flush.subarray(0, accounts.frees.length).filter((id) => id > 0).length;
  const per = (cycles: number): number | null => (purged === 0 ? null : Math.round((cycles / purged) * 100) / 100);
  const { workCycles, waitCycles, stolenCycles, lineCycles, refillCycles } = cost;
  const kib = (pages: number): number => Math.round((pages * PAGE_SIZE) / 1024);
  return {
    cpus,
    lazyMaxPages,
    flushes: accounts.records.length,
    workCycles: per(workCycles),
    waitCycles: per(waitCycles),
    stolenCycles: per(stolenCycles),
    lineCycles: per(lineCycles),
    refillCycles: per(refillCycles),
    purgeCycles: per(purgeCycles),
    totalCycles: per(workCycles + waitCycles + stolenCycles + lineCycles + refillCycles + purgeCycles),
    heldBackMeanKiB: kib(gauge.mean),
    heldBackMaxKiB: kib(gauge.most),
    tablePages: kernel.tables.tablePages,
  };
}
