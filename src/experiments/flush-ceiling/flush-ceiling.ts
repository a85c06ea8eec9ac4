/** `flush-ceiling`: what `tlb_single_page_flush_ceiling` costs, and where it is best. */
import { compute, type KernelCode, PAGE_SIZE, PAUSE_RESCHED, PAUSE_TURN } from "../../../arch/index.ts";
import { type FlushCost, type MmStruct, mmapPopulate, munmap, UserSpaces } from "../../../mm/index.ts";
import type { Kernel } from "../../machine/kernel.ts";
import { randomStream } from "../../machine/random.ts";
import { grouped } from "../../report/numbers.ts";
import type { Experiment, ExperimentContext, ExperimentOutcome } from "../base/experiment.ts";
import { kernelExperimentSettings } from "../base/kernel-settings.ts";
import { plotByColumn } from "../base/plot.ts";
import { DataTable, type Row } from "../base/table.ts";
import { breakEven } from "./break-even.ts";

/** Where the resident pages of each CPU's thread are, and where ranges are mapped and unmapped. */
const RESIDENT_START = 0x10_0000_0000;
const RESIDENT_STRIDE = 2 ** 30;
const RANGE_START = 0x40_0000;
/** Linux's default. */
const LINUX_CEILING = 33;
/** Cycles that a thread computes between looks at its resident pages. */
const THINK_CYCLES = 40_000;

const PER_MUNMAP = "cycles per munmap, all CPUs";
const COLUMNS = {
  ceilingPages: { heading: "ceiling", axis: "ceiling (pages)" },
  wholeFlushes: { heading: "whole" },
  pageFlushes: { heading: "page by page" },
  workCycles: { heading: "work", axis: PER_MUNMAP, curve: "initiator's work" },
  waitCycles: { heading: "wait", axis: PER_MUNMAP, curve: "initiator's wait" },
  stolenCycles: { heading: "stolen", axis: PER_MUNMAP, curve: "stolen from others" },
  lineCycles: { heading: "lines", axis: PER_MUNMAP, curve: "waiting for lines" },
  refillCycles: { heading: "refills", axis: PER_MUNMAP, curve: "refills" },
  totalCycles: { heading: "total", axis: PER_MUNMAP, curve: "total" },
} as const;

/** The experiment. */
export const flushCeiling: Experiment = {
  name: "flush-ceiling",
  summary: "total cost of munmap's flushes against tlb_single_page_flush_ceiling: the best value, and what 33 loses",
  description: `A process has a thread on every CPU. Thread 0 maps, touches and unmaps ranges of 1 to --range pages, as often from 1 as from 2 to
3, 4 to 7 and so on; every thread has resident pages that it touches now and then. A range of more pages than the ceiling flushes
the whole address space on every CPU, others go page by page. Cycles per munmap, over all CPUs, in its parts.
The second table: how many single invalidations a flush of a full TLB is worth, refills included.`,
  parameters: [
    {
      name: "ceilings",
      kind: "integers",
      unit: "pages",
      low: 0,
      high: 65_536,
      default: [0, 1, 2, 4, 8, 16, 33, 64, 85, 128, 256, 512],
      summary: "ceilings, in pages",
    },
    { name: "cpus", kind: "integer", low: 1, high: 256, default: 4, summary: "CPUs, each with a thread" },
    {
      name: "munmaps",
      kind: "integer",
      low: 1,
      high: 100_000,
      default: 300,
      summary: "ranges unmapped for each ceiling",
    },
    {
      name: "range",
      kind: "integer",
      unit: "pages",
      low: 1,
      high: 8192,
      default: 512,
      summary: "most pages of a range",
    },
    {
      name: "resident",
      kind: "integer",
      unit: "pages",
      low: 0,
      high: 16_384,
      default: 256,
      summary: "resident pages of each thread",
    },
  ],
  settings: kernelExperimentSettings(["flush-ceiling"]),
  example: "mmulab experiment flush-ceiling --cpus 8 --resident 512 --ceilings 0,33,128,512",
  headline: "totalCycles",
  sensitivityParameters: { ceilings: "0,33,512", cpus: "2", munmaps: "60" },
  run,
};

function run(context: ExperimentContext): ExperimentOutcome {
  const { parameters, onProgress } = context;
  const ceilings = parameters.list("ceilings");
  const label = (ceiling: number): string => `ceiling ${ceiling}`;
  const cells = context.points.each(ceilings, label, (ceiling) => {
    onProgress(ceilings.indexOf(ceiling), ceilings.length + 1, label(ceiling));
    return measure(context, ceiling);
  });
  onProgress(ceilings.length, ceilings.length + 1, "break-even");
  const even = breakEven(context);
  const best = cells.reduce((a, b) => (b.totalCycles < a.totalCycles ? b : a));
  const linux = cells.find(({ ceilingPages }) => ceilingPages === LINUX_CEILING);
  const findings = [
    `The best ceiling for this workload is ${best.ceilingPages}: ${grouped(best.totalCycles)} cycles per munmap.`,
  ];
  if (linux !== undefined) {
    const loss = ((linux.totalCycles / best.totalCycles - 1) * 100).toFixed(1);
    findings.push(
      `Linux's ${LINUX_CEILING} costs ${grouped(linux.totalCycles)} cycles per munmap: ${loss} % more than the best.`,
    );
  }
  const table = new DataTable("ceilings", "One munmap: cycles of flushing over all CPUs", COLUMNS, cells);
  const parts = ["totalCycles", "workCycles", "waitCycles", "stolenCycles", "lineCycles", "refillCycles"] as const;
  return {
    tables: [table.toResult(), even.table.toResult()],
    plots: [
      plotByColumn(table, "ceilingPages", parts, {
        title: "Cost per munmap against the ceiling",
        xLog: true,
        yLog: false,
      }),
    ],
    findings: [...findings, ...even.findings],
  };
}

function measure({ parameters, seed, boot }: ExperimentContext, ceiling: number): Row<typeof COLUMNS> {
  const cpus = parameters.number("cpus");
  const kernel = boot(cpus, `munmap, ceiling ${ceiling}`, { flushCeilingPages: ceiling });
  const spaces = new UserSpaces(kernel.mm);
  const mm = spaces.mmAlloc();
  const resident = parameters.number("resident");
  if (resident > 0)
    for (let cpu = 0; cpu < cpus; cpu++) kernel.run(mmapPopulate(spaces, mm, residentOf(cpu), resident));
  const accounts = kernel.vm.flushing.keepAccounts();
  const count = parameters.number("munmaps");
  runThreads(kernel, spaces, mm, { seed, count, rangeMax: parameters.number("range"), resident });
  const munmaps = accounts.records.filter(({ cause }) => cause === "munmap");
  const cost = accounts.total(({ cause }) => cause === "munmap");
  const per = (part: keyof FlushCost): number => Math.round(cost[part] / count);
  const [workCycles, waitCycles] = [per("workCycles"), per("waitCycles")];
  const [stolenCycles, lineCycles, refillCycles] = [per("stolenCycles"), per("lineCycles"), per("refillCycles")];
  const wholeFlushes = munmaps.filter(({ full }) => full).length;
  return {
    ceilingPages: ceiling,
    wholeFlushes,
    pageFlushes: munmaps.length - wholeFlushes,
    workCycles,
    waitCycles,
    stolenCycles,
    lineCycles,
    refillCycles,
    totalCycles: workCycles + waitCycles + stolenCycles + lineCycles + refillCycles,
  };
}

function residentOf(cpu: number): number {
  return RESIDENT_START + cpu * RESIDENT_STRIDE;
}

interface Load {
  readonly seed: number;
  readonly count: number;
  readonly rangeMax: number;
  readonly resident: number;
}

/** Runs the process's threads to their ends. */
function runThreads(kernel: Kernel, spaces: UserSpaces, mm: MmStruct, load: Load): void {
  const { loop, cpus } = kernel.machine;
  let done = false;
  const touchResident = (cpu: number): void => {
    for (let page = 0; page < load.resident; page++) cpus[cpu].touch(residentOf(cpu) + page * PAGE_SIZE);
  };
  function* think(cycles: number): KernelCode<void> {
    if (loop.currentThread !== null) yield* compute(loop.currentThread, cycles);
  }
  function* unmapper(): KernelCode<void> {
    const random = randomStream(load.seed, 0);
    spaces.switchTo(mm);
    for (let i = 0; i < load.count; i++) {
      while (loop.mustYield()) yield PAUSE_TURN;
      const low = 2 ** random.between(0, Math.floor(Math.log2(load.rangeMax)));
      const pages = random.between(low, Math.min(2 * low - 1, load.rangeMax));
      yield* mmapPopulate(spaces, mm, RANGE_START, pages);
      for (let page = 0; page < pages; page++) cpus[0].touch(RANGE_START + page * PAGE_SIZE);
      touchResident(0);
      yield* munmap(spaces, mm, RANGE_START, RANGE_START + pages * PAGE_SIZE);
      touchResident(0);
      yield* think(THINK_CYCLES);
      if (loop.needsResched()) yield PAUSE_RESCHED;
    }
    done = true;
  }
  function* worker(cpu: number): KernelCode<void> {
    spaces.switchTo(mm);
    while (!done) {
      touchResident(cpu);
      yield* think(THINK_CYCLES);
    }
  }
  kernel.spawn("unmapper", 0, unmapper());
  for (let cpu = 1; cpu < loop.cpus; cpu++) kernel.spawn(`worker/${cpu}`, cpu, worker(cpu));
  kernel.runUntilIdle();
}
