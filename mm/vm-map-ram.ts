/** `vm_map_ram`: short-lived mappings of the caller's frames, small ones out of per-CPU vmap blocks. */
import type { KernelCode } from "../arch/event-loop.ts";
import { PAGE_SIZE } from "../arch/linear-address.ts";
import { isPageAligned } from "./align.ts";
import { allocVmapArea } from "./alloc-vmap-area.ts";
import { type AreaTest, findUnlinkVmapArea, freeUnmapVmapArea } from "./free-vmap-area.ts";
import { GFP_KERNEL } from "./gfp.ts";
import { formatRange } from "./kernel-log.ts";
import { PAGE_KERNEL } from "./protection.ts";
import { VMALLOC_END, VMALLOC_START, VMAP_MAX_ALLOC } from "./vmalloc-config.ts";
import type { Vmalloc } from "./vmalloc-state.ts";
import { VMAP_BLOCK, VMAP_RAM } from "./vmap-areas.ts";
import { vbAlloc, vbFree } from "./vmap-block.ts";
import { mapCallersFrames } from "./vmap-pages.ts";

/** Maps `frames` (frame numbers); the address, or 0 (NULL). */
export function* vmMapRam(state: Vmalloc, frames: Uint32Array): KernelCode<number> {
  const count = frames.length;
  if (count === 0) {
    state.log.warn("vm_map_ram of 0 pages");
    return 0;
  }
  const sizeBytes = count * PAGE_SIZE;
  state.loop.spend(state.costs.callCycles);
  let start: number;
  if (count <= VMAP_MAX_ALLOC) {
    start = yield* vbAlloc(state, count, GFP_KERNEL);
    if (start < 0) return 0;
  } else {
    const [from, to] = [VMALLOC_START, VMALLOC_END];
    const area = yield* allocVmapArea(state, sizeBytes, PAGE_SIZE, from, to, GFP_KERNEL, VMAP_RAM, 0);
    if (area < 0) return 0;
    start = state.areas.startOf(area);
  }
  const result = mapCallersFrames(state, start, start + sizeBytes, PAGE_KERNEL, frames);
  if (result < 0) {
    yield* vmUnmapRam(state, start, count);
    return 0;
  }
  return start;
}

/**
 * Unmaps what `vmMapRam` returned, with the same number of pages. An address that is not a `vm_map_ram` mapping is warned
 * of once and left alone. The area keeps its `VMAP_RAM` on the lazy list, as recordings of 6.12.117 show; out of the busy
 * tree nobody finds it, so a second call for the same address is such a mistake.
 */
export function* vmUnmapRam(state: Vmalloc, address: number, pages: number): KernelCode<void> {
  state.loop.spend(state.costs.callCycles);
  if (address < VMALLOC_START || address > VMALLOC_END || !isPageAligned(address) || !(pages > 0)) {
    state.log.warnOnce(
      "vm_unmap_ram",
      `vm_unmap_ram of ${formatRange(address, address + pages * PAGE_SIZE)}: not a vmalloc address`,
    );
    return;
  }
  if (pages <= VMAP_MAX_ALLOC) {
    yield* vbFree(state, address, pages);
    return;
  }
  const area = yield* findUnlinkVmapArea(state, address, isWholeMapRamArea);
  if (area === 0) {
    state.log.warnOnce(
      "vm_unmap_ram",
      `vm_unmap_ram of ${formatRange(address, address + pages * PAGE_SIZE)}: no such area`,
    );
    return;
  }
  yield* freeUnmapVmapArea(state, area);
}

/** Whether the area is a `vm_map_ram` area of its own, not a block, and begins at the address. */
const isWholeMapRamArea: AreaTest = ({ areas }, area, address) =>
  (areas.flagsOf(area) & (VMAP_RAM | VMAP_BLOCK)) === VMAP_RAM && areas.startOf(area) === address;
