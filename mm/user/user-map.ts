/**
 * Mapping and unmapping user memory, as much of it as flushes need: `mmap` that populates at once, `munmap`, `mprotect`, and
 * the end of an address space (`mm/mmap.c`, `mm/mprotect.c`). Frames and page tables are given back only after the
 * flush (`mmu-gather.ts`).
 */

import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import { PTE_XD_HIGH } from "../../arch/isa/pte.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import { FRAME_USER } from "../frames/frame-uses.ts";
import { isOnLru, usePage } from "../frames/struct-pages.ts";
import { isZeroPfn } from "../frames/zero-page.ts";
import { EINVAL, ENOMEM } from "../lib/errno.ts";
import { __GFP_ZERO, GFP_KERNEL, NUMA_NO_NODE } from "../lib/gfp.ts";
import { USER_END } from "../lib/memory-layout.ts";
import { mmdrop } from "./lazy-tlb.ts";
import type { MmStruct } from "./mm-struct.ts";
import {
  lockVmaUnderRcu,
  mmapEndUnmap,
  mmapReadLock,
  mmapReadUnlock,
  mmapWriteDowngrade,
  mmapWriteLock,
  mmapWriteUnlock,
  treeChanged,
  VMA_LOCKED,
  vmaEndRead,
} from "./mmap-lock.ts";
import { MmuGather } from "./mmu-gather.ts";
import { decTlbFlushPending, incTlbFlushPending } from "./tlb-flush-pending.ts";
import { freePgtables, unmapVmas } from "./unmap.ts";
import { flushOwedOfMm } from "./user-flush.ts";
import { isUserRange, USER_PAGE } from "./user-pages.ts";
import type { UserSpaces } from "./user-spaces.ts";

/** `PROT_READ` and `PROT_WRITE`; `MAP_PRIVATE`, `MAP_ANONYMOUS` and `MAP_POPULATE`: what is mapped here. */
const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_POPULATE = 0x8000;
const MMAP_FLAGS = 0x2 | 0x20 | MAP_POPULATE;

/**
 * Maps `pages` new zeroed pages at `start`, readable and writable (`mmap` with `MAP_POPULATE`). Nothing is flushed: what was
 * not present is not cached.
 * @param pgoff as for `mmap`
 * @returns 0, -EINVAL for a range outside the user half, or -ENOMEM with nothing left behind
 */
export function* mmapPopulate(
  spaces: UserSpaces,
  mm: MmStruct,
  start: number,
  pages: number,
  pgoff = start / PAGE_SIZE,
): KernelCode<number> {
  if (!isUserRange(start, start + pages * PAGE_SIZE)) return -EINVAL;
  const { probes } = spaces.kernel.flushing;
  probes?.enter("mmap", [start, pages * PAGE_SIZE, PROT_READ | PROT_WRITE, MMAP_FLAGS]);
  yield* beginMmap(spaces, mm, start, start + pages * PAGE_SIZE);
  const frames = new Uint32Array(pages);
  const result = populate(spaces, mm, start, frames);
  if (result === 0) mm.vmas.insert(start, start + pages * PAGE_SIZE, pgoff, true);
  if (result === 0) treeChanged(spaces, mm);
  if (result === 0) yield* spaces.lru.foliosAddLru(frames);
  mmapWriteUnlock(mm);
  probes?.exit("mmap", result < 0 ? 0 : start);
  return result;
}

/**
 * Makes a mapping of [start, end), in which nothing is mapped yet (`mmap`): its pages come with their faults.
 * @param pgoff the first page's number in what is mapped; of anonymous memory that of its address
 * @returns 0, or -EINVAL for a range outside the user half
 */
export function* mmap(
  spaces: UserSpaces,
  mm: MmStruct,
  start: number,
  end: number,
  pgoff = start / PAGE_SIZE,
): KernelCode<number> {
  if (!isUserRange(start, end)) return -EINVAL;
  const { probes } = spaces.kernel.flushing;
  probes?.enter("mmap", [start, end - start, PROT_READ | PROT_WRITE, MMAP_FLAGS & ~MAP_POPULATE]);
  yield* beginMmap(spaces, mm, start, end);
  mm.vmas.insert(start, end, pgoff);
  treeChanged(spaces, mm);
  mmapWriteUnlock(mm);
  probes?.exit("mmap", start);
  return 0;
}

/** Locks what a new mapping of [start, end) changes, and spends what it takes to make one (`do_mmap`), populated or not. */
function* beginMmap(spaces: UserSpaces, mm: MmStruct, start: number, end: number): KernelCode<void> {
  // Neighbours are locked too: one may become the same mapping.
  yield* mmapWriteLock(spaces, mm, [start - PAGE_SIZE, end + PAGE_SIZE]);
  spaces.kernel.loop.spend(spaces.kernel.costs.user.mmapCycles);
}

/** Maps new pages at `start`, whose frames go into `frames`; 0 or a negative errno, and then no page is taken. */
function populate(spaces: UserSpaces, mm: MmStruct, start: number, frames: Uint32Array): number {
  const { kernel } = spaces;
  kernel.lockdep?.assertHeld(mm.mmapLock, "mm->mmap");
  const { loop, costs, machine } = kernel;
  const { length: pages } = frames;
  const end = start + pages * PAGE_SIZE;
  const gfp = GFP_KERNEL | __GFP_ZERO;
  const got = kernel.pages.allocBulk(loop.currentCpu, pages, FRAME_USER, gfp, NUMA_NO_NODE, frames, 0);
  const giveBack = () => kernel.pages.freeBulk(loop.currentCpu, frames, 0, got);
  loop.spend(costs.callCycles + got * costs.entryWriteCycles);
  kernel.spendOnPages(got);
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

/**
 * Unmaps [start, end), flushes, and gives frames and emptied page tables back; 0 or -EINVAL. The mappings are changed by a writer of `mmap_lock`, who
 * does the rest as a reader (since 4.20).
 */
export function* munmap(spaces: UserSpaces, mm: MmStruct, start: number, end: number): KernelCode<number> {
  if (!isUserRange(start, end)) return -EINVAL;
  const { probes } = spaces.kernel.flushing;
  probes?.enter("munmap", [start, end - start]);
  const range = [start, end] as const;
  yield* mmapWriteLock(spaces, mm, range);
  spaces.kernel.lockdep?.assertHeld(mm.mmapLock, "mm->mmap");
  spaces.kernel.loop.spend(spaces.kernel.costs.user.munmapCycles);
  mm.vmas.remove(start, end);
  treeChanged(spaces, mm);
  mmapWriteDowngrade(mm, range);
  spaces.kernel.usePath?.("munmap");
  const gather = new MmuGather(spaces, mm, "munmap");
  yield* unmapVmas(gather, start, end);
  yield* freePgtables(gather, start, end);
  yield* gather.tlbFinishMmu();
  spaces.kernel.usePath?.("unmap end");
  yield* mmapEndUnmap(mm, range);
  probes?.exit("munmap", 0);
  return 0;
}

/**
 * Makes the mapped pages of [start, end) writable or read-only; 0 or -EINVAL. Entries whose R/W changes are flushed, whichever way
 * (`pte_flags_need_flush`: `_PAGE_RW` is among `flush_on_change`).
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
  yield* mmapWriteLock(spaces, mm, [start, end]);
  spaces.kernel.lockdep?.assertHeld(mm.mmapLock, "mm->mmap");
  spaces.kernel.usePath?.("mprotect");
  spaces.kernel.usePath?.("page walk");
  const { cursor, owed: debts } = mm.tables;
  const owed = debts.owe(start, end);
  incTlbFlushPending(spaces, mm);
  let [changed, table] = [0, 0];
  for (cursor.seek(start); cursor.start < end; cursor.next()) {
    if (!cursor.isLeaf) continue;
    // The lock of a table is in its `struct page` (`pte_offset_map_lock`).
    if (cursor.table !== table) usePage(spaces.kernel.pages, cursor.table);
    ({ table } = cursor);
    if (cursor.isWritable === writable) continue;
    // The zero page stays as it is: who writes gets a page of its own (`can_change_pte_writable`).
    if (isZeroPfn(cursor.frame)) continue;
    // So does a page that another address space has too (`PageAnonExclusive`).
    if (writable && isShared(spaces, cursor.frame)) continue;
    if (writable) cursor.allowWrites();
    else cursor.forbidWrites(owed);
    changed++;
  }
  loop.spend(costs.user.mprotectCycles + changed * costs.user.protectEntryCycles);
  const isNested = mm.mmTlbFlushNested && !spaces.kernel.bugs.nestedFlushMissed;
  if (isNested) debts.extend(owed, 0, USER_END);
  if (changed > 0 || isNested) yield* flushOwedOfMm(spaces, mm, owed, isNested, "mprotect");
  else debts.waive(owed);
  decTlbFlushPending(spaces, mm);
  spaces.kernel.usePath?.("mprotect end");
  mmapWriteUnlock(mm);
  return 0;
}

/** Whether anybody but this address space has a page: a page that is not on an LRU list yet is held by the batch that it waits in, too. */
function isShared({ kernel }: UserSpaces, frame: number): boolean {
  const batches = isOnLru(kernel.pages, frame) ? 0 : 1;
  return kernel.pages.references.furtherOf(frame) > batches;
}

/**
 * The end of an address space (`exit_mmap`, `mmdrop`): everything is unmapped and flushed. CPUs that borrow it leave it when they are
 * interrupted for that; a broadcast does not interrupt them, and the top tables stay until they have gone on to another
 * address space. No thread of it may run any more.
 */
export function* exitMmap(spaces: UserSpaces, mm: MmStruct): KernelCode<void> {
  // The thread that ends is a kernel thread from here on.
  if (spaces.loaded[spaces.kernel.loop.currentCpu] === mm) spaces.switchTo(null);
  const gather = new MmuGather(spaces, mm, "exit");
  yield* unmapVmas(gather, 0, USER_END);
  yield* freePgtables(gather, 0, USER_END);
  yield* gather.tlbFinishMmu();
  mm.hasEnded = true;
  mmdrop(spaces, mm);
}

/**
 * Takes the pages of [start, end) away; the mapping stays, and its next use faults in zeroed ones (`madvise(MADV_DONTNEED)`). Other
 * threads may do so, and fault, at the same time: the lock of the mapping is held to read or, before 6.17 and while somebody changes the
 * mapping, `mmap_lock`. 0 or -EINVAL.
 */
export function* madviseDontneed(spaces: UserSpaces, mm: MmStruct, start: number, end: number): KernelCode<number> {
  if (!isUserRange(start, end)) return -EINVAL;
  const { loop, costs, version } = spaces.kernel;
  const vma = version.madviseLocksVma ? yield* lockVmaUnderRcu(spaces, mm, start, end) : VMA_LOCKED;
  const locksVma = vma !== VMA_LOCKED;
  if (locksVma) loop.spend(costs.lock.uncontendedCycles);
  else yield* mmapReadLock(spaces, mm, start, end);
  loop.spend(costs.user.madviseCycles);
  spaces.kernel.usePath?.("madvise");
  const gather = new MmuGather(spaces, mm, "madvise");
  yield* unmapVmas(gather, start, end);
  yield* gather.tlbFinishMmu();
  spaces.kernel.usePath?.("unmap end");
  if (locksVma) loop.spend(costs.lock.uncontendedCycles);
  if (locksVma) yield* vmaEndRead(spaces, mm, vma);
  else yield* mmapReadUnlock(mm);
  return 0;
}
