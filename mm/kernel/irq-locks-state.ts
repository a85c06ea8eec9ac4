/** Spinlocks of plain code, for saved states. */

import { checkState } from "../../arch/isa/state-error.ts";
import { BUSY_STRETCHES } from "../../arch/time/busy-times.ts";
import type { IrqSpinLock } from "./irq-spin-lock.ts";

/** Several such locks: of each the CPU that had it last, -1 for none, and the stretches of time in which it was held. */
export interface IrqLocksState {
  readonly cpu: Int32Array;
  /** `BUSY_STRETCHES` a lock, or one, if no lock has more. */
  readonly from: Float64Array;
  readonly until: Float64Array;
}

/** Copies the state of locks. */
export function captureIrqLocks(locks: readonly IrqSpinLock[]): IrqLocksState {
  // The stretches that there are stand last.
  const hasOne = locks.every(({ busy }) => busy.until[BUSY_STRETCHES - 2] === 0);
  const first = hasOne ? BUSY_STRETCHES - 1 : 0;
  return {
    cpu: Int32Array.from(locks, ({ lastCpu }) => lastCpu),
    from: Float64Array.from(locks.flatMap(({ busy }) => [...busy.from.subarray(first)])),
    until: Float64Array.from(locks.flatMap(({ busy }) => [...busy.until.subarray(first)])),
  };
}

/**
 * Brings locks into a captured state.
 * @param of what they belong to
 * @throws StateError when they are others, or of other CPUs
 */
export function restoreIrqLocks(of: string, locks: readonly IrqSpinLock[], cpus: number, state: IrqLocksState): void {
  const { cpu, from, until } = state;
  const stretches = from.length / locks.length;
  const fits = cpu.length === locks.length && until.length === from.length;
  checkState(of, fits && (stretches === 1 || stretches === BUSY_STRETCHES), `has ${locks.length} locks`);
  checkState(
    of,
    cpu.every((each) => each >= -1 && each < cpus),
    `has ${cpus} CPUs`,
  );
  locks.forEach((lock, i) => {
    lock.lastCpu = cpu[i];
    lock.busy.from.fill(0).set(from.subarray(i * stretches, (i + 1) * stretches), BUSY_STRETCHES - stretches);
    lock.busy.until.fill(0).set(until.subarray(i * stretches, (i + 1) * stretches), BUSY_STRETCHES - stretches);
  });
}
