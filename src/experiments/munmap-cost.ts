/** What flushing costs per munmap of a process that has a thread on every CPU. */
import { compute, type KernelCode, PAGE_SIZE, PAUSE_TURN } from "../../arch/index.ts";
import { CHECK_EVERY_FLUSHES, type FlushPolicy, mmapPopulate, munmap, UserSpaces } from "../../mm/index.ts";
import { totalCycles } from "../report/flush-costs.ts";
import type { Column, ExperimentContext, Plot, Value } from "./experiment.ts";

/** Unmappings before those that are measured: enough for an address space to be given a global ASID and go over to it. */
const WARM_UP = CHECK_EVERY_FLUSHES + 4;
const MEASURED = 20;
const START = 0x40_0000;
const SLICE_CYCLES = 20_000;

/** The cost of flushing per munmap of a page on a machine of `cpus` CPUs. */
export interface MunmapCost {
  readonly policy: string;
  readonly cpus: number;
  readonly totalCycles: number;
  readonly row: readonly Value[];
}

/** Columns of {@link MunmapCost.row}. */
export const MUNMAP_COLUMNS: readonly Column[] = [
  { key: "policy", heading: "policy" },
  { key: "cpus", heading: "CPUs" },
  { key: "interruptedCpus", heading: "interrupted" },
  { key: "workCycles", heading: "work" },
  { key: "waitCycles", heading: "wait" },
  { key: "stolenCycles", heading: "stolen" },
  { key: "refillCycles", heading: "refills" },
  { key: "totalCycles", heading: "total" },
];

/** Thread 0 maps, touches and unmaps a page again and again; the others compute in user mode. */
export function costPerMunmap({ boot }: ExperimentContext, policy: FlushPolicy, cpus: number): MunmapCost {
  const isolatedCpus = policy.name === "deferred" ? Array.from({ length: cpus - 1 }, (_, i) => i + 1) : [];
  const kernel = boot(cpus, `munmap, ${policy.name}, ${cpus} CPUs`, { flushPolicy: policy, isolatedCpus });
  const { machine } = kernel;
  const { flushing } = kernel.mm;
  const { loop } = machine;
  const spaces = new UserSpaces(kernel.mm);
  const mm = spaces.makeMm();
  const accounts = flushing.keepAccounts();
  let done = false;
  function* unmapper(): KernelCode<void> {
    spaces.switchTo(mm);
    for (let i = 0; i < WARM_UP + MEASURED; i++) {
      // The others are in user mode by then, and see to what the last flush left them.
      if (loop.currentThread !== null) yield* compute(loop.currentThread, SLICE_CYCLES);
      while (loop.mustYield()) yield PAUSE_TURN;
      yield* mmapPopulate(spaces, mm, START, 1);
      machine.cpus[0].touch(START);
      yield* munmap(spaces, mm, START, START + PAGE_SIZE);
    }
    done = true;
  }
  function* worker(): KernelCode<void> {
    spaces.switchTo(mm);
    flushing.userMode.enterUser();
    while (!done && loop.currentThread !== null) yield* compute(loop.currentThread, SLICE_CYCLES);
    flushing.userMode.enterKernel();
  }
  for (let cpu = 1; cpu < cpus; cpu++) kernel.spawn(`worker/${cpu}`, cpu, worker());
  kernel.spawn("unmapper", 0, unmapper());
  kernel.runUntilIdle();
  const measured = new Set(accounts.records.filter(({ cause }) => cause === "munmap").slice(WARM_UP));
  const cost = accounts.total((record) => measured.has(record));
  const interrupted = [...measured].reduce((sum, record) => sum + record.interrupted, 0);
  const per = (cycles: number): number => Math.round(cycles / MEASURED);
  const parts = [cost.workCycles, cost.waitCycles, cost.stolenCycles, cost.refillCycles, totalCycles(cost)].map(per);
  return { policy: policy.name, cpus, totalCycles: parts[4], row: [policy.name, cpus, per(interrupted), ...parts] };
}

/** Cost per munmap against CPUs. */
export function munmapPlot(costs: readonly MunmapCost[]): Plot {
  return {
    title: "Flushing per munmap of a page, a thread on every CPU",
    xName: "CPUs",
    yName: "cycles per munmap, all CPUs",
    xLog: true,
    yLog: true,
    series: [...new Set(costs.map(({ policy }) => policy))].map((policy) => ({
      name: policy,
      points: costs
        .filter((cost) => cost.policy === policy)
        .map((cost): [number, number] => [cost.cpus, cost.totalCycles]),
    })),
  };
}
