/**
 * vmap blocks: each CPU cuts up blocks of address space for small `vm_map_ram` requests (`vb_alloc`, `vb_free`,
 * `new_vmap_block`). Room that was given back is not used again before the whole block has been purged.
 */
import type { KernelCode } from "../arch/event-loop.ts";
import { PAGE_SIZE } from "../arch/linear-address.ts";
import { allocVmapArea } from "./alloc-vmap-area.ts";
import { ENOMEM } from "./errno.ts";
import { type AreaTest, findUnlinkVmapArea } from "./free-vmap-area.ts";
import { formatRange } from "./kernel-log.ts";
import { flushTlbKernelRange } from "./tlb-flush.ts";
import { VMALLOC_END, VMALLOC_START } from "./vmalloc-config.ts";
import type { Vmalloc } from "./vmalloc-state.ts";
import { VMAP_BLOCK, VMAP_RAM } from "./vmap-areas.ts";
import { freeVmapBlock } from "./vmap-block-purge.ts";

/** Room for `pages` (1 to 64) pages in a block of the current CPU; an address, or a negative errno. */
export function* vbAlloc(state: Vmalloc, pages: number, gfp: number): KernelCode<number> {
  const { blocks, areas, config, loop } = state;
  const order = orderOf(pages);
  const count = 1 << order;
  const cpu = loop.currentCpu;
  let block = blocks.queueHead[cpu];
  while (block !== 0) {
    if (blocks.free[block] < count) {
      block = blocks.next[block];
      continue;
    }
    const lock = blocks.locks[block];
    if (!lock.tryTake()) {
      yield* lock.take();
      // A purge may have taken the block meanwhile, and it may even serve another CPU by now.
      if (blocks.cpu[block] !== cpu || !blocks.isQueued(block) || blocks.free[block] < count) {
        lock.release();
        block = blocks.queueHead[cpu];
        continue;
      }
    }
    const first = config.blockPages - blocks.free[block];
    const start = areas.startOf(blocks.area[block]);
    blocks.free[block] -= count;
    blocks.markUsed(block, first, pages, true, count);
    const left = blocks.free[block];
    state.events?.vbAlloc(start + first * PAGE_SIZE, order, start, left, blocks.dirty[block], cpu);
    if (left === 0) {
      const queueLock = blocks.queueLocks[cpu];
      if (!queueLock.tryTake()) yield* queueLock.take();
      blocks.dequeue(block);
      queueLock.release();
    }
    lock.release();
    return start + first * PAGE_SIZE;
  }
  return yield* newVmapBlock(state, pages, order, gfp);
}

/**
 * Unmaps `pages` pages at `address` and gives them back to their block. An address that is in no block, or pages that
 * cannot be one mapping (some are not in use, or one in use lies in the room that it was rounded up to), are warned of once
 * and left alone.
 */
export function* vbFree(state: Vmalloc, address: number, pages: number): KernelCode<void> {
  const { blocks, areas, config } = state;
  const blockStart = Math.floor(address / state.blockBytes) * state.blockBytes;
  const block = blocks.index[state.blockHashOf(address)].get(blockStart);
  if (block === undefined) {
    state.log.warnOnce(
      "vb_free",
      `vm_unmap_ram of ${formatRange(address, address + pages * PAGE_SIZE)}: no such block`,
    );
    return;
  }
  const order = orderOf(pages);
  const count = 1 << order;
  const first = (address - blockStart) / PAGE_SIZE;
  const lock = blocks.locks[block];
  if (!lock.tryTake()) yield* lock.take();
  const isMapping =
    first + count <= config.blockPages - blocks.free[block] &&
    blocks.countUsed(block, first, pages) === pages &&
    blocks.countUsed(block, first + pages, count - pages) === 0;
  if (!isMapping) {
    lock.release();
    state.log.warnOnce("vb_free", `vm_unmap_ram of ${formatRange(address, address + pages * PAGE_SIZE)}: not mapped`);
    return;
  }
  blocks.markUsed(block, first, pages, false, count);
  lock.release();
  state.tables.unmapRange(address, address + pages * PAGE_SIZE);
  state.loop.spend(pages * state.costs.entryWriteCycles);
  if (state.flushing.isEager) yield* flushTlbKernelRange(state, address, address + pages * PAGE_SIZE, "vunmap");
  if (!lock.tryTake()) yield* lock.take();
  blocks.dirtyMin[block] = Math.min(blocks.dirtyMin[block], first);
  blocks.dirtyMax[block] = Math.max(blocks.dirtyMax[block], first + count);
  // Pages freed in other portions than they were mapped in may round up to more than there are.
  const handedBack = config.blockPages - blocks.free[block] - blocks.usedPages[block];
  blocks.dirty[block] = Math.min(blocks.dirty[block] + count, handedBack);
  const dirty = blocks.dirty[block];
  const start = areas.startOf(blocks.area[block]);
  state.events?.vbFree(address, order, start, blocks.free[block], dirty, blocks.cpu[block]);
  lock.release();
  if (dirty === config.blockPages) yield* freeVmapBlock(state, block);
}

/** log2 of `pages` rounded up to a power of two (`get_order`). */
function orderOf(pages: number): number {
  return pages <= 1 ? 0 : 32 - Math.clz32(pages - 1);
}

/** A new block for the current CPU, with its first allocation already made. */
function* newVmapBlock(state: Vmalloc, pages: number, order: number, gfp: number): KernelCode<number> {
  const { blocks, areas, loop, blockBytes } = state;
  if (state.faults.fails("vmapBlock")) return -ENOMEM;
  const flags = VMAP_RAM | VMAP_BLOCK;
  const area = yield* allocVmapArea(state, blockBytes, blockBytes, VMALLOC_START, VMALLOC_END, gfp, flags, 0);
  if (area < 0) return area;
  const start = areas.startOf(area);
  const cpu = loop.currentCpu;
  if (state.faults.fails("blockIndex")) {
    // Nothing was ever mapped there: no flush is owed, and the room is free at once (`free_vmap_area`).
    yield* findUnlinkVmapArea(state, start, isVmapBlock);
    if (!state.freeTreeLock.tryTake()) yield* state.freeTreeLock.take();
    state.freeTree.giveBack(area);
    state.freeTreeLock.release();
    return -ENOMEM;
  }
  const block = blocks.make(area, cpu);
  blocks.free[block] -= 1 << order;
  blocks.markUsed(block, 0, pages, true, 1 << order);
  blocks.index[state.blockHashOf(start)].set(start, block);
  const queueLock = blocks.queueLocks[cpu];
  if (!queueLock.tryTake()) yield* queueLock.take();
  blocks.enqueue(block);
  queueLock.release();
  state.events?.newBlock(start, areas.endOf(area), cpu, order);
  return start;
}

const isVmapBlock: AreaTest = ({ areas }, area, address) =>
  (areas.flagsOf(area) & VMAP_BLOCK) !== 0 && areas.startOf(area) === address;
