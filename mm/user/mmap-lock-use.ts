/** What `mmap_lock` needs of the kernel: its two lines, and what waking costs. */
import type { RwSemaphoreUse } from "../kernel/rw-semaphore-use.ts";
import { goToSleep, markForWakeUp, spendOnWakeUp, tryToWakeUp } from "../kernel/wake-up.ts";
import type { KernelMm } from "../kernel-mm.ts";
import type { PageTables } from "../page-tables/page-tables.ts";
import { MMAP_LINE_OWNER, MMAP_LINES, type MmLines } from "./mm-lines.ts";
import { MM_LINE_MMAP_LOCK, MM_LINES, MmStruct } from "./mm-struct.ts";

/** An address space of a context id, without an object of its own. */
export function mmOf(
  kernel: KernelMm,
  mmLines: MmLines,
  ctxId: number,
  tables: PageTables,
  userRootFrame: number,
): MmStruct {
  return new MmStruct(ctxId, tables, userRootFrame, kernel, mmapLockUse(kernel, mmLines, ctxId));
}

/** For the lock of the address space of a context id. */
function mmapLockUse(kernel: KernelMm, mmLines: MmLines, ctxId: number): RwSemaphoreUse {
  const { loop, costs, machine } = kernel;
  const clearCount = (): void => mmLines.write(ctxId * MM_LINES + MM_LINE_MMAP_LOCK);
  return {
    frequencyGhz: machine.preset.frequencyGhz.value,
    clearCount,
    readCount() {
      mmLines.read(ctxId * MM_LINES + MM_LINE_MMAP_LOCK);
    },
    touchCount() {
      clearCount();
      loop.spend(costs.lock.uncontendedCycles);
    },
    touchOwner() {
      mmLines.mmap.write(ctxId * MMAP_LINES + MMAP_LINE_OWNER);
    },
    pollCount(cpu) {
      mmLines.poll(ctxId * MM_LINES + MM_LINE_MMAP_LOCK, cpu);
    },
    pollOwner(cpu) {
      mmLines.mmap.poll(ctxId * MMAP_LINES + MMAP_LINE_OWNER, cpu);
    },
    readOwner() {
      mmLines.mmap.read(ctxId * MMAP_LINES + MMAP_LINE_OWNER);
    },
    touchQueue() {
      mmLines.mmap.occupy(ctxId * MMAP_LINES + MMAP_LINE_OWNER, costs.lock.uncontendedCycles);
    },
    touchSpinners() {
      mmLines.mmap.occupy(ctxId * MMAP_LINES + MMAP_LINE_OWNER, costs.lock.uncontendedCycles);
    },
    marks(thread) {
      markForWakeUp(kernel, thread);
    },
    wakes(thread) {
      tryToWakeUp(kernel, thread, true);
    },
    goesToSleep() {
      return goToSleep(kernel);
    },
    wasWoken(switchedCycles, wokenBy) {
      spendOnWakeUp(kernel, switchedCycles, wokenBy);
    },
    seenAfterCycles(from, to) {
      return costs.lock.uncontendedCycles + loop.lines.transferCycles[loop.topology.distance(from, to)];
    },
  };
}
