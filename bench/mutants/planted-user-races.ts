/** Bugs of concurrency planted in forks, copies of pages that are shared, lazy mode, and what is unmapped in portions. */
import type { PlantedRace } from "./planted-race.ts";

/** All of them. */
export const PLANTED_USER_RACES: readonly PlantedRace[] = [
  {
    name: "switch_mm_irqs_off leaves a CPU lazy that goes on with the process it borrowed",
    file: "mm/user/user-spaces.ts",
    search: "    tlb.isLazy = false;\n",
    replacement: "    if (previous !== next) tlb.isLazy = false;\n",
  },
  {
    name: "a gather that is full gives pages back before it flushes",
    file: "mm/user/mmu-gather.ts",
    search: "    yield* this.tlbFlushMmuTlbonly();\n    yield* this.tlbBatchPagesFlush();",
    replacement:
      "    if (this.isFull) yield* this.tlbBatchPagesFlush();\n    yield* this.tlbFlushMmuTlbonly();\n    yield* this.tlbBatchPagesFlush();",
  },
  {
    name: "a gather that is full does not flush",
    file: "mm/user/mmu-gather.ts",
    search: "    yield* this.tlbFlushMmuTlbonly();\n    yield* this.tlbBatchPagesFlush();",
    replacement: "    if (!this.isFull) yield* this.tlbFlushMmuTlbonly();\n    yield* this.tlbBatchPagesFlush();",
  },
  {
    name: "free_pgtables goes on where others have moved to after a flush in between",
    file: "mm/user/unmap.ts",
    search: "    // Others may have moved the cursor meanwhile.\n    cursor.seek(la, level);\n",
    replacement: "",
  },
  {
    name: "the flush in between covers what is unmapped after it only",
    file: "mm/user/mmu-gather.ts",
    search: "    this.owed = null;\n    if (this.spaces",
    replacement: "    if (this.isFull && this.tables === null) return;\n    this.owed = null;\n    if (this.spaces",
  },
  {
    name: "do_wp_page copies without the lock of the page tables",
    file: "mm/user/fork.ts",
    search:
      "  if (!mm.pageTableLock.tryTake()) yield* mm.pageTableLock.take();\n  const { result, old } = yield* wpPageReuseOrCopy(spaces, mm, start);\n  mm.pageTableLock.release();",
    replacement: "  const { result, old } = yield* wpPageReuseOrCopy(spaces, mm, start);",
  },
  {
    name: "do_wp_page makes the copy writable before the flush of the old page",
    file: "mm/user/fork.ts",
    search: "  const isReadOnly = USER_PAGE & ~PTE_RW;",
    replacement: "  const isReadOnly = USER_PAGE;",
  },
  {
    name: "do_wp_page does not flush",
    file: "mm/user/fork.ts",
    search: '  yield* flushOwedOfMm(spaces, mm, owed, false, "copy");',
    replacement: "  tables.owed.waive(owed);",
  },
  {
    name: "fork copies the page tables without their lock",
    file: "mm/user/fork.ts",
    search:
      "  if (!oldmm.pageTableLock.tryTake()) yield* oldmm.pageTableLock.take();\n  const { result, forbidden } = copyPageRange(spaces, mm, oldmm, owed);\n  oldmm.pageTableLock.release();",
    replacement: "  const { result, forbidden } = copyPageRange(spaces, mm, oldmm, owed);",
  },
  {
    name: "fork does not flush what it has made read-only",
    file: "mm/user/fork.ts",
    search: '  if (forbidden > 0) yield* flushOwedOfMm(spaces, oldmm, owed, false, "fork");\n  else debts.waive(owed);',
    replacement: "  debts.waive(owed);",
  },
  {
    name: "tlb_finish_mmu no longer counts as pending before it has flushed",
    file: "mm/user/mmu-gather.ts",
    search: "    yield* this.tlbFlushMmu();\n    decTlbFlushPending(spaces, mm);\n",
    replacement: "    decTlbFlushPending(spaces, mm);\n    yield* this.tlbFlushMmu();\n",
  },
  {
    name: "mprotect does not look whether others have yet to flush",
    file: "mm/user/user-map.ts",
    search: "  const isNested = mm.mmTlbFlushNested && ",
    replacement: "  const isNested = mm.tlbFlushPending > 2 && ",
  },
  {
    name: "mmapReadLock does not wait for a writer",
    file: "mm/kernel/rw-semaphore.ts",
    search: "    const isContended = this.writer !== null || this.queue.length > 0;",
    replacement: "    const isContended = this.queue.length > 0;",
  },
  {
    name: "fork gives mmap_lock back before its flush",
    file: "mm/user/fork.ts",
    search:
      '  if (forbidden > 0) yield* flushOwedOfMm(spaces, oldmm, owed, false, "fork");\n  else debts.waive(owed);\n  mmapWriteUnlock(oldmm);',
    replacement:
      '  mmapWriteUnlock(oldmm);\n  if (forbidden > 0) yield* flushOwedOfMm(spaces, oldmm, owed, false, "fork");\n  else debts.waive(owed);',
  },
  {
    name: "who asks for the lock of a mapping does not see that a writer has it",
    file: "mm/user/mm-struct.ts",
    search: "    return overlaps(this.changing, start, end);",
    replacement: "    return this.changing.length < 0;",
  },
  {
    name: "do_wp_page takes a page for its own that one other process has too",
    file: "mm/user/fork.ts",
    search: "  return pages.references.furtherOf(frame) === 0;",
    replacement: "  return pages.references.furtherOf(frame) <= 1;",
  },
  {
    name: "munmap leaves user mode's copy of an entry of the top table until later",
    file: "mm/user/mmu-gather.ts",
    search: "    if (cursor.level === mm.tables.levels)",
    replacement: "    if (cursor.level > mm.tables.levels)",
  },
];
