/** `vmap-contention`: vmalloc and vfree on many CPUs, with one vmap node and with one a CPU. */
import { ACTIVITY_LOCK_WAIT, type KernelCode, PAGE_SIZE, PAUSE_RESCHED, PAUSE_TURN } from "../../arch/index.ts";
import { type LockStatistics, lockStatistics, vfree, vmalloc, wait } from "../../mm/index.ts";
import { randomStream } from "../machine/random.ts";
import type { Column, Experiment, ExperimentContext, ExperimentOutcome, Value } from "./experiment.ts";

/** Most vmap nodes that Linux makes. */
const NODES_MAX = 128;

interface Cell {
  readonly nodes: number;
  readonly setting: string;
  readonly cpus: number;
  readonly pairsPerSecond: number;
  readonly lockWaitPercent: number;
  readonly row: readonly Value[];
  readonly locks: readonly LockStatistics[];
}

/** Columns of `/proc/lock_stat`, times in microseconds as there. */
const LOCK_COLUMNS: readonly Column[] = [
  { key: "setting", heading: "vmap nodes" },
  { key: "className", heading: "class name" },
  { key: "conBounces", heading: "con-bounces" },
  { key: "contentions", heading: "contentions" },
  { key: "waitMinUsec", heading: "waittime-min" },
  { key: "waitMaxUsec", heading: "waittime-max" },
  { key: "waitTotalUsec", heading: "waittime-total" },
  { key: "waitAvgUsec", heading: "waittime-avg" },
  { key: "acqBounces", heading: "acq-bounces" },
  { key: "acquisitions", heading: "acquisitions" },
  { key: "holdMinUsec", heading: "holdtime-min" },
  { key: "holdMaxUsec", heading: "holdtime-max" },
  { key: "holdTotalUsec", heading: "holdtime-total" },
  { key: "holdAvgUsec", heading: "holdtime-avg" },
];

/** The experiment. */
export const vmapContention: Experiment = {
  name: "vmap-contention",
  summary: "vmalloc/vfree pairs on N CPUs with one vmap node and with one a CPU: throughput and lock wait",
  description: `Every CPU allocates and frees areas of a few pages, one after the other, each touched once. 'one node' is how Linux was before
6.9; 'one a CPU' is Linux 6.12 (at most ${NODES_MAX} nodes). Pairs per second are of emulated time; the lock with most wait is
named as lock_stat names it.`,
  parameters: [
    { name: "cpus", kind: "list", low: 1, high: 1024, default: "1,2,4,8,16,32,64,128", summary: "numbers of CPUs" },
    { name: "pairs", kind: "number", low: 1, high: 100_000_000, default: "3000", summary: "pairs of each CPU" },
    {
      name: "pages",
      kind: "number",
      low: 1,
      high: 512,
      default: "4",
      summary: "most pages of an area (1 to this, at random)",
    },
    {
      name: "lazymax",
      kind: "number",
      low: 0,
      high: 2 ** 30,
      default: "0",
      summary: "lazily freed pages above which is purged, for each CPU; 0 for Linux's own lazy_max_pages",
    },
  ],
  settings: ["topology", "policy", "pti", "flush-ceiling", "ipi-mode"],
  example: "mmulab experiment vmap-contention --cpus 1,2,4,8,16 --csv",
  run,
};

function run(context: ExperimentContext): ExperimentOutcome {
  const { parameters, onProgress } = context;
  const cpuCounts = parameters.list("cpus");
  const cells: Cell[] = [];
  for (const setting of ["one node", "one a CPU"]) {
    for (const cpus of cpuCounts) {
      onProgress(cells.length, 2 * cpuCounts.length, `${setting}, ${cpus} CPUs`);
      cells.push(measure(context, cpus, setting));
    }
  }
  const most = Math.max(...cpuCounts);
  const series = ["one node", "one a CPU"].map((setting) => cells.filter((cell) => cell.setting === setting));
  return {
    tables: [
      {
        name: "contention",
        title: "vmalloc/vfree pairs",
        columns: [
          { key: "setting", heading: "vmap nodes" },
          { key: "nodes", heading: "nodes" },
          { key: "cpus", heading: "CPUs" },
          { key: "pairsPerSecond", heading: "pairs/s" },
          { key: "cyclesPerPair", heading: "cycles/pair" },
          { key: "lockWaitPercent", heading: "lock wait %" },
          { key: "mostWaitedFor", heading: "most waited for" },
          { key: "mostWaitCyclesPerPair", heading: "its wait/pair" },
          { key: "purges", heading: "purges" },
        ],
        rows: cells.map(({ row }) => row),
      },
      {
        name: "lock-stat",
        title: `Locks on ${most} CPUs, as /proc/lock_stat shows them (us)`,
        columns: LOCK_COLUMNS,
        rows: cells
          .filter(({ cpus }) => cpus === most)
          .flatMap((cell) => lockRows(cell, context.preset.frequencyGhz.value)),
      },
    ],
    plots: [
      {
        title: "Throughput",
        xName: "CPUs",
        yName: "vmalloc/vfree pairs per second",
        xLog: true,
        yLog: true,
        series: series.map((own) => ({
          name: own[0].setting,
          points: own.map(({ cpus, pairsPerSecond }): [number, number] => [cpus, pairsPerSecond]),
        })),
      },
      {
        title: "Time spent spinning for locks",
        xName: "CPUs",
        yName: "lock wait (% of all CPUs' time)",
        xLog: true,
        yLog: false,
        series: series.map((own) => ({
          name: own[0].setting,
          points: own.map(({ cpus, lockWaitPercent }): [number, number] => [cpus, lockWaitPercent]),
        })),
      },
    ],
    findings: cpuCounts.map((cpus, i) => {
      const ratio = (series[1][i].pairsPerSecond / series[0][i].pairsPerSecond).toFixed(2);
      return `${cpus} CPU${cpus === 1 ? "" : "s"}: one node a CPU is ${ratio} times as fast as one node.`;
    }),
  };
}

function lockRows({ setting, locks }: Cell, frequencyGhz: number): Value[][] {
  const usec = (cycles: number): number => Math.round(cycles / frequencyGhz / 10) / 100;
  return locks
    .filter(({ acquisitions }) => acquisitions > 0)
    .map((lock) => [
      setting,
      lock.name,
      lock.contentionBounces,
      lock.contentions,
      ...[lock.waitMinCycles, lock.waitMaxCycles, lock.waitTotalCycles, lock.waitAverageCycles].map(usec),
      lock.acquisitionBounces,
      lock.acquisitions,
      ...[lock.holdMinCycles, lock.holdMaxCycles, lock.holdTotalCycles, lock.holdAverageCycles].map(usec),
    ]);
}

function measure({ parameters, preset, seed, boot }: ExperimentContext, cpus: number, setting: string): Cell {
  const nodes = setting === "one node" ? 1 : Math.min(cpus, NODES_MAX);
  const lazyMax = parameters.number("lazymax");
  const kernel = boot(cpus, `${setting}, ${cpus} CPUs`, {
    vmalloc: { vmapNodes: nodes, ...(lazyMax > 0 ? { lazyMaxPages: lazyMax * cpus } : {}) },
  });
  const { vm, machine } = kernel;
  const { loop } = machine;
  const pairs = parameters.number("pairs");
  const pagesMax = parameters.number("pages");
  function* worker(cpu: number): KernelCode<void> {
    const random = randomStream(seed, cpu);
    for (let i = 0; i < pairs; i++) {
      while (loop.mustYield()) yield PAUSE_TURN;
      const address = yield* wait(vmalloc(vm, random.between(1, pagesMax) * PAGE_SIZE, "vmap_contention+0x0/0x0"));
      machine.cpus[cpu].touch(address);
      yield* wait(vfree(vm, address));
      if (loop.needsResched()) yield PAUSE_RESCHED;
    }
  }
  const begin = Math.max(...loop.clockCycles);
  for (let cpu = 0; cpu < cpus; cpu++) kernel.spawn(`worker/${cpu}`, cpu, worker(cpu));
  kernel.runUntilIdle();
  let elapsed = 0;
  let waited = 0;
  for (let cpu = 0; cpu < cpus; cpu++) {
    elapsed = Math.max(elapsed, loop.clockCycles[cpu] - begin);
    waited += loop.accounts.cycles(cpu, ACTIVITY_LOCK_WAIT);
  }
  const all = cpus * pairs;
  const pairsPerSecond = Math.round((all / elapsed) * preset.frequencyGhz.value * 1e9);
  const lockWaitPercent = Math.round((waited / (elapsed * cpus)) * 1000) / 10;
  // Workers sleep for the purge lock: nobody spins.
  const spun = lockStatistics(loop).filter(({ name }) => name !== "vmap_purge_lock");
  const [worst] = spun.sort((a, b) => b.waitTotalCycles - a.waitTotalCycles);
  return {
    nodes,
    setting,
    cpus,
    pairsPerSecond,
    lockWaitPercent,
    locks: lockStatistics(loop),
    row: [
      setting,
      nodes,
      cpus,
      pairsPerSecond,
      Math.round((elapsed * cpus) / all),
      lockWaitPercent,
      worst.waitTotalCycles > 0 ? worst.name : "-",
      Math.round(worst.waitTotalCycles / all),
      vm.purgesWithAreas,
    ],
  };
}
