/**
 * Page tables that were taken out of a tree. CPUs may still walk through them (their paging-structure caches name them), so that
 * their frames can be had back only through the flush that is owed for them.
 */
import type { KernelCode } from "../../arch/time/event-loop.ts";
import type { OwedFlush } from "../flush/owed-flush.ts";
import { POINT_FREES_TABLES } from "../kernel/points.ts";
import type { PageTables } from "./page-tables.ts";

/** Carries out a flush that is owed, on every CPU that it concerns, and settles it. */
export type TableFlush = (owed: OwedFlush) => KernelCode<void>;

/** Tables taken out of one tree, for one flush. */
export class TakenTables {
  private readonly from: PageTables;
  private readonly owed: OwedFlush;
  private readonly freesBeforeFlush: boolean;
  private readonly taken: { readonly frame: number; readonly level: number }[] = [];

  /**
   * @param owed the flush that drops what CPUs have cached of the tables; {@link freeAfter} settles it, if no table is taken as well
   * @param freesBeforeFlush as Linux did where it was wrong (`HISTORICAL_BUGS.tablesFreedBeforeFlush`)
   */
  constructor(from: PageTables, owed: OwedFlush, freesBeforeFlush = false) {
    this.from = from;
    this.owed = owed;
    this.freesBeforeFlush = freesBeforeFlush;
  }

  /** Tables taken so far. */
  get count(): number {
    return this.taken.length;
  }

  /** Takes the table that the entry under the tree's cursor names, and clears the entry. */
  take(): void {
    const { cursor } = this.from;
    this.taken.push({ frame: cursor.frame, level: cursor.level - 1 });
    cursor.clearTable(this.owed);
  }

  /** Flushes, then gives the tables' frames back. */
  *freeAfter(flush: TableFlush): KernelCode<void> {
    if (this.freesBeforeFlush) this.free();
    yield* flush(this.owed);
    if (!this.freesBeforeFlush) this.free();
  }

  private free(): void {
    this.from.cpu.point(POINT_FREES_TABLES, this.taken);
    for (const { frame, level } of this.taken) this.from.freeTable(frame, level);
  }
}
