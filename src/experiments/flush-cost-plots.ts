/** Plots of `flush-cost`: one flush against CPUs and against its range, by policy, and its parts. */
import type { FlushCost } from "../../mm/index.ts";
import { totalCycles } from "../report/flush-costs.ts";
import type { Plot } from "./experiment.ts";

/** What one flush of `pages` pages costs on `cpus` CPUs under a policy. */
export interface FlushCostCell {
  readonly policy: string;
  readonly cpus: number;
  readonly pages: number;
  readonly full: boolean;
  readonly cost: FlushCost;
}

const PARTS = [
  { part: "workCycles", name: "initiator's work" },
  { part: "waitCycles", name: "initiator's wait" },
  { part: "stolenCycles", name: "stolen from others" },
  { part: "refillCycles", name: "refills" },
] as const;

/** All plots of a set of cells. */
export function flushPlots(cells: readonly FlushCostCell[]): Plot[] {
  const policies = [...new Set(cells.map(({ policy }) => policy))];
  const pageCounts = [...new Set(cells.map(({ pages }) => pages))];
  const pages = pageCounts[pageCounts.length - 1];
  const cpus = cells.reduce((most, cell) => Math.max(most, cell.cpus), 1);
  const parts = (title: string, own: readonly FlushCostCell[], xName: string, x: "cpus" | "pages"): Plot => ({
    title,
    xName,
    yName: "cycles per flush, all CPUs",
    xLog: true,
    yLog: true,
    series: PARTS.map(({ part, name }) => ({
      name,
      points: own.map((cell): [number, number] => [cell[x], cell.cost[part]]),
    })),
  });
  return [
    ...pageCounts.map(
      (count): Plot => ({
        title: `One flush of ${count} page${count === 1 ? "" : "s"} against CPUs, all four parts`,
        xName: "CPUs",
        yName: "cycles per flush, all CPUs",
        xLog: true,
        yLog: true,
        series: policies.map((policy) => ({
          name: policy,
          points: cells
            .filter((cell) => cell.policy === policy && cell.pages === count)
            .map((cell): [number, number] => [cell.cpus, totalCycles(cell.cost)]),
        })),
      }),
    ),
    ...(pageCounts.length < 2
      ? []
      : [
          {
            title: `One flush on ${cpus} CPU${cpus === 1 ? "" : "s"} against its range, all four parts`,
            xName: "pages of the range",
            yName: "cycles per flush, all CPUs",
            xLog: true,
            yLog: true,
            series: policies.map((policy) => ({
              name: policy,
              points: cells
                .filter((cell) => cell.policy === policy && cell.cpus === cpus)
                .map((cell): [number, number] => [cell.pages, totalCycles(cell.cost)])
                .sort(([a], [b]) => a - b),
            })),
          },
        ]),
    ...policies.map((policy) =>
      parts(
        `Parts of a flush of ${pages} page${pages === 1 ? "" : "s"}, ${policy}`,
        cells.filter((cell) => cell.policy === policy && cell.pages === pages),
        "CPUs",
        "cpus",
      ),
    ),
  ];
}
