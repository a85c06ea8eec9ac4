/**
 * Flushes that are owed: entries have been taken out of page tables, and TLBs may still hold what they said. Whoever takes pages
 * or tables out (`PageTables.vunmapRangeNoflush`) gets an `OwedFlush`, and what uses the address range or the frames again asks for it:
 *
 *     yield* flushOwed(flushing, tables.owed, owed);       // flushes now (tlb-flush.ts)
 *     return freeVmapAreaNoflush(state, area, owed);        // a lazy list keeps the range until a purge flushes it
 *     tables.owed.include(owed, whole);                    // a flush of more, which is owed as well, covers it
 *     tables.owed.settle(owed, start, end);                // the caller keeps [start, end) until it flushes that
 *     tables.owed.waive(owed);                             // no CPU can have used the pages
 *
 * Where one flush is for many entries it is owed first, and the cursor asks for it before it takes anything away
 * (`cursor.clearLeaf(owed)`, `forbidWrites`, `TakenTables`). Flushes of user address spaces settle theirs by `flushOwedOfMm`.
 *
 * To forget it is an error: the arguments above are then missing, an unused variable does not compile,
 * `test/mm/kernel/blocking-calls.test.ts` finds calls whose result is thrown away, and `verify` finds what was never settled.
 */
import { growFloat64, growInt32 } from "../lib/grow.ts";
import { formatRange, type KernelLog } from "../lib/kernel-log.ts";
import { ADDRESS_MAX } from "../lib/memory-layout.ts";

declare const OWED: unique symbol;

/** A flush that is owed: a small number at run time, so that unmapping makes no object. Settled exactly once. */
export type OwedFlush = number & { readonly [OWED]: true };

const FIRST_CAPACITY = 16;
/** In the list of unused numbers: this one is in use. */
const IN_USE = -1;

/** The flushes that are owed for one tree of page tables. */
export class OwedFlushes {
  /** Flushes owed at present. */
  count = 0;
  private readonly log: KernelLog;
  private start = new Float64Array(FIRST_CAPACITY);
  private end = new Float64Array(FIRST_CAPACITY);
  /** By number: the unused number behind this one, 0 for none, or {@link IN_USE}. */
  private next = new Int32Array(FIRST_CAPACITY);
  private firstUnused = 0;
  private usedUpTo = 0;

  constructor(log: KernelLog) {
    this.log = log;
  }

  /** Notes that translations of [start, end) must be flushed. */
  owe(start: number, end: number): OwedFlush {
    let owed = this.firstUnused;
    if (owed === 0) owed = this.newNumber();
    else this.firstUnused = this.next[owed];
    this.next[owed] = IN_USE;
    this.start[owed] = start;
    this.end[owed] = end;
    this.count++;
    return owed as OwedFlush;
  }

  /** First address that must be flushed. */
  startOf(owed: OwedFlush): number {
    return this.start[owed];
  }

  /** One past the last address that must be flushed. */
  endOf(owed: OwedFlush): number {
    return this.end[owed];
  }

  /**
   * [start, end) is flushed, or somebody keeps it out of use until it has been. Warned of when that does not cover what is owed, or
   * when it was settled before.
   */
  settle(owed: OwedFlush, start: number, end: number): void {
    if (this.next[owed] !== IN_USE) {
      this.warnSettledTwice(start, end);
      return;
    }
    if (this.start[owed] < start || this.end[owed] > end) this.warnNotCovered(owed, start, end);
    this.next[owed] = this.firstUnused;
    this.firstUnused = owed;
    this.count--;
  }

  private warnSettledTwice(start: number, end: number): void {
    this.log.warn(`a flush of ${formatRange(start, end)} was owed once and settled twice`);
  }

  private warnNotCovered(owed: OwedFlush, start: number, end: number): void {
    const range = formatRange(this.start[owed], this.end[owed]);
    this.log.warn(`a flush of ${range} is owed, which ${formatRange(start, end)} does not cover`);
  }

  /** The flush that is owed for `part` is part of that which is owed for `whole`. Warned of when that does not cover it. */
  include(part: OwedFlush, whole: OwedFlush): void {
    this.expectOwed(whole);
    this.settle(part, this.start[whole], this.end[whole]);
  }

  /** What is owed grows to cover [start, end) as well (`__tlb_adjust_range`). */
  extend(owed: OwedFlush, start: number, end: number): void {
    this.expectOwed(owed);
    this.start[owed] = Math.min(this.start[owed], start);
    this.end[owed] = Math.max(this.end[owed], end);
  }

  /** Warns when `owed` has been settled, or touches no address of [start, end): an entry of that range is about to lose something. */
  expectOwed(owed: OwedFlush, start = 0, end = ADDRESS_MAX): void {
    if (this.next[owed] === IN_USE && this.start[owed] < end && this.end[owed] > start) return;
    this.log.warn(`page table entries of ${formatRange(start, end)} change, and no flush of them is owed`);
  }

  /** Nothing has to be flushed: no CPU can have used the pages since they were mapped. */
  waive(owed: OwedFlush): void {
    this.settle(owed, this.start[owed], this.end[owed]);
  }

  /** The ranges of the flushes that are owed at present, by calls under way: for checks and views. */
  ranges(): { readonly start: number; readonly end: number }[] {
    const found: { start: number; end: number }[] = [];
    for (let i = 1; i <= this.usedUpTo; i++) {
      if (this.next[i] === IN_USE) found.push({ start: this.start[i], end: this.end[i] });
    }
    return found;
  }

  private newNumber(): number {
    const owed = ++this.usedUpTo;
    if (owed === this.next.length) {
      this.start = growFloat64(this.start, 2 * owed);
      this.end = growFloat64(this.end, 2 * owed);
      this.next = growInt32(this.next, 2 * owed);
    }
    return owed;
  }
}
