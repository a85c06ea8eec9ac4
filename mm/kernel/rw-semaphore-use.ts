/** What a reader-writer semaphore (`rw-semaphore.ts`) needs of the kernel that uses it. */
import type { Thread } from "../../arch/time/event-loop.ts";

/** What a semaphore needs of its kernel. */
export interface RwSemaphoreUse {
  /** Of the CPUs' clocks. */
  readonly frequencyGhz: number;
  /** An atomic operation on the line of its count, to take it or for a reader that gives it back. */
  touchCount(): void;
  /** A writer that gives it back clears its bit of the count; as with other locks, that is in what taking it costs. */
  clearCount(): void;
  /** Who has it is noted, which is another line. */
  touchOwner(): void;
  /** What the current thread pays to wake one that sleeps. */
  wakes(thread: Thread): void;
  /** What the current thread pays that was woken. @param switchedCycles what its CPU's changes of threads had taken in all before it slept */
  wasWoken(switchedCycles: number): void;
  /** Cycles until a CPU that polls a line sees that `from` has written it. */
  seenAfterCycles(from: number, to: number): number;
}
