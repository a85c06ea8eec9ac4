/** What the host of a guest did, for people. */
import prettyBytes from "pretty-bytes";
import { counted } from "./counted.ts";
import type { GuestReport } from "./guest.ts";
import { grouped } from "./numbers.ts";
import { type Cell, renderTable } from "./tables.ts";

/** The report for people; ends with a newline. */
export function renderGuest(report: GuestReport): string {
  const { vcpus, physicalCpus, hostPages, memoryBytes, tablePages } = report;
  const row = (name: string, of: GuestReport["vcpus"][number]): Cell[] => [
    name,
    of.faults,
    of.icrWrites,
    Math.round(of.exitCycles),
    of.secondStageWalks,
    Math.round(of.secondStageCycles),
    of.preemptions,
    Math.round(of.stolenCycles),
  ];
  const rows = vcpus.map((each, id) => row(`vCPU ${id}`, each));
  if (vcpus.length > 1) rows.push(row("all", sumOf(vcpus)));
  const headings = [
    "",
    "memory faults",
    "ICR writes",
    "cycles in host",
    "second-stage walks",
    "their cycles",
    "preempted",
    "stolen",
  ];
  const { unmapped, balloon } = report;
  const taken =
    unmapped === undefined
      ? ""
      : `  ${shown(unmapped.pages, "page")} taken away again, vCPUs kicked ${shown(unmapped.kicks, "time")}\n`;
  const ballooned =
    balloon === undefined
      ? ""
      : `  balloon: inflated ${shown(balloon.inflations, "time")}, emptied ${shown(balloon.deflations, "time")}, ${shown(balloon.pagesGiven, "page")} given to the host\n`;
  const given = prettyBytes(memoryBytes, { binary: true });
  return `Guest: ${counted(vcpus.length, "vCPU")} on ${counted(physicalCpus, "CPU")}, ${given} of memory mapped by the host in pages of ${hostPages}, ${shown(tablePages, "page")} of its tables\n${renderTable(headings, rows)}${taken}${ballooned}`;
}

function shown(count: number, one: string): string {
  return counted(count, one, undefined, grouped);
}

function sumOf(vcpus: GuestReport["vcpus"]): GuestReport["vcpus"][number] {
  const sum = { ...vcpus[0] };
  for (const each of vcpus.slice(1)) {
    for (const key of Object.keys(sum) as (keyof typeof sum)[]) sum[key] += each[key];
  }
  return sum;
}
