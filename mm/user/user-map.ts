/**
 * Mapping and unmapping user memory, as much of it as flushes need: `mmap` that populates at once, `munmap`, `mprotect`, and
 * the end of an address space (`mm/mmap.c`, `mm/mprotect.c`). Frames and page tables are given back only after the
 * flush (`mmu-gather.ts`).
 */

import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import { PTE_ACCESSED, PTE_DIRTY, PTE_PRESENT, PTE_RW, PTE_USER, PTE_XD_HIGH } from "../../arch/isa/pte.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import { FRAME_USER } from "../frames/page-allocator.ts";
import { EINVAL, ENOMEM } from "../lib/errno.ts";
import { __GFP_ZERO, GFP_KERNEL, NUMA_NO_NODE } from "../lib/gfp.ts";
import { USER_END } from "../lib/memory-layout.ts";
import type { MmStruct } from "./mm-struct.ts";
import { MmuGather } from "./mmu-gather.ts";
import { flushOwedOfMm } from "./user-flush.ts";
import type { UserSpaces } from "./user-spaces.ts";

const USER_PAGE = PTE_PRESENT | PTE_USER | PTE_RW | PTE_ACCESSED | PTE_DIRTY;

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
  kernel.lockdep?.assertHeld(mm.mmapLock, "mm->mmap");
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
  const result = mm.tables.vmapSmallPagesRangeNoflush(start, end, USER_PAGE, PTE_XD_HIGH, frames, 0);
  mm.syncTopTables(machine.memory, kernel.tables.rootFrame);
  if (result === 0) return 0;
  // Nothing ran between mapping and unmapping: no CPU can have used a page.
  mm.tables.owed.waive(mm.tables.vunmapRangeNoflush(start, end));
  giveBack();
  return result;
}

/** Unmaps [start, end), flushes, and gives frames and emptied page tables back; 0 or -EINVAL. */
export function* munmap(spaces: UserSpaces, mm: MmStruct, start: number, end: number): KernelCode<number> {
  if (!isUserRange(start, end)) return -EINVAL;
  if (!mm.mmapLock.tryTake()) yield* mm.mmapLock.take();
  spaces.kernel.lockdep?.assertHeld(mm.mmapLock, "mm->mmap");
  yield* new MmuGather(spaces, mm, start, end).tlbFinishMmu("munmap");
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
  spaces.kernel.lockdep?.assertHeld(mm.mmapLock, "mm->mmap");
  const { cursor, owed: debts } = mm.tables;
  const owed = debts.owe(start, end);
  let changed = 0;
  for (cursor.seek(start); cursor.start < end; cursor.next()) {
    if (!cursor.isLeaf || cursor.isWritable === writable) continue;
    if (writable) cursor.allowWrites();
    else cursor.forbidWrites(owed);
    changed++;
  }
  loop.spend(costs.callCycles + changed * costs.entryWriteCycles);
  if (changed > 0 && !writable) yield* flushOwedOfMm(spaces, mm, owed, false, "mprotect");
  else debts.waive(owed);
  mm.mmapLock.release();
  return 0;
}

/**
 * The end of an address space (`exit_mmap`, `mmdrop`): everything is unmapped, CPUs that still borrow it leave it, its tables
 * are given back. No thread of it may run any more.
 */
export function* exitMmap(spaces: UserSpaces, mm: MmStruct): KernelCode<void> {
  const { kernel } = spaces;
  const { loop } = kernel;
  const gather = new MmuGather(spaces, mm, 0, USER_END);
  if (spaces.loaded[loop.currentCpu] === mm) spaces.switchTo(spaces.initMm);
  yield* gather.tlbFinishMmu("exit");
  spaces.mmFreeGlobalAsid(mm);
  kernel.pages.freePagesOf(loop.currentCpu, mm.tables.rootFrame, 0);
  if (mm.userRootFrame !== 0) kernel.pages.freePagesOf(loop.currentCpu, mm.userRootFrame, 0);
}

function isUserRange(start: number, end: number): boolean {
  return start >= 0 && end <= USER_END && start < end && start % PAGE_SIZE === 0 && end % PAGE_SIZE === 0;
}
