import { describe, expect, it } from "vitest";
import { KERNEL_VERSIONS, vmallocToPage } from "../../../mm/index.ts";
import { EventCounter } from "../../../src/events/event-counter.ts";
import { bootKernel, type Kernel } from "../../../src/machine/kernel.ts";

const PAGE = 4096;

function boot(version: string): Kernel {
  return bootKernel({ cpus: 1, kernel: version, memoryBytes: 2 ** 26 });
}

function framesOf({ vm }: Kernel, address: number, pages: number): number[] {
  return Array.from({ length: pages }, (_, i) => vmallocToPage(vm, address + i * PAGE));
}

/** Lengths of the blocks of frames that follow each other and begin where a block of their size may. */
function blocksOf(frames: readonly number[]): number[] {
  const blocks: number[] = [];
  for (let at = 0; at < frames.length; ) {
    let size = 1;
    const fits = (next: number): boolean =>
      at + next <= frames.length &&
      frames[at] % next === 0 &&
      Array.from({ length: next }, (_, i) => frames[at + i] - frames[at]).every((distance, i) => distance === i);
    while (fits(size * 2)) size *= 2;
    blocks.push(size);
    at += size;
  }
  return blocks;
}

describe("vmalloc's frames", () => {
  it("are taken in the largest blocks that fit in 7.3, the last page alone", () => {
    const kernel = boot("7.3");
    for (const [pages, blocks] of [
      [37, [32, 4, 1]],
      [64, [64]],
      [1023, [512, 256, 128, 64, 32, 16, 8, 4, 2, 1]],
      [1500, [1024, 256, 128, 64, 16, 8, 4]],
    ] as const) {
      const address = kernel.vmalloc(pages * PAGE);
      const found = blocksOf(framesOf(kernel, address, pages));
      // Blocks that happen to follow each other look like larger ones.
      expect(found.length).toBeLessThanOrEqual(blocks.length);
      expect(Math.max(...found)).toBeGreaterThanOrEqual(blocks[0]);
      expect(found.reduce((sum, size) => sum + size)).toBe(pages);
      kernel.vfree(address);
    }
    expect(kernel.verify()).toEqual([]);
  });

  it("are smaller blocks where no larger ones are left, and single frames at last", () => {
    const kernel = boot("7.3");
    // All memory in single frames, of which every fourth pair is given back.
    const all = kernel.allocFrames(kernel.pages.freePages);
    const sorted = [...all].sort((a, b) => a - b);
    const pairs = sorted.filter((frame) => frame % 8 === 2 || frame % 8 === 3).slice(0, 1200);
    const singles = sorted.filter((frame) => frame % 8 === 5).slice(0, 600);
    kernel.freeFrames(Uint32Array.from([...pairs, ...singles]));
    const before = kernel.pages.freePages;
    const address = kernel.vmalloc(40 * PAGE);
    const frames = framesOf(kernel, address, 40);
    expect(Math.max(...blocksOf(frames))).toBe(2);
    expect(blocksOf(frames).filter((size) => size === 2).length).toBeGreaterThan(15);
    expect(new Set(frames).size).toBe(40);
    kernel.vfree(address);
    kernel.vmUnmapAliases();
    expect(kernel.pages.freePages).toBeGreaterThanOrEqual(before - 8);
    expect(kernel.verify()).toEqual([]);
  });

  it.each(KERNEL_VERSIONS.map(({ name }) => name))("hold different words and are all given back (%s)", (version) => {
    const kernel = boot(version);
    const [cpu] = kernel.machine.cpus;
    kernel.vfree(kernel.vmalloc(700 * PAGE));
    kernel.vmUnmapAliases();
    const before = kernel.pages.freePages;
    const address = kernel.vmalloc(700 * PAGE);
    for (let i = 0; i < 700; i++) cpu.store(address + i * PAGE, 4, i);
    for (let i = 0; i < 700; i++) expect(cpu.load(address + i * PAGE, 4)).toBe(i);
    expect(kernel.pages.freePages).toBeLessThanOrEqual(before - 700);
    kernel.vfree(address);
    kernel.vmUnmapAliases();
    expect(kernel.pages.freePages).toBe(before);
  });
});

/** The spans that vm_unmap_aliases found in vmap blocks, and whether there was any. */
class Spans extends EventCounter {
  readonly spans: [number, number, boolean][] = [];
  override aliases(start?: number, end?: number, flush?: boolean): void {
    this.spans.push([start ?? 0, end ?? 0, flush === true]);
  }
}

describe("vm_unmap_aliases by version", () => {
  it.each(KERNEL_VERSIONS.map(({ name }) => name))("and a vmap block without room (%s)", (version) => {
    const kernel = boot(version);
    const { blockPages } = kernel.vm.config;
    const frames = kernel.allocFrames(64);
    const pieces: number[] = [];
    for (let used = 0; used < blockPages; used += 64) pieces.push(kernel.vmMapRam(frames.subarray(0, 64)));
    const block = Math.min(...pieces);
    expect(Math.max(...pieces)).toBe(block + (blockPages - 64) * PAGE);
    const [cpu] = kernel.machine.cpus;
    cpu.touch(block + 64 * PAGE);
    kernel.vmUnmapRam(block + 64 * PAGE, 64);
    const seen = new Spans();
    kernel.vm.events = seen;
    kernel.vmUnmapAliases();
    const isSeen = kernel.mm.version.blocks.aliasesScan === "all";
    expect(seen.spans).toHaveLength(1);
    const [[start, end, flush]] = seen.spans;
    expect(flush).toBe(isSeen);
    if (isSeen) expect([start, end]).toEqual([block + 64 * PAGE, block + 128 * PAGE]);
  });

  it.each(KERNEL_VERSIONS.map(({ name }) => name))(
    "and a vmap block with room: its dirty range is flushed (%s)",
    (version) => {
      const kernel = boot(version);
      const frames = kernel.allocFrames(64);
      const pieces = [3, 5, 2].map((pages) => [kernel.vmMapRam(frames.subarray(0, pages)), pages] as const);
      for (const [address, pages] of pieces.slice(0, 2)) kernel.vmUnmapRam(address, pages);
      const seen = new Spans();
      kernel.vm.events = seen;
      kernel.vmUnmapAliases();
      const low = Math.min(pieces[0][0], pieces[1][0]);
      expect(seen.spans[0][0]).toBe(low);
      expect(seen.spans[0][1]).toBeGreaterThanOrEqual(Math.max(pieces[0][0] + 3 * PAGE, pieces[1][0] + 5 * PAGE));
      // Once more: nothing is dirty any more, but before 6.4 the range is kept.
      kernel.vmUnmapAliases();
      const isKept = kernel.mm.version.blocks.aliasesScan !== "all";
      expect(seen.spans[1][0] === low).toBe(isKept);
    },
  );
});
