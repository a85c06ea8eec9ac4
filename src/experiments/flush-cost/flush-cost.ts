/** `flush-cost`: what one flush costs, by their parts, and what one vunmap costs under lazy and eager freeing. */

import { INVLPGB_PAGES_MAX, type KernelCode, PAGE_SIZE, type Preset } from "../../../arch/index.ts";
import {
  DEFERRED_POLICY,
  FLUSH_POLICIES,
  type FlushCost,
  type FlushPolicy,
  flushTlbKernelRange,
  INVLPGB_POLICY,
  RAR_POLICY,
} from "../../../mm/index.ts";
import type { Kernel } from "../../machine/kernel.ts";
import { counted } from "../../report/counted.ts";
import { totalCycles } from "../../report/flush-costs.ts";
import type { Experiment, ExperimentContext, ExperimentOutcome } from "../base/experiment.ts";
import { kernelExperimentSettings } from "../base/kernel-settings.ts";
import { pointed } from "../base/points.ts";
import { policiesOf, policiesParameter } from "../base/policies.ts";
import { ResidentCpus } from "../base/resident-cpus.ts";
import { DataTable } from "../base/table.ts";
import { FLUSH_COLUMNS, type FlushRow, flushPlots } from "./flush-cost-plots.ts";
import { costPerMunmap, munmapPlot, munmapTable } from "./munmap-cost.ts";
import { costPerVunmap, vunmapFindings, vunmapPlot, vunmapTable } from "./vunmap-cost.ts";

/** Pages of the area whose parts are flushed. */
const AREA_PAGES = 513;

/** The experiment. */
export const flushCost: Experiment = {
  name: "flush-cost",
  summary: "what one flush costs in its parts, by CPUs, range and policy; lazy against eager vunmap",
  description: `CPU 0 flushes ranges of kernel addresses while the other CPUs work (under 'deferred': in user mode, isolated); every CPU
has a resident area whose pages it touches again afterwards. Columns, in cycles over all CPUs, per flush: work of the CPU
that flushes, its wait, what is stolen from the others, and the page walks that the flush made necessary.
The second table: one page of vmalloc'ed memory mapped, used and freed again and again on CPU 0, until lazy freeing has
purged: the cost of flushing per vunmap. The third: a page of a process with a thread on every CPU mapped, touched and unmapped,
when its address space has run for a while (under 'invlpgb' it has a global ASID by then).`,
  parameters: [
    {
      name: "cpus",
      kind: "integers",
      low: 1,
      high: 1024,
      default: [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024],
      summary: "numbers of CPUs",
    },
    {
      name: "pages",
      kind: "integers",
      unit: "pages",
      low: 1,
      high: AREA_PAGES,
      default: [1, 8, 33, 34, 513],
      summary: "pages of the range",
    },
    policiesParameter(
      FLUSH_POLICIES.map((policy) => policy.name),
      "flush policies; one that the preset cannot carry out is left out",
    ),
    {
      name: "resident",
      kind: "integer",
      unit: "pages",
      low: 0,
      high: 4096,
      default: 64,
      summary: "resident pages of each CPU",
    },
    { name: "rounds", kind: "integer", low: 1, high: 1000, default: 2, summary: "flushes measured for each cell" },
  ],
  settings: kernelExperimentSettings(["policy"], ["lazy-max", "vmap-nodes"]),
  example: "mmulab experiment flush-cost --cpus 1,16,128 --pages 1,33,34 --html flush-cost.html",
  headline: "totalCycles",
  sensitivityParameters: { cpus: "2,16", pages: "1,34" },
  run,
};

function run(context: ExperimentContext): ExperimentOutcome {
  const { parameters, preset, onProgress } = context;
  const cpuCounts = parameters.list("cpus");
  const policies = policiesOf(parameters);
  const possible = policies.filter((policy) => lacks(policy, preset) === null);
  const single = possible.filter((policy) => !policy.eager);
  const total = cpuCounts.length * (single.length + 2 * possible.length);
  let done = 0;
  const measured = <R extends object>(
    what: string,
    of: readonly FlushPolicy[],
    measure: (policy: FlushPolicy, cpus: number) => R,
  ): R[] => {
    const plan = of.flatMap((policy) => cpuCounts.map((cpus) => ({ policy, cpus })));
    const label = ({ policy, cpus }: { policy: FlushPolicy; cpus: number }) =>
      `${what}, ${policy.name}, ${counted(cpus, "CPU")}`;
    return context.points.each(plan, label, (point) => {
      onProgress(done++, total, label(point));
      return measure(point.policy, point.cpus);
    });
  };
  const pages = parameters.list("pages");
  const flushes = measured("flushes", single, (policy, cpus) => measureFlushes(context, policy, cpus, pages)).flat();
  const vunmaps = measured("vunmap", possible, (policy, cpus) => costPerVunmap(context, policy, cpus));
  const munmaps = measured("munmap", possible, (policy, cpus) => costPerMunmap(context, policy, cpus));
  const flushTable = new DataTable("flushes", "One flush: cycles over all CPUs", FLUSH_COLUMNS, flushes);
  const tables = [flushTable, vunmapTable(vunmaps), munmapTable(munmaps)];
  const leftOut = policies.filter((policy) => !possible.includes(policy));
  return {
    tables: tables.map((table) => table.toResult()),
    plots: [...flushPlots(flushTable), vunmapPlot(vunmaps), munmapPlot(munmaps)],
    findings: [
      ...leftOut.map((policy) => `${policy.name} is left out: ${preset.name} has no ${lacks(policy, preset)}.`),
      ...vunmapFindings(vunmaps),
    ],
  };
}

/** What a policy needs and CPUs of a preset do not have; null when nothing. */
function lacks(policy: FlushPolicy, { features }: Preset): string | null {
  if (policy === INVLPGB_POLICY && !features.invlpgb) return `INVLPGB (up to ${INVLPGB_PAGES_MAX} pages each)`;
  return policy === RAR_POLICY && !features.rar ? "remote actions (RAR)" : null;
}

function flushRow(
  policy: string,
  cpus: number,
  pages: number,
  isFull: boolean,
  cost: FlushCost,
  initiatorUsec: number,
): FlushRow {
  const { workCycles, waitCycles, stolenCycles, lineCycles, refillCycles } = cost;
  return {
    policy,
    cpus,
    pages,
    flushes: isFull ? "whole TLB" : "page by page",
    workCycles,
    waitCycles,
    stolenCycles,
    lineCycles,
    refillCycles,
    totalCycles: totalCycles(cost),
    initiatorUsec,
  };
}

/** The cost of flushes of each number of pages, on a machine of its own. */
function measureFlushes(
  { parameters, preset, boot, points }: ExperimentContext,
  policy: FlushPolicy,
  cpus: number,
  pageCounts: readonly number[],
): FlushRow[] {
  const isolatedCpus = policy === DEFERRED_POLICY ? Array.from({ length: cpus - 1 }, (_, i) => i + 1) : [];
  const kernel = boot(cpus, `flushes, ${policy.name}, ${counted(cpus, "CPU")}`, { flushPolicy: policy, isolatedCpus });
  const accounts = kernel.vm.flushing.keepAccounts();
  const resident = new ResidentCpus(kernel, parameters.number("resident"));
  const rounds = parameters.number("rounds");
  resident.touchAll();
  const { loop } = kernel.machine;
  let initiatorCycles = 0;
  function* timed(flush: KernelCode<void>): KernelCode<void> {
    const began = loop.nowCycles();
    yield* flush;
    initiatorCycles += loop.nowCycles() - began;
  }
  return pageCounts.map((pages) => {
    const point = points.mark(counted(pages, "page"));
    const first = accounts.records.length;
    initiatorCycles = 0;
    for (let round = 0; round < rounds; round++) {
      // New pages each time, so that only resident pages are ever touched again.
      const area = kernel.vmalloc(pages * PAGE_SIZE, "flushed+0x0/0x0");
      touchEverywhere(kernel, area, pages);
      resident.touchAll();
      const end = area + pages * PAGE_SIZE;
      resident.runAmongBusy(timed(flushTlbKernelRange(kernel.mm.flushing, area, end)), policy === DEFERRED_POLICY);
    }
    const cost = accounts.total((record) => record.id > first);
    const usec = Math.round(initiatorCycles / rounds / preset.frequencyGhz.value) / 1000;
    for (const part of Object.keys(cost) as (keyof FlushCost)[]) cost[part] /= rounds;
    return pointed(flushRow(policy.name, cpus, pages, accounts.records[first].full, cost, usec), point);
  });
}

/** Every CPU touches the pages that will be flushed. */
function touchEverywhere(kernel: Kernel, area: number, pages: number): void {
  for (const cpu of kernel.machine.cpus) {
    for (let page = 0; page < pages; page++) cpu.touch(area + page * PAGE_SIZE);
  }
}
