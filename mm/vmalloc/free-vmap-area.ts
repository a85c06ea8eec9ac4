/** Freeing areas lazily: `free_vmap_area_noflush`, `free_unmap_vmap_area`, `find_unlink_vmap_area`. */

import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import { flushTlbKernelRange } from "../flush/tlb-flush.ts";
import { finish, type Soon } from "../kernel/soon.ts";
import { pagesIn } from "../lib/align.ts";
import { formatRange } from "../lib/kernel-log.ts";
import { decodeNodeId, type VmapNode } from "./areas/vmap-node.ts";
import type { Vmalloc } from "./vmalloc-state.ts";

/**
 * Puts an area, already unmapped and in no tree, on a lazy list: its address range is not used again before the next
 * purge has flushed the TLBs. A plain function as long as no lock has to be waited for (`soon.ts`).
 */
export function freeVmapAreaNoflushSoon(state: Vmalloc, area: number): Soon<undefined> {
  const node = lazyNodeOf(state, area);
  if (!node.lazyLock.tryTake()) return waitForLazy(state, node, area);
  addLazy(state, node, area);
  return undefined;
}

function* waitForLazy(state: Vmalloc, node: VmapNode, area: number): KernelCode<undefined> {
  yield* node.lazyLock.take();
  addLazy(state, node, area);
  return undefined;
}

/** The same, for code that may wait. */
export function* freeVmapAreaNoflush(state: Vmalloc, area: number): KernelCode<void> {
  yield* finish(freeVmapAreaNoflushSoon(state, area));
}

/** Unmaps an area's pages and frees it lazily (`free_unmap_vmap_area`). Nothing is flushed, unless the policy is eager. */
export function* freeUnmapVmapArea(state: Vmalloc, area: number): KernelCode<void> {
  yield* finish(freeUnmapVmapAreaSoon(state, area));
}

/** The same, as a plain function as long as nothing has to be waited for. */
export function freeUnmapVmapAreaSoon(state: Vmalloc, area: number): Soon<undefined> {
  unmapVmapArea(state, area);
  return state.flushing.isEager ? freeVmapAreaFlushed(state, area) : freeVmapAreaNoflushSoon(state, area);
}

/**
 * Flushes an area, already unmapped and in no tree, on every CPU and gives its range back at once: what `vunmap` did before
 * lazy purging (Linux 2.6.27), and what an eager flush policy does.
 */
export function* freeVmapAreaFlushed(state: Vmalloc, area: number): KernelCode<undefined> {
  const { areas } = state;
  const start = areas.start[area];
  const end = areas.end[area];
  state.flushing.accounts?.freed(area, start, end);
  yield* flushTlbKernelRange(state.flushing, start, end, "vunmap", (accounts, record) => accounts.feed(record, area));
  if (!state.freeTreeLock.tryTake()) yield* state.freeTreeLock.take();
  state.freeTree.giveBack(area);
  state.freeTreeLock.release();
  return undefined;
}

/** Clears an area's page-table entries. */
export function unmapVmapArea(state: Vmalloc, area: number): void {
  const { start, end } = state.areas;
  state.tables.unmapRange(start[area], end[area]);
  state.loop.spend(((end[area] - start[area]) / PAGE_SIZE) * state.costs.entryWriteCycles);
}

/** The node whose lazy list an area goes to: the one it came from, else the one of its address. */
export function lazyNodeOf(state: Vmalloc, area: number): VmapNode {
  const id = decodeNodeId(state.areas.flagsOf(area));
  return id >= 0 && id < state.nodes.length ? state.nodes[id] : state.nodeOf(state.areas.start[area]);
}

/** Puts an area on a lazy list whose lock is held, and releases the lock; too much there schedules the drain work. */
export function addLazy(state: Vmalloc, node: VmapNode, area: number): void {
  const { areas, config } = state;
  const start = areas.start[area];
  const end = areas.end[area];
  if (!areas.listIsEmpty(area)) {
    node.lazyLock.release();
    state.log.warnOnce("free_vmap_area_noflush", `${formatRange(start, end)} is on a list`);
    return;
  }
  state.lazyNr += pagesIn(end - start);
  state.flushing.accounts?.freed(area, start, end);
  const lazyNr = state.lazyNr;
  const flags = areas.flagsOf(area);
  node.lazy.add(area);
  node.lazyLock.release();
  state.events?.free(start, end, lazyNr, config.lazyMaxPages, flags, node.id);
  if (lazyNr > config.lazyMaxPages) {
    const queued = state.drainWork?.schedule() ?? false;
    state.events?.drainSched(lazyNr, config.lazyMaxPages, queued);
  }
}

/** Whether the area found at `address` is one that the caller means. */
export type AreaTest = (state: Vmalloc, area: number, address: number) => boolean;

/**
 * Finds the busy area that contains `address` and takes it out of its tree, under one hold of the node's lock
 * (`find_unlink_vmap_area`), if `isMeant` agrees. An area may start in another node's zone than `address`, so the other
 * nodes are looked at in turn.
 * @returns the area, or 0
 */
export function* findUnlinkVmapArea(state: Vmalloc, address: number, isMeant: AreaTest): KernelCode<number> {
  return yield* findUnlinkFrom(state, address, isMeant, 0);
}

/** The same, as a plain function as long as the area is in the node of its address and its lock is free. */
export function findUnlinkVmapAreaSoon(state: Vmalloc, address: number, isMeant: AreaTest): Soon<number> {
  const home = state.nodeOf(address);
  if (!home.busyLock.tryTake()) return findUnlinkFrom(state, address, isMeant, 0);
  const area = unlinkBusy(state, home, address, isMeant);
  return area !== NOT_HERE ? area : findUnlinkFrom(state, address, isMeant, 1);
}

/** Looks in all nodes but the first `skipped`, counted from the one of the address. */
function* findUnlinkFrom(state: Vmalloc, address: number, isMeant: AreaTest, skipped: number): KernelCode<number> {
  const { nodes } = state;
  const first = state.nodeOf(address).id;
  for (let i = skipped; i < nodes.length; i++) {
    const node = nodes[(first + i) % nodes.length];
    if (!node.busyLock.tryTake()) yield* node.busyLock.take();
    const area = unlinkBusy(state, node, address, isMeant);
    if (area !== NOT_HERE) return area;
  }
  return 0;
}

/** No area of this node contains the address. */
export const NOT_HERE = -1;

/**
 * What `findUnlinkVmapArea` does in one node, whose lock is held, and released here: the area, 0 when it is not the one
 * meant, or {@link NOT_HERE}.
 */
export function unlinkBusy(state: Vmalloc, node: VmapNode, address: number, isMeant: AreaTest): number {
  const found = node.busy.findContaining(address);
  const meant = found !== 0 && isMeant(state, found, address);
  if (meant) node.busy.unlink(found);
  node.busyLock.release();
  if (found === 0) return NOT_HERE;
  return meant ? found : 0;
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
