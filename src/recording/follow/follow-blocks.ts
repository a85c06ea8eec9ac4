/** vmap blocks, event by event. */
import { PAGE_SIZE } from "../../../arch/isa/linear-address.ts";
import { ADDRESS_MAX } from "../../../mm/index.ts";
import { addressOf, type FollowedEvent, numberOf } from "./followed-event.ts";
import { type Following, hex } from "./following.ts";
import { beginFree } from "./lazy-count.ts";

/** The block that begins at an address, or 0. */
function blockAt({ state }: Following, start: number): number {
  return state.blocks.index[state.addrToVbXa(start)].get(start) ?? 0;
}

/** A block was made over the area that was found for it. */
export function followNewBlock(following: Following, event: FollowedEvent): void {
  const { state, findings } = following;
  const { blocks, config } = state;
  const start = addressOf(event, "start");
  const area = state.addrToNode(start).busy.findStart(start);
  if (area === 0 || start % state.blockBytes !== 0) {
    findings.mismatch(event, "no area for a block is there");
    return;
  }
  findings.compare(event, { end: hex(state.areas.endOf(area)), cpu: event.cpu });
  const block = blocks.make(area, event.cpu);
  blocks.free[block] = config.blockPages - (1 << numberOf(event, "order"));
  blocks.index[state.addrToVbXa(start)].set(start, block);
  blocks.enqueue(block);
}

/** Room was taken out of the first block of the CPU's queue that has enough. */
export function followVbAlloc(following: Following, event: FollowedEvent): void {
  const { state, findings } = following;
  const { blocks, areas, config } = state;
  const pages = 1 << numberOf(event, "order");
  let block = blocks.queueHead[event.cpu];
  while (block !== 0 && blocks.free[block] < pages) block = blocks.next[block];
  if (block === 0) {
    findings.mismatch(event, "no block of this CPU has room");
    return;
  }
  const start = areas.startOf(blocks.area[block]);
  const address = start + (config.blockPages - blocks.free[block]) * PAGE_SIZE;
  blocks.free[block] -= pages;
  findings.compare(event, {
    addr: hex(address),
    block: hex(start),
    free: blocks.free[block],
    dirty: blocks.dirty[block],
    cpu: blocks.cpu[block],
  });
  if (blocks.free[block] === 0) blocks.dequeue(block);
}

/** Room was given back to its block. */
export function followVbFree(following: Following, event: FollowedEvent): void {
  const { state, findings } = following;
  const { blocks, config } = state;
  const start = addressOf(event, "block");
  const block = blockAt(following, start);
  if (block === 0) {
    findings.mismatch(event, "no block is there");
    return;
  }
  const first = (addressOf(event, "addr") - start) / PAGE_SIZE;
  const pages = 1 << numberOf(event, "order");
  blocks.dirtyMin[block] = Math.min(blocks.dirtyMin[block], first);
  blocks.dirtyMax[block] = Math.max(blocks.dirtyMax[block], first + pages);
  blocks.dirty[block] += pages;
  findings.compare(event, { free: blocks.free[block], dirty: blocks.dirty[block], cpu: blocks.cpu[block] });
  if (blocks.dirty[block] === config.blockPages) {
    following.cpus[event.cpu].due.push({ ev: "free_block", fields: { start: hex(start) }, start: 0, end: 0 });
  }
}

/** A block that is wholly dirty is unlinked; its area is freed next. */
export function followFreeBlock(following: Following, event: FollowedEvent): void {
  const { state, findings } = following;
  const { blocks, areas, config } = state;
  const start = addressOf(event, "start");
  const block = blockAt(following, start);
  if (block === 0 || blocks.dirty[block] !== config.blockPages) {
    findings.mismatch(event, "no wholly dirty block is there");
    return;
  }
  const area = blocks.area[block];
  const end = areas.endOf(area);
  findings.compare(event, { end: hex(end), cpu: blocks.cpu[block] });
  blocks.removeFromIndex(state.addrToVbXa(start), start);
  blocks.release(block);
  beginFree(following, event.cpu, area);
  following.cpus[event.cpu].due.push({ ev: "free", fields: { addr: hex(start), end: hex(end) }, start: 0, end: 0 });
}

/** A fragmented block is taken out of use. */
export function followPurgeFrag(following: Following, event: FollowedEvent): void {
  const { state, findings } = following;
  const { blocks, config, version } = state;
  const block = blockAt(following, addressOf(event, "start"));
  const [free, dirty] = [blocks.free[block], blocks.dirty[block]];
  const force = numberOf(event, "force") === 1;
  const isFew = force || !version.blocks.hasPurgeThreshold || free < config.purgeThresholdPages;
  if (block === 0 || free + dirty !== config.blockPages || dirty === config.blockPages || !isFew) {
    findings.mismatch(event, block === 0 ? "no block is there" : `the block has ${free} free and ${dirty} dirty pages`);
    if (block === 0) return;
  }
  findings.compare(event, { free, dirty, cpu: blocks.cpu[block] });
  blocks.free[block] = 0;
  blocks.dirty[block] = config.blockPages;
  blocks.dirtyMin[block] = 0;
  blocks.dirtyMax[block] = config.blockPages;
  blocks.dequeue(block);
}

/** `vm_unmap_aliases` has looked at the blocks. */
export function followAliases(following: Following, event: FollowedEvent): void {
  const { state, findings } = following;
  const { blocks, areas, config, version } = state;
  let [start, end, flush] = [ADDRESS_MAX, 0, false];
  for (const block of blocks.index.flatMap((index) => [...index.values()])) {
    const isSeen = version.blocks.aliasesScan === "all" ? blocks.dirtyMax[block] > 0 : blocks.isQueued(block);
    if (!isSeen || blocks.dirty[block] === 0 || blocks.dirty[block] === config.blockPages) continue;
    const base = areas.startOf(blocks.area[block]);
    start = Math.min(start, base + blocks.dirtyMin[block] * PAGE_SIZE);
    end = Math.max(end, base + blocks.dirtyMax[block] * PAGE_SIZE);
    flush = true;
    if (version.blocks.aliasesScan !== "all") continue;
    blocks.dirtyMin[block] = config.blockPages;
    blocks.dirtyMax[block] = 0;
  }
  findings.compare(event, { start: hex(start), end: hex(end), flush: Number(flush) });
  following.cpus[event.cpu].aliases = {
    start: addressOf(event, "start"),
    end: addressOf(event, "end"),
    flush: numberOf(event, "flush") === 1,
  };
}
