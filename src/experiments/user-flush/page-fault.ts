/** `page-fault`: tasks that touch fresh anonymous memory page by page and unmap it, as will-it-scale's page_fault1 does. */
import { type KernelCode, PAGE_SIZE, PAUSE_TURN } from "../../../arch/index.ts";
import { type MmStruct, mmap, munmap, UserSpaces } from "../../../mm/index.ts";
import type { Experiment, ExperimentContext, ExperimentOutcome } from "../base/experiment.ts";
import { KERNEL_EXPERIMENT_SETTINGS } from "../base/kernel-settings.ts";
import { plotByKind } from "../base/plot.ts";
import { DataTable, type Row } from "../base/table.ts";
import { SHARE_COLUMNS, TimeShares } from "./time-shares.ts";
import { UserThread } from "./user-thread.ts";

/** Where the first thread's mapping begins; each further one is right behind it, as `mmap` puts mappings of one size. */
const START = 0x4000_0000;
const MIB_PAGES = 2 ** 20 / PAGE_SIZE;
const KINDS = ["threads", "processes"] as const;

const COLUMNS = {
  kind: { heading: "tasks", text: true },
  tasks: { heading: "number", axis: "tasks" },
  faultsPerSecond: { heading: "faults/s, machine", axis: "faults per second, whole machine" },
  faultNs: { heading: "ns/fault, task" },
  faultCycles: { heading: "cycles/fault, task" },
  munmapUsec: { heading: "us/munmap, task" },
  munmapNsPerPage: { heading: "ns/page of munmap, task" },
  munmapCyclesPerPage: { heading: "cycles/page of munmap, task" },
  ...SHARE_COLUMNS,
} as const;

/** The experiment. */
export const pageFault: Experiment = {
  name: "page-fault",
  summary:
    "threads or processes that touch fresh memory page by page and unmap it: faults a second, and what limits them",
  description: `N threads of one process, or N processes with a thread each, on a CPU each, write to every page of --mib MiB of anonymous memory of their own,
then unmap it and map it anew, --loops times; the first time is not counted. Faults a second are of the whole machine, munmap's time included; nanoseconds and cycles
a fault are one task's, without munmap; microseconds of a munmap are one task's and of all --mib MiB. Threads share the address space:
its mmap_lock (Linux 6.1: each fault takes it; since 6.4 the lock of the mapping, and as neighbours
are one mapping all threads write that lock's line), its page tables, its flushes. Processes share the page
allocator's zone and the LRU lists alone. The last columns say where the time of all CPUs went in the loops that count, each task's until it has come to its end; a CPU is idle
while its task sleeps for mmap_lock, as it does while other threads unmap.`,
  parameters: [
    { name: "kinds", kind: "words", words: KINDS, default: KINDS, summary: "threads of a process, or processes" },
    { name: "tasks", kind: "integers", low: 1, high: 1024, default: [1, 2, 4, 8, 16], summary: "how many of them" },
    { name: "mib", kind: "integer", unit: "MiB", low: 1, high: 1024, default: 128, summary: "MiB that each touches" },
    { name: "loops", kind: "integer", low: 2, high: 10_000, default: 2, summary: "loops of each" },
  ],
  settings: KERNEL_EXPERIMENT_SETTINGS,
  example: "mmulab experiment page-fault --kinds threads --tasks 1,8 --mib 8 --kernel 6.1",
  headline: "faultNs",
  sensitivityParameters: { tasks: "1,8", mib: "4" },
  run,
};

function run(context: ExperimentContext): ExperimentOutcome {
  const { parameters, onProgress } = context;
  const kinds = parameters.words("kinds");
  const points = kinds.flatMap((kind) => parameters.list("tasks").map((tasks) => ({ kind, tasks })));
  const label = ({ kind, tasks }: (typeof points)[number]): string => `${tasks} ${kind}`;
  const rows = context.points.each(points, label, (point) => {
    onProgress(points.indexOf(point), points.length, label(point));
    return measure(context, point.kind, point.tasks);
  });
  const table = new DataTable("faults", "Fresh memory touched and unmapped, in a loop", COLUMNS, rows);
  const style = { title: "Faults of the machine", xLog: true, yLog: true };
  const findings = kinds.map((kind) => {
    const own = rows.filter((row) => row.kind === kind);
    const best = own.reduce((a, b) => (b.faultsPerSecond > a.faultsPerSecond ? b : a));
    const times = best.faultsPerSecond / own[0].faultsPerSecond;
    return `${kind}: most faults a second with ${best.tasks}, ${times.toFixed(1)} times those with ${own[0].tasks}.`;
  });
  return {
    tables: [table.toResult()],
    plots: [plotByKind(table, "tasks", "faultsPerSecond", style, ({ kind }) => kind)],
    findings,
  };
}

/** What one task has spent in the loops that count. */
interface Spent {
  faultCycles: number;
  munmapCycles: number;
}

function measure({ parameters, preset, boot }: ExperimentContext, kind: string, tasks: number): Row<typeof COLUMNS> {
  const kernel = boot(tasks, `${tasks} ${kind}`);
  const { loop } = kernel.machine;
  const spaces = new UserSpaces(kernel.mm);
  const pages = parameters.number("mib") * MIB_PAGES;
  const loops = parameters.number("loops");
  const spent = Array.from({ length: tasks }, (): Spent => ({ faultCycles: 0, munmapCycles: 0 }));
  const shares = new TimeShares(loop);
  const shared = kind === "threads" ? spaces.mmAlloc() : null;
  for (let cpu = 0; cpu < tasks; cpu++) {
    const mm = shared ?? spaces.mmAlloc();
    const user = new UserThread(spaces, mm);
    const start = START + (kind === "threads" ? cpu * pages * PAGE_SIZE : 0);
    const body = () => task(spaces, mm, user, start, pages, loops, spent[cpu], shares);
    kernel.spawn(`task/${cpu}`, cpu, user.run(body));
  }
  kernel.runUntilIdle();
  const counted = loops - 1;
  const mean = (of: (each: Spent) => number): number =>
    spent.reduce((sum, each) => sum + of(each), 0) / tasks / counted;
  const perSecond = spent.reduce((sum, { faultCycles, munmapCycles }) => {
    return sum + (counted * pages * preset.frequencyGhz.value * 1e9) / (faultCycles + munmapCycles);
  }, 0);
  const ns = (cycles: number): number => cycles / preset.frequencyGhz.value;
  const faultCycles = mean((each) => each.faultCycles);
  const munmapCycles = mean((each) => each.munmapCycles);
  return {
    kind,
    tasks,
    faultsPerSecond: Math.round(perSecond),
    faultNs: Math.round(ns(faultCycles) / pages),
    faultCycles: Math.round(faultCycles / pages),
    munmapUsec: Math.round(ns(munmapCycles)) / 1000,
    munmapNsPerPage: Math.round((10 * ns(munmapCycles)) / pages) / 10,
    munmapCyclesPerPage: Math.round((10 * munmapCycles) / pages) / 10,
    ...shares.percents(),
  };
}

function* task(
  spaces: UserSpaces,
  mm: MmStruct,
  user: UserThread,
  start: number,
  pages: number,
  loops: number,
  spent: Spent,
  shares: TimeShares,
): KernelCode<void> {
  const { loop } = spaces.kernel;
  const end = start + pages * PAGE_SIZE;
  for (let i = 0; i < loops; i++) {
    if (i === 1) shares.begin();
    let faultCycles = 0;
    yield* user.call(mmap(spaces, mm, start, end));
    for (let la = start; la < end; la += PAGE_SIZE) {
      while (loop.mustYield()) yield PAUSE_TURN;
      faultCycles += yield* user.faultIn(la);
    }
    const munmapCycles = yield* user.call(munmap(spaces, mm, start, end));
    if (i === 0) continue;
    spent.faultCycles += faultCycles;
    spent.munmapCycles += munmapCycles;
  }
  shares.end();
}
