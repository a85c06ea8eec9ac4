/** The report of replayed references, for people and as CSV. */
import prettyBytes from "pretty-bytes";
import { type PerfStatLine, renderPerfStat, renderPerfStatCsv } from "../report/perf-stat.ts";
import { renderTable } from "../report/tables.ts";
import { choiceTitle } from "../settings/figure-choice.ts";
import type { ReferenceReport } from "./reference-replay.ts";

const PAGE_SIZE = 4096;
/** Rows of the working set's table. */
const ROWS_MAX = 16;
const BAR_WIDTH = 40;

/** The whole report; ends with a newline. */
export function renderReferenceReport(report: ReferenceReport): string {
  const pages = report.pageSize === "4K" ? "4 KiB" : "2 MiB";
  const stat = renderPerfStat(
    report.trace,
    `${choiceTitle(report.preset, report)}, ${pages} pages`,
    referenceStatLines(report),
  );
  return `${stat}\n${translation(report)}\n${memory(report)}\n${workingSet(report)}${oddLines(report)}`;
}

/** The counters only, in `perf stat -x`'s form. */
export function renderReferenceCsv(report: ReferenceReport, separator: string): string {
  return renderPerfStatCsv(referenceStatLines(report), separator);
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
      [`memory given in ${report.pageSize === "4K" ? "4 KiB" : "2 MiB"} pages`, "", binary(mappedBytes)],
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
  const windows = windowReferences.toLocaleString("en-US");
  const largest = group === 1 ? "" : `, the largest of each ${group} windows`;
  const title = `Working set: different 4 KiB pages in ${windows} references${largest}`;
  return `${title}\n${renderTable(["references", "pages", "", ""], rows)}`;
}

function oddLines({ format, oddLines, firstOddLine }: ReferenceReport): string {
  if (oddLines === undefined || oddLines === 0) return "";
  if (format !== "lackey") {
    const first = firstOddLine === 0 ? "" : `, the first in record ${firstOddLine}`;
    return `\n${oddLines} records have an address that is not canonical${first}; those were skipped\n`;
  }
  return `\n${oddLines} lines are no references and no messages of valgrind, the first at line ${firstOddLine}; they were skipped\n`;
}

function percentage(part: number, whole: number): number {
  return whole === 0 ? 0 : (part / whole) * 100;
}

function binary(sizeBytes: number): string {
  return prettyBytes(sizeBytes, { binary: true });
}
