/**
 * The one way to walk page tables and to change their entries: a cursor stands at an entry and moves to others. It is made once
 * and moved, so that a walk makes no object.
 *
 * A cursor knows nothing of what others change. Code that lets other CPUs act (`yield`) seeks its entry again afterwards.
 *
 * What takes something away from an entry that TLBs may have cached (the page, the table, the right to write) asks for the
 * `OwedFlush` that covers it: code that has not said which flush it owes does not compile.
 */
import { LEVEL_BYTES, LINEAR_SPACE_BYTES, PAGE_SIZE, UPPER_HALF, WIDE_PAGES } from "../../arch/isa/linear-address.ts";
import {
  ENTRIES_PER_TABLE,
  entryFrame,
  entryHigh,
  entryLow,
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_PAGE_SIZE,
  PTE_PRESENT,
  PTE_RW,
  PTE_USER,
} from "../../arch/isa/pte.ts";
import { CHUNK_FRAME_MASK, FRAME_WORDS_SHIFT, type PhysicalMemory } from "../../arch/memory/physical-memory.ts";
import type { OwedFlush, OwedFlushes } from "../flush/owed-flush.ts";
import type { PageTableEvents } from "../kernel/vmalloc-events.ts";
import { formatRange, type KernelLog } from "../lib/kernel-log.ts";

/** Attributes of an entry that names a table (`_PAGE_TABLE`). */
const TABLE_ATTRIBUTES = PTE_PRESENT | PTE_RW | PTE_USER | PTE_ACCESSED | PTE_DIRTY;

/** 32-bit words of a table, less one. */
const TABLE_WORD_MASK = 2 * ENTRIES_PER_TABLE - 1;

/** 1 / {@link LEVEL_BYTES}: exact, and multiplying is quicker than dividing. */
const ENTRIES_PER_BYTE = LEVEL_BYTES.map((bytes) => (bytes === 0 ? 0 : 1 / bytes));

/** Index of the entry for `la` in a table of `level`; of 48-bit addresses, bits 56:48 repeat bit 47. */
export function indexAt(la: number, level: number): number {
  if (level === 5 && la >= WIDE_PAGES) return Math.floor((la - WIDE_PAGES) / 2 ** 48);
  if (level === 5) return la >= UPPER_HALF ? ENTRIES_PER_TABLE - 1 : 0;
  return (la * ENTRIES_PER_BYTE[level]) & (ENTRIES_PER_TABLE - 1);
}

/** The tree of page tables that a cursor stands in (`PageTables`). */
export interface TableTree {
  /** The frame of the top table. */
  readonly rootFrame: number;
  readonly levels: 4 | 5;
  readonly memory: PhysicalMemory;
  readonly log: KernelLog;
  /** Flushes owed for what was taken out. */
  readonly owed: OwedFlushes;
  /** Is told of each change; null when nothing observes. */
  readonly events: PageTableEvents | null;
  /** Called when an entry of the top table comes to name a table. */
  readonly onTopEntry: (() => void) | null;
  /** Leaf entries written and cleared so far, by any size. */
  leavesSet: number;
  leavesCleared: number;
  /** Tables at present, by level. */
  readonly tables: number[];
  /** A new, empty table of `level`: its frame; 0 when there is no memory. */
  newTable(level: number): number;
}

/** Stands at one entry of a tree of page tables; at none before the first `seek`. */
export class PageTableCursor {
  /** Level of the entry: 1 PTE, 2 PMD, 3 PUD, 4 PGD (P4D with five levels), 5 PGD. */
  level = 0;
  /** First linear address that the entry maps. */
  start = 0;

  private readonly tables: TableTree;
  /** The frames of the tables on the way from the top, by level; as far down as `level`. */
  private readonly path = new Float64Array(6);
  /** Where the entry's low word lies; its high word follows. */
  private chunk: Int32Array = new Int32Array(0);
  private word = 0;

  constructor(tables: TableTree) {
    this.tables = tables;
  }

  /** One past the last address that the entry maps. */
  get end(): number {
    return this.start + LEVEL_BYTES[this.level];
  }

  /** Frame of the table that the entry stands in. */
  get table(): number {
    return this.path[this.level];
  }

  /** Physical address of the entry. */
  get entryAddress(): number {
    return this.table * PAGE_SIZE + 4 * (this.word & TABLE_WORD_MASK);
  }

  /** The entry's low word. */
  get low(): number {
    return this.chunk[this.word];
  }

  /** The entry's high word. */
  get high(): number {
    return this.chunk[this.word + 1];
  }

  /** Whether the entry's P bit is set. */
  get isPresent(): boolean {
    return (this.low & PTE_PRESENT) !== 0;
  }

  /** Whether the entry is present and maps a page. */
  get isLeaf(): boolean {
    const { low } = this;
    return (low & PTE_PRESENT) !== 0 && (this.level === 1 || (low & PTE_PAGE_SIZE) !== 0);
  }

  /** Whether the entry is present and names a table. */
  get isTable(): boolean {
    return this.isPresent && !this.isLeaf;
  }

  /** Whether the R/W bit of the entry is set. */
  get isWritable(): boolean {
    return (this.low & PTE_RW) !== 0;
  }

  /** Whether any bit of the entry is set (`!pte_none`). */
  get isInUse(): boolean {
    return (this.low | this.high) !== 0;
  }

  /** The frame in a present entry: the table that it names, or the first frame of its page. */
  get frame(): number {
    // Bit 12 of a large leaf is PAT and not part of the frame.
    return this.isLeaf ? this.pageFrame : entryFrame(this.low, this.high);
  }

  /** The first frame of the page that the entry maps, or would map if P were set. */
  get pageFrame(): number {
    const frame = entryFrame(this.low, this.high);
    return this.level === 1 ? frame : frame - (frame % (LEVEL_BYTES[this.level] / PAGE_SIZE));
  }

  /**
   * Goes to the entry for `la`: from the top as far down as tables lead, but not below `lowest`.
   * @returns its level: `lowest` when it was reached, above it when the entry there is not present or maps a large page
   */
  seek(la: number, lowest = 1): number {
    const { rootFrame, levels } = this.tables;
    return this.descend(la, levels, rootFrame, lowest);
  }

  /**
   * Goes to the entry of `level` for `la`; tables that are missing on the way are made.
   * @returns false when memory ran out or a large page, which is warned of, is in the way
   */
  make(la: number, level: number): boolean {
    let reached = this.seek(la, level);
    while (reached > level) {
      if (this.isPresent) {
        this.tables.log.warn(`page table entry for ${formatRange(la, la)} is a large page`);
        return false;
      }
      const made = this.addTable();
      if (made === 0) return false;
      reached = this.descend(la, reached - 1, made, level);
    }
    return true;
  }

  /** Goes on to the entry behind this one, over all that this one maps, and from there down to `lowest` again. */
  next(lowest = 1): void {
    const start = this.end;
    const word = this.word + 2;
    let { level } = this;
    if ((word & TABLE_WORD_MASK) !== 0 && start !== UPPER_HALF) {
      if (level === lowest) {
        this.start = start;
        this.word = word;
        return;
      }
    } else if (start < LINEAR_SPACE_BYTES) {
      while (level < this.tables.levels && start % LEVEL_BYTES[level + 1] === 0) level++;
    } else {
      this.start = start;
      return;
    }
    this.descend(start, level, this.path[level], lowest);
  }

  /** Goes up to the entry that names the table in which this one stands; at the top it stays. */
  up(): void {
    if (this.level < this.tables.levels) this.place(this.start, this.level + 1, this.path[this.level + 1]);
  }

  /** The low word of the entry of `level` on the way from the top to this one. */
  lowAbove(level: number): number {
    return this.tables.memory.readWord(this.path[level], 2 * indexAt(this.start, level));
  }

  /** The high word of the entry of `level` on the way from the top to this one. */
  highAbove(level: number): number {
    return this.tables.memory.readWord(this.path[level], 2 * indexAt(this.start, level) + 1);
  }

  /** Writes a leaf into an entry that is none, and counts it. `low` holds attributes, PS among them above level 1. */
  writeLeaf(frame: number, low: number, high: number): void {
    this.write((frame << 12) | low, entryHigh(frame, high));
    this.tables.leavesSet++;
  }

  /**
   * Writes leaves for `count` frames from `frame` on into this entry and those behind it, all of one table, and counts them. The
   * cursor stays where it is.
   * @returns how many were written: all, or as many as come before an entry that is in use
   */
  writeLeaves(count: number, frame: number, low: number, high: number): number {
    const chunk = this.writableChunk();
    const end = this.word + 2 * count;
    let written = 0;
    for (let word = this.word; word < end && (chunk[word] | chunk[word + 1]) === 0; word += 2, written++) {
      chunk[word] = ((frame + written) << 12) | low;
      chunk[word + 1] = entryHigh(frame + written, high);
    }
    this.tables.leavesSet += written;
    return written;
  }

  /** Clears a leaf, and counts it. @param owed the flush that is owed for an address of the page: INVLPG of any address in a page drops all of it */
  clearLeaf(owed: OwedFlush): void {
    this.tables.owed.expectOwed(owed, this.start, this.end);
    this.write(0, 0);
    this.tables.leavesCleared++;
  }

  /**
   * Clears an entry that names a table. The table's frame stays taken: `TakenTables` gives it back.
   * @param owed the flush that drops what the paging-structure caches hold of it: INVLPG of any page drops all of that
   */
  clearTable(owed: OwedFlush): void {
    this.tables.owed.expectOwed(owed);
    this.write(0, 0);
  }

  /** Makes the page of a leaf read-only. @param owed the flush that is owed for an address of the page */
  forbidWrites(owed: OwedFlush): void {
    this.tables.owed.expectOwed(owed, this.start, this.end);
    this.write(this.low & ~PTE_RW, this.high);
  }

  /** Makes the page of a leaf writable. Nothing is owed: a CPU that knows it as read-only walks again before it faults. */
  allowWrites(): void {
    this.write(this.low | PTE_RW, this.high);
  }

  /**
   * Gives the page that the entry maps, or would map if P were set, other attributes. A page that P comes to be set for counts as a leaf
   * that was written, one that it is cleared for as a cleared one.
   * @param low attributes as a leaf of this level has them
   * @param owed the flush that is owed for an address of the page
   */
  changeAttributes(low: number, high: number, owed: OwedFlush): void {
    this.tables.owed.expectOwed(owed, this.start, this.end);
    const wasPresent = this.isPresent;
    const { pageFrame } = this;
    this.write((pageFrame << 12) | low, entryHigh(pageFrame, high));
    if (wasPresent === this.isPresent) return;
    if (wasPresent) this.tables.leavesCleared++;
    else this.tables.leavesSet++;
  }

  /**
   * Puts a table in the place of a large page: 512 pages of the level below, with the attributes given, map the same frames.
   * @param table an empty table's frame
   * @param low attributes as a leaf of the level below has them
   * @param owed the flush that is owed for an address of the page
   */
  splitLeaf(table: number, low: number, high: number, owed: OwedFlush): void {
    const { tables, level, pageFrame: first } = this;
    tables.owed.expectOwed(owed, this.start, this.end);
    const wasPresent = this.isPresent;
    const step = LEVEL_BYTES[level - 1] / PAGE_SIZE;
    const words = tables.memory.chunkForWrite(table);
    let word = (table & CHUNK_FRAME_MASK) << FRAME_WORDS_SHIFT;
    for (let i = 0; i < ENTRIES_PER_TABLE; i++, word += 2) {
      words[word] = ((first + i * step) << 12) | low;
      words[word + 1] = entryHigh(first + i * step, high);
    }
    this.write(entryLow(table, TABLE_ATTRIBUTES), entryHigh(table, 0));
    if (!wasPresent) return;
    tables.leavesSet += ENTRIES_PER_TABLE;
    tables.leavesCleared++;
  }

  /** The frame behind `la`, by a page of any size; -1 where nothing is mapped. Moves the cursor. */
  frameAt(la: number): number {
    this.seek(la);
    return this.isLeaf ? this.frame + Math.floor((la - this.start) / PAGE_SIZE) : -1;
  }

  /** Makes a table and hangs it into the entry; its frame, or 0 when memory ran out. */
  private addTable(): number {
    const { tables, level } = this;
    const made = tables.newTable(level - 1);
    if (made === 0) return 0;
    this.write(entryLow(made, TABLE_ATTRIBUTES), entryHigh(made, 0));
    tables.events?.ptAlloc(level - 1, made * PAGE_SIZE, this.entryAddress);
    if (level === tables.levels) tables.onTopEntry?.();
    return made;
  }

  /** Overwrites the entry. */
  private write(low: number, high: number): void {
    const chunk = this.writableChunk();
    chunk[this.word] = low;
    chunk[this.word + 1] = high;
  }

  /** The chunk that holds the entry, made if nothing was written there yet. */
  private writableChunk(): Int32Array {
    const { memory } = this.tables;
    if (this.chunk === memory.zeroChunk) this.chunk = memory.chunkForWrite(this.table);
    return this.chunk;
  }

  private descend(la: number, fromLevel: number, frame: number, lowest: number): number {
    const { memory } = this.tables;
    let level = fromLevel;
    let table = frame;
    while (true) {
      this.path[level] = table;
      const chunk = memory.chunkForRead(table);
      const word = ((table & CHUNK_FRAME_MASK) << FRAME_WORDS_SHIFT) + 2 * indexAt(la, level);
      const low = chunk[word];
      if (level === lowest || (low & PTE_PRESENT) === 0 || (low & PTE_PAGE_SIZE) !== 0) {
        this.level = level;
        this.chunk = chunk;
        this.word = word;
        this.start = Math.floor(la * ENTRIES_PER_BYTE[level]) * LEVEL_BYTES[level];
        return level;
      }
      table = entryFrame(low, chunk[word + 1]);
      level--;
    }
  }

  private place(la: number, level: number, table: number): void {
    this.descend(la, level, table, level);
  }
}
