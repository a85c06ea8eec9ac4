/**
 * What keeps mappings as they are while they are used: `mmap_lock` and, since 6.4, the lock of each mapping (`include/linux/mmap_lock.h`). Readers keep
 * each other out of nothing, but all write the lock's line, coming and going, so that it moves between them.
 */
import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import { type KernelCode, PAUSE_TURN } from "../../arch/time/event-loop.ts";
import { MMAP_LINE_OWNER, MMAP_LINE_TREE, MMAP_LINES } from "./mm-lines.ts";
import { type AddressRange, MM_LINE_MMAP_LOCK, MM_LINES, type MmStruct } from "./mm-struct.ts";
import type { UserSpaces } from "./user-spaces.ts";

/** Numbers of mappings of one address space before those of the next. */
const VMA_STRIDE = 16;

/** The lock of a mapping that somebody changes cannot be had. */
export const VMA_LOCKED = -1;

/**
 * Takes the lock of the mapping of [start, end) to read (`lock_vma_under_rcu`).
 * @returns the mapping's number, 0 where `mmap` did not make it, so that nobody shares it; {@link VMA_LOCKED} while somebody changes it
 */
export function* lockVmaUnderRcu(spaces: UserSpaces, mm: MmStruct, start: number, end: number): KernelCode<number> {
  const { loop } = spaces.kernel;
  while (loop.mustYield()) yield PAUSE_TURN;
  if (mm.isChanging(start, end)) return VMA_LOCKED;
  const vma = mm.vmas.find(start);
  if (vma === 0) return 0;
  spaces.mmLines.mmap.read(mm.ctxId * MMAP_LINES + MMAP_LINE_TREE);
  spaces.mmLines.mmap.read(mm.ctxId * MMAP_LINES + MMAP_LINE_OWNER);
  spaces.mmLines.vmas.write(mm.ctxId * VMA_STRIDE + vma);
  return vma;
}

/** Gives the lock of a mapping back (`vma_end_read`). @param vma what {@link lockVmaUnderRcu} returned */
export function* vmaEndRead({ kernel, mmLines }: UserSpaces, mm: MmStruct, vma: number): KernelCode<void> {
  if (vma <= 0) return;
  // Others write the line meanwhile.
  while (kernel.loop.mustYield()) yield PAUSE_TURN;
  mmLines.vmas.write(mm.ctxId * VMA_STRIDE + vma);
}

/**
 * What a page fault locks (`do_user_addr_fault`): the mapping of its page, or `mmap_lock` before 6.4 and while somebody changes the mapping.
 * @returns what {@link unlockAfterFault} is given
 */
export function* lockForFault(spaces: UserSpaces, mm: MmStruct, start: number): KernelCode<number> {
  const { hasPerVmaLock } = spaces.kernel.version;
  const vma = hasPerVmaLock ? yield* lockVmaUnderRcu(spaces, mm, start, start + PAGE_SIZE) : VMA_LOCKED;
  if (vma === VMA_LOCKED) yield* mmapReadLock(spaces, mm);
  return vma;
}

/** Gives back what {@link lockForFault} took. */
export function unlockAfterFault(spaces: UserSpaces, mm: MmStruct, vma: number): KernelCode<void> {
  return vma === VMA_LOCKED ? mmapReadUnlock(spaces, mm) : vmaEndRead(spaces, mm, vma);
}

/** Takes `mmap_lock` to read (`mmap_read_lock`). */
export function* mmapReadLock(spaces: UserSpaces, mm: MmStruct): KernelCode<void> {
  if (mm.mmapLock.isHeld) {
    // A writer is at work: it is waited for.
    yield* mm.mmapLock.take();
    mm.mmapLock.release();
  }
  while (spaces.kernel.loop.mustYield()) yield PAUSE_TURN;
  touchMmapLock(spaces, mm);
  spaces.mmLines.mmap.write(mm.ctxId * MMAP_LINES + MMAP_LINE_OWNER);
  spaces.mmLines.mmap.read(mm.ctxId * MMAP_LINES + MMAP_LINE_TREE);
}

/** Gives it back (`mmap_read_unlock`). */
export function* mmapReadUnlock(spaces: UserSpaces, mm: MmStruct): KernelCode<void> {
  while (spaces.kernel.loop.mustYield()) yield PAUSE_TURN;
  touchMmapLock(spaces, mm);
}

/**
 * Takes `mmap_lock` to write, and the locks of the mappings in `ranges`, whose mappings are changed (`mmap_write_lock`, `vma_start_write`).
 * {@link mmapWriteUnlock} gives them back.
 */
export function* mmapWriteLock(spaces: UserSpaces, mm: MmStruct, ...ranges: readonly AddressRange[]): KernelCode<void> {
  if (!mm.mmapLock.tryTake()) yield* mm.mmapLock.take();
  mm.beginChange(...ranges);
  spaces.mmLines.write(mm.ctxId * MM_LINES + MM_LINE_MMAP_LOCK);
  spaces.mmLines.mmap.write(mm.ctxId * MMAP_LINES + MMAP_LINE_OWNER);
  for (const [start] of ranges) {
    const vma = mm.vmas.find(start);
    if (vma !== 0) spaces.mmLines.vmas.write(mm.ctxId * VMA_STRIDE + vma);
  }
}

/** The tree of mappings has been changed by who holds the lock to write. */
export function treeChanged({ mmLines }: UserSpaces, { ctxId }: MmStruct): void {
  mmLines.mmap.write(ctxId * MMAP_LINES + MMAP_LINE_TREE);
}

/** Gives back what {@link mmapWriteLock} took (`vma_end_write_all`, which counts `mm_lock_seq` up, and `mmap_write_unlock`). */
export function mmapWriteUnlock(spaces: UserSpaces, mm: MmStruct): void {
  spaces.mmLines.mmap.write(mm.ctxId * MMAP_LINES + MMAP_LINE_OWNER);
  spaces.mmLines.write(mm.ctxId * MM_LINES + MM_LINE_MMAP_LOCK);
  mm.endChange();
}

function touchMmapLock({ kernel, mmLines }: UserSpaces, mm: MmStruct): void {
  mmLines.write(mm.ctxId * MM_LINES + MM_LINE_MMAP_LOCK);
  kernel.loop.spend(kernel.costs.lock.uncontendedCycles);
}
