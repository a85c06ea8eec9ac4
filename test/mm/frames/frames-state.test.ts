/** A page allocator restored from what was captured hands out the same frames as the one that it was captured from. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { StateError } from "../../../arch/isa/state-error.ts";
import { PhysicalMemory } from "../../../arch/memory/physical-memory.ts";
import { FRAME_CALLER, FRAME_PAGE_TABLE, FRAME_VMALLOC } from "../../../mm/frames/frame-uses.ts";
import { captureFrames, restoreFrames } from "../../../mm/frames/frames-state.ts";
import { PageAllocator } from "../../../mm/frames/page-allocator.ts";
import { FaultInjection } from "../../../mm/kernel/fault-injection.ts";
import { GFP_KERNEL, NUMA_NO_NODE } from "../../../mm/lib/gfp.ts";

const MEMORY_BYTES = 2 ** 26;
const CPUS = 2;

function makeAllocator(memoryBytes = MEMORY_BYTES, cpus = CPUS): PageAllocator {
  return new PageAllocator(new PhysicalMemory(memoryBytes), cpus, 2, new FaultInjection());
}

const steps = fc.array(
  fc.record({
    cpu: fc.nat(CPUS - 1),
    what: fc.nat(9),
    order: fc.integer({ min: 0, max: 5 }),
    count: fc.integer({ min: 1, max: 400 }),
    which: fc.nat(1000),
  }),
  { maxLength: 120 },
);

interface Block {
  readonly frames: Uint32Array;
  readonly order: number;
}

/** Makes the calls and returns what they handed out; what is given back comes out of `held`. */
function perform(pages: PageAllocator, held: Block[], calls: typeof steps extends fc.Arbitrary<infer S> ? S : never) {
  const handedOut: number[][] = [];
  for (const { cpu, what, order, count, which } of calls) {
    if (what < 3) {
      const use = what === 0 ? FRAME_PAGE_TABLE : FRAME_CALLER;
      const first = pages.allocPages(cpu, what === 0 ? 0 : order, use, GFP_KERNEL);
      if (first !== 0) held.push({ frames: Uint32Array.of(first), order: what === 0 ? 0 : order });
      handedOut.push([first]);
    } else if (what < 6) {
      const frames = new Uint32Array(count);
      const got = pages.allocBulk(cpu, count, FRAME_VMALLOC, GFP_KERNEL, NUMA_NO_NODE, frames, 0);
      handedOut.push([...frames]);
      if (got > 0) held.push({ frames: frames.subarray(0, got), order: -1 });
      if (what === 5) pages.references.get(frames[0]);
    } else if (held.length > 0) {
      const [block] = held.splice(which % held.length, 1);
      if (block.order < 0) pages.freeBulk(cpu, block.frames, 0, block.frames.length);
      else pages.freePagesOf(cpu, block.frames[0], block.order);
    }
  }
  return handedOut;
}

describe("a page allocator restored from what was captured", () => {
  it("hands out the same frames as the other from then on", () => {
    fc.assert(
      fc.property(steps, steps, (before, after) => {
        const pages = makeAllocator();
        const held: Block[] = [];
        perform(pages, held, before);
        const saved = structuredClone(captureFrames(pages));
        const other = makeAllocator();
        perform(other, [], after);
        restoreFrames(other, saved);
        expect(captureFrames(other)).toEqual(saved);
        expect(perform(other, [...held], after)).toEqual(perform(pages, [...held], after));
        expect(captureFrames(other)).toEqual(captureFrames(pages));
      }),
      { numRuns: 40 },
    );
  });

  it("is refused where the zones or the CPUs are others", () => {
    const saved = captureFrames(makeAllocator());
    expect(() => restoreFrames(makeAllocator(2 * MEMORY_BYTES), saved)).toThrow("page allocator: has other zones");
    expect(() => restoreFrames(makeAllocator(MEMORY_BYTES, 3), saved)).toThrow(StateError);
    const outside = { ...saved, freeBlocks: { ...saved.freeBlocks, frames: saved.freeBlocks.frames.map(() => 1) } };
    expect(() => restoreFrames(makeAllocator(), { ...outside, zoneTouchedEnd: saved.zoneEnd })).toThrow(StateError);
  });
});
