/**
 * Purging: giving lazily freed areas back for use, after one TLB flush for all of them (`__purge_vmap_area_lazy`,
 * `purge_vmap_node`, `decay_va_pool_node`).
 */

import type { KernelCode } from "../../arch/time/event-loop.ts";
import type { FlushCause } from "../flush/flush-accounts.ts";
import { flushTlbKernelRange } from "../flush/tlb-flush.ts";
import { afterLock, type Blocking, DONE, wait } from "../kernel/blocking.ts";
import { Work } from "../kernel/work.ts";
import { pagesIn } from "../lib/align.ts";
import { ADDRESS_MAX } from "../lib/memory-layout.ts";
import { AreaTree } from "./areas/area-tree.ts";
import { decodeVnId, MAX_VA_SIZE_PAGES, sizeToVaPool, type VmapNode } from "./areas/vmap-node.ts";
import type { Vmalloc } from "./vmalloc-state.ts";
import { purgeFragmentedBlocksAllcpus } from "./vmap-block-purge.ts";

/**
 * Purges every node. The caller holds the purge lock.
 * @param start the range that the caller wants flushed as well; `ADDRESS_MAX` and 0 for none
 * @param fullPoolDecay whether the pools are emptied, and not filled again
 * @param cause why, for the accounts
 * @returns whether any area was purged; if none was, nothing was flushed
 */
export function* __purgeVmapAreaLazy(
  state: Vmalloc,
  start: number,
  end: number,
  fullPoolDecay: boolean,
  cause: FlushCause,
): KernelCode<boolean> {
  const { areas, config } = state;
  state.mm.lockdep?.assertHeld(state.purgeLock, "__purge_vmap_area_lazy");
  const activity = state.loop.enterActivity(state.purgeActivity);
  state.events?.purgeBegin(start, end, fullPoolDecay, state.lazyNr);
  state.purges++;
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
      if (i < helpers) startHelper(state, taken[i]);
      else yield* purgeVmapNode(state, taken[i]);
    }
    for (const node of taken) {
      if (node.purgeWork !== null) yield* node.purgeWork.flush();
      node.purgeWork = null;
      purged += node.nrPurged;
    }
    if (purged > 0) state.purgesWithAreas++;
  }
  state.events?.purge(flushStart, flushEnd, purged, fullPoolDecay, taken.length, state.lazyNr);
  state.loop.enterActivity(activity);
  return purged > 0;
}

/** What is done when no room is found: everything that can be given back is (`reclaim_and_purge_vmap_areas`). */
export function* reclaimAndPurgeVmapAreas(state: Vmalloc): KernelCode<void> {
  if (!state.purgeLock.tryTake()) yield* state.purgeLock.take();
  yield* purgeFragmentedBlocksAllcpus(state);
  yield* __purgeVmapAreaLazy(state, ADDRESS_MAX, 0, true, "overflow");
  state.purgeLock.release();
}

/** The drain work: a plain purge (`drain_vmap_area_work`). */
export function* drainVmapAreaWork(state: Vmalloc): KernelCode<void> {
  state.events?.drain(state.lazyNr);
  if (!state.purgeLock.tryTake()) yield* state.purgeLock.take();
  yield* __purgeVmapAreaLazy(state, ADDRESS_MAX, 0, false, "drain");
  state.purgeLock.release();
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
  state.events?.purgeNode(node.id, node.skipPopulate);
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
      yield* wait(afterLock(node.poolLock, nodePoolAddVa, state, node, pool, area));
    }
    area = next;
  }
  state.lazyNr -= pages;
  state.loop.spend(node.nrPurged * costs.treeStepCycles);
  yield* reclaimListGlobal(state, node.purgeList, true);
}

/** Puts an area at the head of a pool whose lock is held, and releases the lock (`node_pool_add_va`). */
function nodePoolAddVa(state: Vmalloc, node: VmapNode, pool: number, area: number): Blocking<void> {
  const { areas } = state;
  if (node.poolGuard !== null) node.poolGuard.check();
  areas.listAddAfter(area, node.poolHeads[pool]);
  node.poolLengths[pool]++;
  node.poolLock.release();
  state.events?.poolAdd(node.id, areas.start[area], areas.end[area], node.poolLengths[pool]);
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
    state.loop.spend(costs.treeStepCycles * MERGE_STEPS);
  }
  state.freeTreeLock.release();
}

/** Tree steps charged for one merge: the depth of a tree of about a thousand nodes. */
const MERGE_STEPS = 10;

/**
 * Lets each pool give up a quarter of its areas, or all of them. With one to three areas a quarter is none, the countdown
 * wraps, and the whole pool goes: that is what the kernel does (`decay_va_pool_node`).
 */
function* decayVaPoolNode(state: Vmalloc, node: VmapNode, full: boolean): KernelCode<void> {
  const { areas } = state;
  let decayed: AreaTree | null = null;
  for (let pool = 0; pool < MAX_VA_SIZE_PAGES; pool++) {
    const head = node.poolHeads[pool];
    if (areas.listIsEmpty(head)) continue;
    if (!node.poolLock.tryTake()) yield* node.poolLock.take();
    if (full) node.poolLengths[pool] = 0;
    const quarter = node.poolLengths[pool] >> 2;
    state.events?.decay(node.id, pool, node.poolLengths[pool], full, quarter);
    decayed ??= new AreaTree(areas, state.log);
    for (let left = quarter > 0 ? quarter : -1; left !== 0 && !areas.listIsEmpty(head); left--) {
      const area = areas.nextOf(head);
      areas.listRemove(area);
      if (!full) node.poolLengths[pool]--;
      state.events?.decayVa(node.id, areas.start[area], areas.end[area]);
      decayed.mergeOrAddVmapArea(area);
    }
    node.poolLock.release();
  }
  if (decayed === null) return;
  yield* reclaimListGlobal(state, decayed.head, false);
  areas.releaseListHead(decayed.head);
}
