/** CPUs ordered by the time at which each can act next: an indexed binary heap. Ties go to the lowest CPU number. */

const ABSENT = -1;

/** Times at which CPUs can act; a CPU that has nothing to do has time infinity and is in no heap. */
export class ReadyQueue {
  /** When each CPU can act, in cycles. Change it with {@link set}. */
  readonly at: Float64Array;
  private readonly heap: Int32Array;
  private readonly place: Int32Array;
  private size = 0;

  constructor(cpus: number) {
    this.at = new Float64Array(cpus).fill(Number.POSITIVE_INFINITY);
    this.heap = new Int32Array(cpus);
    this.place = new Int32Array(cpus).fill(ABSENT);
  }

  /** The CPU that can act first; -1 when none can. */
  get first(): number {
    return this.size === 0 ? -1 : this.heap[0];
  }

  /** When it can act; infinity when none can. */
  get firstAt(): number {
    return this.size === 0 ? Number.POSITIVE_INFINITY : this.at[this.heap[0]];
  }

  /** When the second of them can act; infinity when there is none. */
  get secondAt(): number {
    const { heap, at, size } = this;
    if (size < 2) return Number.POSITIVE_INFINITY;
    return size === 2 ? at[heap[1]] : Math.min(at[heap[1]], at[heap[2]]);
  }

  /** When the first CPU other than `cpu` can act; infinity when there is none. */
  earliestExcept(cpu: number): number {
    if (this.size === 0) return Number.POSITIVE_INFINITY;
    return this.heap[0] === cpu ? this.secondAt : this.at[this.heap[0]];
  }

  /** Says when `cpu` can act; infinity for never. */
  set(cpu: number, atCycles: number): void {
    const was = this.at[cpu];
    if (was === atCycles) return;
    this.at[cpu] = atCycles;
    if (atCycles === Number.POSITIVE_INFINITY) {
      this.remove(cpu);
    } else if (was === Number.POSITIVE_INFINITY) {
      this.up(this.size++, cpu);
    } else if (atCycles < was) {
      this.up(this.place[cpu], cpu);
    } else {
      this.down(this.place[cpu], cpu);
    }
  }

  private remove(cpu: number): void {
    const hole = this.place[cpu];
    this.place[cpu] = ABSENT;
    const last = this.heap[--this.size];
    if (last === cpu) return;
    this.up(hole, last);
    this.down(this.place[last], last);
  }

  /** Puts `cpu` at `hole` or above it. */
  private up(hole: number, cpu: number): void {
    const { heap, place } = this;
    let i = hole;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      const other = heap[parent];
      if (this.precedes(other, cpu)) break;
      heap[i] = other;
      place[other] = i;
      i = parent;
    }
    heap[i] = cpu;
    place[cpu] = i;
  }

  /** Puts `cpu` at `hole` or below it. */
  private down(hole: number, cpu: number): void {
    const { heap, place, size } = this;
    let i = hole;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= size) break;
      if (child + 1 < size && this.precedes(heap[child + 1], heap[child])) child++;
      const other = heap[child];
      if (this.precedes(cpu, other)) break;
      heap[i] = other;
      place[other] = i;
      i = child;
    }
    heap[i] = cpu;
    place[cpu] = i;
  }

  private precedes(a: number, b: number): boolean {
    const { at } = this;
    return at[a] < at[b] || (at[a] === at[b] && a < b);
  }
}
