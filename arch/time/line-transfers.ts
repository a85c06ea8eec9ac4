/**
 * When lines are on their way: transfers of one line are served one after the other, in the order of the times at which CPUs come for it,
 * whichever of them the event loop runs first. Who comes late queues as for a fair lock (`hold-queue.ts`): behind those who came before
 * its time, and those after it are put behind it. So nobody waits for longer than each other CPU has the line once.
 *
 * Most lines are free when somebody comes for them, at a time after all that were there before: of these only the last transfer is kept. A line
 * has a queue from when a CPU comes before that transfer is over until a CPU comes when all in the queue are.
 */
import { type HandOver, HoldQueue } from "./hold-queue.ts";

/** What transfers need of the event loop. */
export interface TransferClock {
  /** Each CPU's clock. */
  readonly clockCycles: Float64Array;
  /** The earliest time at which any CPU can act. */
  readonly earliestCycles: number;
  /** Says in which run or call from outside the machine is: those before it are over. */
  readonly interrupts: { readonly run: number };
  /** See `InterruptedCpus.delay`. */
  delayForLine(cpu: number, fromCycles: number, cycles: number): void;
}

/** log2 of the numbers of a line. */
const LINE_SHIFT = 2;
/** Of a line: when a CPU came for its last transfer. */
const ARRIVED = 0;
/** Until when that took; 0 when there was none in this run. */
const UNTIL = 1;
/** Whose it was. */
const MOVER = 2;
/** Where the line's queue is in `queues`, if it has one. */
const QUEUE = 3;
/** Until when lines with a queue are busy. */
const QUEUED = Number.POSITIVE_INFINITY;
/** Lines that are remembered as having moved in a run. Of more, all are looked at when the next begins. */
const MOVED_MAX = 1024;
/** Queues that there may be before it is looked which of them are over. */
const QUEUES_MIN = 64;

/** Transfers of all lines of a machine. */
export class LineTransfers implements HandOver {
  private readonly clock: TransferClock;
  /** The numbers of each line, side by side. */
  private lines = new Float64Array(0);
  /** Queues in use, then spare ones. */
  private readonly queues: HoldQueue[] = [];
  private queueCount = 0;
  /** By queue in use: its line. */
  private readonly queueLines: number[] = [];
  /** How many queues there are when it is next looked which of them are over. */
  private sweepAt = QUEUES_MIN;
  private run = 0;
  private readonly moved = new Uint32Array(MOVED_MAX);
  private movedCount = 0;

  constructor(clock: TransferClock) {
    this.clock = clock;
  }

  /** Makes room for `lines` lines. */
  grow(lines: number): void {
    const larger = new Float64Array(lines << LINE_SHIFT);
    larger.set(this.lines);
    this.lines = larger;
  }

  /** Lines that have a queue. */
  get queued(): number {
    return this.queueCount;
  }

  /**
   * `cpu` comes for a line now, which takes `transferCycles` to come and is kept for `workCycles`; how long it takes until the CPU has it. The
   * caller adds both to the CPU's clock.
   */
  serve(line: number, cpu: number, transferCycles: number, workCycles: number): number {
    if (this.run !== this.clock.interrupts.run) this.beginRun();
    const now = this.clock.clockCycles[cpu];
    const until = this.lines[(line << LINE_SHIFT) | UNTIL];
    const floor = Math.min(now, this.clock.earliestCycles);
    if (until > floor) return this.serveQueued(line, cpu, floor, transferCycles, workCycles);
    if (until === 0) this.remember(line);
    this.setLast(line, cpu, now, now + transferCycles + workCycles);
    return transferCycles;
  }

  /** What transfers cost is known when CPUs come: where the line was then, as the loop runs them. */
  handOverCycles(): number {
    return 0;
  }

  putBehind(cpu: number, fromCycles: number, cycles: number): void {
    this.clock.delayForLine(cpu, fromCycles, cycles);
  }

  waitsLonger(): void {}

  /** Forgets all transfers. */
  clear(): void {
    const { lines, moved } = this;
    if (this.movedCount > MOVED_MAX) lines.fill(0);
    else for (let i = 0; i < this.movedCount; i++) lines[(moved[i] << LINE_SHIFT) | UNTIL] = 0;
    this.movedCount = 0;
    this.queueCount = 0;
  }

  private beginRun(): void {
    this.run = this.clock.interrupts.run;
    this.clear();
  }

  private remember(line: number): void {
    if (this.movedCount < MOVED_MAX) this.moved[this.movedCount] = line;
    this.movedCount++;
  }

  private setLast(line: number, cpu: number, atCycles: number, untilCycles: number): void {
    const { lines } = this;
    const at = line << LINE_SHIFT;
    lines[at | ARRIVED] = atCycles;
    lines[at | UNTIL] = untilCycles;
    lines[at | MOVER] = cpu;
  }

  /** @param floorCycles nobody comes before this time any more */
  private serveQueued(
    line: number,
    cpu: number,
    floorCycles: number,
    transferCycles: number,
    workCycles: number,
  ): number {
    const now = this.clock.clockCycles[cpu];
    const { lines } = this;
    const at = line << LINE_SHIFT;
    const queue = lines[at | UNTIL] === QUEUED ? this.queues[lines[at | QUEUE]] : this.newQueue(line, floorCycles);
    const freeAt = queue.come(now, floorCycles);
    const cycles = transferCycles + workCycles;
    if (queue.length === 0) {
      this.dropQueue(lines[at | QUEUE]);
      this.setLast(line, cpu, now, now + cycles);
      return transferCycles;
    }
    queue.serve(cpu, now, freeAt - now, cycles, freeAt + cycles);
    return freeAt - now + transferCycles;
  }

  /** A queue with the line's last transfer in it. */
  private newQueue(line: number, floorCycles: number): HoldQueue {
    if (this.queueCount >= this.sweepAt) this.sweep(floorCycles);
    const at = this.queueCount++;
    if (at === this.queues.length) this.queues.push(new HoldQueue(this));
    const queue = this.queues[at];
    queue.clear(-1);
    const { lines } = this;
    const of = line << LINE_SHIFT;
    const came = lines[of | ARRIVED];
    const until = lines[of | UNTIL];
    queue.come(came, came);
    queue.serve(lines[of | MOVER], came, 0, until - came, until);
    this.queueLines[at] = line;
    lines[of | QUEUE] = at;
    lines[of | UNTIL] = QUEUED;
    return queue;
  }

  /** The last queue in use goes where the one at `at` is, which becomes a spare one. */
  private dropQueue(at: number): void {
    const { queues, queueLines } = this;
    const last = --this.queueCount;
    const dropped = queues[at];
    queues[at] = queues[last];
    queues[last] = dropped;
    queueLines[at] = queueLines[last];
    this.lines[(queueLines[at] << LINE_SHIFT) | QUEUE] = at;
  }

  /** Takes queues away in which all is over: nobody has come for their lines since. */
  private sweep(floorCycles: number): void {
    for (let at = this.queueCount - 1; at >= 0; at--) {
      const queue = this.queues[at];
      queue.dropBefore(floorCycles);
      if (queue.length > 0) continue;
      this.lines[(this.queueLines[at] << LINE_SHIFT) | UNTIL] = floorCycles;
      this.dropQueue(at);
    }
    this.sweepAt = Math.max(QUEUES_MIN, 2 * this.queueCount);
  }
}
