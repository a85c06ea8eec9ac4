/** Decaying a pool: what other CPUs see meanwhile (`decay_va_pool_node`). */
import { describe, expect, it } from "vitest";
import type { KernelCode } from "../../../arch/index.ts";
import { __purgeVmapAreaLazy, NO_EVENTS, vmalloc, wait } from "../../../mm/index.ts";
import { bootKernel, type Kernel } from "../../../src/index.ts";

const PAGE = 4096;

/** A kernel whose CPU 1 has eight pooled areas of two pages, guard included. */
function withPool(): Kernel {
  const kernel = bootKernel({ cpus: 2, memoryBytes: 2 ** 26, proveLocking: true });
  kernel.currentCpu = 1;
  const held = Array.from({ length: 8 }, () => kernel.vmalloc(PAGE));
  for (const address of held) kernel.vfree(address);
  kernel.vmUnmapAliases();
  return kernel;
}

function pooled({ vm }: Kernel): number[] {
  const head = vm.nodes[1].poolHead(1);
  const starts: number[] = [];
  for (let area = vm.areas.nextOf(head); area !== head; area = vm.areas.nextOf(area))
    starts.push(vm.areas.startOf(area));
  return starts;
}

function* purge(kernel: Kernel): KernelCode<void> {
  const { purgeLock } = kernel.vm;
  if (!purgeLock.tryTake()) yield* purgeLock.take();
  yield* __purgeVmapAreaLazy(kernel.vm, 2 ** 48 - 1, 0, false, "drain");
  purgeLock.release();
}

describe("a pool that is being decayed", () => {
  it("gives a quarter of its areas away, from its head, and keeps the others in their order", () => {
    const kernel = withPool();
    const before = pooled(kernel);
    expect(before).toHaveLength(8);
    kernel.run(purge(kernel));
    expect(pooled(kernel)).toEqual(before.slice(2));
    expect(kernel.vm.nodes[1].poolLength(1)).toBe(6);
    expect(kernel.mm.lockdep?.reports).toEqual([]);
    expect(kernel.verify()).toEqual([]);
  });

  it("is detached under its lock, and worked on without it", () => {
    const kernel = withPool();
    const seen: (readonly [isHeld: boolean, left: number])[] = [];
    const { poolLock } = kernel.vm.nodes[1];
    kernel.vm.events = { ...NO_EVENTS, decayVa: () => seen.push([poolLock.isHeld, pooled(kernel).length]) };
    kernel.run(purge(kernel));
    expect(seen).toEqual([
      [false, 0],
      [false, 0],
    ]);
    expect(poolLock.isHeld).toBe(false);
  });

  it("is empty for a CPU that allocates meanwhile, which takes room from the free tree", () => {
    const kernel = withPool();
    const before = pooled(kernel);
    const { loop } = kernel.machine;
    let address = 0;
    kernel.vm.events = {
      ...NO_EVENTS,
      // Work that takes so long that CPU 1 comes to act before the rest is attached again.
      decayVa: () => loop.spend(100_000),
    };
    kernel.spawn("purge", 0, purge(kernel));
    kernel.spawn(
      "alloc",
      1,
      (function* (): KernelCode<void> {
        loop.spend(loop.clockCycles[0] + 50_000 - loop.nowCycles());
        address = yield* wait(vmalloc(kernel.vm, PAGE));
      })(),
    );
    kernel.runUntilIdle();
    expect(address).toBeGreaterThan(0);
    expect(before).not.toContain(address);
    expect(pooled(kernel)).toEqual(before.slice(2));
    expect(kernel.verify()).toEqual([]);
  });
});
