/** What sees locks being taken and given back: `lockdep.ts` does, where it is switched on. */

import type { Thread } from "../../arch/time/event-loop.ts";

/** A lock, as far as somebody who watches needs to know it. */
export interface WatchedLock {
  /** All locks of one name are one class. */
  readonly name: string;
  /** Whether waiting for it sleeps. */
  readonly sleeps: boolean;
}

/** A lock of which one thread may be asked whether it has it. */
export interface OwnedLock {
  readonly name: string;
  /** The thread that has it (to write, where several may read); null for none. */
  readonly owner: Thread | null;
}

/** Is told of all locks of a machine. It changes no time and no order. */
export interface LockWatcher {
  /** The current thread is about to wait for a lock that another one holds. */
  acquiring(lock: WatchedLock): void;
  /** The current thread has it (`lock_acquire`, `lock_acquired`). */
  lockAcquire(lock: WatchedLock): void;
  /** The current thread gives it back (`lock_release`). */
  lockRelease(lock: WatchedLock): void;
}
