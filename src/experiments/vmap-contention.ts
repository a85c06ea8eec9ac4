/** `vmap-contention`: vmalloc and vfree of several workers, with one vmap node and with one a CPU. */

import {
  ACTIVITY_LOCK_WAIT,
  type EventLoop,
  type KernelCode,
  PAGE_SIZE,
  PAUSE_RESCHED,
  PAUSE_TURN,
} from "../../arch/index.ts";
import {
  __GFP_ZERO,
  __vmalloc,
  GFP_KERNEL,
  kernelVersionByName,
  type LockStatistics,
  lockStatistics,
  type Vmalloc,
  vfree,
  wait,
} from "../../mm/index.ts";
import { randomStream } from "../machine/random.ts";
import { allocThreadStacks } from "../machine/thread-stacks.ts";
import { counted } from "../report/counted.ts";
import type { Experiment, ExperimentContext, ExperimentOutcome } from "./base/experiment.ts";
import { KERNEL_EXPERIMENT_SETTINGS } from "./base/kernel-settings.ts";
import { checkRoomForWorkers, PLACE_PARAMETER, placeWorkers } from "./base/placement.ts";
import { plotByKind } from "./base/plot.ts";
import { pointed, pointOf } from "./base/points.ts";
import { DataTable, type Row } from "./base/table.ts";

/** Most vmap nodes that Linux makes. */
const NODES_MAX = 128;

/** Purges before what is counted: pools of areas, lists of pages and slabs are past their start then. */
const WARM_UP_PURGES = 2;
/** Purges that are counted, unless a number of pairs is given: a purge is part of what pairs cost. */
const COUNTED_PURGES = 3;
/** Pairs of each worker before what is counted where nothing is purged, or where their number is given: this part of it. */
const WARM_UP_SHARE = 4;
/** Pairs of each worker under a policy that purges nothing. */
const PAIRS_WITHOUT_PURGES = 1000;

const SETTINGS = ["one node", "one a CPU"] as const;

const COLUMNS = {
  setting: { heading: "vmap nodes", text: true },
  nodes: { heading: "nodes" },
  cpus: { heading: "CPUs" },
  workers: { heading: "workers", axis: "workers" },
  pairs: { heading: "pairs counted" },
  pairsPerSecond: { heading: "pairs/s, machine", axis: "vmalloc/vfree pairs per second, whole machine" },
  usecPerPair: { heading: "us/pair, worker" },
  cyclesPerPair: { heading: "cycles/pair, worker" },
  lockWaitPercent: { heading: "lock wait %", axis: "lock wait (% of the workers' time)" },
  mostWaitedFor: { heading: "most waited for", text: true },
  mostWaitCyclesPerPair: { heading: "its wait (cycles/pair)" },
  purges: { heading: "purges" },
} as const;

/** Columns of `/proc/lock_stat`, times in microseconds as there. */
const LOCK_COLUMNS = {
  setting: { heading: "vmap nodes", text: true },
  cpus: { heading: "CPUs" },
  className: { heading: "class name", text: true },
  conBounces: { heading: "con-bounces" },
  contentions: { heading: "contentions" },
  waitMinUsec: { heading: "waittime-min" },
  waitMaxUsec: { heading: "waittime-max" },
  waitTotalUsec: { heading: "waittime-total" },
  waitAvgUsec: { heading: "waittime-avg" },
  acqBounces: { heading: "acq-bounces" },
  acquisitions: { heading: "acquisitions" },
  holdMinUsec: { heading: "holdtime-min" },
  holdMaxUsec: { heading: "holdtime-max" },
  holdTotalUsec: { heading: "holdtime-total" },
  holdAvgUsec: { heading: "holdtime-avg" },
} as const;

interface Cell {
  readonly row: Row<typeof COLUMNS>;
  readonly locks: readonly LockStatistics[];
}

/** The experiment. */
export const vmapContention: Experiment = {
  name: "vmap-contention",
  summary: "vmalloc/vfree pairs of N workers with one vmap node and with one a CPU: throughput and lock wait",
  description: `Workers, a CPU each, allocate and free areas of a few pages, one after the other, each touched once: with --pages 1 what
fix_size_alloc_test of test_vmalloc does. 'one node' is how Linux was before 6.9, and all that --kernel 6.1 has; 'one a CPU' is Linux 6.12 (at most ${NODES_MAX} nodes). Counting begins after ${WARM_UP_PURGES} purges and ends with the ${COUNTED_PURGES}
that follow, so that a longer run gives the same. Pairs per second are of emulated time and of the whole machine, microseconds and cycles those of one
worker's pair; the lock with most wait is named as lock_stat names it.`,
  parameters: [
    {
      name: "cpus",
      kind: "integers",
      low: 1,
      high: 1024,
      default: [1, 2, 4, 8, 16, 32, 64, 128],
      summary: "numbers of CPUs",
    },
    {
      name: "workers",
      kind: "integers",
      low: 0,
      high: 1024,
      default: [0],
      summary: "numbers of workers, for each number of CPUs that has room for them; 0: one on every CPU",
    },
    {
      name: "pairs",
      kind: "integer",
      low: 0,
      high: 100_000_000,
      default: 0,
      summary: `pairs of each worker, of which the first ${WARM_UP_SHARE}th is not counted; 0: as many as ${COUNTED_PURGES} purges take after ${WARM_UP_PURGES}`,
    },
    {
      name: "pages",
      kind: "integer",
      unit: "pages",
      low: 1,
      high: 512,
      default: 4,
      summary: "most pages of an area (1 to this, at random)",
    },
    PLACE_PARAMETER,
    {
      name: "zero",
      kind: "boolean",
      default: false,
      summary: "pages are zeroed, as all are with init_on_alloc=1, Debian's and Ubuntu's default",
    },
    {
      name: "stacks",
      kind: "integer",
      low: 0,
      high: 10_000,
      default: 0,
      summary:
        "kernel stacks that are there before, of as many threads: a booted kernel has some 8 for each CPU and 40 more",
    },
    {
      name: "lazy_max_per_cpu",
      kind: "integer",
      unit: "pages",
      low: 0,
      high: 2 ** 30,
      default: 0,
      summary: "lazily freed pages above which is purged, for each CPU; 0 for Linux's own lazy_max_pages",
    },
  ],
  settings: KERNEL_EXPERIMENT_SETTINGS,
  example: "mmulab experiment vmap-contention --cpus 64 --workers 1,2,4,8,16,32 --csv",
  headline: "cyclesPerPair",
  sensitivityParameters: { cpus: "2,16", pairs: "400" },
  run,
};

function run(context: ExperimentContext): ExperimentOutcome {
  const { parameters, onProgress } = context;
  checkRoomForWorkers(parameters, "workers", Math.max(...parameters.list("cpus")));
  const points = parameters.list("cpus").flatMap((cpus) => {
    const counts = parameters.list("workers").map((workers) => (workers === 0 ? cpus : workers));
    return [...new Set(counts)].filter((workers) => workers <= cpus).map((workers) => ({ cpus, workers }));
  });
  const { kernel } = context.settings;
  const hasNodes = kernel === undefined || kernelVersionByName(kernel).hasVmapNodes;
  const settings = SETTINGS.filter((setting) => hasNodes || setting === "one node");
  const plan = settings.flatMap((setting) => points.map((point) => ({ setting, ...point })));
  const label = ({ setting, cpus, workers }: (typeof plan)[number]): string =>
    `${setting}, ${counted(workers, "worker")} on ${counted(cpus, "CPU")}`;
  const cells = context.points.each(plan, label, (point) => {
    onProgress(plan.indexOf(point), plan.length, label(point));
    return measure(context, point.cpus, point.workers, point.setting);
  });
  const rows = cells.map((cell) => pointed(cell.row, pointOf(cell)));
  const table = new DataTable("contention", "vmalloc/vfree pairs", COLUMNS, rows);
  const most = Math.max(...points.map(({ workers }) => workers));
  const locksTitle = `Locks with ${most} workers, as /proc/lock_stat shows them (us)`;
  const lockTable = new DataTable(
    "lock-stat",
    locksTitle,
    LOCK_COLUMNS,
    cells
      .filter(({ row }) => row.workers === most)
      .flatMap((cell) => lockRows(cell, context.preset.frequencyGhz.value)),
  );
  const several = new Set(points.map(({ cpus, workers }) => (cpus === workers ? 0 : cpus))).size > 1;
  const curveOf = ({ setting, cpus }: Row<typeof COLUMNS>): string =>
    several ? `${setting}, ${counted(cpus, "CPU")}` : setting;
  const style = (title: string, yLog: boolean) => ({ title, xLog: true, yLog });
  return {
    tables: [table.toResult(), lockTable.toResult()],
    plots: [
      plotByKind(table, "workers", "pairsPerSecond", style("Throughput", true), curveOf),
      plotByKind(table, "workers", "lockWaitPercent", style("Time spent spinning for locks", false), curveOf),
    ],
    findings: (hasNodes ? points : []).map(({ cpus, workers }, i) => {
      const ratio = (rows[points.length + i].pairsPerSecond / rows[i].pairsPerSecond).toFixed(2);
      const onCpus = counted(cpus, "CPU");
      const who = workers === cpus ? onCpus : `${counted(workers, "worker")} on ${onCpus}`;
      return `${who}: one node a CPU is ${ratio} times as fast as one node.`;
    }),
  };
}

function lockRows({ row, locks }: Cell, frequencyGhz: number): Row<typeof LOCK_COLUMNS>[] {
  const usec = (cycles: number): number => Math.round(cycles / frequencyGhz / 10) / 100;
  return locks
    .filter(({ acquisitions }) => acquisitions > 0)
    .map((lock) => ({
      setting: row.setting,
      cpus: row.cpus,
      className: lock.name,
      conBounces: lock.contentionBounces,
      contentions: lock.contentions,
      waitMinUsec: usec(lock.waitMinCycles),
      waitMaxUsec: usec(lock.waitMaxCycles),
      waitTotalUsec: usec(lock.waitTotalCycles),
      waitAvgUsec: usec(lock.waitAverageCycles),
      acqBounces: lock.acquisitionBounces,
      acquisitions: lock.acquisitions,
      holdMinUsec: usec(lock.holdMinCycles),
      holdMaxUsec: usec(lock.holdMaxCycles),
      holdTotalUsec: usec(lock.holdTotalCycles),
      holdAvgUsec: usec(lock.holdAverageCycles),
    }));
}

function measure(context: ExperimentContext, cpus: number, workers: number, setting: string): Cell {
  const { parameters, preset, seed, boot } = context;
  const nodes = setting === "one node" ? 1 : Math.min(cpus, NODES_MAX);
  const lazyMax = parameters.number("lazy_max_per_cpu");
  const kernel = boot(cpus, `${setting}, ${counted(workers, "worker")} on ${counted(cpus, "CPU")}`, {
    vmalloc: { vmapNodes: nodes, ...(lazyMax > 0 ? { lazyMaxPages: lazyMax * cpus } : {}) },
  });
  allocThreadStacks(kernel, parameters.number("stacks"));
  const { vm, machine } = kernel;
  const { loop } = machine;
  const window = windowOf(parameters.number("pairs"), vm);
  const pagesMax = parameters.number("pages");
  const gfp = parameters.isOn("zero") ? GFP_KERNEL | __GFP_ZERO : GFP_KERNEL;
  const at = placeWorkers(loop.topology, workers, parameters.word("place"));
  /** What each worker counts between its begin and its end. */
  const tallies = Array.from({ length: workers }, () => ({ pairs: 0, cycles: 0, waited: 0 }));
  /** Waits for each class of locks when the first worker began to count. */
  let waitsBefore: ReadonlyMap<string, number> = new Map();
  let purgesBefore = 0;
  function* worker(index: number, cpu: number): KernelCode<void> {
    const random = randomStream(seed, index);
    const own = tallies[index];
    let begins = -1;
    let waitedBefore = 0;
    for (let pair = 0; !window.isOver(pair); pair++) {
      while (loop.mustYield()) yield PAUSE_TURN;
      if (begins < 0 && window.hasBegun(pair)) {
        begins = loop.nowCycles();
        waitedBefore = loop.accounts.cycles(cpu, ACTIVITY_LOCK_WAIT);
        if (waitsBefore.size === 0) {
          waitsBefore = waitsByName(loop);
          purgesBefore = vm.purgesWithAreas;
        }
      }
      const sizeBytes = random.between(1, pagesMax) * PAGE_SIZE;
      const address = yield* wait(__vmalloc(vm, sizeBytes, gfp, "vmap_contention+0x0/0x0"));
      machine.cpus[cpu].touch(address);
      yield* wait(vfree(vm, address));
      if (loop.needsResched()) yield PAUSE_RESCHED;
      if (begins < 0) continue;
      own.pairs++;
      own.cycles = loop.nowCycles() - begins;
      own.waited = loop.accounts.cycles(cpu, ACTIVITY_LOCK_WAIT) - waitedBefore;
    }
  }
  at.forEach((cpu, index) => {
    kernel.spawn(`worker/${index}`, cpu, worker(index, cpu));
  });
  kernel.runUntilIdle();
  const spun = waitsSince(loop, waitsBefore);
  const point = { setting, nodes, cpus, workers, purges: vm.purgesWithAreas - purgesBefore };
  return { locks: lockStatistics(loop), row: rowOf(point, tallies, spun, preset.frequencyGhz.value) };
}

/** What one worker has counted. */
interface Counted {
  readonly pairs: number;
  readonly cycles: number;
  readonly waited: number;
}

/** Cycles that were spun for locks since `before`, by their class. Workers sleep for the purge lock: nobody spins. */
function waitsSince(loop: EventLoop, before: ReadonlyMap<string, number>): { name: string; waited: number }[] {
  return [...waitsByName(loop)]
    .filter(([name]) => name !== "vmap_purge_lock")
    .map(([name, cyclesOf]) => ({ name, waited: cyclesOf - (before.get(name) ?? 0) }));
}

function rowOf(
  point: Pick<Row<typeof COLUMNS>, "setting" | "nodes" | "cpus" | "workers" | "purges">,
  counted: readonly Counted[],
  spun: { name: string; waited: number }[],
  frequencyGhz: number,
): Row<typeof COLUMNS> {
  const pairs = counted.reduce((sum, own) => sum + own.pairs, 0);
  const cycles = counted.reduce((sum, own) => sum + own.cycles, 0);
  const waited = counted.reduce((sum, own) => sum + own.waited, 0);
  const perCycle = counted.reduce((sum, own) => sum + own.pairs / Math.max(1, own.cycles), 0);
  const [worst] = spun.sort((a, b) => b.waited - a.waited);
  return {
    ...point,
    pairs,
    pairsPerSecond: Math.round(perCycle * frequencyGhz * 1e9),
    usecPerPair: Math.round(cycles / pairs / frequencyGhz) / 1000,
    cyclesPerPair: Math.round(cycles / pairs),
    lockWaitPercent: Math.round((waited / cycles) * 1000) / 10,
    mostWaitedFor: worst.waited > 0 ? worst.name : "-",
    mostWaitCyclesPerPair: Math.round(worst.waited / pairs),
  };
}

/** When a worker begins to count and when it ends, by how many pairs it has done. */
interface Window {
  hasBegun(pair: number): boolean;
  isOver(pair: number): boolean;
}

/** @param pairs of each worker, or 0 for what some purges take */
function windowOf(pairs: number, vm: Vmalloc): Window {
  if (pairs > 0 || vm.flushing.isEager) {
    const all = pairs > 0 ? pairs : PAIRS_WITHOUT_PURGES;
    const warmUp = Math.floor(all / WARM_UP_SHARE);
    return { hasBegun: (pair) => pair >= warmUp, isOver: (pair) => pair >= all };
  }
  return {
    hasBegun: () => vm.purgesWithAreas >= WARM_UP_PURGES,
    isOver: () => vm.purgesWithAreas >= WARM_UP_PURGES + COUNTED_PURGES,
  };
}

/** Cycles that were waited for locks, by their class. */
function waitsByName(loop: EventLoop): Map<string, number> {
  return new Map(lockStatistics(loop).map(({ name, waitTotalCycles }) => [name, waitTotalCycles]));
}
