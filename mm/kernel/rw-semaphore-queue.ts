/** Who sleeps for a reader-writer semaphore (`rw-semaphore.ts`): its `wait_list`. */
import { ACTIVITY_LOCK_WAIT } from "../../arch/time/cycle-accounts.ts";
import { type EventLoop, type KernelCode, PAUSE_SLEEP, type Thread } from "../../arch/time/event-loop.ts";
import { HZ } from "./jiffies.ts";
import type { RwSemaphoreUse } from "./rw-semaphore-use.ts";

/** Readers that are woken at a time (`MAX_READERS_WAKEUP`). */
const READERS_WOKEN_MAX = 256;

/** A thread in the queue. */
export interface Waiter {
  readonly thread: Thread;
  readonly isWriter: boolean;
  /** The jiffy in which it queued. */
  readonly jiffy: number;
  /** A reader that has it. */
  isGranted: boolean;
  /** It has asked for the semaphore to be handed over. */
  hasAsked: boolean;
  /** The CPU that has woken it; -1 for none yet. */
  wokenBy: number;
}

/** Those of one semaphore, in the order in which they came. */
export class RwSemaphoreQueue {
  private readonly loop: EventLoop;
  private readonly use: RwSemaphoreUse;
  private waiters: Waiter[] = [];

  constructor(loop: EventLoop, use: RwSemaphoreUse) {
    this.loop = loop;
    this.use = use;
  }

  /** How many there are. */
  get length(): number {
    return this.waiters.length;
  }

  /** Who came first; null for nobody. */
  get first(): Waiter | null {
    return this.waiters[0] ?? null;
  }

  /** Adds the current thread at the end. */
  add(thread: Thread, isWriter: boolean): Waiter {
    const waiter = { thread, isWriter, jiffy: this.jiffies(), isGranted: false, hasAsked: false, wokenBy: -1 };
    this.waiters.push(waiter);
    return waiter;
  }

  /** Takes one out. */
  remove(waiter: Waiter): void {
    this.waiters = this.waiters.filter((each) => each !== waiter);
  }

  /** Takes out the readers that are woken at a time, past writers. */
  takeReaders(): Waiter[] {
    const readers = this.waiters.filter(({ isWriter }) => !isWriter).slice(0, READERS_WOKEN_MAX);
    this.waiters = this.waiters.filter((waiter) => !readers.includes(waiter));
    return readers;
  }

  /** The current thread, which is `waiter`, sleeps until somebody wakes it. */
  *sleep(waiter: Waiter): KernelCode<void> {
    const { loop } = this;
    const switched = this.use.goesToSleep();
    const activity = loop.enterActivity(ACTIVITY_LOCK_WAIT);
    yield PAUSE_SLEEP;
    loop.enterActivity(activity);
    this.use.wasWoken(switched, waiter.wokenBy);
  }

  /** Wakes one, unless it has not gone to sleep yet: it looks before it does. */
  wake(waiter: Waiter): void {
    const { loop } = this;
    const { thread } = waiter;
    if (!thread.waiting) return;
    waiter.wokenBy = loop.currentCpu;
    this.use.wakes(thread);
    loop.wake(thread, loop.nowCycles());
  }

  /** Whether one has waited for more than `RWSEM_WAIT_TIMEOUT`: 4 ms, or a jiffy if that is more. */
  hasTimedOut({ jiffy }: Waiter): boolean {
    return this.jiffies() > jiffy + Math.ceil(HZ / 250);
  }

  private jiffies(): number {
    return Math.floor(this.loop.nowCycles() / ((this.use.frequencyGhz * 1e9) / HZ));
  }
}
