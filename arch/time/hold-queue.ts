/**
 * Who has a fair lock, or a cache line, when, if plain code takes it: code that cannot pause, on CPUs which the event loop runs in another order than that of
 * their clocks. A CPU that comes at a time which others have gone past queues behind those who came before that time, and before
 * those who came after it: these have had the lock already as far as they know, and had it too early. They are put behind, hold by hold,
 * and each CPU is told by how much later its holds end.
 *
 * So holds are kept in the order in which the lock is had: each with its CPU, when that came, and when it ends. Those that nobody can come
 * before any more are dropped.
 */
import { CPUS_MAX } from "../isa/limits.ts";

/** What it takes to hand the lock over. */
export interface HandOver {
  /** Cycles from when CPU `from` gives the lock back, or from when `to` asks for it, until `to` has it. @param isQueued whether `to` waited */
  handOverCycles(from: number, to: number, isQueued: boolean): number;
  /**
   * Somebody came before `holds` holds of `cpu` that lie in the past of its clock.
   * @param fromCycles when it came for the first of them
   * @param cycles by how much later the last of them ends
   */
  putBehind(cpu: number, fromCycles: number, cycles: number): void;
  /** A hold that was said to have waited `wasCycles` waits `cycles`, which are more. */
  waitsLonger(wasCycles: number, cycles: number): void;
}

/** Holds that there is room for at first. */
const FIRST_HOLDS = 8;
/** Holds that are kept at most: who comes before the oldest of so many is served as if it had never been. */
export const HOLDS_MAX = 4096;

/** By CPU: by how much later its next hold comes, while holds are put behind; else 0. */
const lateCycles = new Float64Array(CPUS_MAX);
/** By CPU: when it came for its first hold that ends later. */
const lateFrom = new Float64Array(CPUS_MAX);

/** The holds of one lock. */
export class HoldQueue {
  private first = 0;
  private count = 0;
  private cpu = new Int32Array(FIRST_HOLDS);
  private arrived = new Float64Array(FIRST_HOLDS);
  /** How long it works under the lock, handing over left out. */
  private works = new Float64Array(FIRST_HOLDS);
  private until = new Float64Array(FIRST_HOLDS);
  /** When it ended by its CPU's clock, which never goes back: at `until` or, when others before it have gone behind it since, later. */
  private paid = new Float64Array(FIRST_HOLDS);
  private waited = new Float64Array(FIRST_HOLDS);
  private readonly handOver: HandOver;
  /** CPUs whose next hold comes later, while holds are put behind. */
  private late: number[] = [];
  /** Where the one that comes now is put in. */
  private place = 0;
  /** Whose hold was dropped last, which is before all that are kept; -1 for nobody's. */
  private droppedCpu = -1;

  constructor(handOver: HandOver) {
    this.handOver = handOver;
  }

  /** Holds that are kept. */
  get length(): number {
    return this.count;
  }

  /** The CPU at the end of the queue, -1 when nobody ever came. */
  get lastCpu(): number {
    return this.count === 0 ? this.droppedCpu : this.cpu[this.first + this.count - 1];
  }

  /** Drops all holds; the last was `lastCpu`'s. */
  clear(lastCpu: number = this.lastCpu): void {
    this.droppedCpu = lastCpu;
    this.first = 0;
    this.count = 0;
  }

  /**
   * A CPU comes at `atCycles`: when the one before it in the queue gives the lock back, or `atCycles`, if the lock is free by then. {@link serve} is
   * to follow.
   * @param floorCycles nobody comes before this time any more
   */
  come(atCycles: number, floorCycles: number): number {
    this.dropBefore(floorCycles);
    const { until, arrived, first } = this;
    let place = first + this.count;
    if (place > first && atCycles < until[place - 1]) while (place > first && arrived[place - 1] > atCycles) place--;
    this.place = place;
    return place > first ? Math.max(atCycles, until[place - 1]) : atCycles;
  }

  /** Drops the holds that are over by `floorCycles`: nobody comes before this time any more. And those of which there are too many. */
  dropBefore(floorCycles: number): void {
    const { until } = this;
    let { first } = this;
    const end = first + this.count;
    while (first < end && (until[first] <= floorCycles || end - first >= HOLDS_MAX))
      this.droppedCpu = this.cpu[first++];
    this.count = end - first;
    this.first = first;
  }

  /** The CPU that has the lock before the one that has {@link come}; -1 for nobody. */
  get predecessor(): number {
    return this.place > this.first ? this.cpu[this.place - 1] : this.droppedCpu;
  }

  /** Who has come at `atCycles` works under the lock for `works` cycles until `untilCycles`. */
  serve(cpu: number, atCycles: number, waitedCycles: number, works: number, untilCycles: number): void {
    const before = this.place - this.first;
    if (this.first + this.count === this.cpu.length) this.makeRoom();
    const at = this.first + before;
    const end = this.first + this.count++;
    if (at < end) {
      for (const each of [this.cpu, this.arrived, this.works, this.until, this.paid, this.waited]) {
        each.copyWithin(at + 1, at, end);
      }
    }
    this.cpu[at] = cpu;
    this.arrived[at] = atCycles;
    this.works[at] = works;
    this.until[at] = untilCycles;
    this.paid[at] = untilCycles;
    this.waited[at] = waitedCycles;
    if (at < end) this.putBehind(at + 1);
  }

  /** Holds from `at` on come after one that was not there before. */
  private putBehind(at: number): void {
    const end = this.first + this.count;
    const late = this.late;
    for (let i = at; i < end; i++) {
      if (late.length > 0) this.bringEarliestTo(i, end);
      if (!this.settle(i) && late.length === 0) break;
    }
    for (const cpu of late) {
      const cycles = lateCycles[cpu];
      lateCycles[cpu] = 0;
      this.handOver.putBehind(cpu, lateFrom[cpu], cycles);
    }
    late.length = 0;
  }

  /** Of the holds from `at` on, whose CPUs may come later than they did, the one that comes first moves to `at`. */
  private bringEarliestTo(at: number, end: number): void {
    const { cpu, arrived } = this;
    let earliest = at;
    let comes = arrived[at] + lateCycles[cpu[at]];
    for (let i = at + 1; i < end && arrived[i] < comes; i++) {
      const when = arrived[i] + lateCycles[cpu[i]];
      if (when < comes) {
        comes = when;
        earliest = i;
      }
    }
    if (earliest === at) return;
    for (const each of [cpu, arrived, this.works, this.until, this.paid, this.waited]) {
      const value = each[earliest];
      each.copyWithin(at + 1, at, earliest);
      each[at] = value;
    }
  }

  /** Says when the hold at `i` ends, now that those before it are known; whether that is another time than before. */
  private settle(i: number): boolean {
    const cpu = this.cpu[i];
    const late = lateCycles[cpu];
    const came = this.arrived[i];
    const comes = came + late;
    const freeAt = this.until[i - 1];
    const waits = Math.max(0, freeAt - comes);
    const handOver = this.handOver.handOverCycles(this.cpu[i - 1], cpu, waits > 0);
    const until = comes + waits + handOver + this.works[i];
    const isAsBefore = until === this.until[i] && late === 0;
    this.arrived[i] = comes;
    this.until[i] = until;
    if (waits > this.waited[i]) {
      this.handOver.waitsLonger(this.waited[i], waits);
      this.waited[i] = waits;
    }
    const later = Math.max(0, until - this.paid[i]);
    if (later > 0 && late === 0) {
      this.late.push(cpu);
      lateFrom[cpu] = came;
    } else if (later === 0 && late > 0) {
      this.late.splice(this.late.indexOf(cpu), 1);
    }
    lateCycles[cpu] = later;
    this.paid[i] += later;
    return !isAsBefore;
  }

  /** Makes room for one more: where dropped holds were, or in larger arrays. */
  private makeRoom(): void {
    const { first, count } = this;
    const isHalfEmpty = first >= this.cpu.length >> 1;
    const capacity = isHalfEmpty ? this.cpu.length : 2 * this.cpu.length;
    this.cpu = moved(this.cpu, new Int32Array(capacity), first, count);
    this.arrived = moved(this.arrived, new Float64Array(capacity), first, count);
    this.works = moved(this.works, new Float64Array(capacity), first, count);
    this.until = moved(this.until, new Float64Array(capacity), first, count);
    this.paid = moved(this.paid, new Float64Array(capacity), first, count);
    this.waited = moved(this.waited, new Float64Array(capacity), first, count);
    this.place -= first;
    this.first = 0;
  }
}

/** `larger` with `count` elements of `array` from `first` on at its begin. */
function moved<T extends Int32Array | Float64Array>(array: T, larger: T, first: number, count: number): T {
  larger.set(array.subarray(first, first + count));
  return larger;
}
