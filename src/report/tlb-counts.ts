/** What a CPU's data TLBs did, out of its counters. */
import type { CounterSnapshot } from "../../arch/index.ts";

/** Counts of the data side of one CPU, or of several together. */
export interface TlbCounts {
  readonly loads: number;
  readonly stores: number;
  /** Accesses that a first-level TLB served. */
  readonly firstLevelHits: number;
  /** Accesses that missed there and that the second level served. */
  readonly secondLevelHits: number;
  /** Accesses that neither served. */
  readonly misses: number;
  /** Page walks that were completed, and their cycles. */
  readonly walks: number;
  readonly walkCycles: number;
  /** Pages invalidated by INVLPG, and flushes of everything. */
  readonly invlpgs: number;
  readonly fullFlushes: number;
}

/** Counts from counters under the names that `perf list` gives. */
export function tlbCounts(counters: CounterSnapshot): TlbCounts {
  const loads = counters["dTLB-loads"];
  const stores = counters["dTLB-stores"];
  const secondLevelHits = counters["dtlb_load_misses.stlb_hit"] + counters["dtlb_store_misses.stlb_hit"];
  const misses = counters["dTLB-load-misses"] + counters["dTLB-store-misses"];
  return {
    loads,
    stores,
    firstLevelHits: loads + stores - secondLevelHits - misses,
    secondLevelHits,
    misses,
    walks: counters["dtlb_load_misses.walk_completed"] + counters["dtlb_store_misses.walk_completed"],
    walkCycles: counters["dtlb_load_misses.walk_active"] + counters["dtlb_store_misses.walk_active"],
    invlpgs: counters.invlpg,
    fullFlushes: counters["tlb_flush.stlb_any"],
  };
}
