/**
 * The address space's part of `fork`, and what follows from it (`kernel/fork.c`: `dup_mm`; `mm/memory.c`: `copy_page_range`,
 * `do_wp_page`): parent and child share all pages read-only, and whoever writes first gets a copy.
 */

import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import { PTE_RW, PTE_XD_HIGH } from "../../arch/isa/pte.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import type { OwedFlush } from "../flush/owed-flush.ts";
import { FRAME_USER } from "../frames/frame-uses.ts";
import { isOnLru, usePage } from "../frames/struct-pages.ts";
import { isZeroPfn } from "../frames/zero-page.ts";
import { EINVAL, ENOMEM } from "../lib/errno.ts";
import { __GFP_ZERO, GFP_KERNEL } from "../lib/gfp.ts";
import { USER_END } from "../lib/memory-layout.ts";
import type { PageTableCursor } from "../page-tables/page-table-cursor.ts";
import type { MmStruct } from "./mm-struct.ts";
import { lockForFault, mmapWriteLock, mmapWriteUnlock, unlockAfterFault, vmfAnonPrepare } from "./mmap-lock.ts";
import { flushOwedOfMm } from "./user-flush.ts";
import { exitMmap } from "./user-map.ts";
import { SHARED_PAGE, USER_PAGE } from "./user-pages.ts";
import type { UserSpaces } from "./user-spaces.ts";

/** With more further references than these a page that is written to is copied without a closer look (`wp_can_reuse_anon_folio`). */
const WP_REUSE_FURTHER_MAX = 2;

/**
 * A new address space with the pages of `oldmm`, which both have read-only from now on (`dup_mm`, `dup_mmap`): 4 KiB pages. The old one is
 * flushed whole before this returns.
 * @throws NotEnoughMemory when there is no memory for its top tables
 * @returns null when memory runs out later; the old one's pages stay read-only then, and its next writes find that they are its own
 */
export function* dupMm(spaces: UserSpaces, oldmm: MmStruct): KernelCode<MmStruct | null> {
  const { kernel } = spaces;
  const mm = spaces.mmAlloc();
  // Its mappings are locked one by one as they are copied (since 6.4); here all at once.
  yield* mmapWriteLock(spaces, oldmm, [0, USER_END]);
  kernel.lockdep?.assertHeld(oldmm.mmapLock, "mm->mmap");
  kernel.loop.spend(kernel.costs.user.forkCycles);
  const { owed: debts } = oldmm.tables;
  const owed = debts.owe(0, USER_END);
  if (!oldmm.pageTableLock.tryTake()) yield* oldmm.pageTableLock.take();
  const { result, forbidden } = copyPageRange(spaces, mm, oldmm, owed);
  oldmm.pageTableLock.release();
  oldmm.vmas.copyTo(mm.vmas);
  mm.syncTopTables(kernel.machine.memory, kernel.tables.rootFrame);
  if (forbidden > 0) yield* flushOwedOfMm(spaces, oldmm, owed, false, "fork");
  else debts.waive(owed);
  mmapWriteUnlock(oldmm);
  if (result === 0) return mm;
  yield* exitMmap(spaces, mm);
  return null;
}

/** Copies all entries (`copy_page_range`); 0 or -ENOMEM, and how many of the old ones lost the right to be written. */
function copyPageRange(spaces: UserSpaces, mm: MmStruct, oldmm: MmStruct, owed: OwedFlush) {
  const { kernel } = spaces;
  const { costs, loop, pages } = kernel;
  kernel.lockdep?.assertHeld(oldmm.pageTableLock, "page tables of a process");
  const { cursor } = oldmm.tables;
  const one = new Uint32Array(1);
  const tablesBefore = mm.tables.tablePages;
  let copied = 0;
  let forbidden = 0;
  let result = 0;
  for (cursor.seek(0); cursor.start < USER_END && result === 0; cursor.next()) {
    if (!cursor.isLeaf) continue;
    if (cursor.isWritable) {
      cursor.forbidWrites(owed);
      forbidden++;
    }
    one[0] = cursor.frame;
    result = mm.tables.vmapSmallPagesRangeNoflush(cursor.start, cursor.end, SHARED_PAGE, PTE_XD_HIGH, one, 0);
    if (result !== 0) break;
    copied++;
    if (isZeroPfn(one[0])) continue;
    pages.references.get(one[0]);
    usePage(pages, one[0]);
  }
  const tables = mm.tables.tablePages - tablesBefore;
  loop.spend(copied * costs.user.copyEntryCycles + tables * (costs.pages.listCycles + kernel.pageLines.zeroOwnCycles));
  return { result, forbidden };
}

/**
 * Handles a write fault in a page that is read-only because others may have it too (`do_wp_page`): it is copied, or becomes writable
 * where nobody else has it any more; for the zero page there is a new one. The new page is read-only until no CPU can read the old one any more. The lock of the page tables is
 * held as long: whoever faults there too, or forks, waits for the flush (`ptep_clear_flush`).
 * @returns 0; -EINVAL where nothing is mapped or outside the user half; -ENOMEM
 */
export function* doWpPage(spaces: UserSpaces, mm: MmStruct, la: number): KernelCode<number> {
  const start = la - (la % PAGE_SIZE);
  if (start < 0 || start >= USER_END) return -EINVAL;
  const { kernel } = spaces;
  const { loop, costs } = kernel;
  const locked = yield* lockForFault(spaces, mm, start);
  loop.spend(costs.user.faultCycles);
  const lock = yield* vmfAnonPrepare(spaces, mm, start, locked);
  if (!mm.pageTableLock.tryTake()) yield* mm.pageTableLock.take();
  const { result, old } = yield* wpPageReuseOrCopy(spaces, mm, start);
  mm.pageTableLock.release();
  if (old !== 0 && !isZeroPfn(old)) yield* spaces.lru.foliosPutRefs([old]);
  yield* unlockAfterFault(spaces, mm, lock);
  return result;
}

/**
 * Whether nobody else holds a page (`wp_can_reuse_anon_folio`). A batch for the LRU lists may: that of this CPU is drained, those of others are
 * taken for holders.
 */
function* wpCanReuseAnonFolio({ kernel, lru }: UserSpaces, frame: number): KernelCode<boolean> {
  const { pages } = kernel;
  if (pages.references.furtherOf(frame) > WP_REUSE_FURTHER_MAX) return false;
  if (!isOnLru(pages, frame)) yield* lru.lruAddDrain();
  return pages.references.furtherOf(frame) === 0;
}

/** Makes a page writable, or copies it (`wp_page_reuse`, `wp_page_copy`); 0 or a negative errno, and the frame of which there is a copy. */
function* wpPageReuseOrCopy(
  spaces: UserSpaces,
  mm: MmStruct,
  start: number,
): KernelCode<{ readonly result: number; readonly old: number }> {
  const { kernel } = spaces;
  const { loop, costs, pages } = kernel;
  const { tables } = mm;
  kernel.lockdep?.assertHeld(mm.pageTableLock, "page tables of a process");
  if (tables.cursor.seek(start) !== 1 || !tables.cursor.isLeaf) return { result: -EINVAL, old: 0 };
  if (tables.cursor.isWritable) return { result: 0, old: 0 };
  const old = tables.cursor.frame;
  const isZero = isZeroPfn(old);
  const canReuse = !isZero && (yield* wpCanReuseAnonFolio(spaces, old));
  // Others may have changed the entry meanwhile (`pte_same`): nothing is done, and the access faults again.
  if (!isMappedTo(tables.cursor, start, old)) return { result: 0, old: 0 };
  if (canReuse) {
    tables.cursor.allowWrites();
    return { result: 0, old: 0 };
  }
  const frame = pages.allocPages(loop.currentCpu, 0, FRAME_USER, isZero ? GFP_KERNEL | __GFP_ZERO : GFP_KERNEL);
  if (frame === 0) return { result: -ENOMEM, old: 0 };
  kernel.spendOnPages(1);
  if (!isZero) loop.spend(costs.user.copyPageCycles);
  if (!isZero) kernel.machine.memory.copyFrame(old, frame);
  tables.cursor.seek(start);
  const owed = tables.owed.owe(start, start + PAGE_SIZE);
  tables.cursor.clearLeaf(owed);
  const isReadOnly = USER_PAGE & ~PTE_RW;
  tables.vmapSmallPagesRangeNoflush(start, start + PAGE_SIZE, isReadOnly, PTE_XD_HIGH, Uint32Array.of(frame), 0);
  yield* spaces.lru.folioAddLru(frame);
  yield* flushOwedOfMm(spaces, mm, owed, false, "copy");
  // MADV_DONTNEED may have taken the page meanwhile, and a fault mapped another.
  if (isMappedTo(tables.cursor, start, frame)) tables.cursor.allowWrites();
  return { result: 0, old };
}

/** Whether the page at `start` is this frame. The cursor is there then. */
function isMappedTo(cursor: PageTableCursor, start: number, frame: number): boolean {
  return cursor.seek(start) === 1 && cursor.isLeaf && cursor.frame === frame;
}
