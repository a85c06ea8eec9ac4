/** Mapping arrays of frames at kernel addresses (`vmap_pages_range`) and physical ranges (`vmap_page_range`). */
import type { KernelCode } from "../arch/event-loop.ts";
import { PAGE_SHIFT, PAGE_SIZE } from "../arch/linear-address.ts";
import { mapLargePages, mapPhysicalRange } from "./huge-map.ts";
import type { Protection } from "./protection.ts";
import { flushTlbKernelRange } from "./tlb-flush.ts";
import type { Vmalloc } from "./vmalloc-state.ts";

/** Maps [start, end) to the frames of the array at `array` in `state.pageArrays`; 0 or a negative errno. */
export function mapPageArray(
  state: Vmalloc,
  start: number,
  end: number,
  protection: Protection,
  array: number,
  pageShift: number,
): KernelCode<number> {
  return mapFrames(state, start, end, protection, state.pageArrays.frames, array, pageShift);
}

/** Maps [start, end) to `frames[offset]` and those that follow; 0 or a negative errno. */
export function* mapFrames(
  state: Vmalloc,
  start: number,
  end: number,
  protection: Protection,
  frames: Uint32Array,
  offset: number,
  pageShift: number = PAGE_SHIFT,
): KernelCode<number> {
  const { tables } = state;
  const { low, high } = protection;
  state.events?.mapPages(start, end, pageShift, low, high, frames[offset]);
  state.loop.spend(((end - start) / PAGE_SIZE) * state.costs.entryWriteCycles);
  if (pageShift === PAGE_SHIFT) return tables.mapSmallPages(start, end, low, high, frames, offset);
  const flush = (from: number, to: number) => flushTlbKernelRange(state, from, to);
  return yield* mapLargePages(tables, flush, start, end, low, high, frames, offset, pageShift);
}

/** Maps [start, end) to physical addresses from `phys` on, with the largest pages that fit; 0 or a negative errno. */
export function* mapPhysical(
  state: Vmalloc,
  start: number,
  end: number,
  phys: number,
  protection: Protection,
): KernelCode<number> {
  const { low, high } = protection;
  const maxShift = state.config.ioremapMaxPageShift;
  state.events?.mapRange(start, end, phys, low, high, maxShift);
  state.loop.spend(((end - start) / PAGE_SIZE) * state.costs.entryWriteCycles);
  const flush = (from: number, to: number) => flushTlbKernelRange(state, from, to);
  return yield* mapPhysicalRange(state.tables, flush, start, end, phys, low, high, maxShift);
}
