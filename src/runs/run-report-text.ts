/** The report of a run, for people to read. */

import prettyBytes from "pretty-bytes";
import { sumCounters } from "../../arch/index.ts";
import { counted } from "../report/counted.ts";
import { figureSentence } from "../report/figures.ts";
import { renderFlushCosts } from "../report/flush-costs.ts";
import { renderGuest } from "../report/guest-text.ts";
import { grouped } from "../report/numbers.ts";
import { type Cell, renderTable } from "../report/tables.ts";
import { type TlbCounts, tlbCounts } from "../report/tlb-counts.ts";
import type { RunReport } from "./run-report.ts";

const PAGE_SIZE = 4096;
/** Lines of the kernel's log in a report. */
const WARNINGS_SHOWN = 20;

/** The whole report; ends with a newline. */
export function renderRunReport(report: RunReport): string {
  const { machine } = report;
  const { settings = {} } = machine;
  const given = Object.entries(settings).map(([name, value]) => `${name} ${value}`);
  const title = `${report.workload}: ${counted(machine.cpus, "CPU")} (${machine.preset}), ${binary(machine.memoryBytes)} of memory, seed ${report.seed}`;
  const own = report.lines === undefined ? [] : [report.lines.map((line) => `${line}\n`).join("")];
  const guest = report.guest === undefined ? [] : [renderGuest(report.guest)];
  const costs = report.flushCosts === undefined ? [] : [renderFlushCosts(report.flushCosts)];
  const sections = [
    ...own,
    operations(report),
    mappings(report),
    tlbs(report),
    ...guest,
    purging(report),
    ...costs,
    cpus(report),
  ];
  return `${title}\n${given.length === 0 ? "" : `  ${given.join("; ")}\n`}\n${sections.join("\n")}`;
}

function operations(report: RunReport): string {
  const rows = Object.entries(report.operations)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, count]): Cell[] => [name, count.done, count.failed, binary(count.bytes)]);
  const { loads, stores, wrongLoads } = report.memory;
  const memory = `  memory touched: ${counted(stores, "store", undefined, grouped)}, ${counted(loads, "load", undefined, grouped)} checked, ${grouped(wrongLoads)} wrong\n`;
  const table = rows.length === 0 ? "" : renderTable(["call", "done", "NULL", "bytes"], rows);
  return `Operations\n${table}${memory}`;
}

function mappings(report: RunReport): string {
  const { leavesMapped, leavesUnmapped, tablesAllocated, tablesFreed, tablesByLevel } = report.pageTables;
  const tables = tablesByLevel.reduce((sum, count) => sum + count, 0);
  const levels = ["PTE", "PMD", "PUD", "PGD"].map((name, i) => `${tablesByLevel[i + 1]} ${name}`).join(", ");
  return `Page tables\n${renderTable(
    ["", "count", ""],
    [
      ["leaf entries mapped", leavesMapped, ""],
      ["leaf entries unmapped", leavesUnmapped, ""],
      ["tables allocated", tablesAllocated, ""],
      ["tables freed", tablesFreed, ""],
      ["tables at the end", tables, binary(tables * PAGE_SIZE)],
    ],
  )}  of these ${levels}\n`;
}

function tlbs(report: RunReport): string {
  const rows = report.counters.map((cpu, id): Cell[] => tlbRow(`CPU ${id}`, tlbCounts(cpu)));
  if (report.counters.length > 1) rows.push(tlbRow("all", tlbCounts(sumCounters(report.counters))));
  const headings = ["", "loads", "stores", "L1 hits", "L2 hits", "misses", "walk cycles", "INVLPG", "full flushes"];
  return `TLBs (data)\n${renderTable(headings, rows)}`;
}

function tlbRow(name: string, counts: TlbCounts): Cell[] {
  const { loads, stores, firstLevelHits, secondLevelHits, misses, walkCycles, invlpgs, fullFlushes } = counts;
  const cells = [loads, stores, firstLevelHits, secondLevelHits, misses, Math.round(walkCycles), invlpgs, fullFlushes];
  return [name, ...cells];
}

function purging(report: RunReport): string {
  const { vmalloc } = report;
  const pages = (count: number): string => binary(count * PAGE_SIZE);
  return `Lazy freeing and flushes\n${renderTable(
    ["", "count", ""],
    [
      ["areas found in the free tree", vmalloc.areasAllocated - vmalloc.areasFromPools, ""],
      ["areas taken from pools", vmalloc.areasFromPools, ""],
      ["searches that failed", vmalloc.areasFailed, ""],
      ["allocations from vmap blocks", vmalloc.blockAllocations, ""],
      ["vmap blocks made, freed", `${grouped(vmalloc.blocksMade)}, ${grouped(vmalloc.blocksFreed)}`, ""],
      ["areas freed lazily", vmalloc.areasFreed, pages(vmalloc.pagesFreedLazily)],
      ["purges", vmalloc.purges, ""],
      ["  of these by the drain work", vmalloc.drains, ""],
      ["areas purged", vmalloc.areasPurged, ""],
      ["flushes of whole TLBs", vmalloc.fullFlushes, ""],
      ["flushes page by page", vmalloc.rangeFlushes, counted(vmalloc.pagesFlushedOneByOne, "page", undefined, grouped)],
      ["most pages lazily freed at a time", vmalloc.lazyPagesMax, pages(vmalloc.lazyPagesMax)],
      ["pages lazily freed at the end", vmalloc.lazyPages, pages(vmalloc.lazyPages)],
      ["a purge is due above (pages)", vmalloc.lazyMaxPages, pages(vmalloc.lazyMaxPages)],
    ],
  )}`;
}

function cpus(report: RunReport): string {
  const { frequencyGhz } = report.machine;
  const rows = report.cycles.map(({ total, idle, spin }, cpu): Cell[] => [
    `CPU ${cpu}`,
    Math.round(total),
    `${(total / frequencyGhz / 1e6).toFixed(2)} ms`,
    Math.round(idle),
    Math.round(spin),
  ]);
  const { kernelWarnings, kernelWarningLines = [] } = report;
  const warnings = kernelWarnings === 0 ? "" : `\n${warningText(kernelWarnings, kernelWarningLines)}`;
  const figures = `  ${figureSentence(report.machine.figures)}\n`;
  return `Cycles of the emulated machine\n${renderTable(["", "clock", "time", "idle", "waiting"], rows)}${figures}${warnings}`;
}

function warningText(count: number, lines: readonly string[]): string {
  const shown = lines.slice(0, WARNINGS_SHOWN).map((line) => `  ${line}\n`);
  const more = lines.length > WARNINGS_SHOWN ? `  and ${grouped(lines.length - WARNINGS_SHOWN)} others\n` : "";
  return `Kernel log\n${shown.join("")}${more}${warningSummary(count)}\n`;
}

/** `the kernel warned 3 times`: the last line about a run with warnings. */
export function warningSummary(count: number): string {
  return `the kernel warned ${count === 1 ? "once" : `${grouped(count)} times`}`;
}

/** A size in powers of 1024: `4 GiB`. */
function binary(sizeBytes: number): string {
  return prettyBytes(sizeBytes, { binary: true });
}
