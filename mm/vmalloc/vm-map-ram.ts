/** `vm_map_ram`: short-lived mappings of the caller's frames, small ones out of per-CPU vmap blocks. */

import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import { finish, type Soon } from "../kernel/soon.ts";
import { isPageAligned } from "../lib/align.ts";
import { GFP_KERNEL } from "../lib/gfp.ts";
import { formatRange } from "../lib/kernel-log.ts";
import { VMALLOC_END, VMALLOC_START } from "../lib/memory-layout.ts";
import { PAGE_KERNEL } from "../page-tables/protection.ts";
import { allocVmapAreaSoon } from "./alloc-vmap-area.ts";
import { VMAP_BLOCK, VMAP_RAM } from "./areas/vmap-areas.ts";
import { type AreaTest, findUnlinkVmapAreaSoon, freeUnmapVmapAreaSoon } from "./free-vmap-area.ts";
import { VMAP_MAX_ALLOC } from "./vmalloc-config.ts";
import type { Vmalloc } from "./vmalloc-state.ts";
import { vbAllocSoon, vbFreeSoon } from "./vmap-block.ts";
import { mapCallersFrames } from "./vmap-pages.ts";

/** Maps `frames` (frame numbers); the address, or 0 (NULL). */
export function* vmMapRam(state: Vmalloc, frames: Uint32Array): KernelCode<number> {
  return yield* finish(vmMapRamSoon(state, frames));
}

/** The same, as a plain function as long as nothing has to be waited for (`soon.ts`). */
export function vmMapRamSoon(state: Vmalloc, frames: Uint32Array): Soon<number> {
  const count = frames.length;
  if (count === 0) {
    state.log.warn("vm_map_ram of 0 pages");
    return 0;
  }
  state.loop.spend(state.costs.callCycles);
  if (count > VMAP_MAX_ALLOC) return mapWholeArea(state, frames);
  const start = vbAllocSoon(state, count, GFP_KERNEL);
  return typeof start === "number" ? mapFrames(state, start, frames) : waitAndMap(state, start, frames);
}

/** Maps in an area of its own. */
function mapWholeArea(state: Vmalloc, frames: Uint32Array): Soon<number> {
  const sizeBytes = frames.length * PAGE_SIZE;
  const area = allocVmapAreaSoon(state, sizeBytes, PAGE_SIZE, VMALLOC_START, VMALLOC_END, GFP_KERNEL, VMAP_RAM, 0);
  return typeof area === "number" ? mapInArea(state, area, frames) : waitAndMapArea(state, area, frames);
}

function* waitAndMapArea(state: Vmalloc, area: KernelCode<number>, frames: Uint32Array): KernelCode<number> {
  return yield* finish(mapInArea(state, yield* area, frames));
}

function mapInArea(state: Vmalloc, area: number, frames: Uint32Array): Soon<number> {
  return mapFrames(state, area < 0 ? area : state.areas.start[area], frames);
}

function* waitAndMap(state: Vmalloc, start: KernelCode<number>, frames: Uint32Array): KernelCode<number> {
  return yield* finish(mapFrames(state, yield* start, frames));
}

/** Maps at an address that was reserved, or a negative errno; the address, or 0 with everything rolled back. */
function mapFrames(state: Vmalloc, start: number, frames: Uint32Array): Soon<number> {
  if (start < 0) return 0;
  const end = start + frames.length * PAGE_SIZE;
  if (mapCallersFrames(state.mm, start, end, PAGE_KERNEL, frames) === 0) return start;
  return giveUp(state, start, frames.length);
}

function* giveUp(state: Vmalloc, start: number, pages: number): KernelCode<number> {
  yield* vmUnmapRam(state, start, pages);
  return 0;
}

/**
 * Unmaps what `vmMapRam` returned, with the same number of pages. An address that is not a `vm_map_ram` mapping is warned
 * of once and left alone. The area keeps its `VMAP_RAM` on the lazy list, as recordings of 6.12.117 show; out of the busy
 * tree nobody finds it, so a second call for the same address is such a mistake.
 */
export function* vmUnmapRam(state: Vmalloc, address: number, pages: number): KernelCode<void> {
  const rest = vmUnmapRamSoon(state, address, pages);
  if (rest !== undefined) yield* rest;
}

/** The same, as a plain function as long as nothing has to be waited for. */
export function vmUnmapRamSoon(state: Vmalloc, address: number, pages: number): Soon<undefined> {
  state.loop.spend(state.costs.callCycles);
  if (address < VMALLOC_START || address > VMALLOC_END || !isPageAligned(address) || !(pages > 0)) {
    state.log.warnOnce(
      "vm_unmap_ram",
      `vm_unmap_ram of ${formatRange(address, address + pages * PAGE_SIZE)}: not a vmalloc address`,
    );
    return undefined;
  }
  return pages <= VMAP_MAX_ALLOC ? vbFreeSoon(state, address, pages) : unmapWholeArea(state, address, pages);
}

/** Unmaps what has an area of its own. */
function unmapWholeArea(state: Vmalloc, address: number, pages: number): Soon<undefined> {
  const area = findUnlinkVmapAreaSoon(state, address, isWholeMapRamArea);
  return typeof area === "number"
    ? unmapArea(state, area, address, pages)
    : waitAndUnmapArea(state, area, address, pages);
}

function* waitAndUnmapArea(
  state: Vmalloc,
  area: KernelCode<number>,
  address: number,
  pages: number,
): KernelCode<undefined> {
  return yield* finish(unmapArea(state, yield* area, address, pages));
}

function unmapArea(state: Vmalloc, area: number, address: number, pages: number): Soon<undefined> {
  if (area === 0) {
    state.log.warnOnce(
      "vm_unmap_ram",
      `vm_unmap_ram of ${formatRange(address, address + pages * PAGE_SIZE)}: no such area`,
    );
    return undefined;
  }
  return freeUnmapVmapAreaSoon(state, area);
}

/** Whether the area is a `vm_map_ram` area of its own, not a block, and begins at the address. */
const isWholeMapRamArea: AreaTest = ({ areas }, area, address) =>
  (areas.flagsOf(area) & (VMAP_RAM | VMAP_BLOCK)) === VMAP_RAM && areas.startOf(area) === address;
