/** `vm_map_ram`: short-lived mappings of the caller's frames, small ones out of per-CPU vmap blocks. */

import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import { type KernelCode, PAUSE_SLEEP } from "../../arch/time/event-loop.ts";
import { afterCall, type Blocking, DONE, ready, wait } from "../kernel/blocking.ts";
import { probed } from "../kernel/call-probes.ts";
import { isPageAligned } from "../lib/align.ts";
import { GFP_KERNEL, NUMA_NO_NODE } from "../lib/gfp.ts";
import { formatRange } from "../lib/kernel-log.ts";
import { VMALLOC_END, VMALLOC_RANGE, VMALLOC_START } from "../lib/memory-layout.ts";
import { PAGE_KERNEL } from "../page-tables/protection.ts";
import { type AreaRequest, allocVmapArea } from "./alloc-vmap-area.ts";
import { VMAP_BLOCK, VMAP_RAM } from "./areas/vmap-areas.ts";
import {
  type AreaTest,
  findUnlinkVmapArea,
  findVmapArea,
  freeUnmapVmapArea,
  freeVmapAreaNoflush,
  unmapUnlinkVmapArea,
} from "./free-vmap-area.ts";
import { VMAP_MAX_ALLOC } from "./vmalloc-config.ts";
import type { Vmalloc } from "./vmalloc-state.ts";
import { vbAlloc, vbFree } from "./vmap-block.ts";
import { mapCallersFrames } from "./vmap-pages.ts";

/** Areas of their own for more pages than a vmap block serves. */
const WHOLE_AREA: AreaRequest = { align: PAGE_SIZE, range: VMALLOC_RANGE, gfp: GFP_KERNEL };

/** Maps `frames` (frame numbers); the address, or 0 (NULL). */
export function vmMapRam(state: Vmalloc, frames: Uint32Array): Blocking<number> {
  const { probes } = state;
  if (probes === null) return mapRam(state, frames);
  return probed(probes, "vm_map_ram", [frames.length, NUMA_NO_NODE], () => mapRam(state, frames));
}

function mapRam(state: Vmalloc, frames: Uint32Array): Blocking<number> {
  const count = frames.length;
  if (count === 0) {
    state.log.warn("vm_map_ram of 0 pages");
    return ready(0);
  }
  state.loop.spend(state.costs.callCycles);
  if (count <= VMAP_MAX_ALLOC) return afterCall(vbAlloc(state, count, GFP_KERNEL), mapFrames, state, frames);
  return afterCall(allocVmapArea(state, count * PAGE_SIZE, WHOLE_AREA, VMAP_RAM, 0), mapInArea, state, frames);
}

/** Maps in an area of its own, or a negative errno. */
function mapInArea(area: number, state: Vmalloc, frames: Uint32Array): Blocking<number> {
  return mapFrames(area < 0 ? area : state.areas.start[area], state, frames);
}

/** Maps at an address that was reserved, or a negative errno; the address, or 0 with everything rolled back. */
function mapFrames(start: number, state: Vmalloc, frames: Uint32Array): Blocking<number> {
  if (start < 0) return ready(0);
  const end = start + frames.length * PAGE_SIZE;
  if (mapCallersFrames(state.mm, start, end, PAGE_KERNEL, frames) === 0) return ready(start);
  return rollBack(state, start, frames.length);
}

function* rollBack(state: Vmalloc, start: number, pages: number): KernelCode<number> {
  yield* wait(vmUnmapRam(state, start, pages));
  return 0;
}

/**
 * Unmaps what `vmMapRam` returned, with the same number of pages. More pages than a block serves: the whole area that contains
 * the address goes, whatever the number. An address that is not a `vm_map_ram` mapping is warned
 * of once and left alone. The area keeps its `VMAP_RAM` on the lazy list, as recordings of 6.12.117 show; out of the busy
 * tree nobody finds it, so a second call for the same address is such a mistake.
 */
export function vmUnmapRam(state: Vmalloc, address: number, pages: number): Blocking<void> {
  const { probes } = state;
  if (probes === null) return unmapRam(state, address, pages);
  return probed(probes, "vm_unmap_ram", [address, pages], () => unmapRam(state, address, pages));
}

function unmapRam(state: Vmalloc, address: number, pages: number): Blocking<void> {
  state.loop.spend(state.costs.callCycles);
  if (address < VMALLOC_START || address > VMALLOC_END || !isPageAligned(address) || !(pages > 0)) {
    state.log.warnOnce(
      "vm_unmap_ram",
      `vm_unmap_ram of ${formatRange(address, address + pages * PAGE_SIZE)}: not a vmalloc address`,
    );
    return DONE;
  }
  if (pages <= VMAP_MAX_ALLOC) {
    const { locksInMemory } = state.mm;
    if (!locksInMemory.isEmpty) locksInMemory.debugCheckNoLocksFreed(address, address + pages * PAGE_SIZE);
    return vbFree(state, address, pages);
  }
  if (state.mm.bugs.vmUnmapRamClearsFlags) return clearFlagsAndUnmap(state, address);
  if (state.version.vfreeFindsFirst) return findThenUnmap(state, address, pages);
  return afterCall(findUnlinkVmapArea(state, address, isWholeMapRamArea), unmapArea, state, address, pages);
}

/** `vm_unmap_ram` until 6.2: it finds the area, and takes it out of its tree in a second critical section, after it is unmapped (`free_vmap_area_noflush`). */
function* findThenUnmap(state: Vmalloc, address: number, pages: number): KernelCode<void> {
  const area = yield* findVmapArea(state, address);
  if (area === 0 || !isWholeMapRamArea(state, area, address)) return warnOfNoArea(state, address, pages);
  checkNoLocksIn(state, area);
  yield* unmapUnlinkVmapArea(state, state.addrToNode(address), area);
}

/** Unmaps what has an area of its own, which is in no tree any more. */
function unmapArea(area: number, state: Vmalloc, address: number, pages: number): Blocking<void> {
  if (area === 0) {
    warnOfNoArea(state, address, pages);
    return DONE;
  }
  checkNoLocksIn(state, area);
  return freeUnmapVmapArea(state, area);
}

function warnOfNoArea({ log }: Vmalloc, address: number, pages: number): void {
  log.warnOnce("vm_unmap_ram", `vm_unmap_ram of ${formatRange(address, address + pages * PAGE_SIZE)}: no such area`);
}

/** What is unmapped must hold no lock that somebody has (`debug_check_no_locks_freed`). */
function checkNoLocksIn({ mm: { locksInMemory }, areas }: Vmalloc, area: number): void {
  if (!locksInMemory.isEmpty) locksInMemory.debugCheckNoLocksFreed(areas.start[area], areas.end[area]);
}

/** Whether the area is a `vm_map_ram` area of its own, not a block; the address may lie anywhere inside, as in Linux 6.12. */
const isWholeMapRamArea: AreaTest = ({ areas }, area) => (areas.flagsOf(area) & (VMAP_RAM | VMAP_BLOCK)) === VMAP_RAM;

/**
 * `vm_unmap_ram` as it was first posted with the flags: it clears them under the lock, and the freeing path takes the area out of its
 * tree after it was unmapped (`HISTORICAL_BUGS.vmUnmapRamClearsFlags`).
 */
function* clearFlagsAndUnmap(state: Vmalloc, address: number): KernelCode<void> {
  const { areas, log, loop } = state;
  const { busy, busyLock } = state.addrToNode(address);
  if (!busyLock.tryTake()) yield* busyLock.take();
  const area = busy.__findVmapArea(address);
  if (area === 0 || (areas.flagsOf(area) & VMAP_RAM) === 0) {
    // BUG_ON: this CPU goes no further, and the lock stays held.
    log.warn(`kernel BUG in vm_unmap_ram: the area at ${formatRange(address, address)} is no vm_map_ram area`);
    while (true) yield PAUSE_SLEEP;
  }
  areas.setFlags(area, areas.flagsOf(area) & ~VMAP_RAM);
  busyLock.release();
  const owed = state.tables.vunmapRangeNoflush(areas.start[area], areas.end[area]);
  loop.point("free_unmap_vmap_area: entries are cleared");
  if (!busyLock.tryTake()) yield* busyLock.take();
  busy.unlinkVa(area);
  busyLock.release();
  yield* wait(freeVmapAreaNoflush(state, area, owed));
}
