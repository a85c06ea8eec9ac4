/**
 * Page tables that the kernel writes, and the quick way to map and unmap 4 KiB pages in them. They live in emulated physical
 * memory and nowhere else. All other walks and changes are a cursor's (`page-table-cursor.ts`); large pages are in `huge-map.ts`.
 */
import { PAGE_SIZE, PMD_SIZE } from "../../arch/isa/linear-address.ts";
import { ENTRIES_PER_TABLE } from "../../arch/isa/pte.ts";
import { CHUNK_FRAME_MASK, FRAME_WORDS_SHIFT, type PhysicalMemory } from "../../arch/memory/physical-memory.ts";
import { type OwedFlush, OwedFlushes } from "../flush/owed-flush.ts";
import { FRAME_PAGE_TABLE } from "../frames/frame-uses.ts";
import type { PageAllocator } from "../frames/page-allocator.ts";
import type { FaultInjection } from "../kernel/fault-injection.ts";
import type { PageTableEvents } from "../kernel/vmalloc-events.ts";
import { EBUSY, ENOMEM } from "../lib/errno.ts";
import { GFP_KERNEL, NUMA_NO_NODE } from "../lib/gfp.ts";
import { formatRange, type KernelLog } from "../lib/kernel-log.ts";
import { NotEnoughMemory } from "../lib/not-enough-memory.ts";
import { indexAt, PageTableCursor } from "./page-table-cursor.ts";

/** log2 of {@link ENTRIES_PER_TABLE}. */
const ENTRIES_SHIFT = 9;

/** PTE tables remembered: enough for 2 GiB of address space. */
const KNOWN_TABLES = 1024;
const KNOWN_MASK = KNOWN_TABLES - 1;
const REGIONS_PER_BYTE = 1 / PMD_SIZE;

/** The current CPU, for the page allocator, and whoever acts between two steps of it: an `EventLoop`. */
export interface CurrentCpu {
  readonly currentCpu: number;
  /** A named point between two accesses to what CPUs share. */
  point(name: string, subject?: unknown): void;
}

/** A tree of page tables, but for its entries, which are in memory. */
export interface PageTablesState {
  readonly rootFrame: number;
  /** Leaf entries written and cleared so far. */
  readonly leavesSet: number;
  readonly leavesCleared: number;
  /** Tables by level: index 1 PTE tables to 5; 0 is not used. */
  readonly tables: readonly number[];
}

/** One tree of page tables: the kernel's, or a user address space's. */
export class PageTables {
  /** The frame of the top table: what CR3 holds. Only {@link restore} changes it. */
  rootFrame: number;
  /** 4, or 5 with LA57. */
  readonly levels: 4 | 5;
  readonly memory: PhysicalMemory;
  readonly log: KernelLog;
  /** Is told of each change; null when nothing observes. */
  events: PageTableEvents | null = null;
  /** Called when an entry of the top table comes to name a table (`arch_sync_kernel_mappings`); `user-spaces.ts` sets it. */
  onTopEntry: (() => void) | null = null;
  /** Leaf entries written and cleared so far, by any size. */
  leavesSet = 0;
  leavesCleared = 0;
  /** Tables at present, by level (index 1 to 5), the top one included. */
  readonly tables: number[] = [0, 0, 0, 0, 0, 0];
  /** For walks during which no other CPU acts. */
  readonly cursor = new PageTableCursor(this);
  /** Flushes owed for pages and tables that were taken out of this tree. */
  readonly owed: OwedFlushes;

  private readonly pages: PageAllocator;
  private readonly faults: FaultInjection;
  private readonly gfp: number;
  /** Which CPU acts. */
  readonly cpu: CurrentCpu;
  /** PTE tables found before, by the low bits of the number of the 2 MiB region that they map; -1 for none. */
  private readonly knownRegions = new Int32Array(KNOWN_TABLES).fill(-1);
  private readonly knownTables = new Int32Array(KNOWN_TABLES);

  /**
   * @param rootFrame an existing top table; by default a new one is allocated
   * @param gfp how tables are allocated: `GFP_KERNEL_ACCOUNT` for those of users
   * @throws NotEnoughMemory when not even the top table can be allocated
   */
  constructor(
    memory: PhysicalMemory,
    pages: PageAllocator,
    faults: FaultInjection,
    log: KernelLog,
    cpu: CurrentCpu,
    levels: 4 | 5,
    rootFrame?: number,
    gfp = GFP_KERNEL,
  ) {
    this.memory = memory;
    this.pages = pages;
    this.faults = faults;
    this.log = log;
    this.owed = new OwedFlushes(log);
    this.cpu = cpu;
    this.levels = levels;
    this.gfp = gfp;
    this.rootFrame = rootFrame ?? this.newTable(levels);
    if (this.rootFrame === 0) throw new NotEnoughMemory("no memory for the top page table");
  }

  /** Copies where the tables begin, and the counts, for saved states; the entries are in memory. */
  capture(): PageTablesState {
    const { rootFrame, leavesSet, leavesCleared, tables } = this;
    return { rootFrame, leavesSet, leavesCleared, tables: [...tables] };
  }

  /** Goes over to the tables of a captured state. */
  restore({ rootFrame, leavesSet, leavesCleared, tables }: PageTablesState): void {
    this.rootFrame = rootFrame;
    this.leavesSet = leavesSet;
    this.leavesCleared = leavesCleared;
    this.tables.splice(0, this.tables.length, ...tables);
    this.knownRegions.fill(-1);
  }

  /** Page-table pages at present (`PageTables:` counts them in kB). */
  get tablePages(): number {
    return this.tables.reduce((sum, count) => sum + count, 0);
  }

  /** Takes a frame for a table of `level`, all entries zero, which the caller hangs into the tree; 0 when memory ran out. */
  newTable(level: number): number {
    const frame = this.takeTableFrame();
    if (frame !== 0) this.tables[level]++;
    return frame;
  }

  /**
   * `vmap_small_pages_range_noflush`: maps [start, end) to the frames listed from `frames[offset]` on, with 4 KiB pages and the attributes `prot`.
   * @returns 0, or -ENOMEM (no table), or -EBUSY (something is mapped there: warned of); what was mapped stays
   */
  vmapSmallPagesRangeNoflush(
    start: number,
    end: number,
    protLow: number,
    protHigh: number,
    frames: Uint32Array,
    offset: number,
  ): number {
    let la = start;
    let at = offset;
    while (la < end) {
      const table = this.makePteTableAt(la);
      if (table === 0) return -ENOMEM;
      const first = indexAt(la, 1);
      const count = Math.min(ENTRIES_PER_TABLE - first, (end - la) / PAGE_SIZE) | 0;
      const set = this.setLeaves(table, first, count, protLow, protHigh, frames, at);
      this.leavesSet += set;
      if (set < count) {
        this.log.warn(`mapping ${formatRange(la + set * PAGE_SIZE, end)}: an entry is in use`);
        return -EBUSY;
      }
      at += count;
      la += count * PAGE_SIZE;
    }
    return 0;
  }

  /**
   * Clears all leaves in [start, end); tables stay (`vunmap_range_noflush`; of user addresses `unmap_page_range`).
   * @returns the flush that is owed for them
   */
  vunmapRangeNoflush(start: number, end: number): OwedFlush {
    this.events?.vunmap(start, end);
    const owed = this.owed.owe(start, end);
    let la = start;
    while (la < end) {
      const table = this.pteTableAt(la);
      if (table === 0) {
        la = this.unmapLargeOrSkip(la, end, owed);
        continue;
      }
      const first = indexAt(la, 1);
      const count = Math.min(ENTRIES_PER_TABLE - first, (end - la) / PAGE_SIZE) | 0;
      this.leavesCleared += this.clearLeaves(table, first, count);
      la += count * PAGE_SIZE;
    }
    return owed;
  }

  /**
   * Entries that unmapping [start, end) looks at: one for each page, but where there is no table for 2 MiB, that is one. Ranges of less
   * than 4 MiB count a page each.
   */
  entriesOf(start: number, end: number): number {
    const pages = (end - start) / PAGE_SIZE;
    if (pages < 2 * ENTRIES_PER_TABLE) return pages;
    let entries = 0;
    for (let la = start; la < end; ) {
      const next = Math.min(end, la - (la % PMD_SIZE) + PMD_SIZE);
      entries += this.pteTableAt(la) !== 0 || this.cursor.isLeaf ? (next - la) / PAGE_SIZE : 1;
      la = next;
    }
    return entries;
  }

  /** Gives the frame of a table back that was taken out and flushed: for {@link TakenTables} alone. */
  freeTable(frame: number, level: number): void {
    this.tables[level]--;
    this.knownRegions.fill(-1);
    this.pages.freePagesOf(this.cpu.currentCpu, frame, 0);
  }

  /** Fills `count` entries of a PTE table; stops at one that is in use and returns how many it filled. */
  private setLeaves(
    table: number,
    first: number,
    count: number,
    protLow: number,
    protHigh: number,
    frames: Uint32Array,
    offset: number,
  ): number {
    const words = this.memory.chunkForWrite(table);
    const end = (offset + count) | 0;
    const low = protLow | 0;
    const high = protHigh | 0;
    let word = (((table & CHUNK_FRAME_MASK) << FRAME_WORDS_SHIFT) + 2 * first) | 0;
    // One running index, nothing computed from others, and `| 0` everywhere: measured 2.2 ns an entry instead of 3 and more.
    for (let i = offset | 0; i < end; i = (i + 1) | 0) {
      if ((words[word] | words[(word + 1) | 0]) !== 0) return i - offset;
      const frame = frames[i] | 0;
      words[word] = (frame << 12) | low;
      words[(word + 1) | 0] = high | (frame >>> 20);
      word = (word + 2) | 0;
    }
    return count;
  }

  /** Clears `count` entries of a PTE table; returns how many were in use. */
  private clearLeaves(table: number, first: number, count: number): number {
    const entries = this.memory.entriesForWrite(table);
    const base = (((table & CHUNK_FRAME_MASK) << ENTRIES_SHIFT) + first) | 0;
    const end = (base + count) | 0;
    let cleared = 0;
    for (let i = base; i < end; i = (i + 1) | 0) {
      if (entries[i] !== 0) cleared = (cleared + 1) | 0;
      entries[i] = 0;
    }
    return cleared;
  }

  /** The PTE table for `la`, or 0 when there is none. */
  private pteTableAt(la: number): number {
    const region = (la * REGIONS_PER_BYTE) | 0;
    if (this.knownRegions[region & KNOWN_MASK] === region) return this.knownTables[region & KNOWN_MASK];
    return this.cursor.seek(la) === 1 ? this.remember(region, this.cursor.table) : 0;
  }

  /** The PTE table for `la`, made where there is none; 0 when memory ran out or a large page is in the way. */
  private makePteTableAt(la: number): number {
    const region = (la * REGIONS_PER_BYTE) | 0;
    if (this.knownRegions[region & KNOWN_MASK] === region) return this.knownTables[region & KNOWN_MASK];
    return this.cursor.make(la, 1) ? this.remember(region, this.cursor.table) : 0;
  }

  /** Clears a large page that covers `la`, or skips what is not mapped; returns where to go on. */
  private unmapLargeOrSkip(la: number, end: number, owed: OwedFlush): number {
    // Looking for the table has left the cursor at the entry that is no table.
    const { cursor } = this;
    const next = Math.min(end, cursor.end);
    if (!cursor.isLeaf) return next;
    if (la !== cursor.start || next !== cursor.end)
      this.log.warn(`unmapping ${formatRange(la, next)} splits a large page`);
    cursor.clearLeaf(owed);
    return next;
  }

  private remember(region: number, table: number): number {
    this.knownRegions[region & KNOWN_MASK] = region;
    this.knownTables[region & KNOWN_MASK] = table;
    return table;
  }

  private takeTableFrame(): number {
    if (this.faults.fails("pageTable")) return 0;
    const frame = this.pages.allocPages(this.cpu.currentCpu, 0, FRAME_PAGE_TABLE, this.gfp, NUMA_NO_NODE);
    if (frame !== 0) this.memory.zeroFrame(frame);
    return frame;
  }
}
