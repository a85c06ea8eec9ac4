/**
 * Purging: giving lazily freed areas back for use, after one TLB flush for all of them (`__purge_vmap_area_lazy`,
 * `purge_vmap_node`, `decay_va_pool_node`).
 */

import { type KernelCode, PAUSE_SPIN, PAUSE_TURN } from "../../arch/time/event-loop.ts";
import type { FlushCause } from "../flush/flush-accounts.ts";
import { flushTlbKernelRange } from "../flush/tlb-flush.ts";
import { afterWaiting, type Blocking, DONE, isReady } from "../kernel/blocking.ts";
import { probedCode } from "../kernel/call-probes.ts";
import { Work } from "../kernel/work.ts";
import { pagesIn } from "../lib/align.ts";
import { ADDRESS_MAX } from "../lib/memory-layout.ts";
import { AreaTree } from "./areas/area-tree.ts";
import { decodeVnId, sizeToVaPool, type VmapNode } from "./areas/vmap-node.ts";
import type { Vmalloc } from "./vmalloc-state.ts";
import { purgeFragmentedBlocksAllcpus } from "./vmap-block-purge.ts";

/** Takes `vmap_purge_lock`. */
export function* takePurgeLock({ lazyOrder, purgeLock }: Vmalloc): KernelCode<void> {
  if (lazyOrder !== null) yield* lazyOrder.purgeTurn();
  while (purgeLock.mustYield()) yield PAUSE_TURN;
  lazyOrder?.purgeAsked();
  if (!purgeLock.takeFree()) yield* purgeLock.takeHeld();
}

/**
 * Purges every node. The caller holds the purge lock.
 * @param start the range that the caller wants flushed as well; `ADDRESS_MAX` and 0 for none
 * @param fullPoolDecay whether the pools are emptied, and not filled again
 * @param cause why, for the accounts
 * @returns whether any area was purged; if none was, nothing was flushed
 */
export function __purgeVmapAreaLazy(
  state: Vmalloc,
  start: number,
  end: number,
  fullPoolDecay: boolean,
  cause: FlushCause,
): KernelCode<boolean> {
  const { probes } = state;
  const code = purgeNodes(state, start, end, fullPoolDecay, cause);
  return probes === null ? code : probedCode(probes, "purge", [start, end], code);
}

function* purgeNodes(
  state: Vmalloc,
  start: number,
  end: number,
  fullPoolDecay: boolean,
  cause: FlushCause,
): KernelCode<boolean> {
  const { areas, config } = state;
  state.mm.lockdep?.assertHeld(state.purgeLock, "__purge_vmap_area_lazy");
  const activity = state.loop.enterActivity(state.purgeActivity);
  const emptiesPools = fullPoolDecay && state.version.hasVmapNodes;
  state.events?.purgeBegin(start, end, emptiesPools, state.lazyNr);
  state.purges++;
  if (state.lazyOrder !== null) yield* state.lazyOrder.purging();
  let flushStart = start;
  let flushEnd = end;
  const taken: VmapNode[] = [];
  for (const node of state.nodes) {
    node.skipPopulate = fullPoolDecay;
    yield* decayVaPoolNode(state, node, fullPoolDecay);
    if (node.lazy.isEmpty) continue;
    if (!node.lazyLock.tryTake()) yield* node.lazyLock.take();
    node.lazy.detachAll(node.purgeList);
    node.lazyLock.release();
    takeOverFreed(state, node.purgeList);
    flushStart = Math.min(flushStart, areas.start[areas.nextOf(node.purgeList)]);
    flushEnd = Math.max(flushEnd, areas.end[areas.previousOf(node.purgeList)]);
    taken.push(node);
  }
  let purged = 0;
  if (taken.length > 0) {
    yield* flushTlbKernelRange(state.flushing, flushStart, flushEnd, cause, (accounts, record) => {
      for (const { purgeList } of taken) {
        for (let area = areas.nextOf(purgeList); area !== purgeList; area = areas.nextOf(area))
          accounts.feed(record, area);
      }
    });
    const helpers = helperCount(state.lazyNr, config.lazyMaxPages, taken.length);
    for (let i = 0; i < taken.length; i++) {
      if (state.version.mergesLazyAreas) yield* giveBackMerged(state, taken[i]);
      else if (i < helpers) startHelper(state, taken[i]);
      else yield* purgeVmapNode(state, taken[i]);
    }
    for (const node of taken) {
      if (node.purgeWork !== null) yield* node.purgeWork.flush();
      node.purgeWork = null;
      purged += node.nrPurged;
    }
    if (purged > 0) state.purgesWithAreas++;
  }
  state.events?.purge(flushStart, flushEnd, purged, emptiesPools, taken.length, state.lazyNr);
  state.loop.enterActivity(activity);
  return purged > 0;
}

/** A purge walks its lists from here on: each area on one, or each run of areas that merged, is a line that the CPU which freed it has. */
function takeOverFreed({ areas, loop, slabs, version }: Vmalloc, head: number): void {
  let from = -1;
  let lines = 0;
  for (let area = areas.nextOf(head); area !== head; area = areas.nextOf(area)) {
    const freedBy = areas.freedByOf(area);
    areas.setFreedBy(area, -1);
    if (version.mergesLazyAreas && areas.objectOf(area) === 0) continue;
    slabs.vmapArea.hasTakenOver(areas.objectOf(area));
    if (freedBy !== from) {
      if (from >= 0) loop.lines.takeOver(from, lines);
      from = freedBy;
      lines = 0;
    }
    lines++;
  }
  if (from >= 0) loop.lines.takeOver(from, lines);
}

/** What is done when no room is found: everything that can be given back is (`reclaim_and_purge_vmap_areas`). */
export function* reclaimAndPurgeVmapAreas(state: Vmalloc): KernelCode<void> {
  yield* takePurgeLock(state);
  yield* purgeFragmentedBlocksAllcpus(state);
  yield* __purgeVmapAreaLazy(state, ADDRESS_MAX, 0, true, "overflow");
  state.purgeLock.release();
}

/** The drain work: a plain purge (`drain_vmap_area_work`), or several, until little enough is lazily freed. */
export function drainVmapAreaWork(state: Vmalloc): KernelCode<void> {
  const { probes } = state;
  const code = drainLazyAreas(state);
  return probes === null ? code : probedCode(probes, "drain", [], code);
}

function* drainLazyAreas(state: Vmalloc): KernelCode<void> {
  state.events?.drain(state.lazyNr);
  for (;;) {
    yield* takePurgeLock(state);
    const hasPurged = yield* __purgeVmapAreaLazy(state, ADDRESS_MAX, 0, false, "drain");
    state.purgeLock.release();
    if (!state.version.drainRepeats || state.lazyNr <= state.config.lazyMaxPages) return;
    if (hasPurged || state.nodes.some(({ lazy }) => !lazy.isEmpty)) continue;
    // Somebody has counted an area that is not on a list yet. Linux purges nothing over and over until it is.
    state.drainSpinner = state.loop.currentThread;
    yield PAUSE_SPIN;
    state.drainSpinner = null;
  }
}

/** One helper for each whole `lazyMax` of pages beyond the first, at most one a node but the last. */
function helperCount(lazyNr: number, lazyMax: number, nodes: number): number {
  const wanted = lazyMax > 0 ? Math.floor(lazyNr / lazyMax) : nodes;
  return Math.min(Math.max(wanted, 1), nodes) - 1;
}

function startHelper(state: Vmalloc, node: VmapNode): void {
  const work = new Work("purge_vmap_node", state.loop, () => purgeVmapNode(state, node));
  node.purgeWork = work;
  work.scheduleOn(node.id < state.loop.cpus ? node.id : state.loop.currentCpu);
}

/** Deals out the areas of a node's purge list: to its pools, or to the free tree (`purge_vmap_node`). */
function* purgeVmapNode(state: Vmalloc, node: VmapNode): KernelCode<void> {
  const { areas, costs } = state;
  if (state.version.hasVmapNodes) state.events?.purgeNode(node.id, node.skipPopulate);
  const fillsPools = state.nodes.length > 1 && !node.skipPopulate;
  const end = node.purgeList;
  let pages = 0;
  node.nrPurged = 0;
  for (let area = areas.nextOf(end); area !== end; ) {
    const next = areas.nextOf(area);
    pages += pagesIn(areas.sizeBytes(area));
    node.nrPurged++;
    const id = fillsPools ? decodeVnId(areas.flagsOf(area)) : -1;
    const pool = id >= 0 && id < state.nodes.length ? sizeToVaPool(areas.sizeBytes(area)) : -1;
    if (pool >= 0) {
      areas.listRemove(area);
      const { poolLock } = node;
      const added = poolLock.tryTake()
        ? nodePoolAddVa(state, node, pool, area)
        : afterWaiting(poolLock, nodePoolAddVa, state, node, pool, area);
      if (!isReady(added)) yield* added;
    }
    area = next;
  }
  state.addLazyNr(-pages);
  state.loop.spend(node.nrPurged * costs.treeStepCycles);
  yield* reclaimListGlobal(state, node.purgeList, state.version.reclaimsLastFirst);
}

/**
 * Gives the areas of a purge list back where the kernel has one tree of lazily freed areas and merged each with its neighbours when
 * it was freed. Here they are merged only now, as the accounts know every free by itself. The lazy count falls with each.
 */
function* giveBackMerged(state: Vmalloc, node: VmapNode): KernelCode<void> {
  const { areas, costs } = state;
  mergeNeighbours(state, node.purgeList);
  node.nrPurged = 0;
  if (!state.freeTreeLock.tryTake()) yield* state.freeTreeLock.take();
  while (!areas.listIsEmpty(node.purgeList)) {
    const area = areas.nextOf(node.purgeList);
    const pages = pagesIn(areas.sizeBytes(area));
    areas.listRemove(area);
    state.events?.merge(areas.start[area], areas.end[area]);
    state.freeTree.mergeOrAddVmapArea(area);
    state.addLazyNr(-pages);
    node.nrPurged++;
    state.loop.spend(costs.treeStepCycles * state.freeTree.depth + costs.pages.slabCycles);
  }
  state.freeTreeLock.release();
}

/** Makes one area of each run of areas of an ordered list that touch each other. */
function mergeNeighbours({ areas }: Vmalloc, head: number): void {
  for (let area = areas.nextOf(head); area !== head; ) {
    const next = areas.nextOf(area);
    if (next !== head && areas.start[next] === areas.end[area]) {
      areas.end[area] = areas.end[next];
      if (areas.objectOf(area) === 0) {
        areas.setObject(area, areas.objectOf(next));
        areas.setObject(next, 0);
      }
      areas.listRemove(next);
      areas.release(next);
    } else {
      area = next;
    }
  }
}

/** Puts an area at the head of a pool whose lock is held, and releases the lock (`node_pool_add_va`). */
function nodePoolAddVa(state: Vmalloc, node: VmapNode, pool: number, area: number): Blocking<void> {
  const { areas } = state;
  areas.listAddAfter(area, node.guardedPool(pool));
  state.writeArea(area);
  const length = node.addToPoolLength(pool, 1);
  state.events?.poolAdd(node.id, areas.start[area], areas.end[area], length);
  node.poolLock.release();
  return DONE;
}

/** Gives all areas of a list to the free tree, from its first or from its last one on (`reclaim_list_global`). */
function* reclaimListGlobal(state: Vmalloc, head: number, lastFirst: boolean): KernelCode<void> {
  const { areas, costs } = state;
  if (areas.listIsEmpty(head)) return;
  if (!state.freeTreeLock.tryTake()) yield* state.freeTreeLock.take();
  let gap = 0;
  while (!areas.listIsEmpty(head)) {
    const area = lastFirst ? areas.previousOf(head) : areas.nextOf(head);
    areas.listRemove(area);
    state.events?.merge(areas.start[area], areas.end[area]);
    gap = state.freeTree.mergeOrAddVmapArea(area, lastFirst ? gap : 0);
    state.loop.spend(costs.treeStepCycles * state.freeTree.depth + costs.pages.slabCycles);
  }
  state.freeTreeLock.release();
}

/**
 * Lets each pool give up a quarter of its areas, or all of them (`decay_va_pool_node`). Each is taken off its node under the pool
 * lock and worked on without it, so that a CPU that allocates meanwhile finds the pool empty and goes to the free tree; what stays
 * is put back under the lock. How much goes, the version says. The caller holds the purge lock: nobody else fills or decays pools.
 */
export function* decayVaPoolNode(state: Vmalloc, node: VmapNode, full: boolean): KernelCode<void> {
  const { areas } = state;
  const { detached } = node;
  let decayed: AreaTree | null = null;
  for (let pool = 0; pool < node.poolsUsed; pool++) {
    if (areas.listIsEmpty(node.poolHead(pool))) continue;
    if (!node.poolLock.tryTake()) yield* node.poolLock.take();
    movePool(state, node, node.guardedPool(pool), detached);
    decayed ??= new AreaTree(areas, state.log);
    decayDetached(state, node, pool, full, decayed);
    if (areas.listIsEmpty(detached)) continue;
    if (!node.poolLock.tryTake()) yield* node.poolLock.take();
    movePool(state, node, detached, node.guardedPool(pool));
  }
  if (decayed === null) return;
  yield* reclaimListGlobal(state, decayed.head, false);
  areas.releaseListHead(decayed.head);
}

/** Moves all areas of a pool from one list to another, empty one, under the pool lock, which is released. */
function movePool({ areas }: Vmalloc, node: VmapNode, from: number, to: number): void {
  areas.listMoveAll(from, to);
  node.poolLock.release();
}

/** Moves as many of a pool's areas as the version says from the detached list to `decayed`. */
function decayDetached(state: Vmalloc, node: VmapNode, pool: number, full: boolean, decayed: AreaTree): void {
  const { areas } = state;
  const { detached } = node;
  const decay = state.version.decayOf(node.poolLength(pool), full);
  state.events?.decay(node.id, pool, decay.shownLength, full, decay.shownDecay);
  for (let left = decay.areas; left > 0; left--) {
    const area = areas.nextOf(detached);
    areas.listRemove(area);
    node.addToPoolLength(pool, -1);
    state.events?.decayVa(node.id, areas.start[area], areas.end[area]);
    decayed.mergeOrAddVmapArea(area);
  }
}
