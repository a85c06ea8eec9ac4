/** Memory is short: shrinkers are asked, by `kswapd` and by allocations that may wait. */
import { describe, expect, it } from "vitest";
import { type KernelCode, PAUSE_TURN } from "../../../arch/index.ts";
import {
  __vmalloc,
  GFP_KERNEL,
  GFP_NOWAIT,
  SHRINK_STOP,
  type Shrinker,
  vmapNodeShrinkCount,
} from "../../../mm/index.ts";
import { MAX_VA_SIZE_PAGES } from "../../../mm/vmalloc/areas/vmap-node.ts";
import { bootKernel, type Kernel } from "../../../src/index.ts";

const MIB = 2 ** 20;
const PAGE = 4096;

function boot(): Kernel {
  return bootKernel({ cpus: 2, memoryBytes: 32 * MIB });
}

/** A kernel whose pools hold areas of some sizes. */
function withPools(): Kernel {
  const kernel = boot();
  for (const pages of [1, 1, 3, 7, 7, 7]) kernel.vfree(kernel.vmalloc(pages * PAGE));
  const held = [1, 2, 3, 4, 5, 6].map((pages) => kernel.vmalloc(pages * PAGE));
  for (const address of held) kernel.vfree(address);
  kernel.vmUnmapAliases();
  expect(vmapNodeShrinkCount(kernel.vm)).toBeGreaterThan(5);
  return kernel;
}

function exhaust(kernel: Kernel): number[] {
  const hoard: number[] = [];
  for (let address = kernel.vmalloc(MIB); address !== 0; address = kernel.vmalloc(MIB)) hoard.push(address);
  return hoard;
}

/** A cache of frames of its own. */
function cacheOf(kernel: Kernel, count: number): Shrinker & { frames: Uint32Array[] } {
  const frames = [kernel.allocFrames(count)];
  return {
    name: "cache",
    frames,
    countObjects: () => frames.length,
    *scanObjects(): KernelCode<number> {
      const held = frames.pop();
      if (held === undefined) return SHRINK_STOP;
      yield PAUSE_TURN;
      kernel.freeFrames(held);
      return held.length;
    },
  };
}

describe("the pools' shrinker (vmap_node_shrinker)", () => {
  it("gives all pooled areas back to the free tree when memory is short", () => {
    const kernel = withPools();
    exhaust(kernel);
    kernel.runUntilIdle();
    expect(vmapNodeShrinkCount(kernel.vm)).toBe(0);
    for (const node of kernel.vm.nodes)
      for (let pool = 0; pool < MAX_VA_SIZE_PAGES; pool++) expect(node.poolLength(pool)).toBe(0);
    expect(kernel.verify()).toEqual([]);
  });

  it("leaves them alone while there is memory", () => {
    const kernel = withPools();
    const before = vmapNodeShrinkCount(kernel.vm);
    kernel.vmalloc(MIB);
    kernel.runUntilIdle();
    expect(vmapNodeShrinkCount(kernel.vm)).toBe(before);
    expect(kernel.mm.reclaim.kswapdRuns).toBe(0);
  });

  it("is woken by who may not wait himself, through kswapd", () => {
    const kernel = withPools();
    const frames = kernel.allocFrames(kernel.pages.freePages - 64);
    expect(kernel.run(() => __vmalloc(kernel.vm, MIB, GFP_NOWAIT))).toBe(0);
    expect(kernel.mm.reclaim.directReclaims).toBe(0);
    kernel.runUntilIdle();
    expect(kernel.mm.reclaim.kswapdRuns).toBeGreaterThan(0);
    expect(vmapNodeShrinkCount(kernel.vm)).toBe(0);
    kernel.freeFrames(frames);
    expect(kernel.verify()).toEqual([]);
  });

  it("waits for a purge that is under way: only one context decays pools", () => {
    const kernel = withPools();
    const { purgeLock } = kernel.vm;
    kernel.spawn(
      "purger",
      0,
      (function* (): KernelCode<void> {
        if (!purgeLock.tryTake()) yield* purgeLock.take();
        kernel.mm.reclaim.wakeupKswapd();
        kernel.machine.loop.spend(1_000_000);
        purgeLock.release();
      })(),
    );
    const before = kernel.machine.loop.clockCycles[0];
    kernel.runUntilIdle();
    expect(vmapNodeShrinkCount(kernel.vm)).toBe(0);
    expect(kernel.machine.loop.clockCycles[0]).toBeGreaterThan(before + 1_000_000);
  });
});

describe("an allocation that may wait", () => {
  it("gets what caches give back", () => {
    const kernel = boot();
    const cache = cacheOf(kernel, 2000);
    const unregister = kernel.mm.reclaim.shrinkerRegister(cache);
    exhaust(kernel);
    expect(cache.frames).toHaveLength(0);
    expect(kernel.pages.freePages).toBeLessThan(1000);
    unregister();
    expect(kernel.verify()).toEqual([]);
  });

  it("does not get what a cache holds that was taken back, and fails", () => {
    const kernel = boot();
    const cache = cacheOf(kernel, 2000);
    kernel.mm.reclaim.shrinkerRegister(cache)();
    exhaust(kernel);
    expect(kernel.run(() => __vmalloc(kernel.vm, MIB, GFP_KERNEL))).toBe(0);
    expect(cache.frames).toHaveLength(1);
  });
});
