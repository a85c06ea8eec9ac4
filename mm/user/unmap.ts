/**
 * Taking pages and page tables out of an address space (`mm/memory.c`: `unmap_vmas`, `zap_pte_range`, `free_pgtables`); what is taken out
 * goes to a gather (`mmu-gather.ts`), which flushes before it gives anything back.
 */

import { LEVEL_BYTES } from "../../arch/isa/linear-address.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import { usePage } from "../frames/struct-pages.ts";
import { isZeroPfn } from "../frames/zero-page.ts";
import type { SpinLock } from "../kernel/lock.ts";
import type { MmuGather } from "./mmu-gather.ts";

/**
 * Takes all pages of [start, end) out. Where the gather is full it is flushed, before the lock is given back, and freed after that.
 * @param lock that of the page tables, for callers who do not keep others away by `mmap_lock`
 */
export function* unmapVmas(
  gather: MmuGather,
  start: number,
  end: number,
  lock: SpinLock | null = null,
): KernelCode<void> {
  const { lru, kernel } = gather.spaces;
  if (kernel.version.zapDrainsLru) yield* lru.lruAddDrain();
  for (let la = start; la < end; ) {
    if (lock !== null && !lock.tryTake()) yield* lock.take();
    la = zapPteRange(gather, la, end);
    if (gather.isFull) yield* gather.tlbFlushMmuTlbonly();
    lock?.release();
    if (gather.isFull) yield* gather.tlbFlushMmu();
  }
}

/** Takes pages of [start, end) out until the gather is full (`zap_pte_range`); returns where to go on. */
function zapPteRange(gather: MmuGather, start: number, end: number): number {
  const { mm, spaces } = gather;
  const { cursor } = mm.tables;
  let first = end;
  let last = start;
  let [pages, zeroPages, table] = [0, 0, 0];
  spaces.kernel.usePath?.("unmap");
  spaces.kernel.usePath?.("page walk");
  for (cursor.seek(start); cursor.start < end && !gather.isFull; cursor.next()) {
    if (!cursor.isLeaf) continue;
    // The lock of a table is in its `struct page`.
    if (cursor.table !== table) usePage(spaces.kernel.pages, cursor.table);
    ({ table } = cursor);
    if (pages++ === 0) first = Math.max(start, cursor.start);
    last = Math.min(end, cursor.end);
    // Nobody counts who maps the zero page (`vm_normal_page`).
    if (isZeroPfn(cursor.frame)) {
      zeroPages++;
      continue;
    }
    usePage(spaces.kernel.pages, cursor.frame);
    gather.__tlbRemovePageSize(cursor.frame);
  }
  if (pages > 0) spaces.kernel.usePath?.("zap");
  if (pages > 0) gather.__tlbAdjustRange(mm.tables.vunmapRangeNoflush(first, last));
  const { loop, costs } = spaces.kernel;
  const ofZeroPages = zeroPages === 0 ? 0 : zeroPages * costs.user.zapZeroPageCycles;
  loop.spend(pages === zeroPages ? ofZeroPages : (pages - zeroPages) * costs.user.zapEntryCycles + ofZeroPages);
  return gather.isFull ? last : end;
}

/** Takes the tables out that lie wholly in [start, end), those below a table before it (`free_pgtables`). */
export function* freePgtables(gather: MmuGather, start: number, end: number): KernelCode<void> {
  const { cursor, levels } = gather.mm.tables;
  const take = (): void => {
    if (cursor.isPresent && cursor.start >= start && cursor.end <= end) gather.tlbRemoveTable();
  };
  for (cursor.seek(start, 2); cursor.start < end; cursor.next(2)) {
    take();
    // The last entry of a table: all below the entry that names this table has been dealt with.
    while (cursor.level < levels && cursor.end % LEVEL_BYTES[cursor.level + 1] === 0) {
      cursor.up();
      take();
    }
    if (!gather.isFull) continue;
    const { start: la, level } = cursor;
    yield* gather.tlbFlushMmu();
    // Others may have moved the cursor meanwhile.
    cursor.seek(la, level);
  }
}
