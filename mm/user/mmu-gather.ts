/**
 * Unmapping in a user address space (`mm/mmu_gather.c`): frames and page tables that were taken out are collected, and can be had
 * back only through the flush (`struct mmu_gather`).
 */
import { LEVEL_BYTES } from "../../arch/isa/linear-address.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import type { OwedFlush } from "../flush/owed-flush.ts";
import { POINT_FREES_FRAMES } from "../kernel/points.ts";
import { TakenTables } from "../page-tables/taken-tables.ts";
import type { MmStruct } from "./mm-struct.ts";
import { flushOwedOfMm } from "./user-flush.ts";
import type { UserSpaces } from "./user-spaces.ts";

/** What has been taken out of [start, end) of one address space. */
export class MmuGather {
  private readonly spaces: UserSpaces;
  private readonly mm: MmStruct;
  private readonly start: number;
  private readonly end: number;
  private readonly frames: number[] = [];
  private readonly tables: TakenTables;

  /**
   * Takes all pages of [start, end) out (`unmap_vmas`), then the tables that lie wholly in it (`free_pgtables`) unless they are kept.
   */
  constructor(spaces: UserSpaces, mm: MmStruct, start: number, end: number, keepsTables = false) {
    this.spaces = spaces;
    this.mm = mm;
    this.start = start;
    this.end = end;
    const { cursor } = mm.tables;
    for (cursor.seek(start); cursor.start < end; cursor.next()) if (cursor.isLeaf) this.frames.push(cursor.frame);
    this.tables = new TakenTables(
      mm.tables,
      mm.tables.vunmapRangeNoflush(start, end),
      spaces.kernel.bugs.tablesFreedBeforeFlush,
    );
    const { loop, costs } = spaces.kernel;
    loop.spend(this.frames.length * costs.user.zapEntryCycles);
    if (!keepsTables) this.freePgtables();
  }

  /**
   * Flushes what was taken out, if anything was, and gives it back (`tlb_finish_mmu`). Of an address space that ends, everything is
   * flushed (`exit_mmap`).
   */
  *tlbFinishMmu(cause: "munmap" | "exit" | "madvise"): KernelCode<void> {
    const { spaces, mm, frames, tables } = this;
    const { loop, costs, machine, tables: kernelTables } = spaces.kernel;
    if (spaces.kernel.version.zapDrainsLru) yield* spaces.lru.lruAddDrain();
    yield* tables.freeAfter((owed) => this.flushAndFreePages(owed, cause));
    yield* spaces.lru.folioDelLru(frames.length);
    loop.spend(tables.count * costs.pages.listCycles);
    spaces.kernel.spendOnFreedPages(frames.length);
    if (tables.count > 0) mm.syncTopTables(machine.memory, kernelTables.rootFrame);
  }

  /** Takes the tables that lie wholly in the range out of the tree, those below a table before it. */
  private freePgtables(): void {
    const { cursor, levels } = this.mm.tables;
    for (cursor.seek(this.start, 2); cursor.start < this.end; cursor.next(2)) {
      this.takeTable();
      // The last entry of a table: all below the entry that names this table has been dealt with.
      while (cursor.level < levels && cursor.end % LEVEL_BYTES[cursor.level + 1] === 0) {
        cursor.up();
        this.takeTable();
      }
    }
  }

  private takeTable(): void {
    const { cursor } = this.mm.tables;
    if (cursor.isPresent && cursor.start >= this.start && cursor.end <= this.end) this.tables.take();
  }

  private *flushAndFreePages(owed: OwedFlush, cause: "munmap" | "exit" | "madvise"): KernelCode<void> {
    const { spaces, mm, frames, tables } = this;
    const freedTables = cause === "exit" || tables.count > 0;
    if (spaces.kernel.bugs.munmapFreesBeforeFlush) this.freePages();
    // What was not mapped is in no TLB.
    if (freedTables || frames.length > 0) yield* flushOwedOfMm(spaces, mm, owed, freedTables, cause);
    else mm.tables.owed.waive(owed);
    if (!spaces.kernel.bugs.munmapFreesBeforeFlush) this.freePages();
  }

  private freePages(): void {
    const { loop, pages } = this.spaces.kernel;
    loop.point(POINT_FREES_FRAMES, this.frames);
    pages.freeBulk(loop.currentCpu, Uint32Array.from(this.frames), 0, this.frames.length);
  }
}
