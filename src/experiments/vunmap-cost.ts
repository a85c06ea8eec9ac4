/** What flushing costs per vunmap: lazy freeing shares one flush among very many, eager freeing has one for each. */
import { type KernelCode, PAGE_SIZE, PAUSE_RESCHED } from "../../arch/index.ts";
import { type FlushPolicy, vfree, vmalloc, wait } from "../../mm/index.ts";
import { grouped } from "../report/tables.ts";
import type { Column, ExperimentContext, Plot, Value } from "./experiment.ts";

/** Vunmaps measured with an eager policy, which has a flush for each. */
const EAGER_VUNMAPS = 50;
/** Purges that lazy freeing is measured over. */
const LAZY_PURGES = 2;

/** The cost of flushing per vunmap on a machine of `cpus` CPUs. */
export interface VunmapCost {
  readonly policy: string;
  readonly cpus: number;
  readonly totalCycles: number;
  readonly row: readonly Value[];
}

/** Columns of {@link VunmapCost.row}. */
export const VUNMAP_COLUMNS: readonly Column[] = [
  { key: "policy", heading: "policy" },
  { key: "cpus", heading: "CPUs" },
  { key: "vunmaps", heading: "vunmaps" },
  { key: "flushes", heading: "flushes" },
  { key: "workCycles", heading: "work" },
  { key: "waitCycles", heading: "wait" },
  { key: "stolenCycles", heading: "stolen" },
  { key: "totalCycles", heading: "total" },
];

/** Maps, uses and frees a page on CPU 0 until enough has been purged, or often enough under an eager policy. */
export function costPerVunmap({ boot }: ExperimentContext, policy: FlushPolicy, cpus: number): VunmapCost {
  const kernel = boot(cpus, `vunmap, ${policy.name}, ${cpus} CPUs`, { flushPolicy: policy });
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
  const { workCycles, waitCycles, stolenCycles } = accounts.total();
  const flushed = policy.eager
    ? vunmaps
    : accounts.frees.flush.subarray(0, accounts.frees.length).filter((id) => id > 0).length;
  const per = (cycles: number): number => Math.round((cycles / flushed) * 100) / 100;
  const totalCycles = per(workCycles + waitCycles + stolenCycles);
  const parts = [per(workCycles), per(waitCycles), per(stolenCycles), totalCycles];
  return {
    policy: policy.name,
    cpus,
    totalCycles,
    row: [policy.name, cpus, flushed, accounts.records.length, ...parts],
  };
}

/** Cost per vunmap against CPUs. */
export function vunmapPlot(costs: readonly VunmapCost[]): Plot {
  return {
    title: "Flushing per vunmap of a page, over all CPUs",
    xName: "CPUs",
    yName: "cycles per vunmap, all CPUs",
    xLog: true,
    yLog: true,
    series: [...new Set(costs.map(({ policy }) => policy))].map((policy) => ({
      name: policy,
      points: costs
        .filter((cost) => cost.policy === policy)
        .map(({ cpus, totalCycles }): [number, number] => [cpus, totalCycles]),
    })),
  };
}

/** How each policy's cost grows from the fewest to the most CPUs. */
export function vunmapFindings(costs: readonly VunmapCost[]): string[] {
  const growth = [...new Set(costs.map(({ policy }) => policy))].map((policy) => {
    const own = costs.filter((cost) => cost.policy === policy);
    const [first, last] = [own[0], own[own.length - 1]];
    const from = `${grouped(first.totalCycles)} cycles on ${first.cpus} CPU${first.cpus === 1 ? "" : "s"}`;
    return `${policy}: flushing per vunmap goes from ${from} to ${grouped(last.totalCycles)} on ${last.cpus}.`;
  });
  const most = Math.max(...costs.map(({ cpus }) => cpus));
  const at = (policy: string) => costs.find((cost) => cost.policy === policy && cost.cpus === most)?.totalCycles;
  const [eager, lazy] = [at("eager"), at("ipi")];
  if (eager === undefined || lazy === undefined) return growth;
  return [
    ...growth,
    `On ${most} CPU${most === 1 ? "" : "s"} an eager vunmap costs ${grouped(Math.round(eager / lazy))} times as much flushing as a lazy one.`,
  ];
}
