/** Mapping arrays of frames at kernel addresses (`vmap_pages_range`) and physical ranges (`vmap_page_range`). */
import type { KernelCode } from "../arch/event-loop.ts";
import { PAGE_SHIFT, PAGE_SIZE } from "../arch/linear-address.ts";
import { mapLargePages, mapPhysicalRange } from "./huge-map.ts";
import type { Protection } from "./protection.ts";
import { flushTlbKernelRange } from "./tlb-flush.ts";
import type { Vmalloc } from "./vmalloc-state.ts";

/** Maps [start, end) to single frames: `frames[offset]` and those that follow; 0 or a negative errno. */
export function mapSmallFrames(
  state: Vmalloc,
  start: number,
  end: number,
  protection: Protection,
  frames: Uint32Array,
  offset: number,
): number {
  const { high } = protection;
  const low = protection.low & state.kernelPteMask;
  state.events?.mapPages(start, end, PAGE_SHIFT, low, high, frames[offset]);
  state.loop.spend(((end - start) / PAGE_SIZE) * state.costs.entryWriteCycles);
  return state.tables.mapSmallPages(start, end, low, high, frames, offset);
}

/** The same with large pages of 2^pageShift bytes, for which every 4 KiB page has its own entry in `frames`. */
export function* mapLargeFrames(
  state: Vmalloc,
  start: number,
  end: number,
  protection: Protection,
  frames: Uint32Array,
  offset: number,
  pageShift: number,
): KernelCode<number> {
  const { high } = protection;
  const low = protection.low & state.kernelPteMask;
  state.events?.mapPages(start, end, pageShift, low, high, frames[offset]);
  state.loop.spend(((end - start) / 2 ** pageShift) * state.costs.entryWriteCycles);
  const flush = (from: number, to: number) => flushTlbKernelRange(state, from, to, "table freed");
  return yield* mapLargePages(state.tables, flush, start, end, low, high, frames, offset, pageShift);
}

/** Maps [start, end) to physical addresses from `phys` on, with the largest pages that fit; 0 or a negative errno. */
export function* mapPhysical(
  state: Vmalloc,
  start: number,
  end: number,
  phys: number,
  protection: Protection,
): KernelCode<number> {
  const { high } = protection;
  const low = protection.low & state.kernelPteMask;
  const maxShift = state.config.ioremapMaxPageShift;
  state.events?.mapRange(start, end, phys, low, high, maxShift);
  state.loop.spend(((end - start) / PAGE_SIZE) * state.costs.entryWriteCycles);
  const flush = (from: number, to: number) => flushTlbKernelRange(state, from, to, "table freed");
  return yield* mapPhysicalRange(state.tables, flush, start, end, phys, low, high, maxShift);
}
