/** What a reader-writer semaphore (`rw-semaphore.ts`) needs of the kernel that uses it, and what is kept of one that nobody has. */
import type { SleepingLockUse } from "./sleeping-lock-use.ts";

/** What a semaphore needs of its kernel. */
export interface RwSemaphoreUse extends SleepingLockUse {
  /** Of the CPUs' clocks. */
  readonly frequencyGhz: number;
  /** Its count is looked at, before somebody tries to take it at once. */
  readCount(): void;
  /** An atomic operation on the line of its count: to take it or wait for it, or for a reader that gives it back. */
  touchCount(): void;
  /** A writer that gives it back clears its bit of the count; as with other locks, that is in what taking it costs. */
  clearCount(): void;
  /** Who has it is noted, which is another line. */
  touchOwner(): void;
  /** It is looked at who has it. */
  readOwner(): void;
  /** `cpu`, which polls the line of the count, reads it anew. */
  pollCount(cpu: number): void;
  /** `cpu`, which polls the line of the owner, reads it anew. */
  pollOwner(cpu: number): void;
}

/** What is known of a semaphore that nobody has. */
export interface FreeRwSemaphore {
  /** The CPU whose thread had it to write last; -1 for none. */
  readonly lastCpu: number;
  /** When a writer gave it back last, and when a reader did. */
  readonly writeFreeAtCycles: number;
  readonly readFreeAtCycles: number;
  /** A reader took it last. */
  readonly isReaderOwned: boolean;
  /** A writer has spun in vain while readers had it. */
  readonly isNonspinnable: boolean;
}
