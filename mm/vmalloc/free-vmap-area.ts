/** Freeing areas lazily: `free_vmap_area_noflush`, `free_unmap_vmap_area`, `find_unlink_vmap_area`. */

import type { KernelCode } from "../../arch/time/event-loop.ts";
import type { OwedFlush } from "../flush/owed-flush.ts";
import { flushOwed } from "../flush/tlb-flush.ts";
import { afterWaiting, type Blocking, DONE, ready, wait } from "../kernel/blocking.ts";
import { pagesIn } from "../lib/align.ts";
import { formatRange } from "../lib/kernel-log.ts";
import { decodeVnId, type VmapNode } from "./areas/vmap-node.ts";
import type { Vmalloc } from "./vmalloc-state.ts";

/**
 * Puts an area, already unmapped and in no tree, on a lazy list (`free_vmap_area_noflush`): its address range is not used
 * again before the next purge has flushed the TLBs.
 * @param owed the flush owed for the area's pages, which the lazy list keeps
 */
export function freeVmapAreaNoflush(state: Vmalloc, area: number, owed: OwedFlush): Blocking<void> {
  const { areas } = state;
  if (!areas.listIsEmpty(area)) return alreadyOnList(state, area, owed);
  const node = lazyNodeOf(state, area);
  if (state.lazyOrder !== null) return freeInTurn(state, node, area, owed);
  // Counted before the lock is taken, in all versions: a purge that holds it meanwhile may find fewer pages than are counted.
  const lazyNr = state.addLazyNr(pagesIn(areas.sizeBytes(area)));
  const { lazyLock } = node;
  return lazyLock.tryTake()
    ? addLazy(state, node, area, owed, lazyNr)
    : afterWaiting(lazyLock, addLazy, state, node, area, owed, lazyNr);
}

/** An area that waits for a purge already: freed twice. */
function alreadyOnList({ areas, log, tables }: Vmalloc, area: number, owed: OwedFlush): Blocking<void> {
  const start = areas.startOf(area);
  const end = areas.endOf(area);
  tables.owed.settle(owed, start, end);
  log.warnOnce("free_vmap_area_noflush", `${formatRange(start, end)} is on a list`);
  return DONE;
}

/** Unmaps an area's pages and frees it lazily (`free_unmap_vmap_area`). Nothing is flushed, unless the policy is eager. */
export function freeUnmapVmapArea(state: Vmalloc, area: number): Blocking<void> {
  if (state.mm.bugs.lazyListBeforeUnmap) return freeAndUnmap(state, area);
  return freeUnmapped(state, area, unmapVmapArea(state, area));
}

/**
 * Unmaps the pages of an area that is still in its busy tree, takes it out of there and frees it lazily: `free_unmap_vmap_area` and
 * `free_vmap_area_noflush` until 6.2.
 */
export function* unmapUnlinkVmapArea(state: Vmalloc, node: VmapNode, area: number): KernelCode<void> {
  if (state.mm.bugs.lazyListBeforeUnmap) {
    yield* wait(unlinkVmapArea(state, node, area));
    yield* freeAndUnmap(state, area);
    return;
  }
  const owed = unmapVmapArea(state, area);
  if (yield* wait(unlinkVmapArea(state, node, area))) yield* wait(freeUnmapped(state, area, owed));
  else state.tables.owed.waive(owed);
}

/**
 * Takes an area out of its busy tree, in a critical section of its own; false, with a warning, where it is not in there (`unlink_va`): until 6.2 two callers
 * can have found the same.
 */
export function unlinkVmapArea(state: Vmalloc, node: VmapNode, area: number): Blocking<boolean> {
  const { busyLock } = node;
  return busyLock.tryTake()
    ? unlinkWithLock(state, node, area)
    : afterWaiting(busyLock, unlinkWithLock, state, node, area);
}

function unlinkWithLock(
  { areas, log }: Vmalloc,
  { busy, busyLines, busyLock }: VmapNode,
  area: number,
): Blocking<boolean> {
  const start = areas.startOf(area);
  const isThere = busy.findStart(start) === area;
  if (isThere) {
    busyLines.change(start, busy.count);
    busy.unlinkVa(area);
  } else log.warnOnce("unlink_va", `${formatRange(start, areas.endOf(area))} is in no tree`);
  busyLock.release();
  return ready(isThere);
}

function freeUnmapped(state: Vmalloc, area: number, owed: OwedFlush): Blocking<void> {
  return state.flushing.isEager ? freeVmapAreaFlushed(state, area, owed) : freeVmapAreaNoflush(state, area, owed);
}

/** The lazy list before the page tables (`HISTORICAL_BUGS.lazyListBeforeUnmap`). */
function* freeAndUnmap(state: Vmalloc, area: number): KernelCode<void> {
  const { start, end } = state.areas;
  const [from, to] = [start[area], end[area]];
  yield* wait(freeVmapAreaNoflush(state, area, state.tables.owed.owe(from, to)));
  state.loop.point("free_unmap_vmap_area: on the lazy list");
  state.tables.owed.waive(state.tables.vunmapRangeNoflush(from, to));
}

/** Gives an area in use back at once (`free_vmap_area`): nothing was ever mapped there, so that no flush is owed. */
export function* freeVmapArea(state: Vmalloc, area: number): KernelCode<void> {
  yield* wait(unlinkVmapArea(state, state.addrToNode(state.areas.startOf(area)), area));
  if (!state.freeTreeLock.tryTake()) yield* state.freeTreeLock.take();
  state.freeTree.mergeOrAddVmapArea(area);
  state.freeTreeLock.release();
}

/**
 * Flushes an area, already unmapped and in no tree, on every CPU and gives its range back at once: what `vunmap` did before
 * lazy purging (Linux 2.6.27), and what an eager flush policy does.
 */
function* freeVmapAreaFlushed(state: Vmalloc, area: number, owed: OwedFlush): KernelCode<void> {
  const { areas } = state;
  state.flushing.accounts?.freed(area, areas.start[area], areas.end[area]);
  yield* flushOwed(state.flushing, state.tables.owed, owed, "vunmap", (accounts, record) =>
    accounts.feed(record, area),
  );
  if (!state.freeTreeLock.tryTake()) yield* state.freeTreeLock.take();
  state.freeTree.mergeOrAddVmapArea(area);
  state.freeTreeLock.release();
}

/** Clears an area's page-table entries; the flush that is owed for them. */
function unmapVmapArea(state: Vmalloc, area: number): OwedFlush {
  const { start, end } = state.areas;
  state.mm.writeEntryLines(start[area], end[area]);
  const entries = state.tables.entriesOf(start[area], end[area]);
  const owed = state.tables.vunmapRangeNoflush(start[area], end[area]);
  state.loop.spend(entries * state.costs.entryWriteCycles);
  state.loop.point("free_unmap_vmap_area: entries are cleared");
  return owed;
}

/** The node whose lazy list an area goes to: the one it came from, else the one of its address. */
function lazyNodeOf(state: Vmalloc, area: number): VmapNode {
  const id = decodeVnId(state.areas.flagsOf(area));
  return id >= 0 && id < state.nodes.length ? state.nodes[id] : state.addrToNode(state.areas.start[area]);
}

/** Goes on when it is this area's turn. */
function* freeInTurn(state: Vmalloc, node: VmapNode, area: number, owed: OwedFlush): KernelCode<void> {
  const start = state.areas.startOf(area);
  if (state.lazyOrder !== null) yield* state.lazyOrder.freeTurn(start);
  const lazyNr = state.addLazyNr(pagesIn(state.areas.sizeBytes(area)));
  if (!node.lazyLock.tryTake()) yield* node.lazyLock.take();
  yield* wait(addLazy(state, node, area, owed, lazyNr));
  state.lazyOrder?.freed(start);
}

/**
 * Puts an area on a lazy list whose lock is held, and releases the lock; too much there schedules the drain work.
 * @param lazyNr pages that waited for a purge when this area's were counted
 */
function addLazy(state: Vmalloc, node: VmapNode, area: number, owed: OwedFlush, lazyNr: number): Blocking<void> {
  const { areas, config } = state;
  const start = areas.start[area];
  const end = areas.end[area];
  state.tables.owed.settle(owed, start, end);
  state.flushing.accounts?.freed(area, start, end);
  const flags = areas.flagsOf(area);
  insertLazy(state, node, area);
  node.lazyLock.release();
  if (state.drainSpinner !== null) state.loop.wake(state.drainSpinner, state.loop.nowCycles());
  state.events?.free(start, end, lazyNr, config.lazyMaxPages, flags & state.version.areaFlagsMask, node.id);
  if (lazyNr > config.lazyMaxPages) {
    const queued = state.drainWork?.schedule() ?? false;
    state.events?.drainSched(lazyNr, config.lazyMaxPages, queued);
  }
  return DONE;
}

/** Puts an area among those that wait for a purge, or makes it part of one that it touches: its object is given back then. */
function insertLazy(state: Vmalloc, { lazy, lazyLines }: VmapNode, area: number): void {
  const { areas, loop, costs, slabs } = state;
  const start = areas.startOf(area);
  const { nodes } = lazy;
  loop.spend(costs.treeStepCycles * lazyLines.search(start, nodes));
  areas.setFreedBy(area, loop.currentCpu);
  lazy.insertVmapArea(area);
  const merged = lazy.merge(area);
  if (merged.length === 0) {
    lazyLines.change(start, nodes);
    return;
  }
  lazyLines.grow(start, nodes);
  if (merged.length > 1) lazyLines.change(start, nodes);
  state.readAreaCache();
  for (const each of merged) {
    slabs.vmapArea.kmemCacheFree(areas.objectOf(each));
    areas.setObject(each, 0);
  }
  loop.spend(merged.length * costs.pages.slabCycles);
}

/** Whether the area found at `address` is one that the caller means. */
export type AreaTest = (state: Vmalloc, area: number, address: number) => boolean;

/**
 * Finds the busy area that contains `address` and takes it out of its tree, under one hold of the node's lock
 * (`find_unlink_vmap_area`), if `isMeant` agrees. An area may start in another node's zone than `address`, so the other
 * nodes are looked at in turn.
 * @returns the area, or 0
 */
export function findUnlinkVmapArea(state: Vmalloc, address: number, isMeant: AreaTest): Blocking<number> {
  const home = state.addrToNode(address);
  const { busyLock } = home;
  return busyLock.tryTake()
    ? findUnlinkFrom(state, address, isMeant, home)
    : afterWaiting(busyLock, findUnlinkFrom, state, address, isMeant, home);
}

/** Looks in the node of the address, whose lock is held and is released, and in the other nodes if it is not there. */
function findUnlinkFrom(state: Vmalloc, address: number, isMeant: AreaTest, home: VmapNode): Blocking<number> {
  const area = unlinkBusy(state, home, address, isMeant);
  return area === NOT_HERE ? findUnlinkElsewhere(state, address, isMeant, home) : ready(area);
}

function* findUnlinkElsewhere(state: Vmalloc, address: number, isMeant: AreaTest, home: VmapNode): KernelCode<number> {
  const { nodes } = state;
  let node = home;
  for (let i = 1; i < nodes.length; i++) {
    node = nodes[state.version.nextNodeToSearch(node.id, nodes.length)];
    if (!node.busyLock.tryTake()) yield* node.busyLock.take();
    const area = unlinkBusy(state, node, address, isMeant);
    if (area !== NOT_HERE) return area;
  }
  return 0;
}

/** No area of this node contains the address. */
const NOT_HERE = -1;

/**
 * Takes the area that contains `address` out of one node, whose lock is held and is released: the area, 0 when it is not the
 * one meant, or `NOT_HERE`.
 */
function unlinkBusy(state: Vmalloc, node: VmapNode, address: number, isMeant: AreaTest): number {
  const { busy, busyLines } = node;
  state.loop.spend(state.costs.treeStepCycles * busyLines.search(address, busy.count));
  const found = busy.__findVmapArea(address);
  const meant = found !== 0 && isMeant(state, found, address);
  if (meant) {
    busyLines.change(address, busy.count);
    busy.unlinkVa(found);
  }
  node.busyLock.release();
  if (meant) state.loop.point("find_unlink_vmap_area: unlinked");
  if (found === 0) return NOT_HERE;
  return meant ? found : 0;
}

/** The busy area that contains `address`, or 0 (`find_vmap_area`). It may be gone once other code has run. */
export function* findVmapArea(state: Vmalloc, address: number): KernelCode<number> {
  const { nodes } = state;
  let node = state.addrToNode(address);
  for (let i = 0; i < nodes.length; i++) {
    if (!node.busyLock.tryTake()) yield* node.busyLock.take();
    state.loop.spend(state.costs.treeStepCycles * node.busyLines.search(address, node.busy.count));
    const area = node.busy.__findVmapArea(address);
    node.busyLock.release();
    if (area !== 0) return area;
    node = nodes[state.version.nextNodeToSearch(node.id, nodes.length)];
  }
  return 0;
}
