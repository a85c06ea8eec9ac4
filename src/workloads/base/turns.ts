/**
 * When a busy kernel thread gives others their turn. Between two pauses code of the event loop runs without interruption;
 * a thread that makes call after call asks here, between calls, whether somebody else is due: another CPU that is behind,
 * an interrupt, or another thread of its CPU.
 */
import { type EventLoop, type KernelCode, PAUSE_RESCHED, PAUSE_TURN } from "../../../arch/time/event-loop.ts";

/** How often a thread looks for interrupts, in microseconds of its CPU's time. */
const POLL_USEC = 50;
/** `sysctl_sched_base_slice` of Linux 6.12: 0.75 ms * (1 + ilog2(CPUs, at most 8)). */
const BASE_SLICE_USEC = 750;

/** The turns of one thread. Use: `if (turns.isDue()) yield* turns.take();`. */
export class Turns {
  private readonly loop: EventLoop;
  private readonly pollCycles: number;
  private readonly sliceCycles: number;
  private dueCycles = 0;
  private sliceStartCycles = 0;

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

  /** Lets them act: other CPUs and interrupts at once, threads of this CPU when the time slice is used up. */
  *take(): KernelCode<void> {
    const { loop } = this;
    while (loop.mustYield()) yield PAUSE_TURN;
    if (loop.nowCycles() < this.dueCycles) return;
    yield PAUSE_TURN;
    if (!loop.needsResched()) {
      // A thread that is alone on its CPU starts a new slice when the old one ends.
      if (loop.nowCycles() - this.sliceStartCycles >= this.sliceCycles) this.sliceStartCycles = loop.nowCycles();
    } else if (loop.nowCycles() - this.sliceStartCycles >= this.sliceCycles) {
      yield PAUSE_RESCHED;
      this.sliceStartCycles = loop.nowCycles();
    }
    this.dueCycles = loop.nowCycles() + this.pollCycles;
  }
}
