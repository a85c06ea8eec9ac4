import { describe, expect, it } from "vitest";
import { EventLoop } from "../../../arch/time/event-loop.ts";
import { SpinLock } from "../../../mm/kernel/lock.ts";
import { bootKernel } from "../../../src/index.ts";

const TRANSFER = 100;
const COSTS = { uncontendedCycles: 20, handOverTransfers: 2 };

/** Two CPUs, and two locks: in one line, or each in its own. */
function machine(together: boolean) {
  const loop = new EventLoop(2);
  loop.lines.transferCycles = [0, TRANSFER, TRANSFER, TRANSFER, TRANSFER, TRANSFER];
  const line = together ? loop.lines.make(1) : -1;
  const locks = ["first", "second"].map((name) => new SpinLock(name, loop, COSTS, line));
  /** Cycles that a CPU takes to take a lock and give it back, some time after all before. */
  const takes = (cpu: number, lock: number): number => {
    loop.clockCycles.fill(Math.max(...loop.clockCycles) + 10_000);
    const before = loop.clockCycles[cpu];
    loop.runSync(
      cpu,
      (function* () {
        if (!locks[lock].tryTake()) yield* locks[lock].take();
        locks[lock].release();
      })(),
    );
    return loop.clockCycles[cpu] - before;
  };
  return { loop, line, takes };
}

describe("locks whose words share a cache line", () => {
  it("come with it: who takes the one takes the other's line from who had that last", () => {
    const { takes } = machine(true);
    expect([takes(0, 0), takes(0, 0), takes(0, 1)]).toEqual([20, 20, 20]);
    expect(takes(1, 1)).toBe(TRANSFER + 20);
    expect([takes(0, 0), takes(0, 1)]).toEqual([TRANSFER + 20, 20]);
  });

  it("stay with who had each last when they have lines to themselves", () => {
    const { takes } = machine(false);
    expect([takes(0, 0), takes(1, 1), takes(0, 0), takes(1, 1)]).toEqual([20, 20, 20, 20]);
  });

  it("lose it to who reads what lies beside them", () => {
    const { loop, line, takes } = machine(true);
    takes(0, 0);
    loop.currentCpu = 1;
    loop.lines.read(line);
    expect(takes(0, 0)).toBe(TRANSFER + 20);
  });
});

describe("vmalloc's locks until 6.8", () => {
  it("are in one line: a CPU that frees lazily makes another's next allocation fetch it", () => {
    const locksOf = (kernel: string): readonly number[] => {
      const { vm } = bootKernel({ kernel, cpus: 2 });
      const { loop } = vm;
      const takes = (cpu: number, lock: SpinLock): number => {
        loop.clockCycles.fill(Math.max(...loop.clockCycles) + 10_000);
        const before = loop.lines.waitedCycles[cpu];
        loop.runSync(
          cpu,
          (function* () {
            if (!lock.tryTake()) yield* lock.take();
            lock.release();
          })(),
        );
        return loop.lines.waitedCycles[cpu] - before;
      };
      const { busyLock, lazyLock } = vm.nodes[0];
      for (const lock of [vm.freeTreeLock, busyLock, lazyLock]) takes(0, lock);
      takes(1, lazyLock);
      return [takes(0, vm.freeTreeLock), takes(0, busyLock)];
    };
    const [fetched, atHand] = locksOf("6.6");
    expect(fetched).toBeGreaterThan(0);
    expect(atHand).toBe(0);
    expect(locksOf("6.12")).toEqual([0, 0]);
  });
});
