/**
 * Spinlocks (queued, fair) and mutexes between emulated CPUs. Taking a free lock is a plain call; only a CPU that has to
 * wait pauses:
 *
 *     if (!lock.tryTake()) yield* lock.take();
 *     ...
 *     lock.release();
 *
 * A CPU may be ahead of another that could take the lock first: `tryTake` then refuses and `take` lets that one act.
 */
import type { EventLoop, KernelCode, Thread } from "../arch/event-loop.ts";
import { PAUSE_SLEEP, PAUSE_SPIN, PAUSE_TURN } from "../arch/event-loop.ts";

/** What lock operations cost. */
export interface LockCosts {
  /** Taking or releasing a lock whose cache line is at hand. */
  readonly uncontendedCycles: number;
  /** Moving the lock's cache line from another CPU. */
  readonly transferCycles: number;
}

/** A lock that is handed over in the order in which it was asked for. */
abstract class Lock {
  readonly name: string;
  /** Times taken. */
  acquisitions = 0;
  /** Times somebody had to wait for it. */
  contentions = 0;
  /** Cycles spent waiting for it, over all CPUs. */
  waitCycles = 0;
  /** Cycles for which it was held. */
  holdCycles = 0;

  protected readonly loop: EventLoop;
  protected readonly costs: LockCosts;
  private readonly pause: typeof PAUSE_SPIN | typeof PAUSE_SLEEP;
  private held = false;
  private lastCpu = -1;
  private takenAtCycles = 0;
  private freeAtCycles = 0;
  private readonly queue: Thread[] = [];

  constructor(name: string, loop: EventLoop, costs: LockCosts, pause: typeof PAUSE_SPIN | typeof PAUSE_SLEEP) {
    this.name = name;
    this.loop = loop;
    this.costs = costs;
    this.pause = pause;
  }

  get isHeld(): boolean {
    return this.held;
  }

  /** Takes the lock if that is possible without waiting. */
  tryTake(): boolean {
    if (this.held || this.loop.mustYield()) return false;
    this.own();
    return true;
  }

  /** Takes the lock, waiting for it. */
  *take(): KernelCode<void> {
    const { loop } = this;
    while (loop.mustYield()) yield PAUSE_TURN;
    if (!this.held) {
      this.own();
      return;
    }
    const thread = loop.currentThread;
    if (thread === null) throw new Error(`${this.name} was asked for outside any thread`);
    const since = loop.nowCycles();
    this.contentions++;
    this.queue.push(thread);
    yield this.pause;
    this.waitCycles += loop.nowCycles() - since;
    this.book(loop.nowCycles());
  }

  /** Gives the lock back, to the first in the queue if there is one. */
  release(): void {
    const { loop } = this;
    const now = loop.nowCycles();
    this.holdCycles += now - this.takenAtCycles;
    this.freeAtCycles = now;
    const heir = this.queue.shift();
    if (heir === undefined) {
      this.held = false;
      return;
    }
    loop.wake(heir, now + this.costs.transferCycles);
  }

  /** Takes a free lock: a release that lies in this CPU's future is waited for. */
  private own(): void {
    const { loop } = this;
    const cpu = loop.currentCpu;
    const now = loop.clockCycles[cpu];
    const cost = this.lastCpu === cpu ? this.costs.uncontendedCycles : this.costs.transferCycles;
    const start = Math.max(now, this.freeAtCycles);
    if (start > now) {
      this.contentions++;
      this.waitCycles += start - now;
    }
    this.held = true;
    loop.clockCycles[cpu] = start + cost;
    this.book(start + cost);
  }

  private book(nowCycles: number): void {
    this.acquisitions++;
    this.takenAtCycles = nowCycles;
    this.lastCpu = this.loop.currentCpu;
  }
}

/** `spinlock_t`: a CPU waits busily, taking interrupts meanwhile if they are on. */
export class SpinLock extends Lock {
  constructor(name: string, loop: EventLoop, costs: LockCosts) {
    super(name, loop, costs, PAUSE_SPIN);
  }
}

/** `struct mutex`: a thread sleeps, and its CPU runs others meanwhile. */
export class Mutex extends Lock {
  constructor(name: string, loop: EventLoop, costs: LockCosts) {
    super(name, loop, costs, PAUSE_SLEEP);
  }
}
