/** `mmap_lock` for readers: page faults and `MADV_DONTNEED` (`include/linux/mmap_lock.h`). Writers take `MmStruct.mmapLock` itself. */
import type { KernelCode } from "../../arch/time/event-loop.ts";
import { MM_LINE_MMAP_LOCK, MM_LINES, type MmStruct } from "./mm-struct.ts";
import type { UserSpaces } from "./user-spaces.ts";

/** Readers keep each other out of nothing, but all write the lock's line, coming and going (`down_read`). */
export function* mmapReadLock(spaces: UserSpaces, mm: MmStruct): KernelCode<void> {
  if (mm.mmapLock.isHeld) {
    // A writer is at work: it is waited for.
    yield* mm.mmapLock.take();
    mm.mmapLock.release();
  }
  touchMmapLock(spaces, mm);
}

/** Gives the lock back (`up_read`). */
export function mmapReadUnlock(spaces: UserSpaces, mm: MmStruct): void {
  touchMmapLock(spaces, mm);
}

function touchMmapLock({ kernel, mmLines }: UserSpaces, mm: MmStruct): void {
  mmLines.write(mm.ctxId * MM_LINES + MM_LINE_MMAP_LOCK);
  kernel.loop.spend(kernel.costs.lock.uncontendedCycles);
}
