/**
 * Mapping and unmapping user memory, as much of it as flushes need: `mmap` that populates at once, `munmap`, `mprotect`, and
 * the end of an address space (`mm/mmap.c`, `mm/mmu_gather.c`, `mm/mprotect.c`). Frames and page tables are given back only
 * after the flush.
 */

import { LEVEL_BYTES, PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import {
  ENTRIES_PER_TABLE,
  entryFrame,
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_PRESENT,
  PTE_RW,
  PTE_USER,
  PTE_XD_HIGH,
} from "../../arch/isa/pte.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import { TLB_FLUSH_ALL } from "../flush/tlb-flush-reasons.ts";
import { FRAME_USER } from "../frames/page-allocator.ts";
import { EINVAL, ENOMEM } from "../lib/errno.ts";
import { __GFP_ZERO, GFP_KERNEL, NUMA_NO_NODE } from "../lib/gfp.ts";
import { USER_END } from "../lib/memory-layout.ts";
import type { PageTables } from "../page-tables/page-tables.ts";
import type { MmStruct } from "./mm-struct.ts";
import type { UserSpaces } from "./user-spaces.ts";

const USER_PAGE = PTE_PRESENT | PTE_USER | PTE_RW | PTE_ACCESSED | PTE_DIRTY;

/** What an unmapping has taken out of the tables and gives back after the flush (`struct mmu_gather`). */
interface Gather {
  readonly frames: number[];
  readonly tables: { readonly frame: number; readonly level: number }[];
}

/**
 * Maps `pages` new zeroed pages at `start`, readable and writable (`mmap` with `MAP_POPULATE`). Nothing is flushed: what was
 * not present is not cached.
 * @returns 0, -EINVAL for a range outside the user half, or -ENOMEM with nothing left behind
 */
export function* mmapPopulate(spaces: UserSpaces, mm: MmStruct, start: number, pages: number): KernelCode<number> {
  if (!isUserRange(start, start + pages * PAGE_SIZE)) return -EINVAL;
  if (!mm.mmapLock.tryTake()) yield* mm.mmapLock.take();
  const result = populate(spaces, mm, start, pages);
  mm.mmapLock.release();
  return result;
}

function populate(spaces: UserSpaces, mm: MmStruct, start: number, pages: number): number {
  const { kernel } = spaces;
  const { loop, costs, machine } = kernel;
  const end = start + pages * PAGE_SIZE;
  const frames = new Uint32Array(pages);
  const gfp = GFP_KERNEL | __GFP_ZERO;
  const got = kernel.pages.allocBulk(loop.currentCpu, pages, FRAME_USER, gfp, NUMA_NO_NODE, frames, 0);
  const giveBack = () => kernel.pages.freeBulk(loop.currentCpu, frames, 0, got);
  loop.spend(costs.callCycles + got * (costs.frameCycles + costs.zeroPageCycles + costs.entryWriteCycles));
  if (got < pages) {
    giveBack();
    return -ENOMEM;
  }
  const result = mm.tables.mapSmallPages(start, end, USER_PAGE, PTE_XD_HIGH, frames, 0);
  mm.syncTopTables(machine.memory, kernel.tables.rootFrame);
  if (result === 0) return 0;
  mm.tables.unmapRange(start, end);
  giveBack();
  return result;
}

/** Unmaps [start, end), flushes, and gives frames and emptied page tables back; 0 or -EINVAL. */
export function* munmap(spaces: UserSpaces, mm: MmStruct, start: number, end: number): KernelCode<number> {
  if (!isUserRange(start, end)) return -EINVAL;
  const { kernel } = spaces;
  const { loop, costs } = kernel;
  if (!mm.mmapLock.tryTake()) yield* mm.mmapLock.take();
  const gather: Gather = { frames: [], tables: [] };
  collectFrames(mm.tables, start, end, gather);
  mm.tables.unmapRange(start, end);
  loop.spend(costs.callCycles + gather.frames.length * costs.entryWriteCycles);
  unlinkTables(mm.tables, mm.tables.rootFrame, mm.tables.levels, 0, start, end, gather);
  if (gather.frames.length > 0 || gather.tables.length > 0) {
    yield* spaces.flushTlbMmRange(mm, start, end, gather.tables.length > 0, "munmap");
  }
  release(spaces, mm, gather);
  mm.mmapLock.release();
  return 0;
}

/**
 * Makes the mapped pages of [start, end) writable or read-only. Only taking a right away needs a flush
 * (`pte_needs_flush`); 0 or -EINVAL.
 */
export function* mprotect(
  spaces: UserSpaces,
  mm: MmStruct,
  start: number,
  end: number,
  writable: boolean,
): KernelCode<number> {
  if (!isUserRange(start, end)) return -EINVAL;
  const { loop, costs } = spaces.kernel;
  if (!mm.mmapLock.tryTake()) yield* mm.mmapLock.take();
  let changed = 0;
  forEachLeaf(mm.tables, start, end, (chunk, word) => {
    const low = chunk[word];
    const wanted = writable ? low | PTE_RW : low & ~PTE_RW;
    if (wanted === low) return;
    chunk[word] = wanted;
    changed++;
  });
  loop.spend(costs.callCycles + changed * costs.entryWriteCycles);
  if (changed > 0 && !writable) yield* spaces.flushTlbMmRange(mm, start, end, false, "mprotect");
  mm.mmapLock.release();
  return 0;
}

/**
 * The end of an address space (`exit_mmap`, `mmdrop`): everything is unmapped, CPUs that still borrow it leave it, its tables
 * are given back. No thread of it may run any more.
 */
export function* exitMm(spaces: UserSpaces, mm: MmStruct): KernelCode<void> {
  const { kernel } = spaces;
  const { loop } = kernel;
  const gather: Gather = { frames: [], tables: [] };
  collectFrames(mm.tables, 0, USER_END, gather);
  mm.tables.unmapRange(0, USER_END);
  unlinkTables(mm.tables, mm.tables.rootFrame, mm.tables.levels, 0, 0, USER_END, gather);
  loop.spend(kernel.costs.callCycles + gather.frames.length * kernel.costs.entryWriteCycles);
  if (spaces.loaded[loop.currentCpu] === mm) spaces.switchTo(spaces.initMm);
  yield* spaces.flushTlbMmRange(mm, 0, TLB_FLUSH_ALL, true, "exit");
  spaces.release(mm);
  release(spaces, mm, gather);
  kernel.pages.freePagesOf(loop.currentCpu, mm.tables.rootFrame, 0);
  if (mm.userRootFrame !== 0) kernel.pages.freePagesOf(loop.currentCpu, mm.userRootFrame, 0);
}

function isUserRange(start: number, end: number): boolean {
  return start >= 0 && end <= USER_END && start < end && start % PAGE_SIZE === 0 && end % PAGE_SIZE === 0;
}

function release(spaces: UserSpaces, mm: MmStruct, { frames, tables }: Gather): void {
  const { kernel } = spaces;
  const { loop, costs } = kernel;
  kernel.pages.freeBulk(loop.currentCpu, Uint32Array.from(frames), 0, frames.length);
  for (const { frame, level } of tables) mm.tables.freeTable(frame, level);
  loop.spend((frames.length + tables.length) * costs.frameCycles);
  if (tables.length > 0) mm.syncTopTables(kernel.machine.memory, kernel.tables.rootFrame);
}

/** Calls `visit` with the place of every present 4 KiB leaf in [start, end). */
function forEachLeaf(
  tables: PageTables,
  start: number,
  end: number,
  visit: (chunk: Int32Array, word: number) => void,
): void {
  let la = start;
  while (la < end) {
    const regionEnd = Math.min(end, (Math.floor(la / LEVEL_BYTES[2]) + 1) * LEVEL_BYTES[2]);
    const table = tables.pteTableAt(la);
    if (table === 0) {
      la = Math.min(end, nextPresent(tables, la));
      continue;
    }
    const chunk = tables.memory.chunkForWrite(table);
    for (; la < regionEnd; la += PAGE_SIZE) {
      const word = tables.entryWord(table, la, 1);
      if ((chunk[word] & PTE_PRESENT) !== 0) visit(chunk, word);
    }
  }
}

/** Where to look on, if no table of PTEs covers `la`: the end of the largest hole that contains it. */
function nextPresent(tables: PageTables, la: number): number {
  for (let level = tables.levels as number; level > 1; level--) {
    const table = tables.tableAt(la, level);
    const low = table === 0 ? 0 : tables.memory.chunkForRead(table)[tables.entryWord(table, la, level)];
    if ((low & PTE_PRESENT) === 0) return (Math.floor(la / LEVEL_BYTES[level]) + 1) * LEVEL_BYTES[level];
  }
  return la + LEVEL_BYTES[2];
}

function collectFrames(tables: PageTables, start: number, end: number, gather: Gather): void {
  forEachLeaf(tables, start, end, (chunk, word) => {
    gather.frames.push(entryFrame(chunk[word], chunk[word + 1]));
  });
}

/** Takes the tables that lie wholly in [start, end) out of the tree below `table` of `level` (`free_pgtables`). */
function unlinkTables(
  tables: PageTables,
  table: number,
  level: number,
  tableStart: number,
  start: number,
  end: number,
  gather: Gather,
): void {
  const entryBytes = LEVEL_BYTES[level];
  for (let i = 0; i < ENTRIES_PER_TABLE; i++) {
    const la = tableStart + i * entryBytes;
    if (la + entryBytes <= start || la >= end || la >= USER_END) continue;
    const chunk = tables.memory.chunkForWrite(table);
    const word = tables.entryWord(table, la, level);
    if ((chunk[word] & PTE_PRESENT) === 0) continue;
    const below = entryFrame(chunk[word], chunk[word + 1]);
    if (level > 2) unlinkTables(tables, below, level - 1, la, start, end, gather);
    if (la < start || la + entryBytes > end) continue;
    tables.writeEntry(table, la, level, 0, 0);
    gather.tables.push({ frame: below, level: level - 1 });
  }
}
