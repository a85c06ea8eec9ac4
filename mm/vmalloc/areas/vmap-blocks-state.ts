/** vmap blocks, their queues and locks, for saved states. */
import { checkState } from "../../../arch/isa/state-error.ts";
import { captureLocks, type LocksState, restoreLocks } from "../../kernel/locks-state.ts";
import type { KmemCaches } from "../../slab/kmem-caches.ts";
import type { VmapBlocks } from "./vmap-blocks.ts";

/** A row a block in use, and further lists as said. */
export interface VmapBlocksState {
  /** The row of its area among the busy areas. */
  readonly area: Uint32Array;
  /** The CPU that allocates from it, and the CPU under whose hash it is filed. */
  readonly cpu: Uint16Array;
  readonly hash: Uint16Array;
  /** Its object of its slab cache, 0 for none; absent in older files. */
  readonly object?: Int32Array | undefined;
  /** Pages never handed out, and pages that came back. */
  readonly free: Int32Array;
  readonly dirty: Int32Array;
  /** The range of dirty pages: from the first to one past the last. */
  readonly dirtyMin: Int32Array;
  readonly dirtyMax: Int32Array;
  /** A bit a page, a block's words after the other's: mapped pages, and those with what requests were rounded up by. */
  readonly usedMap: Int32Array;
  readonly roundedMap: Int32Array;
  readonly locks: LocksState;
  /** Rows of the blocks with room, in the order in which they are asked: how many each CPU has, and all of them. */
  readonly queueCounts: Uint32Array;
  readonly queued: Uint32Array;
  readonly queueLocks: LocksState;
  /** Locks of blocks not in use that will be used again, the next one last. */
  readonly spareLocks: LocksState;
}

/**
 * Copies all blocks.
 * @param busyRow the row of a busy area, by its number
 * @throws StateError when a block's lock is held
 */
export function captureVmapBlocks(blocks: VmapBlocks, busyRow: (area: number) => number): VmapBlocksState {
  const filed = blocks.index.flatMap((index, hash) => [...index.values()].map((block) => ({ block, hash })));
  filed.sort((a, b) => a.block - b.block);
  const numbers = filed.map(({ block }) => block);
  const rows = new Map(numbers.map((block, row) => [block, row]));
  const column = (of: Int32Array) => Int32Array.from(numbers, (block) => of[block]);
  const queues = Array.from(blocks.queueHead, (head) => queueFrom(blocks, head));
  const words = blocks.wordsPerBlock;
  const usedMap = new Int32Array(numbers.length * words);
  const roundedMap = new Int32Array(numbers.length * words);
  numbers.forEach((block, row) => {
    const [used, rounded] = blocks.mapsOf(block);
    usedMap.set(used, row * words);
    roundedMap.set(rounded, row * words);
  });
  return {
    area: Uint32Array.from(numbers, (block) => busyRow(blocks.area[block])),
    cpu: Uint16Array.from(numbers, (block) => blocks.cpu[block]),
    hash: Uint16Array.from(filed, ({ hash }) => hash),
    ...(numbers.every((block) => blocks.object[block] === 0) ? {} : { object: column(blocks.object) }),
    free: column(blocks.free),
    dirty: column(blocks.dirty),
    dirtyMin: column(blocks.dirtyMin),
    dirtyMax: column(blocks.dirtyMax),
    usedMap,
    roundedMap,
    locks: captureLocks(numbers.map((block) => blocks.locks[block])),
    queueCounts: Uint32Array.from(queues, (queue) => queue.length),
    queued: Uint32Array.from(queues.flat(), (block) => rows.get(block) ?? 0),
    queueLocks: captureLocks(blocks.queueLocks),
    spareLocks: captureLocks(blocks.spareLocks()),
  };
}

/**
 * Makes all blocks of a captured state, where there are none yet.
 * @param busyNumbers numbers of the busy areas, by row
 * @param startOf where an area begins
 * @throws StateError for an area, a CPU or a block that there is not
 */
export function restoreVmapBlocks(
  blocks: VmapBlocks,
  slabs: KmemCaches,
  state: VmapBlocksState,
  busyNumbers: Int32Array,
  startOf: (area: number) => number,
): void {
  const words = blocks.wordsPerBlock;
  const cpus = blocks.queueHead.length;
  const mapWords = state.area.length * words;
  const areMaps = state.usedMap.length === mapWords && state.roundedMap.length === mapWords;
  const queued = state.queueCounts.reduce((sum, blocksOfCpu) => sum + blocksOfCpu, 0);
  const isComplete = areMaps && state.queueCounts.length === cpus && state.queued.length === queued;
  checkState("vmap blocks", isComplete, "are of another size, or those of other CPUs");
  const numbers = Array.from(state.area, (areaRow, row) => {
    const [cpu, hash] = [state.cpu[row], state.hash[row]];
    const exists = areaRow < busyNumbers.length && cpu < cpus && hash < cpus;
    checkState("vmap blocks", exists, `name area ${areaRow}, CPU ${cpu} or hash ${hash}, which is not there`);
    const area = busyNumbers[areaRow];
    const block = blocks.make(area, cpu);
    const object = state.object?.[row] ?? 0;
    checkState("vmap blocks", object === 0 || slabs.vmapBlock.hasObject(object), `name the object ${object}`);
    blocks.object[block] = object;
    blocks.free[block] = state.free[row];
    blocks.dirty[block] = state.dirty[row];
    blocks.dirtyMin[block] = state.dirtyMin[row];
    blocks.dirtyMax[block] = state.dirtyMax[row];
    const [first, end] = [row * words, (row + 1) * words];
    blocks.setMaps(block, state.usedMap.subarray(first, end), state.roundedMap.subarray(first, end));
    blocks.index[hash].set(startOf(area), block);
    return block;
  });
  for (const row of state.queued) {
    checkState("vmap blocks", row < numbers.length, `have no block ${row}`);
    blocks.enqueue(numbers[row]);
  }
  restoreLocks(
    numbers.map((block) => blocks.locks[block]),
    state.locks,
  );
  restoreLocks(blocks.queueLocks, state.queueLocks);
  restoreLocks(blocks.addSpare(state.spareLocks.lastCpu.length), state.spareLocks);
}

function queueFrom(blocks: VmapBlocks, head: number): number[] {
  const queue: number[] = [];
  for (let block = head; block !== 0; block = blocks.next[block]) queue.push(block);
  return queue;
}
