import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PhysicalMemory } from "../../../arch/memory/physical-memory.ts";
import {
  __GFP_THISNODE,
  __GFP_ZERO,
  FaultInjection,
  FRAME_CALLER,
  FRAME_FREE,
  FRAME_VMALLOC,
  GFP_DMA32_ZONE,
  GFP_KERNEL,
  NUMA_NO_NODE,
  PageAllocator,
} from "../../../mm/index.ts";

const MIB = 2 ** 20;
const GIB = 2 ** 30;

function allocatorOf(memoryBytes: number, cpus = 1, numaNodes = 1): PageAllocator {
  return new PageAllocator(new PhysicalMemory(memoryBytes), cpus, numaNodes, new FaultInjection());
}

/** Takes blocks of `order` until there are none; returns their first frames. */
function takeAll(pages: PageAllocator, order: number): number[] {
  const taken: number[] = [];
  for (;;) {
    const frame = pages.allocPages(0, order, FRAME_CALLER, GFP_KERNEL);
    if (frame === 0) return taken;
    taken.push(frame);
  }
}

const step = fc.record({ cpu: fc.nat(3), order: fc.constantFrom(0, 0, 0, 0, 1, 3, 6, 10), free: fc.option(fc.nat()) });

describe("the page allocator", () => {
  it("hands out aligned blocks that never overlap, from any CPU, and takes them back from any other", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 400, size: "max" }), (steps) => {
        const pages = allocatorOf(24 * MIB, 4);
        const live: { frame: number; order: number }[] = [];
        const owned = new Set<number>();
        for (const { cpu, order, free } of steps) {
          if (free !== null && live.length > 0) {
            const [block] = live.splice(free % live.length, 1);
            for (let i = 0; i < 1 << block.order; i++) owned.delete(block.frame + i);
            pages.freePagesOf(cpu, block.frame, block.order);
            continue;
          }
          const frame = pages.allocPages(cpu, order, FRAME_CALLER, GFP_KERNEL);
          if (frame === 0) continue;
          expect(frame % (1 << order)).toBe(0);
          let good = 0;
          for (let i = 0; i < 1 << order; i++) {
            if (!owned.has(frame + i) && pages.useOf(frame + i) === FRAME_CALLER) good++;
            owned.add(frame + i);
          }
          expect(good).toBe(1 << order);
          live.push({ frame, order });
        }
        expect(pages.freePages).toBe(pages.totalPages - owned.size);
      }),
      { numRuns: 40 },
    );
  });

  it("merges buddies: after everything came back there are as many large blocks as at first", () => {
    const pages = allocatorOf(64 * MIB);
    const large = takeAll(pages, 10);
    for (const frame of large) pages.freePagesOf(0, frame, 10);
    const singles = takeAll(pages, 0);
    expect(singles.length).toBe(pages.totalPages);
    expect(pages.freePages).toBe(0);
    for (const frame of singles) pages.freePagesOf(0, frame, 0);
    // The per-CPU list keeps up to 1024 single frames back, which may hold two blocks of 4 MiB open.
    const again = takeAll(pages, 10);
    expect(again.length).toBeGreaterThanOrEqual(large.length - 2);
  });

  it("gives single frames in bulk, each once, in rising order from fresh memory", () => {
    const pages = allocatorOf(64 * MIB);
    const out = new Uint32Array(3000);
    expect(pages.allocBulk(0, 3000, FRAME_VMALLOC, GFP_KERNEL, NUMA_NO_NODE, out, 0)).toBe(3000);
    expect(new Set(out).size).toBe(3000);
    pages.freeBulk(0, out, 0, 3000);
    expect(pages.freePages).toBe(pages.totalPages);
    expect(pages.useOf(out[7])).toBe(FRAME_FREE);
    const rest = new Uint32Array(pages.totalPages + 5);
    expect(pages.allocBulk(0, rest.length, FRAME_VMALLOC, GFP_KERNEL, NUMA_NO_NODE, rest, 0)).toBe(pages.totalPages);
  });

  it("keeps the first MiB and the hole below 4 GiB out, and GFP_DMA32 below 4 GiB", () => {
    const pages = allocatorOf(4 * GIB);
    const frames = [0, 3, 10].flatMap((order) => [
      pages.allocPages(0, order, FRAME_CALLER, GFP_KERNEL),
      pages.allocPages(0, order, FRAME_CALLER, GFP_KERNEL | GFP_DMA32_ZONE),
    ]);
    for (const [index, frame] of frames.entries()) {
      const isLow = index % 2 === 1;
      if (isLow) expect(frame).toBeLessThan((3 * GIB) / 4096);
      else expect(frame).toBeGreaterThanOrEqual((4 * GIB) / 4096);
      expect(frame).toBeGreaterThanOrEqual(MIB / 4096);
    }
    expect(pages.totalPages).toBe((4 * GIB - MIB) / 4096);
  });

  it("prefers a NUMA node, falls back to another, and with __GFP_THISNODE does not", () => {
    const pages = allocatorOf(32 * MIB, 2, 2);
    expect(pages.zones.map((zone) => zone.node)).toEqual([0, 1]);
    const onNode = (node: number, gfp = GFP_KERNEL): number => pages.allocPages(0, 0, FRAME_CALLER, gfp, node);
    expect(pages.nodeOfFrame(onNode(1))).toBe(1);
    expect(pages.nodeOfFrame(onNode(0))).toBe(0);
    let frame = onNode(1, GFP_KERNEL | __GFP_THISNODE);
    while (frame !== 0) {
      expect(pages.nodeOfFrame(frame)).toBe(1);
      frame = onNode(1, GFP_KERNEL | __GFP_THISNODE);
    }
    expect(pages.nodeOfFrame(onNode(1))).toBe(0);
  });

  it("zeroes a frame only when asked to", () => {
    const memory = new PhysicalMemory(16 * MIB);
    const pages = new PageAllocator(memory, 1, 1, new FaultInjection());
    const frame = pages.allocPages(0, 0, FRAME_CALLER, GFP_KERNEL);
    memory.writeWord(frame, 5, 77);
    pages.freePagesOf(0, frame, 0);
    expect(pages.allocPages(0, 0, FRAME_CALLER, GFP_KERNEL)).toBe(frame);
    expect(memory.readWord(frame, 5)).toBe(77);
    pages.freePagesOf(0, frame, 0);
    expect(pages.allocPages(0, 0, FRAME_CALLER, GFP_KERNEL | __GFP_ZERO)).toBe(frame);
    expect(memory.readWord(frame, 5)).toBe(0);
  });
});

describe("a block that was given back", () => {
  it("is free in all of its frames, and no other frame is", () => {
    const pages = allocatorOf(16 * MIB);
    const [before, block, after] = [0, 2, 0].map((order) => pages.allocPages(0, order, FRAME_CALLER, GFP_KERNEL));
    pages.freePagesOf(0, block, 2);
    for (let i = 0; i < 4; i++) expect(pages.useOf(block + i), `frame ${i}`).toBe(FRAME_FREE);
    for (const frame of [before, after]) expect(pages.useOf(frame)).toBe(FRAME_CALLER);
  });
});
