/**
 * When a busy kernel thread gives others their turn. Between two pauses code of the event loop runs without interruption;
 * a thread that makes call after call asks here, between calls, whether somebody else is due: another CPU that is behind,
 * an interrupt, or another thread of its CPU.
 */
import { type EventLoop, PAUSE_RESCHED, PAUSE_TURN, type Pause } from "../../../arch/time/event-loop.ts";

/** How often a thread looks for interrupts, in microseconds of its CPU's time. */
const POLL_USEC = 50;
/** `sysctl_sched_base_slice` of Linux 6.12: 0.75 ms * (1 + ilog2(CPUs, at most 8)). */
const BASE_SLICE_USEC = 750;

/** What a turn waits for: CPUs that are behind; then interrupts; then other threads of its CPU. */
const OTHER_CPUS = 0;
const INTERRUPTS = 1;
const OTHER_THREADS = 2;

/** Who resumes code only reads these. */
const TURN: IteratorYieldResult<Pause> = { done: false, value: PAUSE_TURN };
const RESCHED: IteratorYieldResult<Pause> = { done: false, value: PAUSE_RESCHED };
const ENDED: IteratorReturnResult<undefined> = { done: true, value: undefined };

/** The turns of one thread. Use: `if (turns.isDue()) yield* turns.take();`. */
export class Turns implements Iterable<Pause, undefined> {
  private readonly loop: EventLoop;
  private readonly pollCycles: number;
  private readonly sliceCycles: number;
  private dueCycles = 0;
  private sliceStartCycles = 0;
  private stage = OTHER_CPUS;

  /** @param frequencyGhz of the machine's clocks */
  constructor(loop: EventLoop, frequencyGhz: number) {
    this.loop = loop;
    this.pollCycles = POLL_USEC * 1000 * frequencyGhz;
    const factor = 1 + Math.floor(Math.log2(Math.min(loop.cpus, 8)));
    this.sliceCycles = BASE_SLICE_USEC * factor * 1000 * frequencyGhz;
  }

  /** Whether somebody else may be due. */
  isDue(): boolean {
    return this.loop.nowCycles() >= this.dueCycles || this.loop.mustYield();
  }

  /**
   * Lets them act: other CPUs and interrupts at once, threads of this CPU when the time slice is used up. To be waited for at once, with `yield*`. It does
   * what a generator would, without one for each turn: with a thousand threads that is in none of the host's caches when it goes on.
   */
  take(): this {
    this.stage = OTHER_CPUS;
    return this;
  }

  [Symbol.iterator](): Iterator<Pause, undefined> {
    return this;
  }

  next(): IteratorResult<Pause, undefined> {
    const { loop } = this;
    if (this.stage === OTHER_CPUS) {
      if (loop.mustYield()) return TURN;
      if (loop.nowCycles() < this.dueCycles) return ENDED;
      this.stage = INTERRUPTS;
      return TURN;
    }
    if (this.stage === INTERRUPTS && loop.needsResched()) {
      if (loop.nowCycles() - this.sliceStartCycles >= this.sliceCycles) {
        this.stage = OTHER_THREADS;
        return RESCHED;
      }
    } else if (this.stage === OTHER_THREADS || loop.nowCycles() - this.sliceStartCycles >= this.sliceCycles) {
      // A thread that is alone on its CPU starts a new slice when the old one ends.
      this.sliceStartCycles = loop.nowCycles();
    }
    this.dueCycles = loop.nowCycles() + this.pollCycles;
    return ENDED;
  }
}
