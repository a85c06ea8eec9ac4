/** Free locks, for saved states. A lock that somebody holds cannot be captured: its holder is in the middle of its code. */
import { checkState } from "../../arch/isa/state-error.ts";

/** A lock whose state can be captured while nobody has it. */
export interface SavedLock {
  readonly name: string;
  readonly isHeld: boolean;
  /** The CPU that had it last; -1 when none has. */
  readonly ownerCpu: number;
  /** When it was given back. */
  readonly freeSinceCycles: number;
  restore(lastCpu: number, atCycles: number): void;
}

/** Several locks, in an order that the caller knows. */
export interface LocksState {
  /** The CPU that had it last; -1 when none has. */
  readonly lastCpu: Int32Array;
  /** When it was given back. */
  readonly freeAtCycles: Float64Array;
}

/** Copies the state of locks. @throws StateError when one is held */
export function captureLocks(locks: readonly SavedLock[]): LocksState {
  for (const lock of locks) checkState(lock.name, !lock.isHeld, "is held");
  return {
    lastCpu: Int32Array.from(locks, ({ ownerCpu }) => ownerCpu),
    freeAtCycles: Float64Array.from(locks, ({ freeSinceCycles }) => freeSinceCycles),
  };
}

/** Brings locks into a captured state. @throws StateError when there are more or fewer */
export function restoreLocks(locks: readonly SavedLock[], { lastCpu, freeAtCycles }: LocksState): void {
  const fits = lastCpu.length === locks.length && freeAtCycles.length === locks.length;
  checkState("locks", fits, `are ${locks.length}, not ${lastCpu.length}`);
  locks.forEach((lock, i) => {
    lock.restore(lastCpu[i], freeAtCycles[i]);
  });
}
