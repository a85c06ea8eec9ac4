/** Free reader-writer semaphores, for saved states; see `locks-state.ts`. */
import { checkState } from "../../arch/isa/state-error.ts";
import type { LocksState } from "./locks-state.ts";
import type { RwSemaphore } from "./rw-semaphore.ts";

/** A reader took it last. */
const FLAG_READER_OWNED = 1;
/** A writer has spun in vain while readers had it. */
const FLAG_NONSPINNABLE = 2;

/** Several semaphores, in an order that the caller knows: as locks, whose `freeAtCycles` is when a writer gave them back, and what readers left. */
export interface RwSemaphoresState extends LocksState {
  /** When a reader gave it back; absent in states saved before the two were told apart: `freeAtCycles` is the later one then. */
  readonly readFreeAtCycles?: Float64Array | undefined;
  /** 1: a reader took it last, 2: a writer has spun in vain; absent as `readFreeAtCycles` is. */
  readonly flags?: Uint8Array | undefined;
}

/** Copies the state of semaphores. @throws StateError when somebody has one */
export function captureRwSemaphores(semaphores: readonly RwSemaphore[]): RwSemaphoresState {
  for (const { name, isHeld } of semaphores) checkState(name, !isHeld, "is held");
  const all = semaphores.map((each) => each.capture());
  return {
    lastCpu: Int32Array.from(all, ({ lastCpu }) => lastCpu),
    freeAtCycles: Float64Array.from(all, ({ writeFreeAtCycles }) => writeFreeAtCycles),
    readFreeAtCycles: Float64Array.from(all, ({ readFreeAtCycles }) => readFreeAtCycles),
    flags: Uint8Array.from(
      all,
      ({ isReaderOwned, isNonspinnable }) =>
        (isReaderOwned ? FLAG_READER_OWNED : 0) | (isNonspinnable ? FLAG_NONSPINNABLE : 0),
    ),
  };
}

/** Brings semaphores into a captured state. @throws StateError when there are more or fewer */
export function restoreRwSemaphores(semaphores: readonly RwSemaphore[], state: RwSemaphoresState): void {
  const { lastCpu, freeAtCycles, readFreeAtCycles, flags } = state;
  const columns = [lastCpu, freeAtCycles, readFreeAtCycles, flags];
  const fits = columns.every((column) => column === undefined || column.length === semaphores.length);
  checkState("semaphores", fits, `are ${semaphores.length}, not ${lastCpu.length}`);
  semaphores.forEach((semaphore, i) => {
    const flagsOf = flags?.[i] ?? 0;
    semaphore.restore({
      lastCpu: lastCpu[i],
      writeFreeAtCycles: freeAtCycles[i],
      readFreeAtCycles: readFreeAtCycles?.[i] ?? 0,
      isReaderOwned: (flagsOf & FLAG_READER_OWNED) !== 0,
      isNonspinnable: (flagsOf & FLAG_NONSPINNABLE) !== 0,
    });
  });
}
