/** Freeing areas lazily: `free_vmap_area_noflush`, `free_unmap_vmap_area`, `find_unlink_vmap_area`. */
import type { KernelCode } from "../arch/event-loop.ts";
import { PAGE_SIZE } from "../arch/linear-address.ts";
import { formatRange } from "./kernel-log.ts";
import type { Vmalloc } from "./vmalloc-state.ts";
import { decodeNodeId } from "./vmap-node.ts";

/**
 * Puts an area, already unmapped and in no tree, on a lazy list: its address range is not used again before the next
 * purge has flushed the TLBs.
 */
export function* freeVmapAreaNoflush(state: Vmalloc, area: number): KernelCode<void> {
  const { areas, config } = state;
  if (!areas.listIsEmpty(area)) {
    state.log.warnOnce("free_vmap_area_noflush", `${formatRange(areas.start[area], areas.end[area])} is on a list`);
    return;
  }
  const start = areas.start[area];
  const end = areas.end[area];
  const flags = areas.flags[area];
  state.lazyNr += (end - start) / PAGE_SIZE;
  const lazyNr = state.lazyNr;
  const id = decodeNodeId(flags);
  const node = id >= 0 && id < state.nodes.length ? state.nodes[id] : state.nodeOf(start);
  if (!node.lazyLock.tryTake()) yield* node.lazyLock.take();
  node.lazy.insert(area);
  node.lazyLock.release();
  state.events?.free(start, end, lazyNr, config.lazyMaxPages, flags, node.id);
  if (lazyNr > config.lazyMaxPages) {
    const queued = state.drainWork?.schedule() ?? false;
    state.events?.drainSched(lazyNr, config.lazyMaxPages, queued);
  }
}

/** Unmaps an area's pages and frees it lazily (`free_unmap_vmap_area`). Nothing is flushed. */
export function freeUnmapVmapArea(state: Vmalloc, area: number): KernelCode<void> {
  const { start, end } = state.areas;
  state.tables.unmapRange(start[area], end[area]);
  state.loop.spend(((end[area] - start[area]) / PAGE_SIZE) * state.costs.entryWriteCycles);
  return freeVmapAreaNoflush(state, area);
}

/** Which of the areas that a search found is the one meant. */
type AreaTest = (area: number) => boolean;

/**
 * Finds the busy area that contains `address` and takes it out of its tree, under one hold of the node's lock
 * (`find_unlink_vmap_area`), if `isMeant` agrees. An area may start in another node's zone than `address`, so the other
 * nodes are looked at in turn.
 * @returns the area, or 0
 */
export function* findUnlinkVmapArea(state: Vmalloc, address: number, isMeant: AreaTest): KernelCode<number> {
  const { nodes } = state;
  const first = state.nodeOf(address).id;
  for (let i = 0; i < nodes.length; i++) {
    const node = nodes[(first + i) % nodes.length];
    if (!node.busyLock.tryTake()) yield* node.busyLock.take();
    const area = node.busy.findContaining(address);
    const meant = area !== 0 && isMeant(area);
    if (meant) node.busy.unlink(area);
    node.busyLock.release();
    if (area !== 0) return meant ? area : 0;
  }
  return 0;
}

/** The busy area that contains `address`, or 0 (`find_vmap_area`). It may be gone once other code has run. */
export function* findVmapArea(state: Vmalloc, address: number): KernelCode<number> {
  const { nodes } = state;
  const first = state.nodeOf(address).id;
  for (let i = 0; i < nodes.length; i++) {
    const node = nodes[(first + i) % nodes.length];
    if (!node.busyLock.tryTake()) yield* node.busyLock.take();
    const area = node.busy.findContaining(address);
    node.busyLock.release();
    if (area !== 0) return area;
  }
  return 0;
}
