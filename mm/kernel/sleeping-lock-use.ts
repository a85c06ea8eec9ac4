/** What a lock that can be slept for needs of the kernel that uses it. */
import type { Thread } from "../../arch/time/event-loop.ts";

/** What spinning, sleeping and waking cost. */
export interface SleepingLockUse {
  /** The lock of the queue (`wait_lock`) is taken, something is done to the queue, and it is given back. */
  touchQueue(): void;
  /** An atomic operation on the tail of those who spin (`osq`), to become one of them or to be one no more. */
  touchSpinners(): void;
  /** What the current thread pays to take one out of the queue and to note that it is to be woken (`wake_q_add`). */
  marks(thread: Thread): void;
  /** What the current thread pays to wake one that sleeps (`try_to_wake_up`). */
  wakes(thread: Thread): void;
  /** The current thread is about to sleep. Returns what its CPU's changes of threads have taken in all. */
  goesToSleep(): number;
  /**
   * What the current thread pays that was woken.
   * @param switchedCycles what {@link goesToSleep} returned
   * @param wokenBy the CPU that woke it
   */
  wasWoken(switchedCycles: number, wokenBy: number): void;
  /** Cycles until a CPU that polls a line sees that `from` has written it. */
  seenAfterCycles(from: number, to: number): number;
}
