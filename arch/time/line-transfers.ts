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

/** Until when lines with a queue are busy. */
const QUEUED = Number.POSITIVE_INFINITY;
/** Lines that are remembered as having moved in a run. Of more, all are looked at when the next begins. */
const MOVED_MAX = 1024;
/** Queues that there may be before it is looked which of them are over. */
const QUEUES_MIN = 64;

/** Transfers of all lines of a machine. */
export class LineTransfers implements HandOver {
  private readonly clock: TransferClock;
  /** By line, of its last transfer: when a CPU came for it, who that was, and until when it took; 0 when there was none in this run. */
  private arrived = new Float64Array(0);
  private mover = new Uint16Array(0);
  private until = new Float64Array(0);
  private readonly queues = new Map<number, HoldQueue>();
  private readonly spareQueues: HoldQueue[] = [];
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
    this.arrived = moved(this.arrived, new Float64Array(lines));
    this.mover = moved(this.mover, new Uint16Array(lines));
    this.until = moved(this.until, new Float64Array(lines));
  }

  /** Lines that have a queue. */
  get queued(): number {
    return this.queues.size;
  }

  /**
   * `cpu` comes for a line now, which takes `transferCycles` to come and is kept for `workCycles`; how long it takes until the CPU has it. The
   * caller adds both to the CPU's clock.
   */
  serve(line: number, cpu: number, transferCycles: number, workCycles: number): number {
    if (this.run !== this.clock.interrupts.run) this.beginRun();
    const now = this.clock.clockCycles[cpu];
    const until = this.until[line];
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
    if (this.movedCount > MOVED_MAX) this.until.fill(0);
    else for (let i = 0; i < this.movedCount; i++) this.until[this.moved[i]] = 0;
    this.movedCount = 0;
    for (const queue of this.queues.values()) this.spareQueues.push(queue);
    this.queues.clear();
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
    this.arrived[line] = atCycles;
    this.mover[line] = cpu;
    this.until[line] = untilCycles;
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
    const queue = this.queues.get(line) ?? this.newQueue(line, floorCycles);
    const freeAt = queue.come(now, floorCycles);
    const cycles = transferCycles + workCycles;
    if (queue.length === 0) {
      this.queues.delete(line);
      this.spareQueues.push(queue);
      this.setLast(line, cpu, now, now + cycles);
      return transferCycles;
    }
    queue.serve(cpu, now, freeAt - now, cycles, freeAt + cycles);
    return freeAt - now + transferCycles;
  }

  /** A queue with the line's last transfer in it. */
  private newQueue(line: number, floorCycles: number): HoldQueue {
    if (this.queues.size >= this.sweepAt) this.sweep(floorCycles);
    const queue = this.spareQueues.pop() ?? new HoldQueue(this);
    queue.clear(-1);
    const came = this.arrived[line];
    const until = this.until[line];
    queue.come(came, came);
    queue.serve(this.mover[line], came, 0, until - came, until);
    this.queues.set(line, queue);
    this.until[line] = QUEUED;
    return queue;
  }

  /** Takes queues away in which all is over: nobody has come for their lines since. */
  private sweep(floorCycles: number): void {
    for (const [line, queue] of this.queues) {
      queue.dropBefore(floorCycles);
      if (queue.length > 0) continue;
      this.queues.delete(line);
      this.spareQueues.push(queue);
      this.until[line] = floorCycles;
    }
    this.sweepAt = Math.max(QUEUES_MIN, 2 * this.queues.size);
  }
}

/** `larger` with what is in `array` at its begin. */
function moved<T extends Float64Array | Uint16Array>(array: T, larger: T): T {
  larger.set(array);
  return larger;
}
