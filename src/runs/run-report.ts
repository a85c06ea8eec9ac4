/** What a run of a workload did, as plain data. */
import { ACTIVITY_IDLE, ACTIVITY_IPI_WAIT, ACTIVITY_LOCK_WAIT, type CounterSnapshot } from "../../arch/index.ts";
import type { EventCounter } from "../events/event-counter.ts";
import type { ParameterValues } from "../input/parameters.ts";
import type { Kernel } from "../machine/kernel.ts";
import { type FigureCounts, figureCountsOf } from "../report/figures.ts";
import { type FlushCosts, flushCosts } from "../report/flush-costs.ts";
import { type GuestReport, guestReport } from "../report/guest.ts";
import type { OperationCount, WorkloadOptions, WorkloadResult } from "../workloads/base/workload.ts";

/** The report of a run. Sizes are bytes, times are cycles of the emulated machine, everything else is a count. */
export interface RunReport {
  readonly workload: string;
  readonly seed: number;
  /** Values of the workload's own parameters. */
  readonly parameters?: ParameterValues;
  /** What the workload itself reports, as plain data. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** What the workload itself reports, as text for people. */
  readonly lines?: readonly string[];
  /** Why the run counts as failed; absent when it does not. */
  readonly failure?: string;
  readonly machine: {
    readonly cpus: number;
    readonly memoryBytes: number;
    readonly preset: string;
    readonly frequencyGhz: number;
    /** How many figures of the preset and of the kernel's costs play a part, by how they are known. */
    readonly figures: FigureCounts;
    /** Settings that were given, as words by name; absent when there are none. */
    readonly settings?: Readonly<Record<string, string | number>>;
  };
  /** By the kernel function's name. */
  readonly operations: Readonly<Record<string, Readonly<OperationCount>>>;
  /** What the workload's threads did with the memory they got. */
  readonly memory: { readonly loads: number; readonly stores: number; readonly wrongLoads: number };
  readonly pageTables: {
    /** Leaf entries written and cleared during the run, of any size. */
    readonly leavesMapped: number;
    readonly leavesUnmapped: number;
    /** Tables made and freed during the run. */
    readonly tablesAllocated: number;
    readonly tablesFreed: number;
    /** Tables at the end, by level: index 1 PTE tables to 4 the top table. */
    readonly tablesByLevel: readonly number[];
  };
  /** Counters of each CPU under the names that `perf list` gives them. */
  readonly counters: readonly CounterSnapshot[];
  readonly vmalloc: {
    readonly areasAllocated: number;
    readonly areasFromPools: number;
    readonly areasFailed: number;
    readonly areasFreed: number;
    readonly blocksMade: number;
    readonly blocksFreed: number;
    readonly blockAllocations: number;
    readonly purges: number;
    readonly drains: number;
    readonly areasPurged: number;
    /** Kernel range flushes that flushed whole TLBs, and those that went page by page. */
    readonly fullFlushes: number;
    readonly rangeFlushes: number;
    readonly pagesFlushedOneByOne: number;
    /** Pages freed lazily during the run; most that waited for a purge at one time; those that wait at the end. */
    readonly pagesFreedLazily: number;
    readonly lazyPagesMax: number;
    readonly lazyPages: number;
    /** `lazy_max_pages`: a purge is due above it. */
    readonly lazyMaxPages: number;
  };
  /** Each CPU's clock, and how much of it was idle or spent waiting busily. */
  readonly cycles: readonly { readonly total: number; readonly idle: number; readonly spin: number }[];
  /** The host, where the kernel is a guest; else absent. */
  readonly guest?: GuestReport;
  /** What flushing cost; absent unless accounts are kept. */
  readonly flushCosts?: FlushCosts;
  /** Warnings that the emulated kernel gave. */
  readonly kernelWarnings: number;
  /** Their text, each place that warns once only the first time; absent when there are none. */
  readonly kernelWarningLines?: readonly string[];
}

/** Counters of a kernel at one moment, to take differences from. */
export interface Baseline {
  readonly leavesSet: number;
  readonly leavesCleared: number;
  readonly kernelWarnings: number;
  readonly logLines: number;
}

/** The counters before a workload. */
export function baseline(kernel: Kernel): Baseline {
  const { tables, log } = kernel;
  return {
    leavesSet: tables.leavesSet,
    leavesCleared: tables.leavesCleared,
    kernelWarnings: log.warnings,
    logLines: log.lines.length,
  };
}

/** The report of a workload that has run on `kernel`. */
export function gatherReport(
  kernel: Kernel,
  workload: string,
  options: WorkloadOptions,
  before: Baseline,
  counter: EventCounter,
  result: WorkloadResult,
): RunReport {
  const { tables, machine, vm } = kernel;
  const { loop } = machine;
  return {
    workload,
    seed: options.seed,
    ...(options.parameters === undefined ? {} : { parameters: options.parameters }),
    ...(result.details === undefined ? {} : { details: result.details }),
    ...(result.lines === undefined ? {} : { lines: result.lines }),
    ...(result.failure === undefined ? {} : { failure: result.failure }),
    machine: {
      cpus: loop.cpus,
      memoryBytes: machine.memory.sizeBytes,
      preset: machine.preset.name,
      frequencyGhz: machine.preset.frequencyGhz.value,
      figures: figureCountsOf(kernel),
    },
    operations: Object.fromEntries(
      Array.from(result.operations, ([name, { done, failed, bytes }]) => [name, { done, failed, bytes }]),
    ),
    memory: { loads: result.loads, stores: result.stores, wrongLoads: result.wrongLoads },
    pageTables: {
      leavesMapped: tables.leavesSet - before.leavesSet,
      leavesUnmapped: tables.leavesCleared - before.leavesCleared,
      tablesAllocated: counter.tablesAllocated,
      tablesFreed: counter.tablesFreed,
      tablesByLevel: [...tables.tables],
    },
    counters: machine.cpus.map((cpu) => cpu.counters()),
    vmalloc: {
      areasAllocated: counter.areasAllocated,
      areasFromPools: counter.areasFromPools,
      areasFailed: counter.areasFailed,
      areasFreed: counter.areasFreed,
      blocksMade: counter.blocksMade,
      blocksFreed: counter.blocksFreed,
      blockAllocations: counter.blockAllocations,
      purges: counter.purges,
      drains: counter.drains,
      areasPurged: counter.areasPurged,
      fullFlushes: counter.fullFlushes,
      rangeFlushes: counter.rangeFlushes,
      pagesFlushedOneByOne: counter.pagesFlushedOneByOne,
      pagesFreedLazily: counter.pagesFreedLazily,
      lazyPagesMax: counter.lazyPagesMax,
      lazyPages: vm.lazyNr,
      lazyMaxPages: vm.config.lazyMaxPages,
    },
    cycles: machine.cpus.map((_, cpu) => ({
      total: loop.clockCycles[cpu],
      idle: loop.accounts.cycles(cpu, ACTIVITY_IDLE),
      spin: loop.accounts.cycles(cpu, ACTIVITY_LOCK_WAIT) + loop.accounts.cycles(cpu, ACTIVITY_IPI_WAIT),
    })),
    ...(kernel.host === null ? {} : { guest: guestReport(machine, kernel.host) }),
    ...(vm.flushing.accounts === null
      ? {}
      : { flushCosts: flushCosts(vm.flushing.accounts, vm.flushing.policy.name, loop.accounts.total()) }),
    ...warningsSince(kernel, before),
  };
}

/** Warnings of the kernel during a run, and their texts as far as the log still has them. */
function warningsSince({ log }: Kernel, before: Baseline): Pick<RunReport, "kernelWarnings" | "kernelWarningLines"> {
  const kernelWarnings = log.warnings - before.kernelWarnings;
  if (kernelWarnings === 0) return { kernelWarnings };
  const lines = log.lines.slice(Math.min(before.logLines, log.lines.length - 1));
  return { kernelWarnings, kernelWarningLines: lines.filter((line) => line.startsWith("WARNING: ")) };
}
