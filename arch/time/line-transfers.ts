/**
 * When lines are on their way: transfers of one line are served one after the other, in the order of the times at which CPUs come for it,
 * whichever of them the event loop runs first. Who comes late queues as for a fair lock (`hold-queue.ts`): behind those who came before
 * its time, and those after it are put behind it. So nobody waits for longer than each other CPU has the line once (or, in rows, once for each row before its own).
 *
 * Cores that share a last-level cache have a line in a row (`hold-groups.ts`): a core that comes to write it before one of its cluster has got it has it right
 * after that one, by the short way, and those of other clusters that came earlier have it after both. That caches serve their own cores first is assumed.
 * Where several cores of a cluster come for one line it goes round as fast as was measured only so (docs/measurements.md, vmalloc and vfree with vmap nodes).
 *
 * Most lines are free when somebody comes for them, at a time after all that were there before: of these the last transfer is kept, and the one
 * before it as long as others may come before its end. A line has a queue from when more than that is to be known, or a CPU comes before the
 * last transfer is over, until a CPU comes when all in the queue are. In pairs of vmalloc and vfree on 1024 CPUs half of the CPUs that came for a
 * line which others may still come before found one transfer only, which was over.
 */
import type { HoldGroups } from "./hold-groups.ts";
import { type HandOver, HoldQueue, type LateCpus } from "./hold-queue.ts";
import {
  type LineNumbers,
  TIME_ARRIVED,
  TIME_ARRIVED_BEFORE,
  TIME_UNTIL,
  TIME_UNTIL_BEFORE,
  TIMES_SHIFT,
  WORD_HOLDER,
  WORD_MOVER,
  WORD_MOVER_BEFORE,
  WORDS_SHIFT,
} from "./line-numbers.ts";

/** What transfers need of the event loop. */
export interface TransferClock {
  /** Each CPU's clock. */
  readonly clockCycles: Float64Array;
  /** The earliest time at which any CPU can act. */
  readonly earliestCycles: number;
  /** Says in which run or call from outside the machine is: those before it are over. */
  readonly interrupts: { readonly run: number };
  /** See `InterruptedCpus.delay`. */
  delayForLine(late: LateCpus): void;
}

/** Lines that are remembered as having moved in a run. Of more, all are looked at when the next begins. */
const MOVED_MAX = 1024;
/** Queues that there may be before it is looked which of them are over. */
const QUEUES_MIN = 64;

/** Transfers of all lines of a machine. */
export class LineTransfers implements HandOver {
  private readonly clock: TransferClock;
  private readonly clockCycles: Float64Array;
  private readonly waitedCycles: Float64Array;
  private readonly lines: LineNumbers;
  private readonly clusters: HoldGroups | null;
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

  /**
   * @param waitedCycles by CPU: what it has waited for lines
   * @param clusters CPUs that share a last-level cache; null when these are all of a socket
   */
  constructor(clock: TransferClock, lines: LineNumbers, waitedCycles: Float64Array, clusters: HoldGroups | null) {
    this.clusters = clusters;
    this.clock = clock;
    this.clockCycles = clock.clockCycles;
    this.waitedCycles = waitedCycles;
    this.lines = lines;
  }

  /** Lines that have a queue. */
  get queued(): number {
    return this.queueCount;
  }

  /**
   * `cpu` comes for a line now, which takes `transferCycles` to come and is kept for `workCycles`: its clock goes on to the end of that.
   * @param inRow whether it has the line in a row with those of its cluster
   */
  serve(line: number, cpu: number, transferCycles: number, workCycles: number, inRow = false): void {
    if (this.run !== this.clock.interrupts.run) this.beginRun();
    const now = this.clockCycles[cpu];
    const { times, words } = this.lines;
    const at = line << TIMES_SHIFT;
    const until = times[at | TIME_UNTIL];
    const floor = Math.min(now, this.clock.earliestCycles);
    const mover = (line << WORDS_SHIFT) | WORD_MOVER;
    if (until > floor) {
      if (now < until || words[mover] < 0 || times[at | TIME_UNTIL_BEFORE] > floor) {
        this.serveQueued(line, cpu, floor, transferCycles, workCycles, inRow);
        return;
      }
      times[at | TIME_ARRIVED_BEFORE] = times[at | TIME_ARRIVED];
      times[at | TIME_UNTIL_BEFORE] = until;
      words[(line << WORDS_SHIFT) | WORD_MOVER_BEFORE] = words[mover];
    } else if (until === 0) this.remember(line);
    else if (words[mover] < 0) this.dropQueue(-1 - words[mover]);
    times[at | TIME_ARRIVED] = now;
    times[at | TIME_UNTIL] = now + transferCycles + workCycles;
    words[mover] = cpu;
    this.waitedCycles[cpu] += transferCycles;
    this.clockCycles[cpu] = now + transferCycles + workCycles;
  }

  /** What transfers cost is known when CPUs come: where the line was then, as the loop runs them. */
  handOverCycles(): number {
    return 0;
  }

  putBehind(late: LateCpus): void {
    this.clock.delayForLine(late);
  }

  waitsLonger(): void {}

  /** Forgets all transfers. */
  clear(): void {
    const { moved } = this;
    const { times } = this.lines;
    if (this.movedCount <= MOVED_MAX)
      for (let i = 0; i < this.movedCount; i++) times[(moved[i] << TIMES_SHIFT) | TIME_UNTIL] = 0;
    else for (let at = TIME_UNTIL; at < times.length; at += 1 << TIMES_SHIFT) times[at] = 0;
    this.movedCount = 0;
    this.queueCount = 0;
  }

  private beginRun(): void {
    this.run = this.clock.interrupts.run;
    this.clear();
  }

  private remember(line: number): void {
    this.lines.times[(line << TIMES_SHIFT) | TIME_UNTIL_BEFORE] = 0;
    if (this.movedCount < MOVED_MAX) this.moved[this.movedCount] = line;
    this.movedCount++;
  }

  /** @param floorCycles nobody comes before this time any more, and the line is not free by then */
  private serveQueued(
    line: number,
    cpu: number,
    floorCycles: number,
    transferCycles: number,
    workCycles: number,
    inRow: boolean,
  ): void {
    const now = this.clockCycles[cpu];
    const { times, words } = this.lines;
    const { clusters } = this;
    const mover = words[(line << WORDS_SHIFT) | WORD_MOVER];
    const queue = mover < 0 ? this.queues[-1 - mover] : this.newQueue(line, floorCycles);
    let freeAt = queue.come(now, floorCycles);
    let transfer = transferCycles;
    if (inRow && clusters !== null && freeAt > now) {
      freeAt = queue.comeWithGroup(cpu, now, clusters);
      if (queue.isBeforeOthers) {
        if (queue.predecessor >= 0) transfer = clusters.takeOverCycles(queue.predecessor, cpu);
        words[(line << WORDS_SHIFT) | WORD_HOLDER] = queue.lastCpu + 1;
      }
    }
    const cycles = transfer + workCycles;
    queue.serve(cpu, now, freeAt - now, cycles, freeAt + cycles);
    times[(line << TIMES_SHIFT) | TIME_UNTIL] = queue.untilCycles;
    const waited = freeAt - now + transfer;
    this.waitedCycles[cpu] += waited;
    this.clockCycles[cpu] = now + waited + workCycles;
  }

  /** A queue with the line's last transfer in it, and the one before if somebody may come before its end. */
  private newQueue(line: number, floorCycles: number): HoldQueue {
    if (this.queueCount >= this.sweepAt) this.sweep(floorCycles);
    const at = this.queueCount++;
    if (at === this.queues.length) this.queues.push(new HoldQueue(this));
    const queue = this.queues[at];
    const { times, words } = this.lines;
    const mover = (line << WORDS_SHIFT) | WORD_MOVER;
    const time = line << TIMES_SHIFT;
    queue.clear(-1);
    const untilBefore = times[time | TIME_UNTIL_BEFORE];
    if (untilBefore > floorCycles) {
      queue.append(words[(line << WORDS_SHIFT) | WORD_MOVER_BEFORE], times[time | TIME_ARRIVED_BEFORE], untilBefore);
    }
    queue.append(words[mover], times[time | TIME_ARRIVED], times[time | TIME_UNTIL]);
    this.queueLines[at] = line;
    words[mover] = -1 - at;
    return queue;
  }

  /** The last queue in use goes where the one at `at` is, which becomes a spare one. Its line is the caller's to say. */
  private dropQueue(at: number): void {
    const last = --this.queueCount;
    if (at === last) return;
    const { queues, queueLines } = this;
    const dropped = queues[at];
    queues[at] = queues[last];
    queues[last] = dropped;
    queueLines[at] = queueLines[last];
    this.lines.words[(queueLines[at] << WORDS_SHIFT) | WORD_MOVER] = -1 - at;
  }

  /** Takes queues away in which all is over: nobody has come for their lines since. */
  private sweep(floorCycles: number): void {
    const { queueLines } = this;
    const { times, words } = this.lines;
    for (let at = this.queueCount - 1; at >= 0; at--) {
      const line = queueLines[at];
      if (times[(line << TIMES_SHIFT) | TIME_UNTIL] > floorCycles) continue;
      words[(line << WORDS_SHIFT) | WORD_MOVER] = 0;
      this.dropQueue(at);
    }
    this.sweepAt = Math.max(QUEUES_MIN, 2 * this.queueCount);
  }
}
