/** `vmalloc-pages`: what vmalloc and vfree of n pages cost one CPU, in pairs, and all allocated before the first is freed. */

import { type KernelCode, PAGE_SIZE, PAUSE_RESCHED, PAUSE_TURN } from "../../arch/index.ts";
import {
  __GFP_ZERO,
  __vmallocNode,
  GFP_KERNEL,
  GFP_KERNEL_ACCOUNT,
  NUMA_NO_NODE,
  vfree,
  wait,
} from "../../mm/index.ts";
import { counted } from "../report/counted.ts";
import type { Experiment, ExperimentContext, ExperimentOutcome } from "./base/experiment.ts";
import { costOfFurtherPage } from "./base/further-page.ts";
import { kernelExperimentSettings } from "./base/kernel-settings.ts";
import { plotByKind } from "./base/plot.ts";
import { DataTable, type Row } from "./base/table.ts";

const ORDERS = ["pairs", "all, then all"] as const;
/** Part of the areas that is not counted: lists, pools and slabs are past their start then. */
const WARM_UP_SHARE = 4;

const PER_AREA = "us an area, one CPU";
const COLUMNS = {
  order: { heading: "order", text: true },
  pages: { heading: "pages", axis: "pages of an area" },
  vmallocUsec: { heading: "vmalloc (us)", axis: PER_AREA },
  vfreeUsec: { heading: "vfree (us)", axis: PER_AREA },
  bothUsec: { heading: "both (us)", axis: PER_AREA },
  vmallocCycles: { heading: "vmalloc (cycles)" },
  vfreeCycles: { heading: "vfree (cycles)" },
  bothCycles: { heading: "both (cycles)" },
} as const;

/** The experiment. */
export const vmallocPages: Experiment = {
  name: "vmalloc-pages",
  summary: "vmalloc and vfree of n pages on one CPU: freed at once, and all allocated before any is freed",
  description: `One CPU allocates areas of n pages. 'pairs' frees each before the next, so that the same pages come back warm; 'all, then all'
allocates --areas of them and then frees them in the same order: pages come from the zones and are in no cache. Microseconds and
cycles are of one area, purges included.`,
  parameters: [
    {
      name: "pages",
      kind: "integers",
      unit: "pages",
      low: 1,
      high: 65_536,
      default: [1, 2, 4, 8, 16, 32, 64],
      summary: "pages",
    },
    { name: "areas", kind: "integer", low: 4, high: 1_000_000, default: 4000, summary: "areas of each measurement" },
    {
      name: "zero",
      kind: "boolean",
      default: false,
      summary: "pages are zeroed (vzalloc, init_on_alloc)",
    },
    {
      name: "account",
      kind: "boolean",
      default: false,
      summary: "pages are charged (GFP_KERNEL_ACCOUNT) to the cgroup of --memcg-levels",
    },
  ],
  settings: kernelExperimentSettings(["pti", "ipi-mode"]),
  example: "mmulab experiment vmalloc-pages --pages 1,4,16,64 --zero 1",
  headline: "bothCycles",
  sensitivityParameters: { pages: "1,8", areas: "500" },
  run,
};

function run(context: ExperimentContext): ExperimentOutcome {
  const { parameters, onProgress } = context;
  const points = ORDERS.flatMap((order) => parameters.list("pages").map((pages) => ({ order, pages })));
  const label = ({ order, pages }: (typeof points)[number]): string => `${order}, ${counted(pages, "page")}`;
  const rows = context.points.each(points, label, (point) => {
    onProgress(points.indexOf(point), points.length, label(point));
    return measure(context, point.order, point.pages);
  });
  const table = new DataTable("areas", "vmalloc and vfree, one CPU", COLUMNS, rows);
  const style = { title: "vmalloc and vfree of an area", xLog: true, yLog: true };
  const findings = ORDERS.flatMap((order) => {
    const own = rows.filter((row) => row.order === order);
    const further = costOfFurtherPage(own, ({ bothUsec }) => 1000 * bothUsec);
    return further === null ? [] : `${order}: a further page costs ${Math.round(further)} ns.`;
  });
  return {
    tables: [table.toResult()],
    plots: [plotByKind(table, "pages", "bothUsec", style, ({ order }) => order)],
    findings,
  };
}

function measure(context: ExperimentContext, order: string, pages: number): Row<typeof COLUMNS> {
  const { parameters, preset, boot } = context;
  const kernel = boot(1, `${order}, ${counted(pages, "page")}`);
  const { vm } = kernel;
  const { loop } = kernel.machine;
  const areas = parameters.number("areas");
  const warmUp = Math.floor(areas / WARM_UP_SHARE);
  const zero = parameters.isOn("zero") ? __GFP_ZERO : 0;
  const gfp = (parameters.isOn("account") ? GFP_KERNEL_ACCOUNT : GFP_KERNEL) | zero;
  let vmallocCycles = 0;
  let vfreeCycles = 0;
  function* alloc(isCounted: boolean): KernelCode<number> {
    const began = loop.nowCycles();
    const caller = "vmalloc_pages+0x0/0x0";
    const address = yield* wait(__vmallocNode(vm, pages * PAGE_SIZE, 1, gfp, NUMA_NO_NODE, caller));
    if (isCounted) vmallocCycles += loop.nowCycles() - began;
    return address;
  }
  function* free(address: number, isCounted: boolean): KernelCode<void> {
    const began = loop.nowCycles();
    yield* wait(vfree(vm, address));
    if (loop.needsResched()) yield PAUSE_RESCHED;
    while (loop.mustYield()) yield PAUSE_TURN;
    if (isCounted) vfreeCycles += loop.nowCycles() - began;
  }
  function* worker(): KernelCode<void> {
    if (order === "pairs") {
      for (let i = -warmUp; i < areas; i++) yield* free(yield* alloc(i >= 0), i >= 0);
      return;
    }
    for (const isCounted of [false, true]) {
      const addresses: number[] = [];
      for (let i = 0; i < areas; i++) addresses.push(yield* alloc(isCounted));
      for (const address of addresses) yield* free(address, isCounted);
    }
  }
  kernel.spawn("worker", 0, worker());
  kernel.runUntilIdle();
  const usec = (cycles: number): number => Math.round(cycles / areas / preset.frequencyGhz.value) / 1000;
  return {
    order,
    pages,
    vmallocUsec: usec(vmallocCycles),
    vfreeUsec: usec(vfreeCycles),
    bothUsec: usec(vmallocCycles + vfreeCycles),
    vmallocCycles: Math.round(vmallocCycles / areas),
    vfreeCycles: Math.round(vfreeCycles / areas),
    bothCycles: Math.round((vmallocCycles + vfreeCycles) / areas),
  };
}
