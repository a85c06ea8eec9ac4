/** How vm_map_ram fills a vmap block, and why dirty pages wait. */
import type { Story } from "./story.ts";

export const vmapBlocks: Story = {
  name: "vmap-blocks",
  title: "vm_map_ram fills a block",
  summary:
    "Small mappings share a block of their CPU; what is given back is not used again before the block is purged.",
  machine: { cpus: 2, memoryBytes: 2 ** 28 },
  steps: (kernel) => {
    const mapped: { address: number; frames: Uint32Array }[] = [];
    const map = (pages: number, cpu: number) => {
      kernel.currentCpu = cpu;
      const frames = kernel.allocFrames(pages);
      const address = kernel.vmMapRam(frames);
      kernel.machine.cpus[cpu].store(address, 4, pages);
      mapped.push({ address, frames });
      kernel.currentCpu = 0;
      return { found: `${pages} pages at 0xffff${address.toString(16)}`, view: "space" as const, address, cpu };
    };
    const unmap = () => {
      const { address, frames } = mapped.shift() ?? { address: 0, frames: new Uint32Array(0) };
      kernel.vmUnmapRam(address, frames.length);
      kernel.freeFrames(frames);
      return { found: `${frames.length} pages given back`, view: "space" as const, address, cpu: 0 };
    };
    return [
      {
        title: "CPU 0 maps 3 pages",
        text: "There is no block yet, so one is made: an area whose pages are handed out in powers of two. Three pages take four.",
        act: () => map(3, 0),
      },
      {
        title: "CPU 0 maps 2 more",
        text: "They lie beside the first, in the same block. No tree is searched, no lock but the block's is taken.",
        act: () => map(2, 0),
      },
      {
        title: "CPU 1 maps 2 pages",
        text: "Each CPU has blocks of its own, so that CPUs do not wait for each other.",
        act: () => map(2, 1),
      },
      {
        title: "CPU 0 gives the first back",
        text: "The entries are cleared; the pages are dirty: unmapped, but TLBs may still have them. CPU 0 does have a stale entry now.",
        act: unmap,
      },
      {
        title: "CPU 0 maps 3 pages again",
        text: "Dirty pages are not used again: the new mapping takes pages that were never handed out.",
        act: () => map(3, 0),
      },
      {
        title: "vm_unmap_aliases",
        text: "The dirty ranges of all blocks are flushed in one go. Pages that were given back are still not handed out: only a block that is all free or dirty goes, and then as a whole.",
        act: () => {
          kernel.vmUnmapAliases();
          return { found: "the dirty pages are flushed", view: "time", address: mapped[0].address, cpu: 0 };
        },
      },
    ];
  },
};
