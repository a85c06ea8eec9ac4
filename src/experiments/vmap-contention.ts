/** `vmap-contention`: vmalloc and vfree on many CPUs, with one vmap node and with one a CPU. */
import { ACTIVITY_LOCK_WAIT, type KernelCode, PAGE_SIZE, PAUSE_RESCHED, PAUSE_TURN } from "../../arch/index.ts";
import { type LockStatistics, lockStatistics, vfree, vmalloc, wait } from "../../mm/index.ts";
import { randomStream } from "../machine/random.ts";
import type { Experiment, ExperimentContext, ExperimentOutcome } from "./base/experiment.ts";
import { plotByKind } from "./base/plot.ts";
import { DataTable, type Row } from "./base/table.ts";

/** Most vmap nodes that Linux makes. */
const NODES_MAX = 128;

const SETTINGS = ["one node", "one a CPU"] as const;

const COLUMNS = {
  setting: { heading: "vmap nodes", text: true },
  nodes: { heading: "nodes" },
  cpus: { heading: "CPUs", axis: "CPUs" },
  pairsPerSecond: { heading: "pairs/s", axis: "vmalloc/vfree pairs per second" },
  cyclesPerPair: { heading: "cycles/pair" },
  lockWaitPercent: { heading: "lock wait %", axis: "lock wait (% of all CPUs' time)" },
  mostWaitedFor: { heading: "most waited for", text: true },
  mostWaitCyclesPerPair: { heading: "its wait/pair" },
  purges: { heading: "purges" },
} as const;

/** Columns of `/proc/lock_stat`, times in microseconds as there. */
const LOCK_COLUMNS = {
  setting: { heading: "vmap nodes", text: true },
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
  summary: "vmalloc/vfree pairs on N CPUs with one vmap node and with one a CPU: throughput and lock wait",
  description: `Every CPU allocates and frees areas of a few pages, one after the other, each touched once. 'one node' is how Linux was before
6.9; 'one a CPU' is Linux 6.12 (at most ${NODES_MAX} nodes). Pairs per second are of emulated time; the lock with most wait is
named as lock_stat names it.`,
  parameters: [
    {
      name: "cpus",
      kind: "integers",
      low: 1,
      high: 1024,
      default: [1, 2, 4, 8, 16, 32, 64, 128],
      summary: "numbers of CPUs",
    },
    { name: "pairs", kind: "integer", low: 1, high: 100_000_000, default: 3000, summary: "pairs of each CPU" },
    {
      name: "pages",
      kind: "integer",
      low: 1,
      high: 512,
      default: 4,
      summary: "most pages of an area (1 to this, at random)",
    },
    {
      name: "lazymax",
      kind: "integer",
      low: 0,
      high: 2 ** 30,
      default: 0,
      summary: "lazily freed pages above which is purged, for each CPU; 0 for Linux's own lazy_max_pages",
    },
  ],
  settings: ["kernel", "topology", "policy", "pti", "flush-ceiling", "ipi-mode"],
  example: "mmulab experiment vmap-contention --cpus 1,2,4,8,16 --csv",
  headline: "cyclesPerPair",
  run,
};

function run(context: ExperimentContext): ExperimentOutcome {
  const { parameters, onProgress } = context;
  const cpuCounts = parameters.list("cpus");
  const cells: Cell[] = [];
  for (const setting of SETTINGS) {
    for (const cpus of cpuCounts) {
      onProgress(cells.length, SETTINGS.length * cpuCounts.length, `${setting}, ${cpus} CPUs`);
      cells.push(measure(context, cpus, setting));
    }
  }
  const most = Math.max(...cpuCounts);
  const rows = cells.map(({ row }) => row);
  const table = new DataTable("contention", "vmalloc/vfree pairs", COLUMNS, rows);
  const locksTitle = `Locks on ${most} CPUs, as /proc/lock_stat shows them (us)`;
  const lockTable = new DataTable(
    "lock-stat",
    locksTitle,
    LOCK_COLUMNS,
    cells.filter(({ row }) => row.cpus === most).flatMap((cell) => lockRows(cell, context.preset.frequencyGhz.value)),
  );
  const settingOf = ({ setting }: Row<typeof COLUMNS>): string => setting;
  const throughput = (setting: string): number[] =>
    rows.filter((row) => row.setting === setting).map(({ pairsPerSecond }) => pairsPerSecond);
  const [one, many] = SETTINGS.map(throughput);
  return {
    tables: [table.toResult(), lockTable.toResult()],
    plots: [
      plotByKind(table, "cpus", "pairsPerSecond", { title: "Throughput", xLog: true, yLog: true }, settingOf),
      plotByKind(
        table,
        "cpus",
        "lockWaitPercent",
        { title: "Time spent spinning for locks", xLog: true, yLog: false },
        settingOf,
      ),
    ],
    findings: cpuCounts.map((cpus, i) => {
      const ratio = (many[i] / one[i]).toFixed(2);
      return `${cpus} CPU${cpus === 1 ? "" : "s"}: one node a CPU is ${ratio} times as fast as one node.`;
    }),
  };
}

function lockRows({ row, locks }: Cell, frequencyGhz: number): Row<typeof LOCK_COLUMNS>[] {
  const usec = (cycles: number): number => Math.round(cycles / frequencyGhz / 10) / 100;
  return locks
    .filter(({ acquisitions }) => acquisitions > 0)
    .map((lock) => ({
      setting: row.setting,
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
    locks: lockStatistics(loop),
    row: {
      setting,
      nodes,
      cpus,
      pairsPerSecond,
      cyclesPerPair: Math.round((elapsed * cpus) / all),
      lockWaitPercent,
      mostWaitedFor: worst.waitTotalCycles > 0 ? worst.name : "-",
      mostWaitCyclesPerPair: Math.round(worst.waitTotalCycles / all),
      purges: vm.purgesWithAreas,
    },
  };
}
