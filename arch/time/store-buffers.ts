/**
 * Stores on their way. A CPU does not wait for a line that it only stores to: the store waits in its store buffer while the CPU goes on, and the
 * lines of several are fetched side by side (Intel optimization manual: a store that has retired asks for its line before its turn comes; of
 * AMD's parts the same is assumed). Others see stores in order (x86's memory model), so that the last one, which gives a lock back, is seen when
 * all before it are. A locked instruction waits until all of them are seen: here one that fetches its line does, and one whose line is at hand does not.
 */

/** What says in which run or call from outside the machine is: stores of those before are over. */
export interface StoreClock {
  readonly interrupts: { readonly run: number };
}

/** The store buffers of all CPUs. */
export class StoreBuffers {
  private readonly clock: StoreClock;
  private readonly cpus: number;
  /** Stores that a CPU can have on their way. */
  private entries = 1;
  /** By CPU and entry: when its last store is seen. Used in turn, so that the oldest store's is next. */
  private until: Float64Array;
  /** By CPU: its stores in this run, of which each takes the entry after the one before. */
  private readonly count: Float64Array;
  /** By CPU: when all its stores are seen. */
  private readonly seen: Float64Array;
  /** By CPU: the run that these are of. */
  private readonly runs: Float64Array;

  constructor(clock: StoreClock, cpus: number) {
    this.clock = clock;
    this.cpus = cpus;
    this.until = new Float64Array(cpus);
    this.count = new Float64Array(cpus);
    this.seen = new Float64Array(cpus);
    this.runs = new Float64Array(cpus);
  }

  /** Gives each CPU room for so many stores. The machine sets it, before anything runs. */
  setEntries(entries: number): void {
    this.entries = entries;
    this.until = new Float64Array(this.cpus * entries);
  }

  /** When all stores that `cpu` has made are seen; a time that is past when they are. */
  seenAt(cpu: number): number {
    return this.runs[cpu] === this.clock.interrupts.run ? this.seen[cpu] : 0;
  }

  /** When `cpu` has an entry for another store; a time that is past when there is one. */
  freeAt(cpu: number): number {
    if (this.runs[cpu] !== this.clock.interrupts.run || this.count[cpu] < this.entries) return 0;
    return this.until[cpu * this.entries + (this.count[cpu] % this.entries)];
  }

  /** `cpu` stores to a line that is there at `untilCycles`, into the entry that was free at {@link freeAt}. */
  add(cpu: number, untilCycles: number): void {
    const { seen, count, entries } = this;
    if (this.runs[cpu] !== this.clock.interrupts.run) {
      this.runs[cpu] = this.clock.interrupts.run;
      seen[cpu] = 0;
      count[cpu] = 0;
    }
    if (untilCycles > seen[cpu]) seen[cpu] = untilCycles;
    this.until[cpu * entries + (count[cpu]++ % entries)] = seen[cpu];
  }
}
