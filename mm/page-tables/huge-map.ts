/**
 * Mapping with the largest pages that fit: physical ranges (`vmap_range_noflush`, behind `ioremap`) and lists of large
 * pages (`vmap_pages_range_noflush`, behind `vmalloc_huge`).
 */

import { LEVEL_BYTES, PAGE_SHIFT, PAGE_SIZE, PMD_SIZE, PUD_SIZE } from "../../arch/isa/linear-address.ts";
import { PTE_PAGE_SIZE, PTE_PAT, PTE_PAT_LARGE } from "../../arch/isa/pte.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import { EBUSY, ENOMEM } from "../lib/errno.ts";
import { formatRange } from "../lib/kernel-log.ts";
import type { PageTables } from "./page-tables.ts";
import { type TableFlush, TakenTables } from "./taken-tables.ts";

/** log2 of the bytes in a 2 MiB page. */
export const PMD_SHIFT = 21;
/** log2 of the bytes in a 1 GiB page. */
const PUD_SHIFT = 30;

/**
 * Maps [start, end) to physical addresses from `phys` on, with pages of up to 2^maxPageShift bytes.
 * @returns 0, or -ENOMEM, or -EBUSY; what was mapped stays
 */
export function* vmapRangeNoflush(
  tables: PageTables,
  flush: TableFlush,
  start: number,
  end: number,
  phys: number,
  protLow: number,
  protHigh: number,
  maxPageShift: number,
): KernelCode<number> {
  let la = start;
  while (la < end) {
    const at = phys + (la - start);
    const level = largestLevel(la, end, at, maxPageShift);
    let placed = 0;
    for (let tried = level; tried > 1 && placed === 0; tried--) {
      const result = yield* placeLargePage(tables, flush, la, at, tried, protLow, protHigh);
      if (result < 0) return result;
      if (result > 0) placed = LEVEL_BYTES[tried];
    }
    if (placed === 0) {
      const result = mapSmallRun(tables, la, Math.min(end, nextBoundary(la, PMD_SIZE)), at, protLow, protHigh);
      if (result < 0) return result;
      placed = result;
    }
    la += placed;
  }
  return 0;
}

/** Maps [start, end) to large pages: `frames[offset + i]` holds the frame behind page i of 4 KiB. */
export function* mapLargePages(
  tables: PageTables,
  flush: TableFlush,
  start: number,
  end: number,
  protLow: number,
  protHigh: number,
  frames: Uint32Array,
  offset: number,
  pageShift: number,
): KernelCode<number> {
  const step = 2 ** pageShift;
  const pagesPerStep = 1 << (pageShift - PAGE_SHIFT);
  let at = offset;
  for (let la = start; la < end; la += step, at += pagesPerStep) {
    const phys = frames[at] * PAGE_SIZE;
    const result = yield* vmapRangeNoflush(tables, flush, la, la + step, phys, protLow, protHigh, pageShift);
    if (result < 0) return result;
  }
  return 0;
}

function nextBoundary(la: number, bytes: number): number {
  return (Math.floor(la / bytes) + 1) * bytes;
}

/** The highest level whose page fits at `la` and `phys` in full. */
function largestLevel(la: number, end: number, phys: number, maxPageShift: number): number {
  if (maxPageShift >= PUD_SHIFT && fits(la, end, phys, PUD_SIZE)) return 3;
  if (maxPageShift >= PMD_SHIFT && fits(la, end, phys, PMD_SIZE)) return 2;
  return 1;
}

function fits(la: number, end: number, phys: number, bytes: number): boolean {
  return la % bytes === 0 && phys % bytes === 0 && end - la >= bytes;
}

/** Puts a large leaf at `la`; 1 when it was placed, 0 when something is in the way, or a negative errno. */
function* placeLargePage(
  tables: PageTables,
  flush: TableFlush,
  la: number,
  phys: number,
  level: number,
  protLow: number,
  protHigh: number,
): KernelCode<number> {
  const { cursor } = tables;
  if (!cursor.make(la, level)) return -ENOMEM;
  if (cursor.isLeaf) return 0;
  if (cursor.isPresent) {
    yield* freeEmptyTable(tables, flush, la, level);
    cursor.seek(la, level);
  }
  cursor.writeLeaf(phys / PAGE_SIZE, largeAttributes(protLow), protHigh);
  return 1;
}

/** Attributes of a large leaf out of those of a 4 KiB leaf: PS, and the PAT bit moved from bit 7 to bit 12 (`pgprot_4k_2_large`). */
export function largeAttributes(protLow: number): number {
  const pat = (protLow & PTE_PAT) !== 0 ? PTE_PAT_LARGE : 0;
  return (protLow & ~PTE_PAT) | PTE_PAGE_SIZE | pat;
}

/**
 * Frees the (empty) tables below an entry that a large leaf will replace (`pmd_free_pte_page`, `pud_free_pmd_page`). The
 * flush of one page on every CPU drops what the paging-structure caches hold of them.
 */
function* freeEmptyTable(tables: PageTables, flush: TableFlush, la: number, level: number): KernelCode<void> {
  const { cursor } = tables;
  const taken = new TakenTables(tables, tables.owed.owe(la, la + PAGE_SIZE - 1));
  if (level === 3) {
    const end = la + LEVEL_BYTES[level];
    for (cursor.seek(la, 2); cursor.start < end; cursor.next(2)) if (cursor.isTable) taken.take();
  }
  cursor.seek(la, level);
  tables.events?.ptFree(level - 1, cursor.frame * PAGE_SIZE, cursor.entryAddress, la);
  taken.take();
  yield* taken.freeAfter(flush);
}

/** Maps one PTE table's worth of 4 KiB pages; returns the bytes mapped or a negative errno. */
function mapSmallRun(
  tables: PageTables,
  start: number,
  end: number,
  phys: number,
  protLow: number,
  protHigh: number,
): number {
  const { cursor } = tables;
  if (!cursor.make(start, 1)) return -ENOMEM;
  const count = (end - start) / PAGE_SIZE;
  const written = cursor.writeLeaves(count, phys / PAGE_SIZE, protLow, protHigh);
  if (written === count) return end - start;
  tables.log.warn(`mapping ${formatRange(start + written * PAGE_SIZE, end)}: an entry is in use`);
  return -EBUSY;
}
