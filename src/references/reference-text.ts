/** The report of replayed references, for people and as CSV. */
import prettyBytes from "pretty-bytes";
import type { CounterSnapshot } from "../../arch/index.ts";
import { counted } from "../report/counted.ts";
import { renderGuest } from "../report/guest-text.ts";
import { grouped } from "../report/numbers.ts";
import { type PerfStatLine, renderPerfStat, renderPerfStatCsv } from "../report/perf-stat.ts";
import { renderTable } from "../report/tables.ts";
import { choiceTitle } from "../settings/choice-text.ts";
import type { Costly } from "./miss-profile.ts";
import { describePages } from "./page-rules.ts";
import type { ReferenceReport } from "./reference-replay.ts";
import { structureLines, structureTable } from "./structure-text.ts";

const PAGE_SIZE = 4096;
/** Rows of the working set's table. */
const ROWS_MAX = 16;
const BAR_WIDTH = 40;

/** The whole report; ends with a newline. */
export function renderReferenceReport(report: ReferenceReport): string {
  const stat = renderPerfStat(
    report.trace,
    `${choiceTitle(report.preset, report)}, ${report.kernel === undefined ? "" : `Linux ${report.kernel}, `}${describePages(report.pageSize)}`,
    referenceStatLines(report),
  );
  return `${stat}\n${translation(report)}\n${memory(report)}\n${structureTable(report.structures)}${guest(report)}${workingSet(report)}${overTime(report)}${costliest(report)}${oddLines(report)}`;
}

/**
 * The counters only, in the form of `perf stat -x`; with intervals in that of `perf stat -I -x`, each line beginning with the number
 * of the interval's first reference.
 */
export function renderReferenceCsv(report: ReferenceReport, separator: string): string {
  if (report.overTime === undefined)
    return renderPerfStatCsv([...referenceStatLines(report), ...structureLines(report.structures)], separator);
  return report.overTime.intervals
    .flatMap(({ from, counters }) =>
      Object.entries(counters).map(([event, count]) => [from, Math.round(count), "", event]),
    )
    .map((cells) => `${cells.join(separator)}\n`)
    .join("");
}

/** Several replays of a trace side by side, counter by counter, with the change from the first. */
export function renderComparison(names: readonly string[], reports: readonly ReferenceReport[]): string {
  const [first] = reports;
  const row = (name: string, of: (report: ReferenceReport) => number): string[] => [
    name,
    ...reports.flatMap((report, i) => {
      const value = Math.round(of(report)).toLocaleString("en-US");
      return i === 0 ? [value] : [value, change(of(first), of(report))];
    }),
  ];
  const events = referenceStatLines(first).map(({ event }) => event);
  const countOf = (report: ReferenceReport, event: string): number =>
    referenceStatLines(report).find((line) => line.event === event)?.count ?? 0;
  const rows = [
    row("references", ({ references }) => references),
    ...events.map((event) => row(event, (report) => countOf(report, event))),
    row("cycles of page walks", walkCycles),
    ...(reports.some((report) => report.guest !== undefined)
      ? [
          row("of these for entries of the second stage", secondStageCycles),
          row("memory faults in the host", hostFaults),
        ]
      : []),
    ...structureRows(reports),
    row("cycles", ({ cycles }) => cycles),
    row("bytes given", ({ memory: { mappedBytes } }) => mappedBytes),
  ];
  const headings = names.flatMap((name, i) => (i === 0 ? [name] : [name, "change"]));
  return `\n${first.trace}, the same references with each setting\n${renderTable(["", ...headings], rows)}`;
}

/** Misses of every structure that one of the settings has, with nothing where another has none of the name. */
function structureRows(reports: readonly ReferenceReport[]): string[][] {
  const missesOf = ({ structures }: ReferenceReport, name: string): number | null =>
    structures?.find(({ structure }) => structure === name)?.misses ?? null;
  const names = new Set(reports.flatMap(({ structures = [] }) => structures.map(({ structure }) => structure)));
  return [...names].map((name) => {
    const first = missesOf(reports[0], name);
    const cells = reports.flatMap((report, i) => {
      const misses = missesOf(report, name);
      const value = misses === null ? "" : misses.toLocaleString("en-US");
      if (i === 0) return [value];
      return [value, first === null || misses === null ? "" : change(first, misses)];
    });
    return [`${name} misses`, ...cells];
  });
}

function change(from: number, to: number): string {
  if (from === to) return "";
  return from === 0 ? "new" : `${to > from ? "+" : ""}${(((to - from) / from) * 100).toFixed(1)} %`;
}

/** The counters in the order in which they are shown. */
export function referenceStatLines(report: ReferenceReport): PerfStatLine[] {
  const { counters, instructions, memory } = report;
  const count = (event: string): PerfStatLine => ({ event, count: counters[event] });
  const misses = (event: string, of: string, cache: string): PerfStatLine => ({
    event,
    count: counters[event],
    metric: {
      value: percentage(counters[event], counters[of]),
      unit: `of all ${cache} cache accesses`,
      isPercentage: true,
    },
  });
  const lines: PerfStatLine[] = [
    { event: "instructions", count: instructions },
    count("dTLB-loads"),
    misses("dTLB-load-misses", "dTLB-loads", "dTLB"),
    count("dTLB-stores"),
    misses("dTLB-store-misses", "dTLB-stores", "dTLB"),
    count("iTLB-loads"),
    misses("iTLB-load-misses", "iTLB-loads", "iTLB"),
  ];
  for (const unit of ["dtlb_load_misses", "dtlb_store_misses", "itlb_misses"]) {
    lines.push(count(`${unit}.stlb_hit`), count(`${unit}.walk_completed`));
    lines.push(count(`${unit}.walk_completed_4k`), count(`${unit}.walk_completed_2m_4m`));
    lines.push({
      ...count(`${unit}.walk_active`),
      ...(instructions === 0
        ? {}
        : {
            metric: {
              value: counters[`${unit}.walk_active`] / instructions,
              unit: "cycles per insn",
              isPercentage: false,
            },
          }),
    });
  }
  lines.push(count("page-faults"), { event: "page-table-bytes", count: memory.tableBytes });
  return lines;
}

function guest({ guest }: ReferenceReport): string {
  return guest === undefined ? "" : `${renderGuest(guest)}\n`;
}

function translation(report: ReferenceReport): string {
  const { counters, instructions, frequencyGhz } = report;
  const walks = walkCycles(report);
  const hits = stlbHits(report);
  const seconds = (walks / (frequencyGhz * 1e9)).toFixed(6);
  return (
    ` ${Math.round(walks).toLocaleString("en-US")} cycles of page walks, ` +
    (instructions === 0 ? "" : `${(walks / instructions).toFixed(4)} an instruction, `) +
    `${seconds} s at ${frequencyGhz} GHz; ${hits.toLocaleString("en-US")} hits in the second-level TLB; ` +
    `${counters["page-faults"].toLocaleString("en-US")} page faults\n`
  );
}

/** Cycles of all page walks. */
function walkCycles({ counters }: ReferenceReport): number {
  return walkCyclesOf(counters);
}

function secondStageCycles({ counters }: ReferenceReport): number {
  return counters["second_stage.walk_active"] ?? 0;
}

function hostFaults({ guest }: ReferenceReport): number {
  return guest?.vcpus.reduce((sum, { faults }) => sum + faults, 0) ?? 0;
}

function walkCyclesOf(counters: CounterSnapshot): number {
  return (
    counters["dtlb_load_misses.walk_active"] +
    counters["dtlb_store_misses.walk_active"] +
    counters["itlb_misses.walk_active"]
  );
}

function stlbHits({ counters }: ReferenceReport): number {
  return (
    counters["dtlb_load_misses.stlb_hit"] + counters["dtlb_store_misses.stlb_hit"] + counters["itlb_misses.stlb_hit"]
  );
}

function memory(report: ReferenceReport): string {
  const { pagesTouched, mappedBytes, tablesByLevel, tableBytes } = report.memory;
  const levels = ["PTE", "PMD", "PUD", "PGD"].map((name, i) => `${tablesByLevel[i + 1]} ${name}`).join(", ");
  return `Memory\n${renderTable(
    ["", "count", ""],
    [
      ["4 KiB pages touched", pagesTouched, binary(pagesTouched * PAGE_SIZE)],
      [`memory given in ${describePages(report.pageSize)}`, "", binary(mappedBytes)],
      ["page tables", levels, binary(tableBytes)],
    ],
  )}`;
}

function workingSet(report: ReferenceReport): string {
  const { windowReferences, pages } = report.workingSet;
  const group = Math.max(1, Math.ceil(pages.length / ROWS_MAX));
  const most = pages.reduce((max, count) => Math.max(max, count), 0);
  const rows: string[][] = [];
  for (let first = 0; first < pages.length; first += group) {
    const count = pages.slice(first, first + group).reduce((max, each) => Math.max(max, each), 0);
    const bar = "#".repeat(Math.round((count / most) * BAR_WIDTH));
    const from = (first * windowReferences).toLocaleString("en-US");
    rows.push([`from ${from}`, count.toLocaleString("en-US"), binary(count * PAGE_SIZE), bar.padEnd(BAR_WIDTH)]);
  }
  const windows = counted(windowReferences, "reference", undefined, grouped);
  const largest = group === 1 ? "" : `, the largest of each ${group} windows`;
  const title = `Working set: different 4 KiB pages in ${windows}${largest}`;
  return `${title}\n${renderTable(["references", "pages", "", ""], rows)}`;
}

/** Misses and their cost by interval, the costliest of each group where there are many. */
function overTime({ overTime }: ReferenceReport): string {
  if (overTime === undefined || overTime.intervals.length === 0) return "";
  const { intervals, intervalReferences } = overTime;
  const group = Math.max(1, Math.ceil(intervals.length / ROWS_MAX));
  const cost = (i: number): number => walkCyclesOf(intervals[i].counters);
  const rows: string[][] = [];
  for (let start = 0; start < intervals.length; start += group) {
    let at = start;
    for (let i = start; i < Math.min(start + group, intervals.length); i++) if (cost(i) > cost(at)) at = i;
    const { from, counters } = intervals[at];
    const data = counters["dTLB-load-misses"] + counters["dTLB-store-misses"];
    const cells = [data, counters["iTLB-load-misses"], cost(at), counters["page-faults"]];
    rows.push([
      `from ${from.toLocaleString("en-US")}`,
      ...cells.map((each) => Math.round(each).toLocaleString("en-US")),
    ]);
  }
  const which = group === 1 ? "" : `, the costliest of each ${group} intervals`;
  const title = `\nMisses over time: in ${counted(intervalReferences, "reference", undefined, grouped)}${which}`;
  return `${title}\n${renderTable(["references", "dTLB", "iTLB", "walk cycles", "faults"], rows)}`;
}

/** What page walks were for. */
function costliest(report: ReferenceReport): string {
  if (report.costliest === undefined) return "";
  const all = walkCycles(report);
  const table = (title: string, places: readonly Costly[]): string => {
    if (places.length === 0) return "";
    const rows = places.map(({ address, walks, walkCycles }) => [
      address,
      walks.toLocaleString("en-US"),
      Math.round(walkCycles).toLocaleString("en-US"),
      `${percentage(walkCycles, all).toFixed(1)} %`,
    ]);
    return `\n${title}\n${renderTable(["address", "walks", "walk cycles", ""], rows)}`;
  };
  const { pages, ranges, instructions } = report.costliest;
  return (
    table("Costliest pages of 4 KiB", pages) +
    table("Costliest ranges of 2 MiB", ranges) +
    table("Costliest instructions (their fetch, loads and stores)", instructions)
  );
}

function oddLines({ format, oddLines, firstOddLine }: ReferenceReport): string {
  if (oddLines === undefined || oddLines === 0) return "";
  if (format !== "lackey") {
    const first = firstOddLine === 0 ? "" : `, the first in record ${firstOddLine}`;
    const records = counted(oddLines, "record has", "records have");
    return `\n${records} an address that is not canonical${first}; skipped\n`;
  }
  const lines = counted(oddLines, "line is no reference", "lines are no references");
  return `\n${lines} and no ${oddLines === 1 ? "message" : "messages"} of valgrind, the first at line ${firstOddLine}; skipped\n`;
}

function percentage(part: number, whole: number): number {
  return whole === 0 ? 0 : (part / whole) * 100;
}

function binary(sizeBytes: number): string {
  return prettyBytes(sizeBytes, { binary: true });
}
