/** Spinlocks of plain code, for saved states. Calls that are over have no place in their queues any more. */

import { checkState } from "../../arch/isa/state-error.ts";
import type { IrqSpinLock } from "./irq-spin-lock.ts";

/** Copies of several such locks the CPU that had each last, -1 for none. */
export function captureIrqLocks(locks: readonly IrqSpinLock[]): Int32Array {
  return Int32Array.from(locks, ({ lastCpu }) => lastCpu);
}

/**
 * Brings locks into a captured state.
 * @param of what they belong to
 * @throws StateError when they are others, or of other CPUs
 */
export function restoreIrqLocks(of: string, locks: readonly IrqSpinLock[], cpus: number, lastCpus: Int32Array): void {
  checkState(of, lastCpus.length === locks.length, `has ${locks.length} locks`);
  checkState(
    of,
    lastCpus.every((each) => each >= -1 && each < cpus),
    `has ${cpus} CPUs`,
  );
  locks.forEach((lock, i) => {
    lock.restore(lastCpus[i]);
  });
}
