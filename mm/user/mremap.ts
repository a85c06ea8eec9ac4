/**
 * Moving mappings in a user address space (`mm/mremap.c`), and taking pages away from a file's mappings wherever they are
 * (`unmap_mapping_range` of `mm/memory.c`, behind `ftruncate`), which does not take `mmap_lock`: what keeps the two apart is the lock
 * of the page tables.
 */
import { LEVEL_BYTES, PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import type { OwedFlush } from "../flush/owed-flush.ts";
import type { KernelMm } from "../kernel-mm.ts";
import { EINVAL, ENOMEM } from "../lib/errno.ts";
import type { MmStruct } from "./mm-struct.ts";
import { mmapWriteLock, mmapWriteUnlock, treeChanged } from "./mmap-lock.ts";
import { MmuGather } from "./mmu-gather.ts";
import { unmapVmas } from "./unmap.ts";
import { flushOwedOfMm } from "./user-flush.ts";
import { isUserRange } from "./user-pages.ts";
import type { UserSpaces } from "./user-spaces.ts";

/** Bits of an entry's low word that are not part of the frame's number. */
const ATTRIBUTES_LOW = PAGE_SIZE - 1;

/**
 * Moves the pages of [start, end) to `newStart`, where nothing may be mapped (`mremap` with `MREMAP_FIXED`): `move_page_tables` by 4 KiB
 * entries. What it costs is assumed: a call as `mprotect`, and for each page one entry changed and one written.
 * @returns 0, -EINVAL for ranges that are not in the user half or overlap, or -ENOMEM without a page moved
 */
export function* mremap(
  spaces: UserSpaces,
  mm: MmStruct,
  start: number,
  end: number,
  newStart: number,
): KernelCode<number> {
  const newEnd = newStart + (end - start);
  if (!isUserRange(start, end) || !isUserRange(newStart, newEnd) || (start < newEnd && newStart < end)) return -EINVAL;
  // Neighbours of the new place are locked too: one may become the same mapping.
  yield* mmapWriteLock(spaces, mm, [start, end], [newStart - PAGE_SIZE, newEnd + PAGE_SIZE]);
  const moved = yield* movePageTables(spaces, mm, start, end, newStart);
  if (moved >= 0 && mm.vmas.find(start) !== 0) {
    const keeps = mm.vmas.keepsPgoff(start);
    const pgoff = keeps ? mm.vmas.pgoffOf(start) : newStart / PAGE_SIZE;
    mm.vmas.remove(start, end);
    mm.vmas.insert(newStart, newEnd, pgoff, keeps);
    treeChanged(spaces, mm);
  }
  mmapWriteUnlock(mm);
  return Math.min(moved, 0);
}

/** Moves entries with the flush that they need; how many there were, or -ENOMEM. */
function* movePageTables(
  spaces: UserSpaces,
  mm: MmStruct,
  start: number,
  end: number,
  newStart: number,
): KernelCode<number> {
  const { kernel } = spaces;
  const { loop, costs } = kernel;
  loop.spend(costs.user.mprotectCycles);
  const { cursor } = mm.tables;
  const newEnd = newStart + (end - start);
  // The tables of the new place first: no page is moved unless all can be.
  for (let la = newStart; la < newEnd; la = (Math.floor(la / LEVEL_BYTES[2]) + 1) * LEVEL_BYTES[2]) {
    if (!cursor.make(la, 1)) return -ENOMEM;
  }
  mm.syncTopTables(kernel.machine.memory, kernel.tables.rootFrame);
  if (!mm.pageTableLock.tryTake()) yield* mm.pageTableLock.take();
  const owed = mm.tables.owed.owe(start, end);
  const moved = movePtes(kernel, mm, start, end, newStart, owed);
  loop.point("move_ptes: entries are moved");
  loop.spend(moved * (costs.user.protectEntryCycles + costs.entryWriteCycles));
  // Who takes the lock next may give the pages back: no TLB may lead to them by their old addresses any more.
  const { mremapReleasesBeforeFlush } = kernel.bugs;
  if (mremapReleasesBeforeFlush) mm.pageTableLock.release();
  if (mremapReleasesBeforeFlush) loop.point("move_ptes: the page tables' lock is given back");
  if (moved > 0) yield* flushOwedOfMm(spaces, mm, owed, false, "mprotect");
  else mm.tables.owed.waive(owed);
  if (!mremapReleasesBeforeFlush) mm.pageTableLock.release();
  return moved;
}

/** Moves entries, whose tables are there, with the lock of the page tables held (`move_ptes`); how many there were. */
function movePtes(
  { lockdep }: KernelMm,
  mm: MmStruct,
  start: number,
  end: number,
  newStart: number,
  owed: OwedFlush,
): number {
  lockdep?.assertHeld(mm.pageTableLock, "page tables of a process");
  const { cursor } = mm.tables;
  let moved = 0;
  for (let la = start; la < end; la += PAGE_SIZE) {
    cursor.seek(la);
    if (!cursor.isLeaf) continue;
    const { frame, low, high } = cursor;
    cursor.clearLeaf(owed);
    cursor.seek(newStart + (la - start));
    cursor.writeLeaf(frame, low & ATTRIBUTES_LOW, high);
    moved++;
  }
  return moved;
}

/**
 * Takes the pages of [start, end) away while their mapping stays, as `ftruncate` of the file behind it does (`unmap_mapping_range`,
 * `zap_pte_range`): under the lock of the page tables, without `mmap_lock`. 0 or -EINVAL.
 */
export function* unmapMappingRange(spaces: UserSpaces, mm: MmStruct, start: number, end: number): KernelCode<number> {
  if (!isUserRange(start, end)) return -EINVAL;
  const gather = new MmuGather(spaces, mm, "munmap");
  yield* unmapVmas(gather, start, end, mm.pageTableLock);
  yield* gather.tlbFinishMmu();
  return 0;
}
