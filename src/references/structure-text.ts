/** Counts of each TLB and paging-structure cache, for people and as lines of `perf stat -x`. */
import type { EntryCounts, StructureReport } from "../../arch/index.ts";
import type { PerfStatLine } from "../report/perf-stat.ts";
import { renderTable } from "../report/tables.ts";

/** Counts of a structure, as they are called in lines. */
const COUNTS = ["lookups", "hits", "misses", "fills", "evictions"] as const;

/** A table with a row for each structure, and under one that holds pages of several sizes a row for each; nothing if nobody counted. */
export function structureTable(structures: readonly StructureReport[] | undefined): string {
  if (structures === undefined) return "";
  const rows = structures.flatMap((structure) => {
    const { lookups, misses } = structure;
    const rate = lookups === 0 ? "" : `${((misses / lookups) * 100).toFixed(2)} %`;
    const sizes = Object.entries(structure.bySize ?? {});
    return [
      [structure.structure, number(lookups), ...counts3(structure, number(misses), rate)],
      ...sizes.map(([size, counts]) => [`  pages of ${size}`, "", ...counts3(counts, "", "")]),
    ];
  });
  const headings = ["structure", "lookups", "hits", "misses", "", "fills", "evictions"];
  return `TLBs and paging-structure caches\n${renderTable(headings, rows)}\n`;
}

function counts3({ hits, fills, evictions }: EntryCounts, misses: string, rate: string): string[] {
  return [number(hits), misses, rate, number(fills), number(evictions)];
}

function number(count: number): string {
  return count.toLocaleString("en-US");
}

/** A line for each count of each structure: `L2 TLB.misses`, and of a size of pages `L2 TLB.4K.fills`. */
export function structureLines(structures: readonly StructureReport[] = []): PerfStatLine[] {
  return structures.flatMap((report) => [
    ...COUNTS.map((what) => ({ event: `${report.structure}.${what}`, count: report[what] })),
    ...Object.entries(report.bySize ?? {}).flatMap(([size, { hits, fills, evictions }]) =>
      Object.entries({ hits, fills, evictions }).map(([what, count]) => ({
        event: `${report.structure}.${size}.${what}`,
        count,
      })),
    ),
  ]);
}
