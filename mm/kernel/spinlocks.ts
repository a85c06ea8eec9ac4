/** How the spinlocks of a kernel are taken, and where they are made. */
import type { EventLoop } from "../../arch/time/event-loop.ts";
import { type LockCosts, SpinLock } from "./lock.ts";
import { TestAndSetLock } from "./test-and-set-lock.ts";

/**
 * `queued`: in the order in which they were asked for (`kernel/locking/qspinlock.c`), as on a machine without a hypervisor.
 * `test-and-set`: who sees the word free first has it (`virt_spin_lock`), as in a guest whose hypervisor does not offer `KVM_FEATURE_PV_UNHALT`.
 * Those of plain code, which cannot pause (`irq-spin-lock.ts`), are fair in either kind.
 */
export const SPINLOCK_KINDS = ["queued", "test-and-set"] as const;
export type SpinlockKind = (typeof SPINLOCK_KINDS)[number];

const kinds = new WeakMap<EventLoop, SpinlockKind>();

/** Spinlocks that are made on a machine from now on are taken so. A kernel says so before it makes any. */
export function useSpinlocks(loop: EventLoop, kind: SpinlockKind): void {
  kinds.set(loop, kind);
}

/** How the spinlocks of a machine are taken. */
function spinlocksOf(loop: EventLoop): SpinlockKind {
  return kinds.get(loop) ?? "queued";
}

/** A spinlock of the machine. @param line of `SharedLines`, which its word shares with other things; -1 when it has one to itself */
export function newSpinLock(name: string, loop: EventLoop, costs: LockCosts, line = -1): SpinLock {
  const Kind = spinlocksOf(loop) === "queued" ? SpinLock : TestAndSetLock;
  return new Kind(name, loop, costs, line);
}
