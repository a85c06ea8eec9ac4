/** `vm_unmap_aliases`: flushing whatever stale translations lazily freed mappings may have left. */

import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import type { KernelCode } from "../../arch/time/event-loop.ts";
import { flushTlbKernelRange } from "../flush/tlb-flush.ts";
import { probedCode } from "../kernel/call-probes.ts";
import { ADDRESS_MAX } from "../lib/memory-layout.ts";
import { __purgeVmapAreaLazy, takePurgeLock } from "./purge.ts";
import type { Vmalloc } from "./vmalloc-state.ts";
import { freePurgedBlocks, purgeFragmentedBlock, purgeFragmentedBlocksAllcpus } from "./vmap-block-purge.ts";

/**
 * Purges fragmented vmap blocks, collects the dirty ranges of the others, purges all lazily freed areas, and flushes.
 * Afterwards no TLB holds a translation that the page tables do not.
 */
export function vmUnmapAliases(state: Vmalloc): KernelCode<void> {
  const { probes } = state;
  const code = _vmUnmapAliases(state, ADDRESS_MAX, 0, false);
  return probes === null ? code : probedCode(probes, "vm_unmap_aliases", [], code);
}

/**
 * Does what `vmUnmapAliases` does, and flushes a range as well (`_vm_unmap_aliases`).
 * @param flush whether [rangeStart, rangeEnd) has to be flushed even if nothing else has
 */
export function* _vmUnmapAliases(
  state: Vmalloc,
  rangeStart: number,
  rangeEnd: number,
  flush: boolean,
): KernelCode<void> {
  if (state.version.blocks.aliasesScan === "free lists") {
    yield* unmapAliasesOfQueued(state, rangeStart, rangeEnd, flush);
    return;
  }
  const { blocks, areas, config } = state;
  yield* takePurgeLock(state);
  let start = rangeStart;
  let end = rangeEnd;
  let dirtySeen = flush;
  const purged: number[] = [];
  for (let cpu = 0; cpu < config.possibleCpus; cpu++) {
    const addresses = [...blocks.index[cpu].keys()].sort((a, b) => a - b);
    for (const address of addresses) {
      const block = blocks.index[cpu].get(address);
      if (block === undefined) continue;
      if (state.mm.bugs.aliasesSkipFullBlocks && blocks.free[block] === 0) continue;
      const lock = blocks.locks[block];
      if (!lock.tryTake()) yield* lock.take();
      if (yield* purgeFragmentedBlock(state, block, false)) {
        purged.push(block);
      } else if (blocks.dirtyMax[block] > 0 && blocks.dirty[block] !== config.blockPages) {
        const base = areas.startOf(blocks.area[block]);
        start = Math.min(start, base + blocks.dirtyMin[block] * PAGE_SIZE);
        end = Math.max(end, base + blocks.dirtyMax[block] * PAGE_SIZE);
        blocks.dirtyMin[block] = config.blockPages;
        blocks.dirtyMax[block] = 0;
        dirtySeen = true;
      }
      lock.release();
    }
  }
  yield* freePurgedBlocks(state, purged);
  state.events?.aliases(start, end, dirtySeen);
  const anyPurged = yield* __purgeVmapAreaLazy(state, start, end, false, "aliases");
  if (!anyPurged && dirtySeen) yield* flushTlbKernelRange(state.flushing, start, end, "aliases");
  state.purgeLock.release();
}

/**
 * `_vm_unmap_aliases` before Linux 6.4: only blocks with room are looked at, queue by queue, before fragmented ones are purged, and their dirty
 * ranges stay as they are. A block that is used up is on no queue: translations of what was unmapped in it stay in the TLBs.
 */
function* unmapAliasesOfQueued(state: Vmalloc, rangeStart: number, rangeEnd: number, flush: boolean): KernelCode<void> {
  const { blocks, areas, config } = state;
  let start = rangeStart;
  let end = rangeEnd;
  let dirtySeen = flush;
  for (let cpu = 0; cpu < config.possibleCpus; cpu++) {
    for (let block = blocks.queueHead[cpu]; block !== 0; block = blocks.next[block]) {
      const lock = blocks.locks[block];
      if (!lock.tryTake()) yield* lock.take();
      if (blocks.dirty[block] > 0 && blocks.dirty[block] !== config.blockPages) {
        const base = areas.startOf(blocks.area[block]);
        start = Math.min(start, base + blocks.dirtyMin[block] * PAGE_SIZE);
        end = Math.max(end, base + blocks.dirtyMax[block] * PAGE_SIZE);
        dirtySeen = true;
      }
      lock.release();
    }
  }
  yield* takePurgeLock(state);
  yield* purgeFragmentedBlocksAllcpus(state);
  state.events?.aliases(start, end, dirtySeen);
  const anyPurged = yield* __purgeVmapAreaLazy(state, start, end, false, "aliases");
  if (!anyPurged && dirtySeen) yield* flushTlbKernelRange(state.flushing, start, end, "aliases");
  state.flushing.unflushed?.forgetRest();
  state.purgeLock.release();
}
