/** What a lock that can be slept for needs of the kernel that uses it. */
import type { Thread } from "../../arch/time/event-loop.ts";

/** What spinning, sleeping and waking cost. */
export interface SleepingLockUse {
  /** What the current thread pays to wake one that sleeps. */
  wakes(thread: Thread): void;
  /** What the current thread pays that was woken. @param switchedCycles what its CPU's changes of threads had taken in all before it slept */
  wasWoken(switchedCycles: number): void;
  /** Cycles until a CPU that polls a line sees that `from` has written it. */
  seenAfterCycles(from: number, to: number): number;
}
