/** What one flush costs, as a table, and its plots: against CPUs and against its range, by policy, and its parts. */

import { counted } from "../../report/counted.ts";
import type { Plot } from "../base/experiment.ts";
import { plotByColumn, plotByKind } from "../base/plot.ts";
import type { DataTable, Row } from "../base/table.ts";

const PER_FLUSH = "cycles per flush, all CPUs";

/** Columns of a table of flushes. Costs are as exact as they were measured; the table shows whole cycles. */
export const FLUSH_COLUMNS = {
  policy: { heading: "policy", text: true },
  cpus: { heading: "CPUs", axis: "CPUs" },
  pages: { heading: "pages", axis: "pages of the range" },
  flushes: { heading: "flushes", text: true },
  workCycles: { heading: "work", axis: PER_FLUSH, curve: "initiator's work", rounded: true },
  waitCycles: { heading: "wait", axis: PER_FLUSH, curve: "initiator's wait", rounded: true },
  stolenCycles: { heading: "stolen", axis: PER_FLUSH, curve: "stolen from others", rounded: true },
  lineCycles: { heading: "lines", axis: PER_FLUSH, curve: "waiting for lines", rounded: true },
  refillCycles: { heading: "refills", axis: PER_FLUSH, curve: "refills", rounded: true },
  totalCycles: { heading: "total", axis: PER_FLUSH, rounded: true },
  initiatorUsec: { heading: "until done (us)" },
} as const;

/** What one flush of some pages costs on some CPUs under a policy. */
export type FlushRow = Row<typeof FLUSH_COLUMNS>;

/** All plots of a table of flushes. */
export function flushPlots(table: DataTable<typeof FLUSH_COLUMNS>): Plot[] {
  const { rows } = table;
  const policies = [...new Set(rows.map(policyOf))];
  const pageCounts = [...new Set(rows.map(({ pages }) => pages))];
  const pages = pageCounts[pageCounts.length - 1];
  const cpus = rows.reduce((most, row) => Math.max(most, row.cpus), 1);
  const onMostCpus = rows.filter((row) => row.cpus === cpus).sort((a, b) => a.pages - b.pages);
  const total = (x: "cpus" | "pages", title: string, own: readonly FlushRow[]): Plot =>
    plotByKind(table, x, "totalCycles", { title, xLog: true, yLog: true }, policyOf, own);
  return [
    ...pageCounts.map((count) => {
      const title = `One flush of ${counted(count, "page")} against CPUs, all parts`;
      return total(
        "cpus",
        title,
        rows.filter((row) => row.pages === count),
      );
    }),
    ...(pageCounts.length < 2
      ? []
      : [total("pages", `One flush on ${counted(cpus, "CPU")} against its range, all parts`, onMostCpus)]),
    ...policies.map((policy) => {
      const own = rows.filter((row) => row.policy === policy && row.pages === pages);
      const title = `Parts of a flush of ${counted(pages, "page")}, ${policy}`;
      return plotByColumn(table, "cpus", PARTS, { title, xLog: true, yLog: true }, own);
    }),
  ];
}

const PARTS = ["workCycles", "waitCycles", "stolenCycles", "lineCycles", "refillCycles"] as const;

function policyOf({ policy }: { readonly policy: string }): string {
  return policy;
}
