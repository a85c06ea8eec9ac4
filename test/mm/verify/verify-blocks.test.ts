import { describe, expect, it } from "vitest";
import { busyArea, caught, shown, type VariedKernel, variedKernel, writeEntry } from "./verify-state.ts";

const PAGE = 4096;

/** The block that holds an address. */
function blockAt({ kernel, inBlock }: VariedKernel): number {
  const { blocks } = kernel.vm;
  for (const index of blocks.index) {
    for (const [start, block] of index) if (inBlock >= start && inBlock < start + kernel.vm.blockBytes) return block;
  }
  throw new Error("no block");
}

function pagesOf({ kernel }: VariedKernel): number {
  return kernel.vm.config.blockPages;
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
      "fewer free pages than none",
      (state) => {
        state.kernel.vm.blocks.free[blockAt(state)] = -1;
        return `-1 pages free of ${pagesOf(state)}`;
      },
    ],
    [
      "more free pages than a block has",
      (state) => {
        state.kernel.vm.blocks.free[blockAt(state)] = pagesOf(state) + 1;
        return `${pagesOf(state) + 1} pages free of ${pagesOf(state)}`;
      },
    ],
    [
      "one page in use that was not handed out",
      (state) => {
        // Pages 0 to 3 and 4 to 11 were handed out, and of these the last three were only rounded up to.
        state.kernel.vm.blocks.free[blockAt(state)] += 4;
        return "page 8 is in use, but only 8 were handed out";
      },
    ],
    [
      "one dirty page too many",
      (state) => {
        state.kernel.vm.blocks.dirty[blockAt(state)] = 8;
        return "5 pages in use and 8 dirty, but 12 were handed out";
      },
    ],
    [
      "fewer dirty pages than none",
      (state) => {
        state.kernel.vm.blocks.dirty[blockAt(state)] = -1;
        return "5 pages in use and -1 dirty, but 12 were handed out";
      },
    ],
    [
      "a block that is wholly dirty and was not freed",
      (state) => {
        state.kernel.vm.blocks.dirty[blockAt(state)] = pagesOf(state);
        return `all ${pagesOf(state)} pages are dirty, but it was not freed`;
      },
    ],
    [
      "a dirty range that ends one page too late",
      (state) => {
        state.kernel.vm.blocks.dirtyMax[blockAt(state)] = 13;
        return "dirty range 0 to 13, but 12 pages were handed out";
      },
    ],
    [
      "a dirty range that begins before the block",
      (state) => {
        state.kernel.vm.blocks.dirtyMin[blockAt(state)] = -1;
        return "dirty range -1 to";
      },
    ],
    [
      "a dirty range without a page",
      (state) => {
        const { blocks } = state.kernel.vm;
        blocks.dirtyMin[blockAt(state)] = blocks.dirtyMax[blockAt(state)];
        return "dirty range 4 to 4, but 12 pages were handed out";
      },
    ],
    [
      "a dirty range of a block in which nothing is dirty",
      (state) => {
        state.kernel.vm.blocks.dirty[blockAt(state)] = 0;
        return "dirty range 0 to 4, but no page is dirty";
      },
    ],
    [
      "a queue that runs in a circle",
      (state) => {
        const { blocks } = state.kernel.vm;
        blocks.next[blockAt(state)] = blockAt(state);
        return "is queued twice";
      },
    ],
    [
      "a queue whose links disagree",
      (state) => {
        const { blocks } = state.kernel.vm;
        blocks.previous[blockAt(state)] = 7;
        return "the queue's links disagree";
      },
    ],
    [
      "a queue that ends elsewhere than it says",
      (state) => {
        const { blocks } = state.kernel.vm;
        blocks.queueTail[blocks.cpu[blockAt(state)]] = 0;
        return "the queue of CPU 1 does not end at its last block";
      },
    ],
    [
      "a full block on a queue",
      (state) => {
        state.kernel.vm.blocks.free[blockAt(state)] = 0;
        return "is on the queue of CPU 1, but has no free page";
      },
    ],
    [
      "a block filed at another address",
      (state) => {
        const { blocks } = state.kernel.vm;
        const block = blockAt(state);
        const hash = blocks.index.findIndex((index) => [...index.values()].includes(block));
        const start = state.kernel.vm.areas.startOf(blocks.area[block]);
        blocks.index[hash].delete(start);
        blocks.index[hash].set(start + 4 * state.kernel.vm.blockBytes, block);
        return `the vmap block filed at ${shown(start + 4 * state.kernel.vm.blockBytes)} is of area`;
      },
    ],
    [
      "a block that is filed twice",
      (state) => {
        const { blocks } = state.kernel.vm;
        const block = blockAt(state);
        const start = state.kernel.vm.areas.startOf(blocks.area[block]);
        blocks.index[(blocks.index.findIndex((index) => index.has(start)) + 1) % 4].set(start, block);
        return "is filed twice";
      },
    ],
    [
      "a block over an area that is none of a block",
      (state) => {
        const { kernel, inBlock } = state;
        kernel.vm.areas.setFlags(busyArea(kernel, inBlock), 1);
        return "which is no busy block area";
      },
    ],
    [
      "a block that is one page short",
      (state) => {
        const { kernel, inBlock } = state;
        const area = busyArea(kernel, inBlock);
        kernel.vm.areas.end[area] -= PAGE;
        return `is not an aligned range of ${kernel.vm.blockBytes} bytes`;
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

describe("verify accepts vmap blocks", () => {
  it("whose dirty pages and dirty range go up to what was handed out", () => {
    const state = variedKernel();
    const { blocks } = state.kernel.vm;
    blocks.dirty[blockAt(state)] = 7;
    blocks.dirtyMax[blockAt(state)] = 12;
    expect(state.kernel.verify()).toEqual([]);
  });
});
