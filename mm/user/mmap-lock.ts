/**
 * What keeps mappings as they are while they are used: `mmap_lock` and, since 6.4, the lock of each mapping (`include/linux/mmap_lock.h`). Readers keep
 * each other out of nothing, but all write the lock's line, coming and going, so that it moves between them.
 */
import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import { ACTIVITY_LOCK_WAIT } from "../../arch/time/cycle-accounts.ts";
import { type KernelCode, PAUSE_SLEEP, PAUSE_SPIN, PAUSE_TURN } from "../../arch/time/event-loop.ts";
import { goToSleep, spendOnWakeUp, tryToWakeUp } from "../kernel/wake-up.ts";
import { MMAP_LINE_OWNER, MMAP_LINE_TREE, MMAP_LINES } from "./mm-lines.ts";
import type { AddressRange, MmStruct } from "./mm-struct.ts";
import type { UserSpaces } from "./user-spaces.ts";

/** Mappings of an address space that have lines of their own; further ones share those of the next address spaces. */
const VMA_STRIDE = 16;

/** The lock of one mapping cannot be had, or is not enough. */
export const VMA_LOCKED = -1;

/**
 * Takes the lock of the mapping of [start, end) to read (`lock_vma_under_rcu`).
 * @returns the mapping's number, 0 where `mmap` did not make it, so that nobody shares it; {@link VMA_LOCKED} while somebody changes it, and for a
 *   range that is not all in one mapping
 */
export function* lockVmaUnderRcu(spaces: UserSpaces, mm: MmStruct, start: number, end: number): KernelCode<number> {
  const { loop } = spaces.kernel;
  while (loop.mustYield(mm.mmapLock)) yield PAUSE_TURN;
  if (mm.isChanging(start, end) || mm.isUnmapping(start, end)) return VMA_LOCKED;
  const vma = mm.vmas.find(start);
  // One mapping must hold all of it (`try_vma_read_lock`).
  const holdsAll = mm.vmas.find(end - PAGE_SIZE) === vma && (vma !== 0 || mm.vmas.within(start, end).length === 0);
  if (!holdsAll) return VMA_LOCKED;
  if (vma === 0) return 0;
  mm.vmaReaders.set(vma, (mm.vmaReaders.get(vma) ?? 0) + 1);
  const line = mm.ctxId * VMA_STRIDE + vma;
  spaces.mmLines.mmap.read(mm.ctxId * MMAP_LINES + MMAP_LINE_TREE);
  spaces.mmLines.mmap.read(mm.ctxId * MMAP_LINES + MMAP_LINE_OWNER);
  // Reads the count, and exchanges it if it is still that (`__refcount_inc_not_zero_limited_acquire`); a semaphore takes it for 0 first.
  if (spaces.kernel.version.hasVmaRefcount) spaces.mmLines.vmas.read(line);
  spaces.mmLines.vmas.write(line);
  return vma;
}

/** Gives the lock of a mapping back (`vma_end_read`). @param vma what {@link lockVmaUnderRcu} returned */
export function* vmaEndRead(spaces: UserSpaces, mm: MmStruct, vma: number): KernelCode<void> {
  if (vma <= 0) return;
  // Others write the line meanwhile.
  while (spaces.kernel.loop.mustYield(mm.mmapLock)) yield PAUSE_TURN;
  spaces.mmLines.vmas.write(mm.ctxId * VMA_STRIDE + vma);
  const readers = (mm.vmaReaders.get(vma) ?? 0) - 1;
  if (readers > 0) mm.vmaReaders.set(vma, readers);
  else mm.vmaReaders.delete(vma);
  if (readers === 0) wakeWriter(spaces, mm);
}

/**
 * What a page fault locks (`do_user_addr_fault`): the mapping of its page, or `mmap_lock` before 6.4, while somebody changes the mapping, and until 6.9 where it
 * has no `anon_vma` yet.
 * @returns what {@link unlockAfterFault} is given
 */
export function* lockForFault(spaces: UserSpaces, mm: MmStruct, start: number): KernelCode<number> {
  const { hasPerVmaLock, vmaLockNeedsAnonVma } = spaces.kernel.version;
  const vma = hasPerVmaLock ? yield* lockVmaUnderRcu(spaces, mm, start, start + PAGE_SIZE) : VMA_LOCKED;
  if (vma !== VMA_LOCKED && !(vmaLockNeedsAnonVma && mm.vmas.lacksAnonVma(start))) return vma;
  // It looks once it has the mapping's lock.
  yield* vmaEndRead(spaces, mm, vma);
  yield* mmapReadLock(spaces, mm, start, start + PAGE_SIZE);
  return VMA_LOCKED;
}

/**
 * A fault that gets its mapping a page of its own sees to it that the page can be found (`vmf_anon_prepare`): the first one of a mapping looks at the neighbours,
 * whose `anon_vma` it may share, under `mmap_lock`. If it cannot have that at once it begins anew under it. Left out: what is done again then, and the objects
 * that are made.
 * @param lock what {@link lockForFault} returned
 * @returns what {@link unlockAfterFault} is given
 */
export function* vmfAnonPrepare(spaces: UserSpaces, mm: MmStruct, start: number, lock: number): KernelCode<number> {
  if (!mm.vmas.lacksAnonVma(start)) return lock;
  if (lock === VMA_LOCKED) {
    mm.vmas.prepareAnonVma(start);
    return lock;
  }
  while (spaces.kernel.loop.mustYield(mm.mmapLock)) yield PAUSE_TURN;
  if (mm.mmapLock.tryDownRead()) {
    mm.vmas.prepareAnonVma(start);
    yield* mmapReadUnlock(mm);
    return lock;
  }
  yield* vmaEndRead(spaces, mm, lock);
  yield* mmapReadLock(spaces, mm, start, start + PAGE_SIZE);
  mm.vmas.prepareAnonVma(start);
  return VMA_LOCKED;
}

/** Gives back what {@link lockForFault} took. */
export function unlockAfterFault(spaces: UserSpaces, mm: MmStruct, vma: number): KernelCode<void> {
  return vma === VMA_LOCKED ? mmapReadUnlock(mm) : vmaEndRead(spaces, mm, vma);
}

/** Takes `mmap_lock` to read, for something in [start, end) (`mmap_read_lock`). */
export function* mmapReadLock({ mmLines }: UserSpaces, mm: MmStruct, start: number, end: number): KernelCode<void> {
  while (true) {
    yield* mm.mmapLock.downRead();
    mmLines.mmap.read(mm.ctxId * MMAP_LINES + MMAP_LINE_TREE);
    if (!mm.isUnmapping(start, end)) return;
    // Linux finds no mapping here and kills the program; it is let go on once the range is out of the page tables.
    yield* mm.mmapLock.upRead();
    yield* mm.mmapLock.downWrite();
    mm.mmapLock.upWrite();
  }
}

/** Gives it back (`mmap_read_unlock`). */
export function mmapReadUnlock(mm: MmStruct): KernelCode<void> {
  return mm.mmapLock.upRead();
}

/**
 * Takes `mmap_lock` to write, and the locks of the mappings of which `ranges` are a part (`mmap_write_lock`, `vma_start_write`), once all readers have
 * gone. {@link mmapWriteUnlock} or {@link mmapWriteDowngrade} gives them back.
 */
export function* mmapWriteLock(spaces: UserSpaces, mm: MmStruct, ...ranges: readonly AddressRange[]): KernelCode<void> {
  yield* mm.mmapLock.downWrite();
  mm.beginChange(...ranges.map(([start, end]) => mm.vmas.spanOf(start, end)));
  const vmas = ranges.flatMap(([start, end]) => mm.vmas.within(start, end));
  // Readers are kept out, or an exchange fails, before they are waited for.
  for (const vma of vmas) spaces.mmLines.vmas.write(mm.ctxId * VMA_STRIDE + vma);
  yield* waitForReaders(spaces, mm, vmas);
  for (const vma of vmas) spaces.mmLines.vmas.write(mm.ctxId * VMA_STRIDE + vma);
}

/**
 * Who has the lock to write waits until nobody reads any of the mappings: asleep where readers are counted (`__vma_enter_locked`), else it spins as
 * writers of a semaphore do.
 */
function* waitForReaders({ kernel }: UserSpaces, mm: MmStruct, vmas: readonly number[]): KernelCode<void> {
  const { loop, version } = kernel;
  while (vmas.some((vma) => mm.vmaReaders.has(vma))) {
    mm.waitingWriter = loop.currentThread;
    if (!version.hasVmaRefcount) {
      const activity = loop.enterActivity(ACTIVITY_LOCK_WAIT);
      yield PAUSE_SPIN;
      loop.enterActivity(activity);
      continue;
    }
    mm.mmapLock.ownerSleeps();
    const switched = goToSleep(kernel);
    yield PAUSE_SLEEP;
    spendOnWakeUp(kernel, switched, mm.writerWokenBy);
  }
  mm.waitingWriter = null;
}

/** The last reader lets the writer go on, who has watched the count. */
function wakeWriter({ kernel }: UserSpaces, mm: MmStruct): void {
  const { waitingWriter } = mm;
  if (waitingWriter === null) return;
  const { loop, costs, version } = kernel;
  if (version.hasVmaRefcount) {
    tryToWakeUp(kernel, waitingWriter, false);
    mm.writerWokenBy = loop.currentCpu;
    loop.wake(waitingWriter, loop.nowCycles());
    return;
  }
  const distance = loop.topology.distance(loop.currentCpu, waitingWriter.cpu);
  const transfers = costs.lock.handOverTransfers * loop.lines.transferCycles[distance];
  loop.wake(waitingWriter, loop.nowCycles() + costs.lock.uncontendedCycles + transfers);
}

/** The tree of mappings has been changed by who holds the lock to write. */
export function treeChanged({ mmLines }: UserSpaces, { ctxId }: MmStruct): void {
  mmLines.mmap.write(ctxId * MMAP_LINES + MMAP_LINE_TREE);
}

/** Gives back what {@link mmapWriteLock} took (`vma_end_write_all`, which counts `mm_lock_seq` up, and `mmap_write_unlock`). */
export function mmapWriteUnlock(mm: MmStruct): void {
  mm.endChange();
}

/**
 * Who has taken [start, end) out of the mappings lets readers in again and goes on as one of them (`mmap_write_downgrade`): for what takes the range
 * out of the page tables. {@link mmapEndUnmap} is the end of it.
 */
export function mmapWriteDowngrade(mm: MmStruct, range: AddressRange): void {
  mm.downgrade(range);
}

/** The range is out of the page tables, and the lock is given back. */
export function mmapEndUnmap(mm: MmStruct, range: AddressRange): KernelCode<void> {
  mm.endUnmap(range);
  return mmapReadUnlock(mm);
}
