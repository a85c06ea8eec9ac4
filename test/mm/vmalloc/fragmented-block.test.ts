import { describe, expect, it } from "vitest";
import { KERNEL_VERSIONS } from "../../../mm/index.ts";
import { EventCounter } from "../../../src/events/event-counter.ts";
import { bootKernel, type Kernel } from "../../../src/machine/kernel.ts";

const PAGE = 4096;

/** Blocks that were purged for being fragmented: their free and dirty pages. */
class Purged extends EventCounter {
  readonly blocks: [number, number][] = [];
  override purgeFrag(_start?: number, free?: number, dirty?: number): void {
    this.blocks.push([free ?? -1, dirty ?? -1]);
  }
}

/** A kernel with one vmap block of which `used` pages were handed out, and all but `kept` pieces given back. */
function withBlock(version: string, used: number, kept: number): { kernel: Kernel; purged: Purged } {
  const kernel = bootKernel({ cpus: 1, kernel: version, memoryBytes: 2 ** 26 });
  const frames = kernel.allocFrames(64);
  const pieces: [number, number][] = [];
  for (let left = used; left > 0; left -= 64) {
    const pages = Math.min(64, left);
    pieces.push([kernel.vmMapRam(frames.subarray(0, pages)), pages]);
  }
  for (const [address, pages] of pieces.slice(kept)) kernel.vmUnmapRam(address, pages);
  const purged = new Purged();
  kernel.vm.events = purged;
  return { kernel, purged };
}

describe.each(KERNEL_VERSIONS.map(({ name }) => name))("a vmap block that is fragmented (%s)", (version) => {
  const { blocks, purgeThresholdPages, blockPages } = (() => {
    const { vm, mm } = bootKernel({ cpus: 1, kernel: version }) as Kernel;
    return { blocks: mm.version.blocks, ...vm.config };
  })();

  it("is purged by vm_unmap_aliases when all that was handed out has come back and little is left", () => {
    const used = blockPages - 64;
    const { kernel, purged } = withBlock(version, used, 0);
    kernel.vmUnmapAliases();
    expect(purged.blocks).toEqual([[64, used]]);
    expect(kernel.vm.blocks.liveCount).toBe(0);
    expect(kernel.verify()).toEqual([]);
  });

  it("stays while something of it is mapped", () => {
    const { kernel, purged } = withBlock(version, blockPages - 64, 1);
    kernel.vmUnmapAliases();
    expect(purged.blocks).toEqual([]);
    expect(kernel.vm.blocks.liveCount).toBe(1);
  });

  it("stays while much of it is left, where there is a threshold (6.4 on)", () => {
    const { kernel, purged } = withBlock(version, 64, 0);
    kernel.vmUnmapAliases();
    const isPurged = !blocks.hasPurgeThreshold;
    expect(purged.blocks).toEqual(isPurged ? [[blockPages - 64, 64]] : []);
    expect(kernel.vm.blocks.liveCount).toBe(isPurged ? 0 : 1);
    expect(kernel.verify()).toEqual([]);
  });

  it.runIf(blocks.hasPurgeThreshold)("is purged from the threshold on, and not at it", () => {
    const at = (free: number): number => {
      const { kernel, purged } = withBlock(version, blockPages - free, 0);
      kernel.vmUnmapAliases();
      return purged.blocks.length;
    };
    expect(purgeThresholdPages % 64).toBe(0);
    expect([at(purgeThresholdPages), at(purgeThresholdPages - 64)]).toEqual([0, 1]);
  });

  it("goes by itself when its last page comes back", () => {
    const { kernel, purged } = withBlock(version, blockPages, 0);
    expect(kernel.vm.blocks.liveCount).toBe(0);
    kernel.vmUnmapAliases();
    expect(purged.blocks).toEqual([]);
    expect(kernel.verify()).toEqual([]);
  });
});

it("an area of thousands of pages gives each frame back once", () => {
  for (const pages of [1, 1023, 1024, 1025, 1100, 3000]) {
    const kernel = bootKernel({ cpus: 1, memoryBytes: 2 ** 27 });
    kernel.vfree(kernel.vmalloc(pages * PAGE));
    kernel.vmUnmapAliases();
    const before = kernel.pages.freePages;
    kernel.vfree(kernel.vmalloc(pages * PAGE));
    expect(kernel.pages.freePages).toBe(before);
    expect(kernel.verify()).toEqual([]);
  }
});
