/**
 * When busy kernel threads give others their turn. Between two pauses code of the event loop runs without interruption;
 * a thread that makes call after call asks here, between calls, whether somebody else is due: another CPU that is behind,
 * an interrupt, or another thread of its CPU.
 */
import { type EventLoop, PAUSE_RESCHED, PAUSE_TURN, type Pause, type Thread } from "../../../arch/time/event-loop.ts";

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

/** How far a thread is whose CPU another thread has. */
interface ThreadTurns {
  readonly dueCycles: number;
  readonly sliceStartCycles: number;
  readonly stage: number;
}

const FIRST_TURNS: ThreadTurns = { dueCycles: 0, sliceStartCycles: 0, stage: OTHER_CPUS };

/**
 * The turns of threads that stay on their CPUs. Each asks for itself: `if (turns.isDue()) yield* turns.take();`. What they need at each turn is in arrays
 * common to all CPUs: in objects of a thousand threads, numbers among them, none of it is in the host's caches when a thread goes on.
 */
export class Turns implements Generator<Pause, undefined, void> {
  private readonly loop: EventLoop;
  private readonly pollCycles: number;
  private readonly sliceCycles: number;
  /** By CPU: the thread that asked last. The arrays that follow are about that one. */
  private readonly threads: (Thread | null)[];
  private readonly dueCycles: Float64Array;
  private readonly sliceStartCycles: Float64Array;
  private readonly stages: Uint8Array;
  /** What is known of other threads. */
  private readonly others = new WeakMap<Thread, ThreadTurns>();

  /** @param frequencyGhz of the machine's clocks */
  constructor(loop: EventLoop, frequencyGhz: number) {
    this.loop = loop;
    this.pollCycles = POLL_USEC * 1000 * frequencyGhz;
    const factor = 1 + Math.floor(Math.log2(Math.min(loop.cpus, 8)));
    this.sliceCycles = BASE_SLICE_USEC * factor * 1000 * frequencyGhz;
    this.threads = new Array<Thread | null>(loop.cpus).fill(null);
    this.dueCycles = new Float64Array(loop.cpus);
    this.sliceStartCycles = new Float64Array(loop.cpus);
    this.stages = new Uint8Array(loop.cpus);
  }

  /** Whether somebody else may be due. */
  isDue(): boolean {
    const cpu = this.cpuOfThread();
    return this.loop.clockCycles[cpu] >= this.dueCycles[cpu] || this.loop.mustYield();
  }

  /**
   * Lets them act: other CPUs and interrupts at once, threads of this CPU when the time slice is used up. To be waited for at once, with `yield*`. It does
   * what a generator would, without one for each turn: with a thousand threads that is in none of the host's caches when it goes on.
   */
  take(): this {
    this.stages[this.cpuOfThread()] = OTHER_CPUS;
    return this;
  }

  [Symbol.iterator](): this {
    return this;
  }

  get [Symbol.toStringTag](): string {
    return "Generator";
  }

  return(): IteratorResult<Pause, undefined> {
    return ENDED;
  }

  throw(failure: unknown): IteratorResult<Pause, undefined> {
    throw failure;
  }

  next(): IteratorResult<Pause, undefined> {
    const { loop, stages } = this;
    const cpu = this.cpuOfThread();
    const stage = stages[cpu];
    if (stage === OTHER_CPUS) {
      if (loop.mustYield()) return TURN;
      if (loop.clockCycles[cpu] < this.dueCycles[cpu]) return ENDED;
      stages[cpu] = INTERRUPTS;
      return TURN;
    }
    const nowCycles = loop.clockCycles[cpu];
    const isSliceOver = nowCycles - this.sliceStartCycles[cpu] >= this.sliceCycles;
    if (stage === INTERRUPTS && loop.needsResched()) {
      if (isSliceOver) {
        stages[cpu] = OTHER_THREADS;
        return RESCHED;
      }
    } else if (stage === OTHER_THREADS || isSliceOver) {
      // A thread that is alone on its CPU starts a new slice when the old one ends.
      this.sliceStartCycles[cpu] = nowCycles;
    }
    this.dueCycles[cpu] = nowCycles + this.pollCycles;
    return ENDED;
  }

  /** The current CPU, of which the arrays are now about the current thread. */
  private cpuOfThread(): number {
    const { currentCpu, currentThread } = this.loop;
    if (this.threads[currentCpu] !== currentThread) this.change(currentCpu, currentThread);
    return currentCpu;
  }

  private change(cpu: number, thread: Thread | null): void {
    const { threads, dueCycles, sliceStartCycles, stages, others } = this;
    const before = threads[cpu];
    if (before !== null)
      others.set(before, {
        dueCycles: dueCycles[cpu],
        sliceStartCycles: sliceStartCycles[cpu],
        stage: stages[cpu],
      });
    const known = (thread === null ? undefined : others.get(thread)) ?? FIRST_TURNS;
    threads[cpu] = thread;
    dueCycles[cpu] = known.dueCycles;
    sliceStartCycles[cpu] = known.sliceStartCycles;
    stages[cpu] = known.stage;
  }
}
