/** `user-flush`: what mprotect, MADV_DONTNEED and munmap of some pages cost a thread, by what the process's other threads do. */

import { compute, type KernelCode, PAGE_SIZE, PAUSE_TURN } from "../../../arch/index.ts";
import {
  type MmStruct,
  madviseDontneed,
  mmapPopulate,
  mprotect,
  munmap,
  UserSpaces,
  WorkingSet,
} from "../../../mm/index.ts";
import type { Kernel } from "../../machine/kernel.ts";
import { counted } from "../../report/counted.ts";
import type { Experiment, ExperimentContext, ExperimentOutcome } from "../base/experiment.ts";
import { KERNEL_EXPERIMENT_SETTINGS } from "../base/kernel-settings.ts";
import { plotByColumn } from "../base/plot.ts";
import { pointed } from "../base/points.ts";
import { DataTable, type Row } from "../base/table.ts";
import { UserThread } from "./user-thread.ts";

const START = 0x40_0000;
const SLICE_CYCLES = 20_000;
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

type Cell = Row<typeof COLUMNS>;

/** The experiment. */
export const userFlush: Experiment = {
  name: "user-flush",
  summary: "mprotect, MADV_DONTNEED and munmap by pages and CPUs, with the other CPUs idle, lazy or busy",
  description: `Thread 0 of a process touches pages (touch: all first touches together), takes write access away and gives it back, drops the
pages (MADV_DONTNEED), drops what is not there any more, and unmaps them. All columns are nanoseconds a call on the CPU that calls,
system call included, the mean of all rounds, or with --of least the least of each. The other CPUs run nothing (idle), a kernel thread that borrows the address space (lazy), or threads of
the process (busy). The kernel's text, stack and structures have translations too, which flushes take away: with --guest in two dimensions.`,
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
  const rows = context.points
    .each(points, named, (point) => {
      onProgress(points.indexOf(point), points.length, named(point));
      return measure(context, point.others, point.cpus);
    })
    .flat();
  const table = new DataTable("calls", "Calls of one thread", COLUMNS, rows);
  const curves = ["mprotectReadNs", "mprotectWriteNs", "dontneedNs", "munmapNs"] as const;
  const plots = points.map(({ others, cpus }) => {
    const title = `Calls on ${cpus} CPU${cpus === 1 ? "" : `s, the others ${others}`}`;
    const own = rows.filter((row) => row.others === label(others, cpus) && row.cpus === cpus);
    return plotByColumn(table, "pages", curves, { title, xLog: true, yLog: true }, own);
  });
  return { tables: [table.toResult()], plots, findings: findings(rows) };
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

function measure({ parameters, preset, boot, points }: ExperimentContext, others: string, cpus: number): Cell[] {
  const kernel = boot(cpus, `${others}, ${counted(cpus, "CPU")}`);
  const { loop, machine } = { loop: kernel.machine.loop, machine: kernel.machine };
  const spaces = new UserSpaces(kernel.mm);
  const mm = spaces.mmAlloc();
  new WorkingSet(kernel.mm);
  for (const la of OWN_PAGES) kernel.run(mmapPopulate(spaces, mm, la, 1));
  const rounds = parameters.number("rounds");
  const statistic = parameters.word("of") === "least" ? least : mean;
  const isWrite = parameters.word("touch") !== "read";
  const cells: Cell[] = [];
  let isDone = false;
  function* thread(): KernelCode<void> {
    const user = new UserThread(spaces, mm, OWN_PAGES);
    for (const pages of parameters.list("pages")) {
      const point = points.mark(counted(pages, "page"));
      const end = START + pages * PAGE_SIZE;
      const nothing = { touch: 0, read: 0, write: 0, dontneed: 0, empty: 0, munmap: 0 };
      const calls: (typeof nothing)[] = [];
      // Pages wait for the LRU lists: new ones come from the zone until the first have come back.
      const warmUp = Math.ceil((2 * kernel.mm.version.lruAddPages) / pages);
      const touchAll = () => {
        for (let la = START; la < end; la += PAGE_SIZE) machine.cpus[0].touch(la);
      };
      for (let round = 0; round < warmUp + rounds; round++) {
        while (loop.mustYield()) yield PAUSE_TURN;
        const cost = { ...nothing };
        for (let la = START; la < end; la += PAGE_SIZE) cost.touch += yield* user.faultIn(la, isWrite);
        cost.read += yield* user.call(mprotect(spaces, mm, START, end, false));
        touchAll();
        cost.write += yield* user.call(mprotect(spaces, mm, START, end, true));
        touchAll();
        cost.dontneed += yield* user.call(madviseDontneed(spaces, mm, START, end));
        cost.empty += yield* user.call(madviseDontneed(spaces, mm, START, end));
        yield* user.call(mmapPopulate(spaces, mm, START, pages));
        touchAll();
        cost.munmap += yield* user.call(munmap(spaces, mm, START, end));
        if (round >= warmUp) calls.push(cost);
      }
      const ns = (of: keyof typeof nothing): number =>
        Math.round(statistic(calls.map((call) => call[of])) / preset.frequencyGhz.value);
      const cell: Cell = {
        others: label(others, cpus),
        cpus,
        pages,
        touchNs: ns("touch"),
        mprotectReadNs: ns("read"),
        mprotectWriteNs: ns("write"),
        dontneedNs: ns("dontneed"),
        dontneedEmptyNs: ns("empty"),
        munmapNs: ns("munmap"),
      };
      cells.push(pointed(cell, point));
    }
    isDone = true;
  }
  const other = () => otherThread(kernel, spaces, mm, others, () => isDone);
  if (others !== "idle") for (let cpu = 1; cpu < cpus; cpu++) kernel.spawn(`other/${cpu}`, cpu, other());
  kernel.spawn("caller", 0, new UserThread(spaces, mm).run(thread));
  kernel.runUntilIdle();
  return cells;
}

/** What another CPU runs: a thread of the process until `isDone`, or one that leaves the address space behind in lazy mode. */
function* otherThread(
  kernel: Kernel,
  spaces: UserSpaces,
  mm: MmStruct,
  others: string,
  isDone: () => boolean,
): KernelCode<void> {
  const { loop } = kernel.machine;
  spaces.switchTo(mm);
  if (others === "lazy") {
    spaces.switchTo(null);
    return;
  }
  kernel.mm.flushing.userMode.enterUser();
  while (!isDone() && loop.currentThread !== null) yield* compute(loop.currentThread, SLICE_CYCLES);
  kernel.mm.flushing.userMode.enterKernel();
}
