/** Address spaces that CPUs only borrow: leaving them, and what is left of a process that ended (`leave_mm`, `__mmdrop`). */
import type { AddressSpaces } from "./address-spaces.ts";
import type { MmStruct } from "./mm-struct.ts";

/** The current CPU, idle, leaves what it borrows: a deep sleep loses its TLB (`leave_mm`). Warns when a process runs on it. */
export function leaveMm(spaces: AddressSpaces): void {
  const { loop, log } = spaces.kernel;
  const cpu = loop.currentCpu;
  if (spaces.loaded[cpu] === spaces.initMm) return;
  if (!spaces.tlbStates[cpu].isLazy) log.warn(`leave_mm: CPU ${cpu} runs a process`);
  spaces.switchTo(spaces.initMm);
}

/**
 * The top tables and the global ASID of a process that ended are given back, unless a CPU has it loaded still: the last one that
 * leaves it does that then (`__mmdrop`). Linux counts kernel threads that borrow it, which may be longer.
 */
export function mmdrop(spaces: AddressSpaces, mm: MmStruct): void {
  if (!mm.hasEnded || spaces.loaded.includes(mm)) return;
  const { pages, loop } = spaces.kernel;
  mmFreeGlobalAsid(spaces, mm);
  pages.freePagesOf(loop.currentCpu, mm.tables.rootFrame, 0);
  if (mm.userRootFrame !== 0) pages.freePagesOf(loop.currentCpu, mm.userRootFrame, 0);
  mm.freeObject(spaces.kernel);
  spaces.mms.delete(mm);
}

/** The global ASID of `mm` may be dealt out again (`mm_free_global_asid`). */
function mmFreeGlobalAsid(spaces: AddressSpaces, mm: MmStruct): void {
  if (mm.globalAsid !== 0) spaces.globalAsids.free(mm.globalAsid);
  mm.globalAsid = 0;
}
