/** The direct map: all of memory at consecutive kernel addresses (`init_mem_mapping`, `arch/x86/mm/init.c`). */

import { PTE_GLOBAL } from "../../arch/isa/pte.ts";
import { HIGH_MEMORY_START, LOW_MEMORY_BYTES } from "../../arch/memory/physical-memory.ts";
import { PAGE_OFFSET } from "../lib/memory-layout.ts";
import { NotEnoughMemory } from "../lib/not-enough-memory.ts";
import { vmapRangeNoflush } from "./huge-map.ts";
import type { PageTables } from "./page-tables.ts";
import { PAGE_KERNEL } from "./protection.ts";
import type { TableFlush } from "./taken-tables.ts";

/** Largest page of the direct map as log2 of its bytes: 1 GiB. */
const MAX_PAGE_SHIFT = 30;

/**
 * Maps all of memory with the largest pages that fit.
 * @param isGlobal false with page-table isolation
 * @param maxPageShift largest page as log2 of its bytes
 * @throws NotEnoughMemory when there is no memory for the tables
 */
export function makeDirectMap(tables: PageTables, isGlobal = true, maxPageShift = MAX_PAGE_SHIFT): void {
  const { memory } = tables;
  const { high } = PAGE_KERNEL;
  const low = isGlobal ? PAGE_KERNEL.low : PAGE_KERNEL.low & ~PTE_GLOBAL;
  const mapRam = (from: number, to: number) => mapRange(tables, from, to, low, high, maxPageShift);
  mapRam(0, Math.min(memory.frames * 4096, LOW_MEMORY_BYTES));
  if (memory.frames * 4096 > HIGH_MEMORY_START) mapRam(HIGH_MEMORY_START, memory.frames * 4096);
}

/** The address at which the direct map shows physical address `phys` (`__va`). */
export function directMapAddress(phys: number): number {
  return PAGE_OFFSET + phys;
}

function mapRange(tables: PageTables, from: number, to: number, low: number, high: number, maxPageShift: number): void {
  const [start, end] = [PAGE_OFFSET + from, PAGE_OFFSET + to];
  const mapping = vmapRangeNoflush(tables, nothingToFlush, start, end, from, low, high, maxPageShift);
  const result = mapping.next();
  if (result.done !== true || result.value < 0) throw new NotEnoughMemory("no memory for the direct map's page tables");
}

/** At boot nothing was mapped before, so no table is replaced and nothing is flushed. */
const nothingToFlush: TableFlush = () => {
  throw new Error("the direct map replaced a page table");
};
