/** Taking vmap blocks out of use: full ones, and fragmented ones when a purge asks (`purge_fragmented_block`). */
import type { KernelCode } from "../../arch/time/event-loop.ts";
import { afterCall, afterLock, type Blocking, DONE, wait } from "../kernel/blocking.ts";
import type { VmapNode } from "./areas/vmap-node.ts";
import { freeVmapAreaNoflush } from "./free-vmap-area.ts";
import type { Vmalloc } from "./vmalloc-state.ts";

/** Unlinks a block from everything and frees its area lazily (`free_vmap_block`). */
export function freeVmapBlock(state: Vmalloc, block: number): Blocking<void> {
  const { areas, blocks } = state;
  const area = blocks.area[block];
  const start = areas.startOf(area);
  state.events?.freeBlock(start, areas.endOf(area), blocks.cpu[block]);
  blocks.removeFromIndex(state.addrToVbXa(start), start);
  const node = state.addrToNode(start);
  return afterLock(node.busyLock, freeBlockArea, state, node, block);
}

/** Frees the area of a block lazily; the lock of its node's busy tree is held, and released. */
function freeBlockArea(state: Vmalloc, node: VmapNode, block: number): Blocking<void> {
  const area = state.blocks.area[block];
  node.busy.unlinkVa(area);
  node.busyLock.release();
  // Its pages were unmapped one by one; the flush that the block kept for them is the lazy list's now.
  const owed = state.tables.owed.owe(state.areas.start[area], state.areas.end[area]);
  return afterCall(freeVmapAreaNoflush(state, area, owed), releaseBlock, state, block);
}

function releaseBlock(_freed: unknown, { blocks, slabs, loop, costs }: Vmalloc, block: number): Blocking<void> {
  loop.spend(costs.pages.slabCycles);
  slabs.vmapBlock.kmemCacheFree(blocks.object[block]);
  blocks.release(block);
  return DONE;
}

/**
 * Takes a block out of use if all that was ever handed out of it has come back, and little of it is left, or `force`.
 * The caller holds the block's lock. The block is then full and wholly dirty, so that nobody allocates from it.
 * @returns whether it did; the caller frees the block
 */
export function* purgeFragmentedBlock(state: Vmalloc, block: number, force: boolean): KernelCode<boolean> {
  const { blocks, areas, config } = state;
  blocks.assertBlockHeld(block);
  const free = blocks.free[block];
  const dirty = blocks.dirty[block];
  if (free + dirty !== config.blockPages || dirty === config.blockPages) return false;
  if (!force && state.version.blocks.hasPurgeThreshold && free >= config.purgeThresholdPages) return false;
  state.events?.purgeFrag(areas.startOf(blocks.area[block]), free, dirty, force, blocks.cpu[block]);
  blocks.free[block] = 0;
  blocks.dirty[block] = config.blockPages;
  blocks.dirtyMin[block] = 0;
  blocks.dirtyMax[block] = config.blockPages;
  const queueLock = blocks.queueLocks[state.mm.bugs.wrongQueueLock ? state.loop.currentCpu : blocks.cpu[block]];
  if (!queueLock.tryTake()) yield* queueLock.take();
  blocks.dequeue(block);
  queueLock.release();
  return true;
}

/** Purges what can be purged on the queue of a CPU, whatever the threshold is where there is one (`purge_fragmented_blocks`). */
function* purgeFragmentedBlocks(state: Vmalloc, cpu: number): KernelCode<void> {
  const { blocks } = state;
  const purged: number[] = [];
  let block = blocks.queueHead[cpu];
  while (block !== 0) {
    const next = blocks.next[block];
    const lock = blocks.locks[block];
    if (!lock.tryTake()) yield* lock.take();
    if (yield* purgeFragmentedBlock(state, block, state.version.blocks.hasPurgeThreshold)) purged.push(block);
    lock.release();
    block = next;
  }
  yield* freePurgedBlocks(state, purged);
}

/** Purges what can be purged on the queues of all CPUs (`purge_fragmented_blocks_allcpus`). */
export function* purgeFragmentedBlocksAllcpus(state: Vmalloc): KernelCode<void> {
  for (let cpu = 0; cpu < state.config.possibleCpus; cpu++) yield* purgeFragmentedBlocks(state, cpu);
}

/** Frees blocks that `purgeFragmentedBlock` took out of use (`free_purged_blocks`). */
export function* freePurgedBlocks(state: Vmalloc, purged: readonly number[]): KernelCode<void> {
  for (const block of purged) yield* wait(freeVmapBlock(state, block));
}
