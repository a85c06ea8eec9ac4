import { describe } from "vitest";
import { busyArea, caught, shown, type VariedKernel, writeEntry } from "./verify-state.ts";

const PAGE = 4096;

/** The block that holds an address. */
function blockAt({ kernel, inBlock }: VariedKernel): number {
  const { blocks } = kernel.vm;
  for (const index of blocks.index) {
    for (const [start, block] of index) if (inBlock >= start && inBlock < start + kernel.vm.blockBytes) return block;
  }
  throw new Error("no block");
}

describe("verify finds what is wrong with vmap blocks", () => {
  caught([
    [
      "a page mapped but not in use",
      (state) => {
        const { kernel, inBlock } = state;
        kernel.vm.blocks.markUsed(blockAt(state), 4, 1, false);
        return `page 4 at ${shown(inBlock)} is mapped, but not in use`;
      },
    ],
    [
      "a page in use but not mapped",
      ({ kernel, inBlock }) => {
        writeEntry(kernel, inBlock + PAGE, 1, 0, 0);
        return `page 5 at ${shown(inBlock + PAGE)} is in use, but not mapped`;
      },
    ],
    [
      "a wrong count of free pages",
      (state) => {
        state.kernel.vm.blocks.free[blockAt(state)] += 8;
        return "page 4 is in use, but only 4 were handed out";
      },
    ],
    [
      "a wrong count of dirty pages",
      (state) => {
        state.kernel.vm.blocks.dirty[blockAt(state)] += 4;
        return "5 pages in use and 8 dirty, but 12 were handed out";
      },
    ],
    [
      "a wrong count of pages in use",
      (state) => {
        state.kernel.vm.blocks.usedPages[blockAt(state)]--;
        return "usedPages is 4, but its bitmap has 5 pages in use";
      },
    ],
    [
      "a wrong dirty range",
      (state) => {
        state.kernel.vm.blocks.dirtyMax[blockAt(state)] = 64;
        return "dirty range 0 to 64, but 12 pages were handed out";
      },
    ],
    [
      "a block with room that is on no queue",
      (state) => {
        state.kernel.vm.blocks.dequeue(blockAt(state));
        return "bytes free, but is on no queue";
      },
    ],
    [
      "a block on another CPU's queue",
      (state) => {
        const { blocks } = state.kernel.vm;
        blocks.cpu[blockAt(state)] = 3;
        return "of CPU 3 is on the queue of CPU 1";
      },
    ],
    [
      "a block that is not filed",
      (state) => {
        const { blocks, areas } = state.kernel.vm;
        const block = blockAt(state);
        const start = areas.startOf(blocks.area[block]);
        for (const index of blocks.index) index.delete(start);
        return `busy area ${shown(start)}-${shown(start + state.kernel.vm.blockBytes)} has VMAP_BLOCK, but no vmap block`;
      },
    ],
    [
      "a block filed under another CPU",
      (state) => {
        const { blocks, areas } = state.kernel.vm;
        const block = blockAt(state);
        const start = areas.startOf(blocks.area[block]);
        const hash = blocks.index.findIndex((index) => index.has(start));
        blocks.index[hash].delete(start);
        blocks.index[(hash + 1) % 4].set(start, block);
        return `the vmap block at ${shown(start)} is filed under CPU ${(hash + 1) % 4}, not ${hash}`;
      },
    ],
    [
      "a block that nobody has",
      (state) => {
        state.kernel.vm.blocks.make(busyArea(state.kernel, state.inBlock), 0);
        return "2 vmap blocks are in use, but 1 are filed";
      },
    ],
  ]);
});
