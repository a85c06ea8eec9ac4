/** What `mmap_lock` needs of the kernel: its two lines, and what waking costs. */
import { ACTIVITY_SWITCH } from "../../arch/time/cycle-accounts.ts";
import type { RwSemaphoreUse } from "../kernel/rw-semaphore-use.ts";
import type { KernelMm } from "../kernel-mm.ts";
import type { PageTables } from "../page-tables/page-tables.ts";
import { MMAP_LINE_OWNER, MMAP_LINES, type MmLines } from "./mm-lines.ts";
import { MM_LINE_MMAP_LOCK, MM_LINES, MmStruct } from "./mm-struct.ts";

/** Lines that come over from the CPU of a thread that is woken: the lock of its run queue, and its `task_struct`. */
const LINES_OF_WAKE_UP = 2;

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
    wakes({ cpu }) {
      loop.lines.takeOver(cpu, LINES_OF_WAKE_UP);
      loop.spend(costs.contextSwitchCycles);
    },
    wasWoken(switchedCycles) {
      spendOnWakeUp(kernel, switchedCycles);
    },
    seenAfterCycles(from, to) {
      return costs.lock.uncontendedCycles + loop.lines.transferCycles[loop.topology.distance(from, to)];
    },
  };
}

/**
 * What a thread pays that has slept: its CPU wakes up if it was idle last, and changes from the idle task to it (`schedule`, `finish_task_switch`). Where another
 * thread had the CPU meanwhile, the loop has charged the change back already.
 * @param switchedCycles what the CPU's changes of threads had taken in all before the thread slept
 */
export function spendOnWakeUp({ loop, flushing }: KernelMm, switchedCycles: number): void {
  const cpu = loop.currentCpu;
  if (loop.idleCycles[cpu] > 0) flushing.smp.wakeUp(cpu);
  if (loop.accounts.cycles(cpu, ACTIVITY_SWITCH) !== switchedCycles) return;
  const activity = loop.enterActivity(ACTIVITY_SWITCH);
  loop.spend(loop.contextSwitchCycles);
  loop.enterActivity(activity);
}
