/** Checks vmap blocks: their areas, index, queues and counts. Bitmaps against page tables: `verify-mappings.ts`. */
import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import { VMAP_BLOCK } from "../vmalloc/areas/vmap-areas.ts";
import type { Vmalloc } from "../vmalloc/vmalloc-state.ts";
import type { AreaCensus } from "./verify-areas.ts";
import { address, areaRange, type Findings } from "./verify-findings.ts";

/** Checks all blocks; returns the block of each block area. */
export function verifyBlocks(state: Vmalloc, census: AreaCensus, findings: Findings): Map<number, number> {
  const { areas, blocks } = state;
  const blockOf = new Map<number, number>();
  for (let hash = 0; hash < blocks.index.length; hash++) {
    for (const [start, block] of blocks.index[hash]) {
      const area = blocks.area[block];
      const own = hashOf(state, start);
      if (own !== hash) findings.add(`the vmap block at ${address(start)} is filed under CPU ${hash}, not ${own}`);
      if (areas.startOf(area) !== start) {
        findings.add(`the vmap block filed at ${address(start)} is of area ${areaRange(areas, area)}`);
      }
      if (blockOf.has(area)) findings.add(`the vmap block of ${areaRange(areas, area)} is filed twice`);
      blockOf.set(area, block);
    }
  }
  const blockAreas = census.busy.filter((area) => (areas.flagsOf(area) & VMAP_BLOCK) !== 0);
  for (const area of blockAreas) {
    const range = areaRange(areas, area);
    if (!blockOf.has(area)) findings.add(`busy area ${range} has VMAP_BLOCK, but no vmap block is filed for it`);
    const sizeBytes = areas.endOf(area) - areas.startOf(area);
    if (sizeBytes !== state.blockBytes || areas.startOf(area) % state.blockBytes !== 0) {
      findings.add(`vmap block ${range} is not an aligned range of ${state.blockBytes} bytes`);
    }
  }
  const isBusyBlock = new Set(blockAreas);
  for (const [area, block] of blockOf) {
    if (!isBusyBlock.has(area)) {
      findings.add(`a vmap block is filed for ${areaRange(areas, area)}, which is no busy block area`);
    }
    verifyCounts(state, block, findings);
  }
  if (blocks.liveCount !== blockOf.size) {
    findings.add(`${blocks.liveCount} vmap blocks are in use, but ${blockOf.size} are filed`);
  }
  verifyQueues(state, blockOf, findings);
  return blockOf;
}

function hashOf(state: Vmalloc, start: number): number {
  if (!state.version.blocks.filedByCpu) return 0;
  const address64 = BigInt(start) + (0xffffn << 48n);
  return Number((address64 / BigInt(state.blockBytes)) % BigInt(state.config.possibleCpus));
}

function verifyCounts(state: Vmalloc, block: number, findings: Findings): void {
  const { blocks, config, areas } = state;
  const name = `vmap block ${areaRange(areas, blocks.area[block])}`;
  const pages = config.blockPages;
  const [free, dirty] = [blocks.free[block], blocks.dirty[block]];
  if (free < 0 || free > pages) findings.add(`${name}: ${free} pages free of ${pages}`);
  const handedOut = pages - free;
  let used = 0;
  for (let page = 0; page < pages; page++) {
    if (!blocks.isUsed(block, page)) continue;
    used++;
    if (page >= handedOut) findings.add(`${name}: page ${page} is in use, but only ${handedOut} were handed out`);
  }
  if (used !== blocks.usedPages[block]) {
    findings.add(`${name}: usedPages is ${blocks.usedPages[block]}, but its bitmap has ${used} pages in use`);
  }
  if (dirty < 0 || dirty + used > handedOut) {
    findings.add(`${name}: ${used} pages in use and ${dirty} dirty, but ${handedOut} were handed out`);
  }
  if (dirty === pages) findings.add(`${name}: all ${pages} pages are dirty, but it was not freed`);
  const [low, high] = [blocks.dirtyMin[block], blocks.dirtyMax[block]];
  const isEmpty = low === pages && high === 0;
  if (!isEmpty && !(low >= 0 && low < high && high <= handedOut)) {
    findings.add(`${name}: dirty range ${low} to ${high}, but ${handedOut} pages were handed out`);
  }
  if (!isEmpty && dirty === 0) findings.add(`${name}: dirty range ${low} to ${high}, but no page is dirty`);
}

/** Blocks with free pages are on the queue of their CPU, others on none. */
function verifyQueues(state: Vmalloc, blockOf: ReadonlyMap<number, number>, findings: Findings): void {
  const { blocks, areas } = state;
  const filed = new Set(blockOf.values());
  const queued = new Set<number>();
  for (let cpu = 0; cpu < blocks.queueHead.length; cpu++) {
    let before = 0;
    for (let block = blocks.queueHead[cpu]; block !== 0; before = block, block = blocks.next[block]) {
      const name = `vmap block ${areaRange(areas, blocks.area[block])}`;
      if (queued.has(block)) {
        findings.add(`${name} is queued twice`);
        break;
      }
      queued.add(block);
      if (!filed.has(block)) findings.add(`${name} is on the queue of CPU ${cpu}, but not filed`);
      if (blocks.cpu[block] !== cpu) findings.add(`${name} of CPU ${blocks.cpu[block]} is on the queue of CPU ${cpu}`);
      if (blocks.previous[block] !== before) findings.add(`${name}: the queue's links disagree`);
      if (blocks.free[block] === 0) findings.add(`${name} is on the queue of CPU ${cpu}, but has no free page`);
    }
    if (blocks.queueTail[cpu] !== before) findings.add(`the queue of CPU ${cpu} does not end at its last block`);
  }
  for (const block of filed) {
    if (blocks.free[block] > 0 && !queued.has(block)) {
      const bytes = blocks.free[block] * PAGE_SIZE;
      findings.add(`vmap block ${areaRange(areas, blocks.area[block])} has ${bytes} bytes free, but is on no queue`);
    }
  }
}
