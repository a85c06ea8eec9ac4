/**
 * Kernel code that seldom has to wait. On the host a generator costs 30 to 50 ns even when it never pauses, and boxes every
 * address that it holds; so the calls that matter are plain functions. Such a function returns its value or, from the
 * point on where it has to wait, the code that goes on:
 *
 *     if (!lock.tryTake()) return waitForLock(...);   // a generator: takes the lock, then does the same
 *     ...
 *     lock.release();
 *     return value;
 */
import type { KernelCode } from "../../arch/time/event-loop.ts";

/** A value, or the code that will find it. */
export type Soon<T extends number | undefined> = T | KernelCode<T>;

/** Waits for the value, from code that may wait. */
export function* finish<T extends number | undefined>(soon: Soon<T>): KernelCode<T> {
  return typeof soon === "object" ? yield* soon : soon;
}
