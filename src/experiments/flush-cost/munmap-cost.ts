/** What flushing costs per munmap of a process that has a thread on every CPU. */

import { compute, type KernelCode, PAGE_SIZE, PAUSE_TURN } from "../../../arch/index.ts";
import { CHECK_EVERY_FLUSHES, type FlushPolicy, mmapPopulate, munmap, UserSpaces } from "../../../mm/index.ts";
import { counted } from "../../report/counted.ts";
import { totalCycles } from "../../report/flush-costs.ts";
import { computeUntil } from "../base/busy-cpu.ts";
import type { ExperimentContext, Plot } from "../base/experiment.ts";
import { plotByKind } from "../base/plot.ts";
import { DataTable, type Row } from "../base/table.ts";

/** Unmappings before those that are measured: enough for an address space to be given a global ASID and go over to it. */
const WARM_UP = CHECK_EVERY_FLUSHES + 4;
const MEASURED = 20;
const START = 0x40_0000;
/** What the unmapper computes between two munmaps, in cycles. */
const BETWEEN_CYCLES = 20_000;

const COLUMNS = {
  policy: { heading: "policy", text: true },
  cpus: { heading: "CPUs", axis: "CPUs" },
  interruptedCpus: { heading: "interrupted" },
  workCycles: { heading: "work" },
  waitCycles: { heading: "wait" },
  stolenCycles: { heading: "stolen" },
  lineCycles: { heading: "lines" },
  refillCycles: { heading: "refills" },
  totalCycles: { heading: "total", axis: "cycles per munmap, all CPUs" },
} as const;

/** The cost of flushing per munmap of a page under a policy on some CPUs. */
export type MunmapRow = Row<typeof COLUMNS>;

/** Thread 0 maps, touches and unmaps a page again and again; the others compute in user mode. */
export function costPerMunmap({ boot }: ExperimentContext, policy: FlushPolicy, cpus: number): MunmapRow {
  const isolatedCpus = policy.name === "deferred" ? Array.from({ length: cpus - 1 }, (_, i) => i + 1) : [];
  const kernel = boot(cpus, `munmap, ${policy.name}, ${counted(cpus, "CPU")}`, { flushPolicy: policy, isolatedCpus });
  const { machine } = kernel;
  const { flushing } = kernel.mm;
  const { loop } = machine;
  const spaces = new UserSpaces(kernel.mm);
  const mm = spaces.mmAlloc();
  const accounts = flushing.keepAccounts();
  let done = false;
  function* unmapper(): KernelCode<void> {
    spaces.switchTo(mm);
    for (let i = 0; i < WARM_UP + MEASURED; i++) {
      // The others are in user mode by then, and see to what the last flush left them.
      if (loop.currentThread !== null) yield* compute(loop.currentThread, BETWEEN_CYCLES);
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
    yield* computeUntil(loop, () => done);
    flushing.userMode.enterKernel();
  }
  for (let cpu = 1; cpu < cpus; cpu++) kernel.spawn(`worker/${cpu}`, cpu, worker());
  kernel.spawn("unmapper", 0, unmapper());
  kernel.runUntilIdle();
  const measured = new Set(accounts.records.filter(({ cause }) => cause === "munmap").slice(WARM_UP));
  const cost = accounts.total((record) => measured.has(record));
  const interrupted = [...measured].reduce((sum, record) => sum + record.interrupted, 0);
  const per = (cycles: number): number => Math.round(cycles / MEASURED);
  return {
    policy: policy.name,
    cpus,
    interruptedCpus: per(interrupted),
    workCycles: per(cost.workCycles),
    waitCycles: per(cost.waitCycles),
    stolenCycles: per(cost.stolenCycles),
    lineCycles: per(cost.lineCycles),
    refillCycles: per(cost.refillCycles),
    totalCycles: per(totalCycles(cost)),
  };
}

/** A row for each policy and number of CPUs. */
export function munmapTable(rows: readonly MunmapRow[]): DataTable<typeof COLUMNS> {
  const title = "One munmap of a page in a process with a thread on every CPU: cycles of flushing over all CPUs";
  return new DataTable("munmaps", title, COLUMNS, rows);
}

/** Cost per munmap against CPUs. */
export function munmapPlot(rows: readonly MunmapRow[]): Plot {
  const title = "Flushing per munmap of a page, a thread on every CPU";
  const style = { title, xLog: true, yLog: true };
  return plotByKind(munmapTable(rows), "cpus", "totalCycles", style, ({ policy }) => policy);
}
