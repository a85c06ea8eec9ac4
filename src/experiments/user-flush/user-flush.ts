/** `user-flush`: what mprotect, MADV_DONTNEED and munmap of some pages cost a thread, by what the process's other threads do. */

import { type KernelCode, PAGE_SIZE, PAUSE_TURN } from "../../../arch/index.ts";
import { madviseDontneed, mmapPopulate, mprotect, munmap, UserSpaces, WorkingSet } from "../../../mm/index.ts";
import { counted } from "../../report/counted.ts";
import type { Experiment, ExperimentContext, ExperimentOutcome } from "../base/experiment.ts";
import { KERNEL_EXPERIMENT_SETTINGS } from "../base/kernel-settings.ts";
import { plotByColumn } from "../base/plot.ts";
import { pointed } from "../base/points.ts";
import { DataTable, type Row } from "../base/table.ts";
import { Barrier } from "./barrier.ts";
import { runInBusyProcess } from "./busy-process.ts";
import { UserThread } from "./user-thread.ts";

const START = 0x40_0000;
const PER_CALL = "ns a call, on the CPU that calls";
/** Text of the process, text of its library, and its stack. */
const OWN_PAGES = [0x20_0000, 0x21_0000, 0x22_0000];
const STATES = ["idle", "lazy", "busy"] as const;
const STATISTICS = ["mean", "least"] as const;
const TOUCHES = ["write", "read"] as const;

const COLUMNS = {
  others: { heading: "other CPUs", text: true },
  cpus: { heading: "CPUs" },
  pages: { heading: "pages", axis: "pages of the range" },
  touchNs: { heading: "touch (ns)" },
  mprotectReadNs: { heading: "mprotect r (ns)", axis: PER_CALL, curve: "mprotect, read-only" },
  mprotectWriteNs: { heading: "mprotect rw (ns)", axis: PER_CALL, curve: "mprotect, writable" },
  dontneedNs: { heading: "MADV_DONTNEED (ns)", axis: PER_CALL, curve: "MADV_DONTNEED" },
  dontneedEmptyNs: { heading: "of nothing (ns)" },
  munmapNs: { heading: "munmap (ns)", axis: PER_CALL, curve: "munmap" },
} as const;

const CYCLE_COLUMNS = {
  others: { heading: "other CPUs", text: true },
  cpus: { heading: "CPUs" },
  pages: { heading: "pages" },
  touchCycles: { heading: "touch" },
  mprotectReadCycles: { heading: "mprotect r" },
  mprotectWriteCycles: { heading: "mprotect rw" },
  dontneedCycles: { heading: "MADV_DONTNEED" },
  dontneedEmptyCycles: { heading: "of nothing" },
  munmapCycles: { heading: "munmap" },
} as const;

type Cell = Row<typeof COLUMNS>;
type CycleCell = Row<typeof CYCLE_COLUMNS>;

/** Cycles of each call of a round. */
interface Costs {
  readonly touch: number;
  readonly mprotectRead: number;
  readonly mprotectWrite: number;
  readonly dontneed: number;
  readonly dontneedEmpty: number;
  readonly munmap: number;
}

/** The experiment. */
export const userFlush: Experiment = {
  name: "user-flush",
  summary: "mprotect, MADV_DONTNEED and munmap by pages and CPUs, with the other CPUs idle, lazy or busy",
  description: `Thread 0 of a process touches pages (touch: all first touches together), takes write access away and gives it back, drops the
pages (MADV_DONTNEED), drops what is not there any more, and unmaps them. All columns are nanoseconds, and in the second table cycles, a call on the CPU that calls,
system call included, the mean of all rounds, or with --of least the least of each. The other CPUs have run nothing (idle); or a thread of the process, which
sleeps since, so that they are idle with its address space still loaded (lazy: they are interrupted when page tables are freed, as by munmap, and at no other time); or they run threads of the process (busy). The kernel's text, stack and structures have translations too, which flushes take away: with --guest in two dimensions.`,
  parameters: [
    {
      name: "pages",
      kind: "integers",
      unit: "pages",
      low: 1,
      high: 8192,
      default: [1, 2, 4, 8, 16, 32, 33, 34, 48, 128, 512],
      summary: "pages",
    },
    { name: "cpus", kind: "integers", low: 1, high: 1024, default: [1, 16], summary: "numbers of CPUs" },
    { name: "others", kind: "words", words: STATES, default: ["idle", "busy"], summary: "what the other CPUs do" },
    { name: "rounds", kind: "integer", low: 1, high: 10_000, default: 20, summary: "rounds, after those that warm up" },
    {
      name: "of",
      kind: "word",
      words: STATISTICS,
      default: "mean",
      summary: "of the rounds: the mean of each call, or the least, as measurements on real machines take it",
    },
    {
      name: "touch",
      kind: "word",
      words: TOUCHES,
      default: "write",
      summary: "the first touches: writes, which get a page, or reads, which map the zero page",
    },
  ],
  settings: KERNEL_EXPERIMENT_SETTINGS,
  example: "mmulab experiment user-flush --cpus 1,16 --pages 1,33,34 --others busy",
  headline: "mprotectReadNs",
  sensitivityParameters: { cpus: "1,16", pages: "1,34" },
  run,
};

function run(context: ExperimentContext): ExperimentOutcome {
  const { parameters, onProgress } = context;
  const points = parameters
    .words("others")
    .flatMap((others, i) => parameters.list("cpus").flatMap((cpus) => (cpus === 1 && i > 0 ? [] : [{ others, cpus }])));
  const named = ({ others, cpus }: (typeof points)[number]): string => `${others}, ${counted(cpus, "CPU")}`;
  const cells = context.points
    .each(points, named, (point) => {
      onProgress(points.indexOf(point), points.length, named(point));
      return measure(context, point.others, point.cpus);
    })
    .flat();
  const rows = cells.map(({ times }) => times);
  const table = new DataTable("calls", "Calls of one thread", COLUMNS, rows);
  const curves = ["mprotectReadNs", "mprotectWriteNs", "dontneedNs", "munmapNs"] as const;
  const plots = points.map(({ others, cpus }) => {
    const title = `Calls on ${cpus} CPU${cpus === 1 ? "" : `s, the others ${others}`}`;
    const own = rows.filter((row) => row.others === label(others, cpus) && row.cpus === cpus);
    return plotByColumn(table, "pages", curves, { title, xLog: true, yLog: true }, own);
  });
  const inCycles = new DataTable(
    "cycles",
    "The same in cycles",
    CYCLE_COLUMNS,
    cells.map(({ cycles }) => cycles),
  );
  return { tables: [table.toResult(), inCycles.toResult()], plots, findings: findings(rows) };
}

function label(others: string, cpus: number): string {
  return cpus === 1 ? "none" : others;
}

/** What the step at the flush ceiling does. */
function findings(rows: readonly Cell[]): string[] {
  return rows.flatMap((row, i) => {
    const below = rows[i - 1];
    if (below === undefined || below.cpus !== row.cpus || below.pages !== 33 || row.pages !== 34) return [];
    const ratio = (row.mprotectReadNs / below.mprotectReadNs).toFixed(2);
    const machine = row.cpus === 1 ? counted(1, "CPU") : `${counted(row.cpus, "CPU")}, the others ${row.others}`;
    return [`${machine}: mprotect of 34 pages costs ${ratio} times what 33 pages cost.`];
  });
}

function least(values: readonly number[]): number {
  return Math.min(...values);
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** What calls of a number of pages cost, for both tables. */
interface Measured {
  readonly times: Cell;
  readonly cycles: CycleCell;
}

/** @param costs of the rounds that count @param statistic what is taken of them */
function measured(
  of: { readonly others: string; readonly cpus: number; readonly pages: number },
  costs: readonly Costs[],
  statistic: (values: readonly number[]) => number,
  frequencyGhz: number,
): Measured {
  const cycles = (call: keyof Costs): number => statistic(costs.map((each) => each[call]));
  const ns = (call: keyof Costs): number => Math.round(cycles(call) / frequencyGhz);
  return {
    times: {
      ...of,
      touchNs: ns("touch"),
      mprotectReadNs: ns("mprotectRead"),
      mprotectWriteNs: ns("mprotectWrite"),
      dontneedNs: ns("dontneed"),
      dontneedEmptyNs: ns("dontneedEmpty"),
      munmapNs: ns("munmap"),
    },
    cycles: {
      ...of,
      touchCycles: Math.round(cycles("touch")),
      mprotectReadCycles: Math.round(cycles("mprotectRead")),
      mprotectWriteCycles: Math.round(cycles("mprotectWrite")),
      dontneedCycles: Math.round(cycles("dontneed")),
      dontneedEmptyCycles: Math.round(cycles("dontneedEmpty")),
      munmapCycles: Math.round(cycles("munmap")),
    },
  };
}

function measure({ parameters, preset, boot, points }: ExperimentContext, others: string, cpus: number): Measured[] {
  const kernel = boot(cpus, `${others}, ${counted(cpus, "CPU")}`);
  const { loop, machine } = { loop: kernel.machine.loop, machine: kernel.machine };
  const spaces = new UserSpaces(kernel.mm);
  const mm = spaces.mmAlloc();
  new WorkingSet(kernel.mm);
  for (const la of OWN_PAGES) kernel.run(mmapPopulate(spaces, mm, la, 1));
  const rounds = parameters.number("rounds");
  const statistic = parameters.word("of") === "least" ? least : mean;
  const isWrite = parameters.word("touch") !== "read";
  const cells: Measured[] = [];
  const barrier = others === "lazy" ? new Barrier(kernel, spaces, mm, () => {}) : null;
  function* thread(): KernelCode<void> {
    const user = new UserThread(spaces, mm, OWN_PAGES);
    for (const pages of parameters.list("pages")) {
      const point = points.mark(counted(pages, "page"));
      const end = START + pages * PAGE_SIZE;
      const costs: Costs[] = [];
      // Pages wait for the LRU lists: new ones come from the zone until the first have come back.
      const warmUp = Math.ceil((2 * kernel.mm.version.lruAddPages) / pages);
      const touchAll = () => {
        for (let la = START; la < end; la += PAGE_SIZE) machine.cpus[0].touch(la);
      };
      for (let round = 0; round < warmUp + rounds; round++) {
        while (loop.mustYield()) yield PAUSE_TURN;
        if (barrier !== null) yield* barrier.allCome();
        const cost = { touch: 0, mprotectRead: 0, mprotectWrite: 0, dontneed: 0, dontneedEmpty: 0, munmap: 0 };
        for (let la = START; la < end; la += PAGE_SIZE) cost.touch += yield* user.faultIn(la, isWrite);
        cost.mprotectRead += yield* user.call(mprotect(spaces, mm, START, end, false));
        touchAll();
        cost.mprotectWrite += yield* user.call(mprotect(spaces, mm, START, end, true));
        touchAll();
        cost.dontneed += yield* user.call(madviseDontneed(spaces, mm, START, end));
        cost.dontneedEmpty += yield* user.call(madviseDontneed(spaces, mm, START, end));
        yield* user.call(mmapPopulate(spaces, mm, START, pages));
        touchAll();
        cost.munmap += yield* user.call(munmap(spaces, mm, START, end));
        if (round >= warmUp) costs.push(cost);
      }
      const of = { others: label(others, cpus), cpus, pages };
      const { times, cycles } = measured(of, costs, statistic, preset.frequencyGhz.value);
      cells.push({ times: pointed(times, point), cycles: pointed(cycles, point) });
    }
    barrier?.open();
  }
  if (others === "busy") {
    runInBusyProcess(kernel, spaces, mm, thread);
    return cells;
  }
  barrier?.spawnSleepers();
  kernel.spawn("caller", 0, new UserThread(spaces, mm).run(thread));
  kernel.runUntilIdle();
  return cells;
}
