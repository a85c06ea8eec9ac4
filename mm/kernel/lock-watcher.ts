/** What sees locks being taken and given back: `lockdep.ts` does, where it is switched on. */

/** A lock, as far as somebody who watches needs to know it. */
export interface WatchedLock {
  /** All locks of one name are one class. */
  readonly name: string;
  /** Whether waiting for it sleeps. */
  readonly sleeps: boolean;
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
