/** Page tables as `/sys/kernel/debug/page_tables/kernel` shows them (`mm/ptdump.c`, `arch/x86/mm/dump_pagetables.c`). */
import { LINEAR_SPACE_BYTES, orderOfPage, PAGE_SIZE, pageOfOrder, UPPER_HALF } from "../../arch/isa/linear-address.ts";
import {
  ENTRIES_PER_TABLE,
  PTE_GLOBAL,
  PTE_PAGE_SIZE,
  PTE_PAT,
  PTE_PAT_LARGE,
  PTE_PCD,
  PTE_PRESENT,
  PTE_PWT,
  PTE_RW,
  PTE_USER,
  PTE_XD_HIGH,
} from "../../arch/isa/pte.ts";
import {
  MODULES_END,
  MODULES_VADDR,
  PAGE_OFFSET,
  USER_END,
  VMALLOC_START,
  VMEMMAP_START,
} from "../lib/memory-layout.ts";
import { PageTableCursor } from "../page-tables/page-table-cursor.ts";
import type { PageTables } from "../page-tables/page-tables.ts";
import { formatAddressMarker, formatPageTableRun, type PageTableLevel, type PageTableRun } from "./page-table-run.ts";

/** Where the parts of the address space begin (4-level paging, no KASLR). */
export const ADDRESS_MARKERS: readonly { readonly start: number; readonly name: string }[] = [
  { start: 0, name: "User Space" },
  { start: USER_END, name: "Kernel Space" },
  { start: PAGE_OFFSET, name: "Low Kernel Mapping" },
  { start: VMALLOC_START, name: "vmalloc() Area" },
  { start: VMEMMAP_START, name: "Vmemmap" },
  { start: 0xfe00_0000_0000, name: "CPU entry Area" },
  { start: 0xff00_0000_0000, name: "ESPfix Area" },
  { start: 0xffef_0000_0000, name: "EFI Runtime Services" },
  { start: 0xffff_8000_0000, name: "High Kernel Mapping" },
  { start: MODULES_VADDR, name: "Modules" },
  { start: MODULES_END, name: "End Modules" },
  { start: 0xffff_ff57_a000, name: "Fixmap Area" },
];

/** One past the end of the dump's part for the vmalloc range: where the next marker stands. */
export const VMALLOC_DUMP_END = VMEMMAP_START;

const ATTRIBUTE_BITS = 0xfff;
const HIGH_ATTRIBUTE_BITS = 0xfff0_0000 | 0;

/** The run that grows while the tables are walked. */
interface OpenRun {
  start: number;
  level: number;
  low: number;
  high: number;
  effective: number;
}

/** Told of each entry, in the order of addresses (`orderOf`). */
type Note = (order: number, level: number, low: number, high: number, effective: number) => void;

/**
 * Runs of equal entries in [start, end), split where a marker stands. Reading has no side effects. With five levels a range that goes
 * over the middle of the address space has the wide pages in it (arch/isa/linear-address.ts), and one from `USER_END` on, the
 * upper half of them.
 */
export function pageTableRuns(tables: PageTables, start: number, end: number): PageTableRun[] {
  const runs: PageTableRun[] = [];
  const [first, last] = [orderOf(start, tables.levels), orderOf(end, tables.levels)];
  const markers = ADDRESS_MARKERS.map((marker) => orderOf(marker.start, tables.levels)).filter(
    (at) => at > first && at < last,
  );
  let open: OpenRun | null = null;
  const close = (at: number): void => {
    if (open !== null && at > open.start) runs.push(runOf(open, at, tables.levels));
  };
  const note: Note = (order, level, low, high, effective) => {
    while (markers.length > 0 && order >= markers[0]) {
      const marker = markers.shift() as number;
      if (open !== null && open.start < marker) {
        close(marker);
        open = { ...open, start: marker };
      }
    }
    const sameAsOpen =
      open !== null && open.level === level && open.low === low && open.high === high && open.effective === effective;
    if (sameAsOpen) return;
    close(order);
    open = { start: order, level, low, high, effective };
  };
  if (start < UPPER_HALF) noteEntries(tables, start, Math.min(end, UPPER_HALF), note);
  if (tables.levels === 5) noteWide(tables, Math.max(first, UPPER_HALF), Math.min(last, WIDE_END), note);
  if (end > UPPER_HALF) noteEntries(tables, Math.max(start, UPPER_HALF), end, note);
  close(last);
  return runs;
}

/** The entries that map [start, end), which is in one half. */
function noteEntries(tables: PageTables, start: number, end: number, note: Note): void {
  const cursor = new PageTableCursor(tables);
  let table = 0;
  let above = 0;
  for (cursor.seek(start); cursor.start < end; cursor.next()) {
    if (cursor.table !== table) {
      table = cursor.table;
      above = effectiveAbove(cursor, tables.levels);
    }
    const { level, low, high } = cursor;
    const from = Math.max(cursor.start, start);
    noteEntry(orderIn(from, tables.levels), level, low, high, above, note);
  }
}

/** What one entry adds, with the rights that those above leave. */
function noteEntry(order: number, level: number, low: number, high: number, above: number, note: Note): void {
  if ((low & PTE_PRESENT) === 0) {
    note(order, level, 0, 0, 0);
    return;
  }
  const pat = level > 1 ? low & PTE_PAT_LARGE : 0;
  note(order, level, (low & ATTRIBUTE_BITS) | pat, high & HIGH_ATTRIBUTE_BITS, combine(above, low, high));
}

/** The entries that map the wide pages of a range in the order of addresses. */
function noteWide(tables: PageTables, first: number, end: number, note: Note): void {
  const cursor = new PageTableCursor(tables);
  for (let order = first; order < end; ) {
    const level = cursor.seek(pageOfOrder(order));
    noteEntry(order, level, cursor.low, cursor.high, effectiveAbove(cursor, tables.levels), note);
    const bytes = PAGE_SIZE * ENTRIES_PER_TABLE ** (level - 1);
    order += bytes - (order % bytes);
  }
}

/** Lines of the dump of [start, end), markers included. */
export function dumpPageTables(tables: PageTables, start: number, end: number): string[] {
  const lines: string[] = [];
  const { levels } = tables;
  const markers = ADDRESS_MARKERS.filter((marker) => marker.start >= start && marker.start < end);
  for (const run of pageTableRuns(tables, start, end)) {
    while (markers.length > 0 && orderOf(markers[0].start, levels) <= orderIn(run.start, levels)) {
      lines.push(formatAddressMarker(markers[0].name));
      markers.shift();
    }
    lines.push(formatPageTableRun(run));
  }
  return lines;
}

const EFFECTIVE_NX = 1 << 31;
const ALL = PTE_RW | PTE_USER;
/** In the order of addresses: where the wide pages end, the upper half of all addresses begins, and all end. */
const WIDE_END = 2 ** 57 - UPPER_HALF;
const UPPER_ORDER = 2 ** 56;
const ORDER_END = 2 ** 57;

/** Where a page is in the order of all addresses. */
function orderIn(page: number, levels: number): number {
  return levels === 5 ? orderOfPage(page) : page;
}

/** {@link orderIn} of a limit of a range: `USER_END` is the limit between the halves, the end of 48 bits that of all. */
function orderOf(limit: number, levels: number): number {
  if (levels === 4) return limit;
  if (limit === LINEAR_SPACE_BYTES) return ORDER_END;
  return limit === USER_END ? UPPER_ORDER : orderOfPage(limit);
}

/** Rights that the entries above the cursor's leave. */
function effectiveAbove(cursor: PageTableCursor, levels: number): number {
  let effective = ALL;
  for (let level = levels; level > cursor.level; level--) {
    effective = combine(effective, cursor.lowAbove(level), cursor.highAbove(level));
  }
  return effective;
}

function combine(above: number, low: number, high: number): number {
  const allowed = above & low & (PTE_RW | PTE_USER);
  const nx = (above & EFFECTIVE_NX) | ((high & PTE_XD_HIGH) !== 0 ? EFFECTIVE_NX : 0);
  return allowed | nx;
}

function runOf(run: OpenRun, end: number, levels: number): PageTableRun {
  const { low, high } = run;
  const names: readonly PageTableLevel[] = ["pte", "pmd", "pud", levels === 4 ? "pgd" : "p4d", "pgd"];
  const leafAbovePte = run.level > 1;
  return {
    start: levels === 5 ? pageOfOrder(run.start) : run.start,
    end:
      end >= (levels === 5 ? ORDER_END : LINEAR_SPACE_BYTES)
        ? LINEAR_SPACE_BYTES
        : levels === 5
          ? pageOfOrder(end)
          : end,
    level: names[run.level - 1],
    present: (low & PTE_PRESENT) !== 0,
    user: (low & PTE_USER) !== 0,
    rw: (low & PTE_RW) !== 0,
    pwt: (low & PTE_PWT) !== 0,
    pcd: (low & PTE_PCD) !== 0,
    pse: leafAbovePte && (low & PTE_PAGE_SIZE) !== 0,
    pat: (low & (leafAbovePte ? PTE_PAT_LARGE : PTE_PAT)) !== 0,
    global: (low & PTE_GLOBAL) !== 0,
    nx: (high & PTE_XD_HIGH) !== 0,
  };
}
