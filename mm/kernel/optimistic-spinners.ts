/**
 * Who spins for a lock that can be slept for, while its owner runs (`kernel/locking/osq_lock.c`): the first looks at the lock, each other one at the one before
 * it. Left out: that spinning ends when the spinner's CPU has something else to run.
 */
import { ACTIVITY_LOCK_WAIT } from "../../arch/time/cycle-accounts.ts";
import { type EventLoop, type KernelCode, PAUSE_SPIN, type Thread } from "../../arch/time/event-loop.ts";
import type { SleepingLockUse } from "./sleeping-lock-use.ts";

/** What spinning costs. */
export type SpinnersUse = Pick<SleepingLockUse, "touchSpinners" | "seenAfterCycles">;

/** Those of one lock. */
export class OptimisticSpinners {
  private readonly threads: Thread[] = [];
  private readonly loop: EventLoop;
  private readonly use: SpinnersUse;

  constructor(loop: EventLoop, use: SpinnersUse) {
    this.loop = loop;
    this.use = use;
  }

  /** The thread that looks at the lock, over and over; null for none. */
  get looking(): Thread | null {
    const [first] = this.threads;
    return first?.waiting === true ? first : null;
  }

  /**
   * Has a thread, the current one, spin.
   * @param look called when it is the first: looks at the lock until the thread has it, or gives up
   * @returns whether it has the lock
   */
  *spin(thread: Thread, look: (thread: Thread) => KernelCode<boolean>): KernelCode<boolean> {
    const { loop, threads } = this;
    const activity = loop.enterActivity(ACTIVITY_LOCK_WAIT);
    threads.push(thread);
    this.use.touchSpinners();
    while (threads[0] !== thread) yield PAUSE_SPIN;
    const hasIt = yield* look(thread);
    threads.shift();
    this.use.touchSpinners();
    this.lockChanged();
    loop.enterActivity(activity);
    return hasIt;
  }

  /** Who looks at the lock sees that it has changed, and the next one that it is the first now. */
  lockChanged(): void {
    const { loop, looking } = this;
    if (looking !== null) loop.wake(looking, loop.nowCycles() + this.use.seenAfterCycles(loop.currentCpu, looking.cpu));
  }
}
