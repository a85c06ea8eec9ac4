/** A lock in memory that is unmapped while it is held (`debug_check_no_locks_freed`). */
import { describe, expect, it } from "vitest";
import type { KernelCode } from "../../../arch/index.ts";
import { SpinLock, vfree, vmUnmapRam, wait } from "../../../mm/index.ts";
import { bootKernel, type Kernel } from "../../../src/index.ts";

const PAGE = 4096;

function lockAt(kernel: Kernel, address: number, name: string): SpinLock {
  const lock = new SpinLock(name, kernel.machine.loop, kernel.mm.costs.lock);
  kernel.mm.locksInMemory.place(lock, address);
  return lock;
}

/** Holds the lock, and frees meanwhile. */
function* freeing(lock: SpinLock, free: () => KernelCode<void>): KernelCode<void> {
  if (!lock.tryTake()) yield* lock.take();
  yield* free();
  lock.release();
}

function warningsOf(kernel: Kernel): readonly string[] {
  return kernel.log.lines.filter((line) => line.includes("held lock freed"));
}

describe("memory with a lock in it", () => {
  const cases: readonly [
    name: string,
    map: (kernel: Kernel) => number,
    unmap: (kernel: Kernel, at: number) => KernelCode<void>,
  ][] = [
    [
      "vfree",
      (kernel) => kernel.vmalloc(3 * PAGE),
      function* (kernel, at) {
        yield* wait(vfree(kernel.vm, at));
      },
    ],
    [
      "vm_unmap_ram of a vmap block's pages",
      (kernel) => kernel.vmMapRam(kernel.allocFrames(3)),
      function* (kernel, at) {
        yield* wait(vmUnmapRam(kernel.vm, at, 3));
      },
    ],
    [
      "vm_unmap_ram of a whole area",
      (kernel) => kernel.vmMapRam(kernel.allocFrames(100)),
      function* (kernel, at) {
        yield* wait(vmUnmapRam(kernel.vm, at, 100));
      },
    ],
  ];

  it.each(cases)("is warned of with the lock's name and address: %s", (_, map, unmap) => {
    const kernel = bootKernel({ cpus: 2, memoryBytes: 2 ** 26 });
    const address = map(kernel);
    const lock = lockAt(kernel, address + PAGE + 64, "ring->lock");
    kernel.run(freeing(lock, () => unmap(kernel, address)));
    const [warning] = warningsOf(kernel);
    expect(warning).toContain(`ring->lock at 0x${(0xffff_0000_0000_0000n + BigInt(address + PAGE + 64)).toString(16)}`);
    expect(kernel.log.warnings).toBe(1);
    // Once, as lockdep is off after its first report.
    const second = map(kernel);
    kernel.run(freeing(lockAt(kernel, second, "other"), () => unmap(kernel, second)));
    expect(warningsOf(kernel)).toHaveLength(1);
    expect(kernel.verify()).toEqual([]);
  });

  it("is not where the lock is free, lies elsewhere, or is another thread's", () => {
    const kernel = bootKernel({ cpus: 2, memoryBytes: 2 ** 26 });
    const [first, second] = [kernel.vmalloc(PAGE), kernel.vmalloc(PAGE)];
    const free = lockAt(kernel, first, "free");
    const elsewhere = lockAt(kernel, second, "elsewhere");
    kernel.run(
      freeing(elsewhere, function* () {
        yield* wait(vfree(kernel.vm, first));
      }),
    );
    expect(free.isHeld).toBe(false);
    // A thread that holds a lock of its own does not free it by ending: another frees the memory.
    const third = kernel.vmalloc(PAGE);
    const others = lockAt(kernel, third, "other's");
    kernel.spawn("holder", 1, holding(others));
    kernel.runUntilIdle();
    expect(others.isHeld).toBe(true);
    kernel.vfree(third);
    kernel.vfree(second);
    expect(kernel.log.warnings).toBe(0);
    kernel.runUntilIdle();
  });
});

// biome-ignore lint/correctness/useYield: it never gives the lock back
function* holding(lock: SpinLock): KernelCode<void> {
  lock.tryTake();
}
