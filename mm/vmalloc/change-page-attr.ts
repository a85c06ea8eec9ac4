/**
 * Attributes of kernel pages that are mapped: read-only, executable, present (`arch/x86/mm/pat/set_memory.c`, there "CPA"). What vmalloc
 * maps has an alias in the direct map, whose rights follow, but for execution, which the direct map never allows. A large page is kept
 * where all of it changes alike, else split. Nothing here flushes but a split: callers do, for all that they changed. The kernel's own
 * text, whose rights Linux protects here against callers, is not mapped.
 */
import { LEVEL_BYTES, PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import {
  ENTRIES_PER_TABLE,
  PTE_ADDRESS_HIGH,
  PTE_GLOBAL,
  PTE_PAGE_SIZE,
  PTE_PAT,
  PTE_PAT_LARGE,
  PTE_PRESENT,
  PTE_RW,
  PTE_XD_HIGH,
} from "../../arch/isa/pte.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import type { OwedFlush } from "../flush/owed-flush.ts";
import { flushTlbAll } from "../flush/tlb-flush.ts";
import type { KernelMm } from "../kernel-mm.ts";
import { EFAULT, ENOMEM } from "../lib/errno.ts";
import { formatRange } from "../lib/kernel-log.ts";
import { ADDRESS_MAX, PAGE_OFFSET } from "../lib/memory-layout.ts";
import { directMapAddress } from "../page-tables/direct-map.ts";
import { largeAttributes } from "../page-tables/huge-map.ts";
import type { PageTableCursor } from "../page-tables/page-table-cursor.ts";
import { TakenTables } from "../page-tables/taken-tables.ts";

/** What changes in the attributes of a page, as the words of a 4 KiB leaf. What is set is set after what is cleared. */
export interface AttributeChange {
  readonly setLow: number;
  readonly setHigh: number;
  readonly clearLow: number;
  readonly clearHigh: number;
}

/** One change of a range, while it is made (`struct cpa_data`). */
export class CpaData {
  readonly change: AttributeChange;
  /** The flush that is owed for all that this changes. */
  readonly owed: OwedFlush;
  /** Whether pages' aliases in the direct map change as well (without `CPA_NO_CHECK_ALIAS`). */
  readonly changesAliases: boolean;
  /** An entry was changed, so that TLBs may hold the old one (`CPA_FLUSHTLB`). */
  isChanged = false;
  /** Aliases were looked for: their addresses are flushed by flushing everything (`force_flush_all`). */
  forceFlushAll = false;
  /** The frame behind the address that was looked at last. */
  frame = 0;

  constructor(change: AttributeChange, owed: OwedFlush, changesAliases: boolean) {
    this.change = change;
    this.owed = owed;
    this.changesAliases = changesAliases;
  }
}

/** Bits of a leaf's low word that are attributes: of a 4 KiB leaf, and of a large one, whose PAT bit is bit 12. */
const SMALL_ATTRIBUTES = 0xfff;
const LARGE_ATTRIBUTES = 0x1fff;
/** Bits of the high word that are attributes: XD, and what software and protection keys have. */
const HIGH_ATTRIBUTES = ~PTE_ADDRESS_HIGH;

/**
 * Changes the attributes of `pages` pages from `address` on, and of their aliases.
 * @param isPrimary false for aliases, which have none themselves
 * @returns 0, or -ENOMEM when a large page could not be split, or -EFAULT when nothing is mapped; what was changed stays
 */
export function* __changePageAttrSetClr(
  kernel: KernelMm,
  cpa: CpaData,
  address: number,
  pages: number,
  change: AttributeChange = cpa.change,
  isPrimary = true,
): KernelCode<number> {
  if ((change.setLow | change.setHigh | change.clearLow | change.clearHigh) === 0) return 0;
  const lock = kernel.cpaLock;
  for (let done = 0; done < pages; ) {
    const la = address + done * PAGE_SIZE;
    if (!lock.tryTake()) yield* lock.take();
    const changed = yield* __changePageAttr(kernel, cpa, change, la, pages - done, isPrimary);
    lock.release();
    if (changed < 0) return changed;
    if (isPrimary && cpa.changesAliases) {
      const result = yield* cpaProcessAlias(kernel, cpa, la, changed);
      if (result < 0) return result;
    }
    done += changed;
  }
  return 0;
}

/** Changes the alias in the direct map of what was mapped at `la`: `pages` consecutive frames. */
function* cpaProcessAlias(kernel: KernelMm, cpa: CpaData, la: number, pages: number): KernelCode<number> {
  const { memory } = kernel.machine;
  if (!memory.has(cpa.frame)) return 0;
  if (la >= PAGE_OFFSET && la < directMapAddress(memory.frames * PAGE_SIZE)) return 0;
  const { change } = cpa;
  const ofAlias = { ...change, setHigh: change.setHigh & ~PTE_XD_HIGH, clearHigh: change.clearHigh & ~PTE_XD_HIGH };
  cpa.forceFlushAll = true;
  return yield* __changePageAttrSetClr(kernel, cpa, directMapAddress(cpa.frame * PAGE_SIZE), pages, ofAlias, false);
}

/**
 * Changes one entry, with `cpa_lock` held.
 * @returns the pages of `la` and behind it that this was for: one, or as many as a large page has of them; or a negative errno
 */
function* __changePageAttr(
  kernel: KernelMm,
  cpa: CpaData,
  change: AttributeChange,
  la: number,
  pages: number,
  isPrimary: boolean,
): KernelCode<number> {
  const { cursor } = kernel.tables;
  kernel.lockdep?.assertHeld(kernel.cpaLock, "attributes of kernel pages");
  while (true) {
    kernel.loop.spend(kernel.costs.pages.tableWalkCycles);
    const level = cursor.seek(la);
    if (!cursor.isInUse) return cpaProcessFault(kernel, cpa, la, isPrimary);
    const pagesOfEntry = LEVEL_BYTES[level] / PAGE_SIZE;
    cpa.frame = cursor.pageFrame + (la - cursor.start) / PAGE_SIZE;
    const wanted = Math.min(pages, (cursor.end - la) / PAGE_SIZE);
    if (changeEntry(kernel, cpa, change, wanted === pagesOfEntry)) return wanted;
    const result = yield* splitLargePage(kernel, la, level);
    if (result < 0) return result;
  }
}

/** Nothing is mapped at `la`: for an alias, and in the holes of the direct map, that is no mistake. */
function cpaProcessFault(kernel: KernelMm, cpa: CpaData, la: number, isPrimary: boolean): number {
  if (!isPrimary) return 1;
  if (la >= PAGE_OFFSET && la < directMapAddress(kernel.machine.memory.frames * PAGE_SIZE)) {
    cpa.frame = (la - PAGE_OFFSET) / PAGE_SIZE;
    return 1;
  }
  kernel.log.warn(`CPA: called for zero pte. vaddr = ${formatRange(la, la)}`);
  return -EFAULT;
}

/**
 * Changes the entry under the cursor, if that is to change as a whole or not at all.
 * @returns false for a large page of which only a part is to change
 */
function changeEntry(kernel: KernelMm, cpa: CpaData, change: AttributeChange, isWhole: boolean): boolean {
  const { cursor } = kernel.tables;
  const isLarge = cursor.level > 1;
  const oldLow = smallAttributes(cursor);
  const oldHigh = cursor.high & HIGH_ATTRIBUTES;
  let low = (oldLow & ~change.clearLow) | change.setLow;
  const high = (oldHigh & ~change.clearHigh) | change.setHigh;
  // A global bit without P would say something else (PROT_NONE).
  if ((low & PTE_PRESENT) === 0) low &= ~PTE_GLOBAL;
  if (low === oldLow && high === oldHigh) return true;
  if (!isWhole) return false;
  const becameWritable = (low & PTE_RW) !== 0 && (high & PTE_XD_HIGH) === 0;
  if (becameWritable && (((low ^ oldLow) & PTE_RW) | ((high ^ oldHigh) & PTE_XD_HIGH)) !== 0) {
    const where = formatRange(cursor.start, cursor.end);
    kernel.log.warnOnce("CPA W^X", `CPA detected W^X violation: ${where} becomes writable and executable`);
  }
  kernel.loop.spend(kernel.costs.entryWriteCycles);
  // Without P nothing says that the page is large.
  const asLarge = (low & PTE_PRESENT) === 0 ? largeAttributes(low) & ~PTE_PAGE_SIZE : largeAttributes(low);
  cursor.changeAttributes(isLarge ? asLarge : low, high, cpa.owed);
  cpa.isChanged = true;
  return true;
}

/** The attributes of the entry under the cursor as a 4 KiB leaf has them (`pgprot_large_2_4k`). */
function smallAttributes(cursor: PageTableCursor): number {
  if (cursor.level === 1) return cursor.low & SMALL_ATTRIBUTES;
  const low = cursor.low & LARGE_ATTRIBUTES;
  return (low & ~(PTE_PAGE_SIZE | PTE_PAT_LARGE)) | ((low & PTE_PAT_LARGE) !== 0 ? PTE_PAT : 0);
}

/**
 * Puts a table of 512 pages in the place of the large page at `la`, and flushes every TLB, as none may hold pages of two sizes for one
 * address whose rights differ. `cpa_lock` is given back while a frame is looked for.
 * @returns 0, or -ENOMEM
 */
function* splitLargePage(kernel: KernelMm, la: number, level: number): KernelCode<number> {
  const { tables, costs, loop, cpaLock } = kernel;
  cpaLock.release();
  const table = tables.newTable(level - 1);
  if (table !== 0) kernel.spendOnPages(1);
  if (!cpaLock.tryTake()) yield* cpaLock.take();
  if (table === 0) return -ENOMEM;
  if (tables.cursor.seek(la) !== level) {
    // Somebody else has split it meanwhile.
    tables.freeTable(table, level - 1);
    return 0;
  }
  const small = smallAttributes(tables.cursor);
  const isPresent = (small & PTE_PRESENT) !== 0;
  const low = level === 2 ? small : isPresent ? largeAttributes(small) : largeAttributes(small) & ~PTE_PAGE_SIZE;
  loop.spend(ENTRIES_PER_TABLE * costs.entryWriteCycles);
  const owed = tables.owed.owe(tables.cursor.start, tables.cursor.end);
  tables.cursor.splitLeaf(table, low, tables.cursor.high & HIGH_ATTRIBUTES, owed);
  tables.owed.settle(owed, 0, ADDRESS_MAX);
  yield* flushTlbAll(kernel.flushing, "page split");
  return 0;
}

/**
 * Puts 4 KiB pages together to pages of 2 MiB, and those to one of 1 GiB, in the regions of [start, end) where all are alike and map
 * consecutive frames (`cpa_collapse_large_pages`); flushes every TLB before the tables are given back.
 */
export function* cpaCollapseLargePages(kernel: KernelMm, start: number, end: number): KernelCode<void> {
  const { tables } = kernel;
  const owed = tables.owed.owe(0, ADDRESS_MAX);
  const taken = new TakenTables(tables, owed);
  for (let la = start - (start % LEVEL_BYTES[2]); la < end; la += LEVEL_BYTES[2]) {
    if (collapsePages(kernel, la, 2, taken) && kernel.machine.features.page1g) collapsePages(kernel, la, 3, taken);
  }
  if (taken.count === 0) {
    tables.owed.waive(owed);
    return;
  }
  yield* taken.freeAfter(function* flushAll(debt) {
    tables.owed.settle(debt, 0, ADDRESS_MAX);
    yield* flushTlbAll(kernel.flushing, "pages joined");
  });
}

/** Puts the 512 pages below an entry of `level` together, if they are alike (`collapse_pmd_page`, `collapse_pud_page`). */
function collapsePages(kernel: KernelMm, la: number, level: number, taken: TakenTables): boolean {
  const { tables, loop, costs } = kernel;
  const { cursor } = tables;
  const start = la - (la % LEVEL_BYTES[level]);
  loop.spend(costs.pages.tableWalkCycles);
  if (cursor.seek(start, level) !== level || !cursor.isTable) return false;
  if (cursor.seek(start, level - 1) !== level - 1 || !cursor.isLeaf) return false;
  const { pageFrame: first, high } = cursor;
  const low = smallAttributes(cursor);
  const step = LEVEL_BYTES[level - 1] / PAGE_SIZE;
  if (first % (step * ENTRIES_PER_TABLE) !== 0) return false;
  for (let i = 1; i < ENTRIES_PER_TABLE; i++) {
    cursor.next(level - 1);
    loop.spend(costs.entryWriteCycles);
    if (!cursor.isLeaf || cursor.level !== level - 1 || smallAttributes(cursor) !== low) return false;
    if (cursor.pageFrame !== first + i * step || ((cursor.high ^ high) & HIGH_ATTRIBUTES) !== 0) return false;
  }
  cursor.seek(start, level);
  taken.take();
  cursor.writeLeaf(first, largeAttributes(low), high & HIGH_ATTRIBUTES);
  tables.leavesCleared += ENTRIES_PER_TABLE;
  return true;
}
