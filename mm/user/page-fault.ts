/**
 * Page faults of anonymous mappings (`mm/memory.c`): a page that is not there comes zeroed, or is the zero page where it is only read; who
 * writes to a page that it may only read gets one of its own (`fork.ts`).
 */

import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import { PTE_XD_HIGH } from "../../arch/isa/pte.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import { FRAME_USER } from "../frames/frame-uses.ts";
import { usePage } from "../frames/struct-pages.ts";
import { ZERO_PAGE_FRAME } from "../frames/zero-page.ts";
import { EINVAL, ENOMEM } from "../lib/errno.ts";
import { __GFP_ZERO, GFP_KERNEL } from "../lib/gfp.ts";
import { doWpPage } from "./fork.ts";
import type { MmStruct } from "./mm-struct.ts";
import { lockForFault, unlockAfterFault, vmfAnonPrepare } from "./mmap-lock.ts";
import { isUserRange, SHARED_PAGE, USER_PAGE } from "./user-pages.ts";
import type { UserSpaces } from "./user-spaces.ts";

/**
 * Handles a fault of an anonymous mapping (`handle_pte_fault`): a page that is not there by {@link doAnonymousPage}, a write to one that may
 * only be read by `doWpPage`.
 * @returns 0; -EINVAL outside the user half; -ENOMEM
 */
export function* handlePteFault(spaces: UserSpaces, mm: MmStruct, la: number, isWrite: boolean): KernelCode<number> {
  const { cursor } = mm.tables;
  const start = la - (la % PAGE_SIZE);
  const isThere = isUserRange(start, start + PAGE_SIZE) && cursor.seek(start) === 1 && cursor.isLeaf;
  if (!isThere || !isWrite) return yield* doAnonymousPage(spaces, mm, la, isWrite);
  const result = yield* doWpPage(spaces, mm, la);
  // Somebody has taken the page away meanwhile: nothing is done, and the access faults again.
  return result === -EINVAL ? 0 : result;
}

/**
 * Handles a fault in a page of an anonymous mapping that is not present (`do_anonymous_page`): a zeroed page is mapped there, writable, or
 * where it is only read the zero page, which is not.
 * @returns 0, -EINVAL outside the user half, or -ENOMEM
 */
export function* doAnonymousPage(spaces: UserSpaces, mm: MmStruct, la: number, isWrite = true): KernelCode<number> {
  const start = la - (la % PAGE_SIZE);
  if (!isUserRange(start, start + PAGE_SIZE)) return -EINVAL;
  const { kernel } = spaces;
  const { loop, costs } = kernel;
  let lock = yield* lockForFault(spaces, mm, start);
  loop.spend(isWrite ? costs.user.faultCycles : costs.user.readFaultCycles);
  kernel.usePath?.("fault");
  kernel.usePath?.("page walk");
  let result = 0;
  if (isWrite) lock = yield* vmfAnonPrepare(spaces, mm, start, lock);
  if (mm.tables.cursor.seek(start) !== 1 || !mm.tables.cursor.isLeaf) {
    const frame = isWrite ? mapNewPage(spaces, mm, start) : mapPage(spaces, mm, start, ZERO_PAGE_FRAME, SHARED_PAGE);
    result = Math.min(frame, 0);
    if (isWrite && result === 0) yield* spaces.lru.folioAddLru(frame);
  }
  yield* unlockAfterFault(spaces, mm, lock);
  return result;
}

/** Maps a new, zeroed page; its frame, or a negative errno with nothing left behind. */
function mapNewPage(spaces: UserSpaces, mm: MmStruct, start: number): number {
  const { kernel } = spaces;
  const { pages, loop } = kernel;
  const frame = pages.allocPages(loop.currentCpu, 0, FRAME_USER, GFP_KERNEL | __GFP_ZERO);
  if (frame === 0) return -ENOMEM;
  kernel.spendOnPages(1);
  if (pages.memcg !== null) kernel.usePath?.("memcg");
  const result = mapPage(spaces, mm, start, frame, USER_PAGE);
  if (result === 0) return frame;
  pages.freePagesOf(loop.currentCpu, frame, 0);
  return result;
}

/** Maps a frame where nothing is, with the tables that it takes; 0 or a negative errno. */
function mapPage({ kernel }: UserSpaces, mm: MmStruct, start: number, frame: number, low: number): number {
  const { loop, costs } = kernel;
  const { tables } = mm;
  const tablesBefore = tables.tablePages;
  const frames = Uint32Array.of(frame);
  const result = tables.vmapSmallPagesRangeNoflush(start, start + PAGE_SIZE, low, PTE_XD_HIGH, frames, 0);
  mm.syncTopTables(kernel.machine.memory, kernel.tables.rootFrame);
  // The lock of the table is in its `struct page`.
  if (tables.cursor.seek(start) === 1) usePage(kernel.pages, tables.cursor.table);
  loop.spend((tables.tablePages - tablesBefore) * (costs.pages.listCycles + kernel.pageLines.zeroOwnCycles));
  return result;
}
