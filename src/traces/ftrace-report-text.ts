/** The report of a replayed ftrace trace, for people. */
import prettyBytes from "pretty-bytes";
import { counted } from "../report/counted.ts";
import { figureSentence } from "../report/figures.ts";
import { renderFlushCosts } from "../report/flush-costs.ts";
import { renderGuest } from "../report/guest-text.ts";
import { grouped } from "../report/numbers.ts";
import { type Cell, renderTable } from "../report/tables.ts";
import type { FtraceReport } from "./ftrace-report.ts";
import type { InterruptCount, ReasonCount } from "./traced-shootdowns.ts";

/** Tasks in a report, in the order of what they cost. */
const TASKS_SHOWN = 10;

/** The whole report; ends with a newline. */
export function renderFtraceReport(report: FtraceReport): string {
  const { machine, policy, lazyMaxPages } = report;
  const words = Object.entries(machine.settings ?? {}).map(([name, value]) => `${name} ${value}`);
  const given = words.length === 0 ? "" : `  ${words.join("; ")}\n`;
  const title =
    `${report.trace}: replayed on ${counted(machine.cpus, "CPU")} (${machine.preset}, ${machine.frequencyGhz} GHz), ` +
    `Linux ${report.kernel}, flush policy ${policy}, lazy_max_pages ${grouped(lazyMaxPages)}\n${given}`;
  const flushes = report.flushCosts === undefined ? activities(report) : renderFlushCosts(report.flushCosts);
  return [
    title,
    areas(report),
    costs(report),
    shootdowns(report),
    calls(report),
    tasks(report),
    flushes,
    report.guest === undefined ? "" : renderGuest(report.guest),
    differences(report),
    skipped(report),
  ]
    .filter((part) => part !== "")
    .join("\n");
}

function areas(report: FtraceReport): string {
  const { traced, areas } = report;
  const seconds = `${traced.seconds.toFixed(6)} s on ${counted(traced.cpus, "CPU")}`;
  return `Areas\n${renderTable(
    ["", "emulated", "traced"],
    [
      ["areas allocated", areas.allocated, seconds],
      ["  their address space", binary(areas.bytes), ""],
      ["  at the traced address", areas.atTracedAddress, ""],
      ["areas freed", areas.freed, ""],
      ["allocations that failed", areas.failed, ""],
      ["areas live at the end", areas.live, ""],
      ["purges", report.purges, grouped(traced.purges)],
      ["areas purged", report.areasPurged, grouped(traced.areasPurged)],
      ["flushes of whole TLBs", report.fullFlushes, traced.flushes === undefined ? "" : grouped(traced.flushes.whole)],
      [
        "flushes page by page",
        report.rangeFlushes,
        traced.flushes === undefined ? "" : grouped(traced.flushes.pageByPage),
      ],
      ...pageFaults(report),
      ["a purge is due above (pages)", report.lazyMaxPages, grouped(traced.lazyMaxPages)],
    ],
  )}`;
}

function pageFaults({ pageFaults }: FtraceReport): Cell[][] {
  if (pageFaults === undefined) return [];
  const { traced, emulated } = pageFaults;
  return [
    ["page faults of user mode", emulated, grouped(traced.user)],
    ["page faults of the kernel", "", grouped(traced.kernel)],
  ];
}

function costs(report: FtraceReport): string {
  const { areas, flushCost, machine } = report;
  const row = (name: string, cycles: number, count: number): Cell[] => [
    name,
    Math.round(cycles),
    `${(cycles / machine.frequencyGhz / 1e6).toFixed(3)} ms`,
    count === 0 ? "" : grouped(Math.round(cycles / count)),
  ];
  const flushes = report.fullFlushes + report.rangeFlushes;
  const parts =
    flushCost.workCycles +
    flushCost.waitCycles +
    flushCost.stolenCycles +
    flushCost.lineCycles +
    flushCost.refillCycles;
  return `Cost\n${renderTable(
    ["", "cycles", "time", "each"],
    [
      row("allocating", report.allocCycles, areas.allocated),
      row("freeing", report.freeCycles, areas.freed),
      row("flushing, in all", parts, flushes),
      row("  work of the CPU that flushes", flushCost.workCycles, flushes),
      row("  its wait for the others", flushCost.waitCycles, flushes),
      row("  stolen from other CPUs", flushCost.stolenCycles, flushes),
      row("  waiting for lines", flushCost.lineCycles, flushes),
      row("  walks that refill the TLBs", flushCost.refillCycles, flushCost.refills),
    ],
  )}  ${figureSentence(machine.figures)}\n`;
}

/** What the traced kernel measured of its shootdowns, beside the emulated ones. */
function shootdowns({ shootdowns }: FtraceReport): string {
  if (shootdowns === undefined) return "";
  const { flushes, interrupts } = shootdowns;
  const rows: Cell[][] = [];
  const reasons = new Set([...(flushes?.traced ?? []), ...(flushes?.emulated ?? [])].map(({ reason }) => reason));
  for (const reason of reasons) {
    const of = (list: readonly ReasonCount[] = []): ReasonCount =>
      list.find((each) => each.reason === reason) ?? { reason, whole: 0, pageByPage: 0, pages: 0 };
    const [here, there] = [of(flushes?.emulated), of(flushes?.traced)];
    rows.push([`${reason}: whole`, here.whole, there.whole]);
    rows.push(["  page by page", here.pageByPage, there.pageByPage], ["  their pages", here.pages, there.pages]);
  }
  if (interrupts !== undefined) {
    const { emulated, traced } = interrupts;
    const usec = ({ handlers, handlerSeconds }: InterruptCount): string =>
      handlers === 0 ? "" : ((handlerSeconds / handlers) * 1e6).toFixed(2);
    rows.push(["interrupts sent", emulated.sent, traced.sent], ["  handlers", emulated.handlers, traced.handlers]);
    rows.push(["  us each", usec(emulated), usec(traced)]);
  }
  return `Shootdowns: tlb_flush by reason, and interrupts between CPUs\n${renderTable(["", "emulated", "traced"], rows)}`;
}

function calls(report: FtraceReport): string {
  if (report.calls === undefined) return "";
  const { frequencyGhz } = report.machine;
  const rows = Object.entries(report.calls).map(([name, cost]): Cell[] => {
    const usec = (seconds: number): string => (cost.made === 0 ? "" : ((seconds / cost.made) * 1e6).toFixed(2));
    return [name, cost.made, cost.failed, usec(cost.cycles / frequencyGhz / 1e9), usec(cost.tracedSeconds)];
  });
  return `Calls\n${renderTable(["", "made", "failed", "us each", "us each, traced"], rows)}`;
}

function tasks(report: FtraceReport): string {
  const { byTask = [] } = report;
  if (byTask.length === 0) return "";
  const rows = byTask
    .slice(0, TASKS_SHOWN)
    .map((each): Cell[] => [
      each.task,
      each.calls,
      Math.round(each.cycles),
      each.flushes,
      Math.round(each.flushCycles),
    ]);
  const more = byTask.length > TASKS_SHOWN ? `  and ${byTask.length - TASKS_SHOWN} more tasks (--json)\n` : "";
  return `By task: cycles of its calls, and all that the flushes which it made cost\n${renderTable(
    ["task", "calls", "cycles", "flushes", "flushing"],
    rows,
  )}${more}`;
}

function differences({ differences }: FtraceReport): string {
  if (differences.length === 0) return "";
  return `Not as in the traced kernel\n${differences.map((line) => `  ${line}\n`).join("")}`;
}

function activities(report: FtraceReport): string {
  const rows = Object.entries(report.cyclesByActivity).map(([name, cycles]): Cell[] => [name, Math.round(cycles)]);
  return `Cycles of all CPUs\n${renderTable(["activity", "cycles"], rows)}`;
}

function skipped(report: FtraceReport): string {
  const losses = report.lost.map(({ cpu, events }) => {
    return `  ${events === null ? "an unknown number of events" : counted(events, "event", undefined, grouped)} lost on CPU ${cpu}\n`;
  });
  if (report.skipped.length === 0 && losses.length === 0) return "";
  const rows = report.skipped.map(({ reason, count, lines }) => {
    const more = count > lines.length ? ", ..." : "";
    return `  ${counted(count, "line", undefined, grouped)}: ${reason} (line ${lines.join(", ")}${more})\n`;
  });
  return `Not used, or with a doubt\n${losses.join("")}${rows.join("")}`;
}

function binary(sizeBytes: number): string {
  return prettyBytes(sizeBytes, { binary: true });
}
