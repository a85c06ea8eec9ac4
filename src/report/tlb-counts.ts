/** What a CPU's data TLBs did. */

/** Counts of one CPU, data side. */
export interface TlbCounts {
  readonly loads: number;
  readonly stores: number;
  readonly l1Hits: number;
  /** Misses of the first level that the second level served. */
  readonly l2Hits: number;
  /** Accesses that neither level served. */
  readonly misses: number;
  /** Page walks that ended in a translation. */
  readonly walks: number;
  readonly walkCycles: number;
}
export function tlbCounts(_cpu: unknown): TlbCounts {
  return { loads: 0, stores: 0, l1Hits: 0, l2Hits: 0, misses: 0, walks: 0, walkCycles: 0 };
}
/** The sum over CPUs. */
export function sumCounts(counts: readonly TlbCounts[]): TlbCounts {
  const sum = { loads: 0, stores: 0, l1Hits: 0, l2Hits: 0, misses: 0, walks: 0, walkCycles: 0 };
  for (const count of counts) {
    sum.loads += count.loads;
    sum.stores += count.stores;
    sum.l1Hits += count.l1Hits;
    sum.l2Hits += count.l2Hits;
    sum.misses += count.misses;
    sum.walks += count.walks;
    sum.walkCycles += count.walkCycles;
  }
  return sum;
}
