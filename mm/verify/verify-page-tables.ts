/** Walks a whole tree of page tables, as it lies in physical memory, and checks its entries and its counters. */
import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import { ENTRIES_PER_TABLE, entryFrame, PTE_ACCESSED, PTE_PAGE_SIZE, PTE_PRESENT, PTE_RW } from "../../arch/isa/pte.ts";
import { CHUNK_FRAME_MASK, FRAME_WORDS_SHIFT } from "../../arch/memory/physical-memory.ts";
import { isZeroPfn } from "../frames/zero-page.ts";
import type { PageTables } from "../page-tables/page-tables.ts";
import { address, type Findings, frameName } from "./verify-findings.ts";

/** Bytes that one entry covers, by level: 1 PTE, 2 PMD, 3 PUD, 4 PGD, 5 PGD of five levels. */
const ENTRY_BYTES = [0, 2 ** 12, 2 ** 21, 2 ** 30, 2 ** 39, 2 ** 48];

/** 32-bit words of a cache line: eight entries. */
const LINE_WORDS = 16;

/** Whether the eight entries from word `at` on are zero. */
function isZeroLine(words: Int32Array, at: number): boolean {
  let bits = 0;
  for (let word = at; word < at + LINE_WORDS; word++) bits |= words[word];
  return bits === 0;
}

/** The leaves of a tree in address order: element i of each array belongs to leaf i. */
export interface Leaves {
  /** First linear address. */
  readonly la: number[];
  /** 4096, 2 MiB or 1 GiB. */
  readonly sizeBytes: number[];
  /** First frame. */
  readonly frame: number[];
}

/** One page of page tables. */
export interface TablePage {
  readonly frame: number;
  /** 1 for a table of PTEs, up to the number of levels. */
  readonly level: number;
  /** First linear address that it maps. */
  readonly la: number;
}

/** Says something of a frame. */
export type FrameTest = (frame: number) => boolean;

/** What a walk has found. */
export interface TableWalk {
  readonly leaves: Leaves;
  readonly tables: readonly TablePage[];
}

/**
 * Walks `tables` and checks every entry, the numbers of tables by level, and the number of leaves.
 * @param isZero says of a frame that it is all zero, where the host can tell quickly; the others are looked through
 * @param kernelRoot for a user address space, the kernel's top table, whose entries it shares in the upper half; else 0
 */
export function verifyPageTables(
  tables: PageTables,
  name: string,
  findings: Findings,
  isZero: FrameTest,
  kernelRoot = 0,
): TableWalk {
  const walk = new Walk(tables, name, findings, isZero, kernelRoot);
  walk.table(tables.rootFrame, tables.levels, 0);
  const byLevel = [0, 0, 0, 0, 0, 0];
  for (const { level } of walk.tables) byLevel[level]++;
  for (let level = 1; level <= 5; level++) {
    const counted = byLevel[level];
    if (counted !== tables.tables[level]) {
      findings.add(`${name}: counted ${tables.tables[level]} tables of level ${level}, but ${counted} are there`);
    }
  }
  const leaves = tables.leavesSet - tables.leavesCleared;
  if (leaves !== walk.leaves.la.length) {
    findings.add(`${name}: ${leaves} leaves were set and not cleared, but ${walk.leaves.la.length} are there`);
  }
  return walk;
}

class Walk implements TableWalk {
  readonly leaves: Leaves = { la: [], sizeBytes: [], frame: [] };
  readonly tables: TablePage[] = [];
  private readonly root: PageTables;
  private readonly name: string;
  private readonly findings: Findings;
  private readonly isZero: FrameTest;
  private readonly kernelRoot: number;
  private readonly seen = new Map<number, number>();

  constructor(root: PageTables, name: string, findings: Findings, isZero: FrameTest, kernelRoot: number) {
    this.isZero = isZero;
    this.kernelRoot = kernelRoot;
    this.root = root;
    this.name = name;
    this.findings = findings;
  }

  /** Walks the table in `frame`; `la` is the first address that it maps. */
  table(frame: number, level: number, la: number): void {
    const { memory } = this.root;
    if (!memory.has(frame)) {
      this.complain(`the table for ${address(la)} of level ${level} is ${frameName(frame)}, where no memory is`);
      return;
    }
    const elsewhere = this.seen.get(frame);
    if (elsewhere !== undefined) {
      this.complain(`${frameName(frame)} is the table for ${address(la)} and for ${address(elsewhere)}`);
      return;
    }
    this.seen.set(frame, la);
    this.tables.push({ frame, level, la });
    if (this.isZero(frame)) return;
    const words = memory.chunkForRead(frame);
    const base = (frame & CHUNK_FRAME_MASK) << FRAME_WORDS_SHIFT;
    // Nearly all entries are zero, of whole cache lines at once.
    for (let at = base; at < base + 2 * ENTRIES_PER_TABLE; at += LINE_WORDS) {
      if (isZeroLine(words, at)) continue;
      for (let word = at; word < at + LINE_WORDS; word += 2) {
        if ((words[word] | words[word + 1]) === 0) continue;
        this.entryOf((word - base) >> 1, words[word], words[word + 1], level, la);
      }
    }
  }

  /** Entry number `index` of a table whose first address is `la`. */
  private entryOf(index: number, low: number, high: number, level: number, la: number): void {
    if (this.kernelRoot !== 0 && level === this.root.levels && index >= ENTRIES_PER_TABLE / 2) {
      this.sharedEntry(index, low, high);
      return;
    }
    // Five levels: entry 511 of the top covers the upper half, whose 48-bit addresses level 4 completes.
    this.entry(low, high, level, level === 5 ? 0 : la + index * ENTRY_BYTES[level]);
  }

  private entry(low: number, high: number, level: number, la: number): void {
    if ((low & PTE_PRESENT) === 0) {
      this.complain(`the entry for ${address(la)} of level ${level} is neither present nor zero`);
      return;
    }
    const frame = entryFrame(low, high);
    if (level > 1 && (low & PTE_PAGE_SIZE) === 0) {
      this.table(frame, level - 1, la);
      return;
    }
    if (level > 3) {
      this.complain(`the entry for ${address(la)} of level ${level} has PS set`);
      return;
    }
    const sizeBytes = ENTRY_BYTES[level];
    // Bit 12 of a large leaf is PAT; bits from 13 up to its size are reserved.
    const first = level === 1 ? frame : frame - (frame % 2);
    if ((first * PAGE_SIZE) % sizeBytes !== 0) {
      this.complain(`the leaf for ${address(la)} of ${sizeBytes} bytes maps ${frameName(frame)}, which is not aligned`);
    }
    const isOfUser = this.kernelRoot !== 0;
    if (isOfUser && isZeroPfn(first) && (low & PTE_RW) !== 0)
      this.complain(`the zero page can be written at ${address(la)}`);
    this.leaves.la.push(la);
    this.leaves.sizeBytes.push(sizeBytes);
    this.leaves.frame.push(first);
  }

  /** An entry of the upper half in a user address space: the kernel's, but for A, which the CPU sets on either. */
  private sharedEntry(index: number, low: number, high: number): void {
    const { memory } = this.root;
    const kernelLow = memory.readWord(this.kernelRoot, 2 * index);
    const kernelHigh = memory.readWord(this.kernelRoot, 2 * index + 1);
    if ((low | PTE_ACCESSED) === (kernelLow | PTE_ACCESSED) && high === kernelHigh) return;
    this.complain(`entry ${index} of the top table is not the kernel's`);
  }

  private complain(line: string): void {
    this.findings.add(`${this.name}: ${line}`);
  }
}
