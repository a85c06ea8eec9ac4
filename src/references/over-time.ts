/** Counters of a replay by intervals of references. */
import { type CounterSnapshot, counterDifference } from "../../arch/index.ts";

/** What is kept of each interval: loads and stores, fetches, their misses, and what these cost. */
const EVENTS = [
  "dTLB-loads",
  "dTLB-load-misses",
  "dTLB-stores",
  "dTLB-store-misses",
  "iTLB-loads",
  "iTLB-load-misses",
  "dtlb_load_misses.walk_active",
  "dtlb_store_misses.walk_active",
  "itlb_misses.walk_active",
  "page-faults",
] as const;

/** One interval: the number of its first reference, and counters under the names that `perf list` gives them. */
export interface Interval {
  readonly from: number;
  readonly counters: CounterSnapshot;
}

/** Collects intervals. Memory grows with their number. */
export class OverTime {
  readonly intervalReferences: number;
  readonly intervals: Interval[] = [];
  private from = 0;
  private before: CounterSnapshot;

  /** @param before the counters with which the first interval begins */
  constructor(intervalReferences: number, before: CounterSnapshot) {
    this.intervalReferences = intervalReferences;
    this.before = before;
  }

  /** References until the interval ends, of which `made` have been made since the first began. */
  left(made: number): number {
    return this.from + this.intervalReferences - made;
  }

  /** An interval ends here; one of no references is none. */
  close(made: number, counters: CounterSnapshot): void {
    if (made === this.from) return;
    const all = counterDifference(this.before, counters);
    this.intervals.push({ from: this.from, counters: Object.fromEntries(EVENTS.map((event) => [event, all[event]])) });
    this.before = counters;
    this.from = made;
  }
}
