/**
 * vmap blocks: each CPU cuts up blocks of address space for small `vm_map_ram` requests (`vb_alloc`, `vb_free`,
 * `new_vmap_block`). Room that was given back is not used again before the whole block has been purged.
 */

import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import type { OwedFlush } from "../flush/owed-flush.ts";
import { flushTlbKernelRange } from "../flush/tlb-flush.ts";
import { afterCall, afterLock, type Blocking, DONE, ready, wait } from "../kernel/blocking.ts";
import { ENOMEM } from "../lib/errno.ts";
import { formatRange } from "../lib/kernel-log.ts";
import { VMALLOC_RANGE } from "../lib/memory-layout.ts";
import { allocVmapArea } from "./alloc-vmap-area.ts";
import { VMAP_BLOCK, VMAP_RAM } from "./areas/vmap-areas.ts";
import { freeVmapArea } from "./free-vmap-area.ts";
import type { Vmalloc } from "./vmalloc-state.ts";
import { freeVmapBlock } from "./vmap-block-purge.ts";

/** Room for `pages` (1 to 64) pages in a block of the current CPU: an address, or a negative errno (`vb_alloc`). */
export function vbAlloc(state: Vmalloc, pages: number, gfp: number): Blocking<number> {
  const { blocks } = state;
  const order = getOrder(pages);
  const count = 1 << order;
  const cpu = state.loop.currentCpu;
  let block = blocks.queueHead[cpu];
  while (block !== 0 && blocks.free[block] < count) block = blocks.next[block];
  if (block === 0) return newVmapBlock(state, pages, order, gfp);
  return afterLock(blocks.locks[block], allocFromBlock, state, block, cpu, pages, gfp);
}

/** Takes room in a block whose lock is held, and releases the lock. A block that is full then leaves its queue. */
function allocFromBlock(state: Vmalloc, block: number, cpu: number, pages: number, gfp: number): Blocking<number> {
  const { blocks, areas, config } = state;
  blocks.assertBlockHeld(block);
  const order = getOrder(pages);
  // While the lock was waited for, a purge may have taken the block, and it may even serve another CPU by now.
  if (blocks.cpu[block] !== cpu || !blocks.isQueued(block) || blocks.free[block] < 1 << order) {
    blocks.locks[block].release();
    return vbAlloc(state, pages, gfp);
  }
  const first = config.blockPages - blocks.free[block];
  const start = areas.start[blocks.area[block]];
  const left = blocks.free[block] - (1 << order);
  blocks.free[block] = left;
  blocks.markUsed(block, first, pages, true, 1 << order);
  const address = start + first * PAGE_SIZE;
  state.events?.vbAlloc(address, order, start, left, blocks.dirty[block], cpu);
  if (left === 0) return afterLock(blocks.queueLocks[cpu], dequeueFull, state, block, address);
  blocks.locks[block].release();
  return ready(address);
}

/** Takes a full block, whose lock is held, off its queue, whose lock is held; releases both. */
function dequeueFull({ blocks }: Vmalloc, block: number, address: number): Blocking<number> {
  blocks.dequeue(block);
  blocks.queueLocks[blocks.cpu[block]].release();
  blocks.locks[block].release();
  return ready(address);
}

/**
 * Unmaps `pages` pages at `address` and gives them back to their block (`vb_free`). An address that is in no block, or pages
 * that cannot be one mapping (some are not in use, or one in use lies in the room that it was rounded up to), are warned of
 * once and left alone.
 */
export function vbFree(state: Vmalloc, address: number, pages: number): Blocking<void> {
  const { blocks } = state;
  const block = blocks.lastContaining(address) || findBlock(state, address);
  if (block === 0) {
    state.log.warnOnce(
      "vb_free",
      `vm_unmap_ram of ${formatRange(address, address + pages * PAGE_SIZE)}: no such block`,
    );
    return DONE;
  }
  const first = (address - state.areas.start[blocks.area[block]]) / PAGE_SIZE;
  return afterLock(blocks.locks[block], unmapFromBlock, state, block, first, address, pages);
}

/** The block that contains `address`, or 0 (`addr_to_vb_xa`, `addr_to_vb_idx`). */
function findBlock(state: Vmalloc, address: number): number {
  const { blocks, blockBytes } = state;
  return blocks.blockAt(state.addrToVbXa(address), Math.floor(address / blockBytes) * blockBytes);
}

/** Unmaps pages of a block whose lock is held; the lock is released meanwhile, and at the end. */
function unmapFromBlock(state: Vmalloc, block: number, first: number, address: number, pages: number): Blocking<void> {
  const { blocks, config } = state;
  blocks.assertBlockHeld(block);
  const lock = blocks.locks[block];
  const count = 1 << getOrder(pages);
  const isMapping =
    first + count <= config.blockPages - blocks.free[block] &&
    blocks.countUsed(block, first, pages) === pages &&
    blocks.countUsed(block, first + pages, count - pages) === 0;
  if (!isMapping) {
    lock.release();
    state.log.warnOnce("vb_free", `vm_unmap_ram of ${formatRange(address, address + pages * PAGE_SIZE)}: not mapped`);
    return DONE;
  }
  blocks.markUsed(block, first, pages, false, count);
  lock.release();
  state.loop.point("vb_free: no longer in use");
  const owed = state.tables.vunmapRangeNoflush(address, address + pages * PAGE_SIZE);
  state.mm.spendOnEntries(address, address + pages * PAGE_SIZE);
  if (!state.flushing.isEager) return afterLock(lock, giveBackToBlock, state, block, first, pages, owed);
  return flushAndGiveBack(state, block, first, pages, owed);
}

function* flushAndGiveBack(
  state: Vmalloc,
  block: number,
  first: number,
  pages: number,
  owed: OwedFlush,
): KernelCode<void> {
  const { owed: debts } = state.tables;
  yield* flushTlbKernelRange(state.flushing, debts.startOf(owed), debts.endOf(owed), "vunmap");
  yield* wait(afterLock(state.blocks.locks[block], giveBackToBlock, state, block, first, pages, owed));
}

/**
 * Counts unmapped pages of a block, whose lock is held, as dirty, and releases the lock; a wholly dirty block is freed. The block
 * keeps the flush that is owed for them.
 */
function giveBackToBlock(state: Vmalloc, block: number, first: number, pages: number, owed: OwedFlush): Blocking<void> {
  const { blocks, areas, config } = state;
  blocks.assertBlockHeld(block);
  const order = getOrder(pages);
  const count = 1 << order;
  if (first < blocks.dirtyMin[block]) blocks.dirtyMin[block] = first;
  if (first + count > blocks.dirtyMax[block]) blocks.dirtyMax[block] = first + count;
  // Pages freed in other portions than they were mapped in may round up to more than there are.
  const handedBack = config.blockPages - blocks.free[block] - blocks.usedPages[block];
  const dirty = Math.min(blocks.dirty[block] + count, handedBack);
  blocks.dirty[block] = dirty;
  const start = areas.start[blocks.area[block]];
  const address = start + first * PAGE_SIZE;
  state.tables.owed.settle(owed, address, address + pages * PAGE_SIZE);
  state.flushing.unflushed?.add(address, address + pages * PAGE_SIZE);
  state.events?.vbFree(address, order, start, blocks.free[block], dirty, blocks.cpu[block]);
  blocks.locks[block].release();
  return dirty === config.blockPages ? freeVmapBlock(state, block) : DONE;
}

/** log2 of `pages` rounded up to a power of two (`get_order`). */
function getOrder(pages: number): number {
  return pages <= 1 ? 0 : 32 - Math.clz32(pages - 1);
}

/** A new block for the current CPU, with its first allocation already made (`new_vmap_block`); its address, or a negative errno. */
function newVmapBlock(state: Vmalloc, pages: number, order: number, gfp: number): Blocking<number> {
  const { blockBytes } = state;
  if (state.faults.isArmed && state.faults.fails("vmapBlock")) return ready(-ENOMEM);
  const flags = VMAP_RAM | VMAP_BLOCK;
  const area = allocVmapArea(state, blockBytes, { align: blockBytes, range: VMALLOC_RANGE, gfp }, flags, 0);
  return afterCall(area, makeBlock, state, pages, order);
}

/** Makes an area, or a negative errno, a block of the current CPU. */
function makeBlock(area: number, state: Vmalloc, pages: number, order: number): Blocking<number> {
  if (area < 0) return ready(area);
  if (state.faults.isArmed && state.faults.fails("blockIndex")) return rollBack(state, area);
  const { blocks, areas } = state;
  const cpu = state.loop.currentCpu;
  const start = areas.start[area];
  const block = blocks.make(area, cpu);
  state.loop.spend(state.costs.pages.slabCycles);
  blocks.object[block] = state.slabs.vmapBlock.kmemCacheAlloc();
  blocks.free[block] -= 1 << order;
  blocks.markUsed(block, 0, pages, true, 1 << order);
  blocks.index[state.addrToVbXa(start)].set(start, block);
  return afterLock(blocks.queueLocks[cpu], enqueueBlock, state, block, order);
}

/** A block could not be entered into the index: its area goes back. Returns -ENOMEM. */
function* rollBack(state: Vmalloc, area: number): KernelCode<number> {
  yield* freeVmapArea(state, area);
  return -ENOMEM;
}

/** Puts a new block on its CPU's queue, whose lock is held, and releases the lock; the address of its first allocation. */
function enqueueBlock(state: Vmalloc, block: number, order: number): Blocking<number> {
  const { blocks, areas } = state;
  const cpu = blocks.cpu[block];
  const area = blocks.area[block];
  blocks.enqueue(block);
  blocks.queueLocks[cpu].release();
  state.events?.newBlock(areas.start[area], areas.end[area], cpu, order);
  return ready(areas.start[area]);
}
