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
import { bringRow, endOfRow, type HoldGroups, leaderOf } from "./hold-groups.ts";
import { ARRIVED, CPU, HOLD_NUMBERS, HOLD_SHIFT, ORDER, PAID, UNTIL, WAITED, WORKS } from "./hold-numbers.ts";

/** What it takes to hand the lock over. */
export interface HandOver {
  /** Cycles from when CPU `from` gives the lock back, or from when `to` asks for it, until `to` has it. @param isQueued whether `to` waited */
  handOverCycles(from: number, to: number, isQueued: boolean): number;
  /** Somebody came before holds of `late` CPUs that lie in the past of their clocks. */
  putBehind(late: LateCpus): void;
  /** A hold that was said to have waited `wasCycles` waits `cycles`, which are more. */
  waitsLonger(wasCycles: number, cycles: number): void;
}

/** CPUs that were put behind. */
export interface LateCpus {
  /** How many they are. */
  readonly count: number;
  /** Which: the first `count`, each once. */
  readonly cpus: Int32Array;
  /** By CPU: when it came for the first of its holds that end later. */
  readonly fromCycles: Float64Array;
  /** By CPU: by how much later the last of them ends; 0 for CPUs that are not late. */
  readonly cycles: Float64Array;
}

/** Holds that there is room for at first. */
const FIRST_HOLDS = 8;
/** Holds that are kept at most: who comes before the oldest of so many is served as if it had never been. */
export const HOLDS_MAX = 4096;

/** CPUs whose next hold comes later, while holds are put behind: one list serves all queues. */
const late = {
  count: 0,
  cpus: new Int32Array(CPUS_MAX),
  fromCycles: new Float64Array(CPUS_MAX),
  cycles: new Float64Array(CPUS_MAX),
};
/** A hold that moves. */
const moving = new Float64Array(HOLD_NUMBERS);

function addLate(cpu: number, fromCycles: number): void {
  late.cpus[late.count++] = cpu;
  late.fromCycles[cpu] = fromCycles;
}

/** The others stay in the order in which they came to be late. */
function removeLate(cpu: number): void {
  const { cpus } = late;
  cpus.copyWithin(cpus.indexOf(cpu), cpus.indexOf(cpu) + 1, late.count--);
}

/** The holds of one lock. */
export class HoldQueue {
  private first = 0;
  private count = 0;
  private holds = new Float64Array(FIRST_HOLDS << HOLD_SHIFT);
  private readonly handOver: HandOver;
  /** Where the one that comes now is put in. */
  private place = 0;
  /** Whether it is in order of the first of its group, and when that came; else it is in order of when it came itself. */
  private isWithGroup = false;
  private groupCycles = 0;
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
    return this.count === 0 ? this.droppedCpu : this.holds[((this.first + this.count - 1) << HOLD_SHIFT) | CPU];
  }

  /** When the last of its holds ends; there must be one. */
  get untilCycles(): number {
    return this.holds[((this.first + this.count - 1) << HOLD_SHIFT) | UNTIL];
  }

  /** Drops all holds; the last was `lastCpu`'s. */
  clear(lastCpu: number = this.lastCpu): void {
    this.droppedCpu = lastCpu;
    this.first = 0;
    this.count = 0;
  }

  /** Adds a hold that begins when all others are over, of which there are few. */
  append(cpu: number, atCycles: number, untilCycles: number): void {
    this.isWithGroup = false;
    this.put((this.first + this.count++) << HOLD_SHIFT, cpu, atCycles, 0, untilCycles - atCycles, untilCycles);
  }

  /**
   * A CPU comes at `atCycles`: when the one before it in the queue gives the lock back, or `atCycles`, if the lock is free by then. {@link serve} is
   * to follow.
   * @param floorCycles nobody comes before this time any more
   */
  come(atCycles: number, floorCycles: number): number {
    if (this.count >= HOLDS_MAX) this.dropOver(floorCycles);
    if ((this.first + this.count) << HOLD_SHIFT === this.holds.length) this.makeRoom(floorCycles);
    const { holds, first } = this;
    let place = first + this.count;
    if (place > first && atCycles < holds[((place - 1) << HOLD_SHIFT) | UNTIL])
      while (place > first && holds[((place - 1) << HOLD_SHIFT) | ORDER] > atCycles) place--;
    this.place = place;
    this.isWithGroup = false;
    return place > first ? Math.max(atCycles, holds[((place - 1) << HOLD_SHIFT) | UNTIL]) : atCycles;
  }

  /**
   * The CPU that has {@link come} has the lock with its group (`hold-groups.ts`). {@link serve} is to follow.
   * @returns when the one before it gives the lock back, or `atCycles`
   */
  comeWithGroup(cpu: number, atCycles: number, groups: HoldGroups): number {
    const { holds, first } = this;
    const end = first + this.count;
    const leader = leaderOf(holds, first, this.place, cpu, atCycles, groups.groupOf);
    if (leader >= 0) {
      this.place = endOfRow(holds, leader, end, groups.groupOf);
      this.isWithGroup = true;
      this.groupCycles = holds[(leader << HOLD_SHIFT) | ORDER];
    } else if (this.place < end && this.place > first) {
      const freeAt = Math.max(atCycles, holds[((this.place - 1) << HOLD_SHIFT) | UNTIL]);
      bringRow(holds, this.place, end, cpu, freeAt, atCycles, groups);
    }
    const { place } = this;
    return place > first ? Math.max(atCycles, holds[((place - 1) << HOLD_SHIFT) | UNTIL]) : atCycles;
  }

  /**
   * Drops the holds that nobody comes before any more, and the oldest of those of which there are too many. Until there is no room for another
   * they may stay where they are: who comes is behind them in any case, and their cache lines need not be fetched again.
   */
  private dropOver(floorCycles: number): void {
    const { holds } = this;
    let { first } = this;
    const end = first + this.count;
    while (first < end && (holds[(first << HOLD_SHIFT) | UNTIL] <= floorCycles || end - first >= HOLDS_MAX))
      this.droppedCpu = holds[(first++ << HOLD_SHIFT) | CPU];
    this.count = end - first;
    this.first = first;
  }

  /** Whether others that have come have the lock after the one that has {@link come}. */
  get isBeforeOthers(): boolean {
    return this.place < this.first + this.count;
  }

  /** The CPU that has the lock before the one that has {@link come}; -1 for nobody. */
  get predecessor(): number {
    return this.place > this.first ? this.holds[((this.place - 1) << HOLD_SHIFT) | CPU] : this.droppedCpu;
  }

  /** Who has come at `atCycles` works under the lock for `works` cycles until `untilCycles`. */
  serve(cpu: number, atCycles: number, waitedCycles: number, works: number, untilCycles: number): void {
    const at = this.place;
    const end = this.first + this.count++;
    const { holds } = this;
    const hold = at << HOLD_SHIFT;
    if (at < end) holds.copyWithin((at + 1) << HOLD_SHIFT, hold, end << HOLD_SHIFT);
    this.put(hold, cpu, atCycles, waitedCycles, works, untilCycles);
    if (at < end) this.putBehind(at + 1);
  }

  private put(
    hold: number,
    cpu: number,
    atCycles: number,
    waitedCycles: number,
    works: number,
    untilCycles: number,
  ): void {
    const { holds } = this;
    holds[hold | CPU] = cpu;
    holds[hold | ARRIVED] = atCycles;
    holds[hold | WORKS] = works;
    holds[hold | UNTIL] = untilCycles;
    holds[hold | PAID] = untilCycles;
    holds[hold | WAITED] = waitedCycles;
    holds[hold | ORDER] = this.isWithGroup ? this.groupCycles : atCycles;
  }

  /** Holds from `at` on come after one that was not there before. */
  private putBehind(at: number): void {
    const end = this.first + this.count;
    for (let i = at; i < end; i++) {
      if (late.count > 0) this.bringEarliestTo(i, end);
      if (!this.settle(i) && late.count === 0) return;
    }
    const { count, cpus, cycles } = late;
    this.handOver.putBehind(late);
    for (let i = 0; i < count; i++) cycles[cpus[i]] = 0;
    late.count = 0;
  }

  /** Of the holds from `at` on, whose CPUs may come later than they did, the one that comes first moves to `at`. */
  private bringEarliestTo(at: number, end: number): void {
    const { holds } = this;
    let earliest = at;
    let comes = this.comesAt(at);
    for (let i = at + 1; i < end && holds[(i << HOLD_SHIFT) | ORDER] < comes; i++) {
      const when = this.comesAt(i);
      if (when < comes) {
        comes = when;
        earliest = i;
      }
    }
    if (earliest === at) return;
    const [to, from] = [at << HOLD_SHIFT, earliest << HOLD_SHIFT];
    for (let i = 0; i < HOLD_NUMBERS; i++) moving[i] = holds[from | i];
    holds.copyWithin((at + 1) << HOLD_SHIFT, to, from);
    for (let i = 0; i < HOLD_NUMBERS; i++) holds[to | i] = moving[i];
  }

  /** When the CPU of the hold at `i` comes for it, now that it may be later. */
  private comesAt(i: number): number {
    const hold = i << HOLD_SHIFT;
    return this.holds[hold | ORDER] + late.cycles[this.holds[hold | CPU]];
  }

  /** Says when the hold at `i` ends, now that those before it are known; whether that is another time than before. */
  private settle(i: number): boolean {
    const { holds } = this;
    const hold = i << HOLD_SHIFT;
    const before = (i - 1) << HOLD_SHIFT;
    const cpu = holds[hold | CPU];
    const wasLate = late.cycles[cpu];
    const came = holds[hold | ARRIVED];
    const comes = came + wasLate;
    const waits = Math.max(0, holds[before | UNTIL] - comes);
    const handOver = this.handOver.handOverCycles(holds[before | CPU], cpu, waits > 0);
    const until = comes + waits + handOver + holds[hold | WORKS];
    const isAsBefore = until === holds[hold | UNTIL] && wasLate === 0;
    holds[hold | ARRIVED] = comes;
    holds[hold | ORDER] += wasLate;
    holds[hold | UNTIL] = until;
    if (waits > holds[hold | WAITED]) {
      this.handOver.waitsLonger(holds[hold | WAITED], waits);
      holds[hold | WAITED] = waits;
    }
    const later = Math.max(0, until - holds[hold | PAID]);
    if (later > 0 && wasLate === 0) addLate(cpu, came);
    else if (later === 0 && wasLate > 0) removeLate(cpu);
    late.cycles[cpu] = later;
    holds[hold | PAID] += later;
    return !isAsBefore;
  }

  /** Makes room for one more: where dropped holds were, or in a larger array. */
  private makeRoom(floorCycles: number): void {
    this.dropOver(floorCycles);
    const { holds, first, count } = this;
    const begin = first << HOLD_SHIFT;
    if (begin >= holds.length >> 1) {
      holds.copyWithin(0, begin);
    } else {
      this.holds = new Float64Array(2 * holds.length);
      this.holds.set(holds.subarray(begin, (first + count) << HOLD_SHIFT));
    }
    this.first = 0;
  }
}
