/** Deferred work (`struct work_struct`): code that a worker thread of a CPU runs later. */
import type { EventLoop, KernelCode, Thread } from "../../arch/time/event-loop.ts";
import { PAUSE_RESCHED, PAUSE_SLEEP } from "../../arch/time/event-loop.ts";

/**
 * A work item. Queueing one that is pending already does nothing; one that runs can be queued again, and then runs once more
 * where it runs now.
 */
export class Work {
  readonly name: string;
  private readonly loop: EventLoop;
  private readonly body: () => KernelCode<void>;
  private readonly activity: number;
  private pending = false;
  private worker: Thread | null = null;
  private hasBegun = false;
  private readonly waiters: Thread[] = [];

  constructor(name: string, loop: EventLoop, body: () => KernelCode<void>) {
    this.name = name;
    this.loop = loop;
    this.body = body;
    this.activity = loop.accounts.activity(name);
  }

  /** Whether the work has been queued and has not begun. */
  get isPending(): boolean {
    return this.pending;
  }

  /** The thread that will run it, while it is queued and not begun; else null. */
  get queuedThread(): Thread | null {
    return this.pending && !this.hasBegun ? this.worker : null;
  }

  /** Queues the work on `cpu` (`schedule_work_on`); false when it was pending already. */
  scheduleOn(cpu: number): boolean {
    if (this.pending) return false;
    this.pending = true;
    // Whoever runs it runs it again afterwards: a work item never runs on two CPUs at once (workqueue non-reentrancy).
    if (this.worker !== null) return true;
    this.worker = this.loop.spawn(`kworker/${cpu}:${this.name}`, cpu, this.run());
    return true;
  }

  /** Queues the work on the current CPU (`schedule_work`). */
  schedule(): boolean {
    return this.scheduleOn(this.loop.currentCpu);
  }

  /** Waits until the work is neither pending nor running (`flush_work`). */
  *flush(): KernelCode<void> {
    while (this.worker !== null) {
      const thread = this.loop.currentThread;
      if (thread === null) throw new Error(`${this.name} was waited for outside any thread`);
      this.waiters.push(thread);
      yield PAUSE_SLEEP;
    }
  }

  private *run(): KernelCode<void> {
    this.hasBegun = true;
    this.loop.enterActivity(this.activity);
    try {
      while (this.pending) {
        this.pending = false;
        yield* this.body();
        if (this.pending) yield PAUSE_RESCHED;
      }
    } finally {
      this.worker = null;
      this.hasBegun = false;
    }
    const now = this.loop.nowCycles();
    for (const waiter of this.waiters.splice(0)) this.loop.wake(waiter, now);
  }
}
