/** What flushing costs per vunmap: lazy freeing shares one flush among very many, eager freeing has one for each. */

import { type KernelCode, PAGE_SIZE, PAUSE_RESCHED } from "../../../arch/index.ts";
import { type FlushPolicy, vfree, vmalloc, wait } from "../../../mm/index.ts";
import { counted } from "../../report/counted.ts";
import { grouped } from "../../report/numbers.ts";
import type { ExperimentContext, Plot } from "../base/experiment.ts";
import { plotByKind } from "../base/plot.ts";
import { DataTable, type Row } from "../base/table.ts";

/** Vunmaps measured with an eager policy, which has a flush for each. */
const EAGER_VUNMAPS = 50;
/** Purges that lazy freeing is measured over. */
const LAZY_PURGES = 2;

const COLUMNS = {
  policy: { heading: "policy", text: true },
  cpus: { heading: "CPUs", axis: "CPUs" },
  vunmaps: { heading: "vunmaps" },
  flushes: { heading: "flushes" },
  workCycles: { heading: "work" },
  waitCycles: { heading: "wait" },
  stolenCycles: { heading: "stolen" },
  lineCycles: { heading: "lines" },
  totalCycles: { heading: "total", axis: "cycles per vunmap, all CPUs" },
} as const;

/** The cost of flushing per vunmap under a policy on some CPUs. */
export type VunmapRow = Row<typeof COLUMNS>;

/** Maps, uses and frees a page on CPU 0 until enough has been purged, or often enough under an eager policy. */
export function costPerVunmap({ boot }: ExperimentContext, policy: FlushPolicy, cpus: number): VunmapRow {
  const kernel = boot(cpus, `vunmap, ${policy.name}, ${counted(cpus, "CPU")}`, { flushPolicy: policy });
  const { vm, machine } = kernel;
  const accounts = vm.flushing.keepAccounts({ refills: false });
  let vunmaps = 0;
  const isEnough = () => (policy.eager ? vunmaps === EAGER_VUNMAPS : vm.purgesWithAreas >= LAZY_PURGES);
  function* pairs(): KernelCode<void> {
    while (!isEnough()) {
      const address = yield* wait(vmalloc(vm, PAGE_SIZE, "vunmap_cost+0x0/0x0"));
      machine.cpus[0].touch(address);
      yield* wait(vfree(vm, address));
      vunmaps++;
      if (machine.loop.needsResched()) yield PAUSE_RESCHED;
    }
  }
  kernel.spawn("pairs", 0, pairs());
  kernel.runUntilIdle();
  const { workCycles, waitCycles, stolenCycles, lineCycles } = accounts.total();
  const flushed = policy.eager
    ? vunmaps
    : accounts.frees.flush.subarray(0, accounts.frees.length).filter((id) => id > 0).length;
  const per = (cycles: number): number => Math.round((cycles / flushed) * 100) / 100;
  return {
    policy: policy.name,
    cpus,
    vunmaps: flushed,
    flushes: accounts.records.length,
    workCycles: per(workCycles),
    waitCycles: per(waitCycles),
    stolenCycles: per(stolenCycles),
    lineCycles: per(lineCycles),
    totalCycles: per(workCycles + waitCycles + stolenCycles + lineCycles),
  };
}

/** A row for each policy and number of CPUs. */
export function vunmapTable(rows: readonly VunmapRow[]): DataTable<typeof COLUMNS> {
  return new DataTable("vunmaps", "One vunmap of a page: cycles of flushing over all CPUs", COLUMNS, rows);
}

/** Cost per vunmap against CPUs. */
export function vunmapPlot(rows: readonly VunmapRow[]): Plot {
  const style = { title: "Flushing per vunmap of a page, over all CPUs", xLog: true, yLog: true };
  return plotByKind(vunmapTable(rows), "cpus", "totalCycles", style, ({ policy }) => policy);
}

/** How each policy's cost grows from the fewest to the most CPUs. */
export function vunmapFindings(costs: readonly VunmapRow[]): string[] {
  const growth = [...new Set(costs.map(({ policy }) => policy))].map((policy) => {
    const own = costs.filter((cost) => cost.policy === policy);
    const [first, last] = [own[0], own[own.length - 1]];
    const from = `${grouped(first.totalCycles)} cycles on ${counted(first.cpus, "CPU")}`;
    return `${policy}: flushing per vunmap goes from ${from} to ${grouped(last.totalCycles)} on ${last.cpus}.`;
  });
  const most = Math.max(...costs.map(({ cpus }) => cpus));
  const at = (policy: string) => costs.find((cost) => cost.policy === policy && cost.cpus === most)?.totalCycles;
  const [eager, lazy] = [at("eager"), at("ipi")];
  if (eager === undefined || lazy === undefined) return growth;
  return [
    ...growth,
    `On ${counted(most, "CPU")} an eager vunmap costs ${grouped(Math.round(eager / lazy))} times as much flushing as a lazy one.`,
  ];
}
