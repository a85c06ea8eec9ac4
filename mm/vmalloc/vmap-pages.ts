/** Mapping arrays of frames at kernel addresses (`vmap_pages_range`) and physical ranges (`vmap_page_range`), and unmapping. */

import { PAGE_SHIFT, PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import type { OwedFlush } from "../flush/owed-flush.ts";
import { flushFreedTables, flushOwed } from "../flush/tlb-flush.ts";
import type { KernelMm } from "../kernel-mm.ts";
import { EINVAL, ENOMEM } from "../lib/errno.ts";
import { mapLargePages, PMD_SHIFT, vmapRangeNoflush } from "../page-tables/huge-map.ts";
import type { Protection } from "../page-tables/protection.ts";

/**
 * Maps [start, end) to single frames (`vmap_pages_range_noflush`): `frames[offset]` and those that follow; 0 or a negative errno.
 */
export function vmapPagesRangeNoflush(
  kernel: KernelMm,
  start: number,
  end: number,
  protection: Protection,
  frames: Uint32Array,
  offset: number,
): number {
  const { high } = protection;
  const low = protection.low & kernel.kernelPteMask;
  kernel.events?.mapPages(start, end, PAGE_SHIFT, low, high, frames[offset]);
  kernel.spendOnEntries(start, end);
  return kernel.tables.vmapSmallPagesRangeNoflush(start, end, low, high, frames, offset);
}

/**
 * Maps [start, end) to single frames that a caller names. One that is none (0) is warned of and answered with -ENOMEM, one that is no memory
 * with -EINVAL; those before it are mapped.
 */
export function mapCallersFrames(
  kernel: KernelMm,
  start: number,
  end: number,
  protection: Protection,
  frames: Uint32Array,
): number {
  const bad = kernel.tables.memory.firstWithout(frames);
  if (bad < 0) return vmapPagesRangeNoflush(kernel, start, end, protection, frames, 0);
  const mapped = vmapPagesRangeNoflush(kernel, start, start + bad * PAGE_SIZE, protection, frames, 0);
  if (mapped < 0) return mapped;
  kernel.log.warn(`mapping frame 0x${frames[bad].toString(16)}, which is no page of memory`);
  return frames[bad] === 0 ? -ENOMEM : -EINVAL;
}

/** Maps [start, end) with large pages of 2^pageShift bytes (`vmap_pages_range_noflush`), for which every 4 KiB page has its own entry in `frames`. */
export function* vmapLargePagesRangeNoflush(
  kernel: KernelMm,
  start: number,
  end: number,
  protection: Protection,
  frames: Uint32Array,
  offset: number,
  pageShift: number,
): KernelCode<number> {
  const { high } = protection;
  const low = protection.low & kernel.kernelPteMask;
  kernel.events?.mapPages(start, end, pageShift, low, high, frames[offset]);
  kernel.loop.spend(((end - start) / 2 ** pageShift) * kernel.costs.entryWriteCycles);
  const flush = (owed: OwedFlush) => flushFreedTables(kernel.flushing, kernel.tables.owed, owed);
  return yield* mapLargePages(kernel.tables, flush, start, end, low, high, frames, offset, pageShift);
}

/** Maps [start, end) to physical addresses from `phys` on, with the largest pages that fit, up to 2^maxPageShift bytes; 0 or a negative errno. */
export function* vmapPageRange(
  kernel: KernelMm,
  start: number,
  end: number,
  phys: number,
  protection: Protection,
  maxPageShift: number,
): KernelCode<number> {
  const { high } = protection;
  const low = protection.low & kernel.kernelPteMask;
  const largest = kernel.machine.features.page1g ? maxPageShift : Math.min(maxPageShift, PMD_SHIFT);
  kernel.events?.mapRange(start, end, phys, low, high, maxPageShift);
  kernel.spendOnEntries(start, end);
  const flush = (owed: OwedFlush) => flushFreedTables(kernel.flushing, kernel.tables.owed, owed);
  return yield* vmapRangeNoflush(kernel.tables, flush, start, end, phys, low, high, largest);
}

/** Unmaps [start, end) and flushes it on every CPU (`vunmap_range`). */
export function vunmapRange(kernel: KernelMm, start: number, end: number): KernelCode<void> {
  return flushOwed(kernel.flushing, kernel.tables.owed, kernel.tables.vunmapRangeNoflush(start, end));
}
