/**
 * What unmapping collects until TLBs have been flushed (`mm/mmu_gather.c`, `struct mmu_gather`): pages in batches, and page tables. They can
 * be had back only through the flush. When no batch has room for another page, the flush comes in between: for every 9,678 pages, and much
 * earlier when there is no memory for a batch.
 *
 *     const gather = new MmuGather(spaces, mm, "munmap");    // tlb_gather_mmu, tlb_gather_mmu_fullmm
 *     yield* unmapVmas(gather, start, end);                  // unmap.ts
 *     yield* gather.tlbFinishMmu();
 *
 * All pages are anonymous: none is a file's, whose reverse mapping would be taken away only after the flush (`delayed_rmap`).
 */
import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import { type KernelCode, PAUSE_TURN } from "../../arch/time/event-loop.ts";
import type { OwedFlush } from "../flush/owed-flush.ts";
import { FRAME_CALLER } from "../frames/frame-uses.ts";
import { NUMA_NO_NODE } from "../lib/gfp.ts";
import { USER_END } from "../lib/memory-layout.ts";
import { TakenTables } from "../page-tables/taken-tables.ts";
import type { MmStruct } from "./mm-struct.ts";
import { decTlbFlushPending, incTlbFlushPending } from "./tlb-flush-pending.ts";
import { flushOwedOfMm } from "./user-flush.ts";
import type { UserSpaces } from "./user-spaces.ts";

/** Pages of the first batch, which is part of the gather (`MMU_GATHER_BUNDLE`). */
const MMU_GATHER_BUNDLE = 8;
/** Pages of each further batch: what is left of a page of memory behind a pointer and two counts (`MAX_GATHER_BATCH`). */
const MAX_GATHER_BATCH = (PAGE_SIZE - 16) / 8;
/** Further batches of one gather (`MAX_GATHER_BATCH_COUNT`). */
const MAX_GATHER_BATCH_COUNT = Math.floor(10_000 / MAX_GATHER_BATCH);
/** Pages that are freed before others may come (`MAX_NR_FOLIOS_PER_FREE`). */
const MAX_NR_FOLIOS_PER_FREE = 512;
/** Neither reclaims nor wakes who does (`GFP_NOWAIT` without `__GFP_KSWAPD_RECLAIM`: memory that is short is not asked for here). */
const GFP_BATCH = 0;

/** Why pages are unmapped: what the accounts call the flush. */
export type GatherCause = "munmap" | "exit" | "madvise";

/** What has been taken out of one address space and not been given back yet. */
export class MmuGather {
  readonly spaces: UserSpaces;
  readonly mm: MmStruct;
  /** The address space ends (`fullmm`): everything of it is flushed. */
  readonly fullmm: boolean;
  /** No batch has room any more: what is collected must be flushed and freed before anything else is taken out. */
  isFull = false;
  /** Others are unmapping too: all of the address space is flushed, as when page tables are freed. */
  private isNested = false;
  private readonly cause: GatherCause;
  /** The flush for all that was taken out since the last one; null when that is nothing. */
  private owed: OwedFlush | null = null;
  private tables: TakenTables | null = null;
  /** Frames collected, in order; `room` entries are free in the batch that is filled now. */
  private frames: number[] = [];
  private room: number;
  /** The pages of memory that hold further batches (kept until the end), and how many of them are filled or being filled. */
  private readonly batches: number[] = [];
  private active = 0;

  /** `tlb_gather_mmu`, or `tlb_gather_mmu_fullmm` for the cause "exit". */
  constructor(spaces: UserSpaces, mm: MmStruct, cause: GatherCause) {
    this.spaces = spaces;
    this.mm = mm;
    this.cause = cause;
    this.fullmm = cause === "exit";
    this.room = this.roomOf(MMU_GATHER_BUNDLE);
    incTlbFlushPending(spaces, mm);
  }

  /**
   * Collects the frame of a page whose entry is about to be cleared (`__tlb_remove_page_size`).
   * @returns whether no batch has room for another
   */
  __tlbRemovePageSize(frame: number): boolean {
    this.frames.push(frame);
    if (--this.room === 0) this.isFull = !this.tlbNextBatch();
    return this.isFull;
  }

  /** Entries of [start, end) have been cleared, for which `part` is owed: the flush will cover them (`__tlb_adjust_range`). */
  __tlbAdjustRange(part: OwedFlush): void {
    const { owed: debts } = this.mm.tables;
    if (this.owed === null) {
      this.owed = part;
      return;
    }
    debts.extend(this.owed, debts.startOf(part), debts.endOf(part));
    debts.include(part, this.owed);
  }

  /**
   * Takes the table that the entry under the tree's cursor names (`tlb_remove_table`). On bare hardware it waits in the same batches as
   * pages until 6.14, in batches of its own later.
   */
  tlbRemoveTable(): void {
    const { mm, spaces } = this;
    const { cursor, owed: debts } = mm.tables;
    const { start } = cursor;
    if (this.owed === null) this.owed = debts.owe(start, start + PAGE_SIZE);
    else debts.extend(this.owed, start, start + PAGE_SIZE);
    this.tables ??= new TakenTables(mm.tables, this.owed, spaces.kernel.bugs.tablesFreedBeforeFlush);
    this.tables.take();
    // User mode's copy of an entry of the top table goes with it (`p4d_clear`, `pti_set_user_pgtbl`): no CPU may walk there after the flush.
    if (cursor.level === mm.tables.levels)
      mm.syncTopTables(spaces.kernel.machine.memory, spaces.kernel.tables.rootFrame);
    if (spaces.kernel.version.gathersTablesWithPages && !this.isFull && --this.room === 0) {
      this.isFull = !this.tlbNextBatch();
    }
  }

  /** Flushes what was taken out since the last flush, if anything was; nothing is given back yet (`tlb_flush_mmu_tlbonly`). */
  *tlbFlushMmuTlbonly(): KernelCode<void> {
    const { owed, tables } = this;
    if (owed === null) return;
    this.owed = null;
    if (this.spaces.kernel.bugs.munmapFreesBeforeFlush) yield* this.spaces.lru.foliosPutRefs(this.frames);
    if (tables === null) yield* this.tlbFlush(owed);
    else yield* tables.freeAfter((due) => this.tlbFlush(due));
  }

  /** Flushes, and gives back what was collected (`tlb_flush_mmu`). */
  *tlbFlushMmu(): KernelCode<void> {
    yield* this.tlbFlushMmuTlbonly();
    yield* this.tlbBatchPagesFlush();
  }

  /**
   * Flushes what is left, gives it back, and the batches too (`tlb_finish_mmu`). Where others unmap at the same time, they may have cleared
   * entries of the same pages that they have not flushed yet: then everything is flushed.
   */
  *tlbFinishMmu(): KernelCode<void> {
    const { mm, spaces, batches } = this;
    const { kernel } = spaces;
    // CPUs that borrow an address space which ends leave it, whatever was mapped in it.
    if (this.fullmm) this.owed ??= mm.tables.owed.owe(0, PAGE_SIZE);
    else if (mm.mmTlbFlushNested && !kernel.bugs.nestedFlushMissed) this.coverAll();
    yield* this.tlbFlushMmu();
    decTlbFlushPending(spaces, mm);
    if (batches.length > 0) kernel.usePath?.("batch freed");
    kernel.spendOnFreedPages(batches.length);
    for (const frame of batches.splice(0)) kernel.pages.freePagesOf(kernel.loop.currentCpu, frame, 0);
  }

  private coverAll(): void {
    const { owed: debts } = this.mm.tables;
    this.isNested = true;
    if (this.owed === null) this.owed = debts.owe(0, USER_END);
    else debts.extend(this.owed, 0, USER_END);
  }

  /** Flushes for all that was taken out (`tlb_flush`). */
  private *tlbFlush(owed: OwedFlush): KernelCode<void> {
    const { spaces, mm, tables } = this;
    const freedTables = this.fullmm || this.isNested || tables !== null;
    yield* flushOwedOfMm(spaces, mm, owed, freedTables, this.cause);
    spaces.kernel.flushing.tlbFlushObserver?.tlbFlushMmu?.(
      spaces.kernel.loop.currentCpu,
      this.frames.length,
      tables?.count ?? 0,
    );
  }

  /** Frees the pages that were collected, in portions between which others may come (`tlb_batch_pages_flush`). */
  private *tlbBatchPagesFlush(): KernelCode<void> {
    const { spaces, tables } = this;
    const { kernel } = spaces;
    const { loop } = kernel;
    const frames = this.frames;
    this.frames = [];
    for (let first = 0; first < frames.length; first += MAX_NR_FOLIOS_PER_FREE) {
      if (first > 0) while (loop.mustYield()) yield PAUSE_TURN;
      kernel.usePath?.("zap end");
      const some = frames.slice(first, first + MAX_NR_FOLIOS_PER_FREE);
      if (kernel.version.zapDrainsLru) yield* spaces.lru.lruAddDrain();
      if (!kernel.bugs.munmapFreesBeforeFlush) yield* spaces.lru.foliosPutRefs(some);
    }
    if (tables !== null) {
      loop.spend(tables.count * kernel.costs.pages.listCycles);
      this.tables = null;
    }
    this.active = 0;
    this.isFull = false;
    this.room = this.roomOf(MMU_GATHER_BUNDLE);
  }

  /** Goes on to the next batch, for which memory is taken the first time; false when there is none (`tlb_next_batch`). */
  private tlbNextBatch(): boolean {
    const { kernel } = this.spaces;
    if (this.active === this.batches.length) {
      if (this.batches.length === MAX_GATHER_BATCH_COUNT) return false;
      const frame = kernel.pages.allocPages(kernel.loop.currentCpu, 0, FRAME_CALLER, GFP_BATCH, NUMA_NO_NODE);
      if (frame === 0) return false;
      kernel.spendOnPages(1);
      kernel.usePath?.("batch taken");
      this.batches.push(frame);
    }
    this.active++;
    this.room = this.roomOf(MAX_GATHER_BATCH);
    return true;
  }

  /** A page and the number of its neighbours may need two entries: since 6.9 one is kept free. */
  private roomOf(entries: number): number {
    return entries - this.spaces.kernel.version.gatherEntriesKept;
  }
}
