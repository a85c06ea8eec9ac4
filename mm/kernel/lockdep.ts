/**
 * Checks of locking while the emulated kernel runs (`kernel/locking/lockdep.c`, `CONFIG_PROVE_LOCKING`): that who uses a structure
 * holds the lock that guards it, and that locks are always taken in one order. All locks of one name are one class, so
 * an inversion is found as soon as both orders have been seen, whether or not they met. Nothing here costs emulated time.
 */
import type { EventLoop, Thread } from "../../arch/time/event-loop.ts";
import type { KernelLog } from "../lib/kernel-log.ts";
import { currentComm } from "./current-comm.ts";
import type { Lock } from "./lock.ts";
import { watchLocks } from "./lock-stat.ts";
import type { LockWatcher, OwnedLock, WatchedLock } from "./lock-watcher.ts";

/** What can be wrong about locks; the first words of the kernel's own reports. */
export type LockFault =
  | "lock not held"
  | "possible circular locking dependency detected"
  | "possible recursive locking detected"
  | "bad unlock balance detected"
  | "sleeping function called from invalid context";

/** One finding. */
export interface LockReport {
  readonly fault: LockFault;
  /** The lock concerned, by its name. */
  readonly lock: string;
  /** The structure that was used without it, or the lock that is held meanwhile; empty where there is neither. */
  readonly other: string;
  /** The thread that did it, and its CPU. */
  readonly thread: string;
  readonly cpu: number;
  /** The line in the kernel's log, without `WARNING: `. */
  readonly text: string;
}

/** What the checks have seen so far. */
export interface LockdepState {
  readonly debugLocks: boolean;
  /** Structures that were used without their lock. */
  readonly asserted: readonly string[];
  /** Which class was taken while which was held, and by which thread first. */
  readonly dependencies: readonly { readonly held: string; readonly taken: string; readonly thread: string }[];
}

/** One time that a lock of one class was taken while one of another was held. */
interface Dependency {
  readonly thread: string;
}

/** The checks of one machine. */
export class Lockdep implements LockWatcher {
  /** What was found, oldest first; each place and each pair of locks once. */
  readonly reports: LockReport[] = [];
  /** Is told of each report as it is made, in the middle of the code that it is about; null when nobody asks. */
  onReport: ((report: LockReport) => void) | null = null;
  /**
   * Whether orders and nesting are still checked (`debug_locks`). The first finding about them ends that, as in the kernel, where
   * what follows may only be its consequence; {@link assertHeld} goes on.
   */
  debugLocks = true;

  private readonly loop: EventLoop;
  private readonly log: KernelLog;
  private readonly heldBy = new WeakMap<Thread, WatchedLock[]>();
  /** Locks held by what runs in no thread: an interrupt handler, or code outside the emulated kernel. */
  private readonly heldByNoThread: WatchedLock[] = [];
  /** By class: the classes of locks that were taken while one of it was held, and by whom first. */
  private readonly takenUnder = new Map<string, Map<string, Dependency>>();
  private readonly asserted = new Set<string>();

  /** Watches all locks of a machine, those made later too. */
  constructor(loop: EventLoop, log: KernelLog) {
    this.loop = loop;
    this.log = log;
    watchLocks(loop, this);
  }

  /**
   * Reports code that uses `structure` while the current thread does not hold `lock` (`lockdep_assert_held`). Code outside any
   * thread is not asked: what looks at the kernel from outside, while no kernel code is in the middle of a change, and interrupt
   * handlers, which use no such structure.
   */
  assertHeld(lock: OwnedLock, structure: string): void {
    const { currentThread } = this.loop;
    if (currentThread === null || lock.owner === currentThread || this.asserted.has(structure)) return;
    this.asserted.add(structure);
    this.report("lock not held", lock.name, structure, `uses ${structure} without ${lock.name}`);
  }

  /** The locks that the current thread holds, the one taken first in front (`lockdep_print_held_locks`). */
  heldLocks(): readonly WatchedLock[] {
    return this.held();
  }

  acquiring(lock: WatchedLock): void {
    if (!this.debugLocks) return;
    for (const other of this.heldLocks()) {
      if (!this.debugLocks) return;
      if (other.name === lock.name) {
        const text = `takes ${lock.name} while it holds ${other === lock ? "it" : "another of that name"}`;
        this.debugLocksOff("possible recursive locking detected", lock, other, text);
      } else if (lock.sleeps && !other.sleeps) {
        const text = `may sleep for ${lock.name} while it holds the spinlock ${other.name}`;
        this.debugLocksOff("sleeping function called from invalid context", lock, other, text);
      } else {
        this.checkPrevAdd(other, lock);
      }
    }
  }

  lockAcquire(lock: WatchedLock): void {
    this.acquiring(lock);
    this.held().push(lock);
  }

  lockRelease(lock: WatchedLock): void {
    const held = this.held();
    const at = held.lastIndexOf(lock);
    if (at >= 0) held.splice(at, 1);
    else if (this.debugLocks) {
      const text = `gives back ${lock.name}, which it does not hold`;
      this.debugLocksOff("bad unlock balance detected", lock, null, text);
    }
  }

  private held(): WatchedLock[] {
    const { currentThread } = this.loop;
    if (currentThread === null) return this.heldByNoThread;
    let held = this.heldBy.get(currentThread);
    if (held === undefined) {
      held = [];
      this.heldBy.set(currentThread, held);
    }
    return held;
  }

  /** Copies what has been seen, for saved states; {@link reports} are not part of it. */
  capture(): LockdepState {
    const dependencies = [...this.takenUnder].flatMap(([held, taken]) =>
      [...taken].map(([name, { thread }]) => ({ held, taken: name, thread })),
    );
    return { debugLocks: this.debugLocks, asserted: [...this.asserted], dependencies };
  }

  /** Goes on from what was captured. */
  restore({ debugLocks, asserted, dependencies }: LockdepState): void {
    this.debugLocks = debugLocks;
    for (const structure of asserted) this.asserted.add(structure);
    for (const { held, taken, thread } of dependencies) this.under(held).set(taken, { thread });
  }

  /** The order of locks seen so far: pairs of names, the one that was held and the one that was taken meanwhile. */
  dependencies(): (readonly [held: string, taken: string])[] {
    return [...this.takenUnder].flatMap(([held, taken]) => [...taken.keys()].map((name) => [held, name] as const));
  }

  /** Notes that a lock was taken while another was held (`check_prev_add`). */
  private checkPrevAdd(held: WatchedLock, taken: WatchedLock): void {
    const under = this.under(held.name);
    if (under.has(taken.name)) return;
    const chain = this.checkNoncircular(taken.name, held.name);
    under.set(taken.name, { thread: currentComm(this.loop) });
    if (chain === null) return;
    const links = chain.slice(1).map((name, i) => {
      const by = this.takenUnder.get(chain[i])?.get(name)?.thread ?? "";
      return `${by} has taken ${name} while it held ${chain[i]}`;
    });
    const text = `takes ${taken.name} while it holds ${held.name}, but ${links.join(", ")}`;
    this.debugLocksOff("possible circular locking dependency detected", taken, held, text);
  }

  private under(held: string): Map<string, Dependency> {
    let under = this.takenUnder.get(held);
    if (under === undefined) {
      under = new Map();
      this.takenUnder.set(held, under);
    }
    return under;
  }

  /** The classes on the way from one to another, each taken while the one before was held; null when there is no way. */
  private checkNoncircular(from: string, to: string): readonly string[] | null {
    const ways: (readonly string[])[] = [[from]];
    const seen = new Set([from]);
    for (const way of ways) {
      const last = way[way.length - 1];
      if (last === to) return way;
      for (const next of this.takenUnder.get(last)?.keys() ?? []) {
        if (seen.has(next)) continue;
        seen.add(next);
        ways.push([...way, next]);
      }
    }
    return null;
  }

  /** Reports what ends the checks of order (`debug_locks_off`). */
  private debugLocksOff(fault: LockFault, lock: WatchedLock, other: WatchedLock | null, text: string): void {
    this.debugLocks = false;
    this.report(fault, lock.name, other?.name ?? "", text);
  }

  private report(fault: LockFault, lock: string, other: string, what: string): void {
    const { currentCpu: cpu } = this.loop;
    const thread = currentComm(this.loop);
    const text = `${fault}: ${thread} on CPU ${cpu} ${what}`;
    const found: LockReport = { fault, lock, other, thread, cpu, text };
    this.reports.push(found);
    this.log.warn(text);
    this.onReport?.(found);
  }
}

/** A structure and the lock that guards it: every function that uses the structure asks `check`. */
export class LockGuard {
  /** What is guarded, by the kernel's name. */
  readonly structure: string;
  readonly lock: Lock;
  private readonly lockdep: Lockdep;

  constructor(lockdep: Lockdep, lock: Lock, structure: string) {
    this.lockdep = lockdep;
    this.lock = lock;
    this.structure = structure;
  }

  /** Reports the current thread when it does not hold the lock. */
  check(): void {
    this.lockdep.assertHeld(this.lock, this.structure);
  }
}
