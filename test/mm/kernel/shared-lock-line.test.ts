import { describe, expect, it } from "vitest";
import { EventLoop, type KernelCode, PAUSE_TURN } from "../../../arch/time/event-loop.ts";
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

/** A CPU asks for a lock at `at`, holds it for `hold` cycles, in which others act, and gives it back; it says when it had it. */
function* holds(loop: EventLoop, lock: SpinLock, at: number, hold: number, had: number[]): KernelCode<void> {
  loop.spend(at);
  if (!lock.tryTake()) yield* lock.take();
  had[loop.currentCpu] = loop.nowCycles();
  loop.spend(hold);
  yield PAUSE_TURN;
  lock.release();
}

describe("a lock that is waited for", () => {
  /** When each of three CPUs, which ask for a lock one after the other, has it. */
  function inTurn(together: boolean): number[] {
    const loop = new EventLoop(3);
    loop.lines.transferCycles = [0, TRANSFER, TRANSFER, TRANSFER, TRANSFER, TRANSFER];
    const lock = new SpinLock("lock", loop, COSTS, together ? loop.lines.make(1) : -1);
    const had: number[] = [];
    for (const cpu of [0, 1, 2]) loop.spawn(`cpu ${cpu}`, cpu, holds(loop, lock, 200 * cpu, 1000, had));
    loop.run();
    return had;
  }

  it("is handed over by two transfers: the next holder's copy goes for the release, and it looks again", () => {
    const HAND_OVER = 2 * TRANSFER + 20;
    const expected = [20, 1020 + HAND_OVER, 1020 + 1000 + 2 * HAND_OVER];
    expect(inTurn(false)).toEqual(expected);
    // In a line with a number these are the line's own.
    expect(inTurn(true)).toEqual(expected);
  });

  it("takes what shares its line from the holder, when somebody asks for it", () => {
    const loop = new EventLoop(2);
    loop.lines.transferCycles = [0, TRANSFER, TRANSFER, TRANSFER, TRANSFER, TRANSFER];
    const line = loop.lines.make(1);
    const lock = new SpinLock("lock", loop, COSTS, line);
    const reads: number[] = [];
    const reading = (): void => {
      const before = loop.nowCycles();
      loop.lines.read(line);
      reads.push(loop.nowCycles() - before);
    };
    loop.spawn(
      "holder",
      0,
      (function* () {
        if (!lock.tryTake()) yield* lock.take();
        reading();
        loop.spend(1000);
        yield PAUSE_TURN;
        reading();
        lock.release();
      })(),
    );
    loop.spawn("waiter", 1, holds(loop, lock, 500, 0, []));
    loop.run();
    expect(reads).toEqual([0, TRANSFER]);
  });
});

describe("a lock that is given back after stores whose lines are on their way", () => {
  it("is free for others when these are seen, and its holder goes on meanwhile", () => {
    const loop = new EventLoop(2);
    loop.lines.transferCycles = [0, TRANSFER, TRANSFER, TRANSFER, TRANSFER, TRANSFER];
    loop.lines.setStoreEntries(8);
    const lock = new SpinLock("lock", loop, COSTS);
    const node = loop.lines.make(1);
    loop.currentCpu = 1;
    loop.lines.write(node);
    const clocks: number[] = [];
    const had: number[] = [];
    loop.spawn(
      "holder",
      0,
      (function* () {
        if (!lock.tryTake()) yield* lock.take();
        loop.lines.store(node);
        lock.release();
        clocks.push(loop.nowCycles());
      })(),
    );
    loop.spawn("waiter", 1, holds(loop, lock, 30, 0, had));
    loop.run();
    expect(clocks).toEqual([20]);
    expect(had[1]).toBe(20 + TRANSFER + 2 * TRANSFER + 20);
    expect(lock.isHeld).toBe(false);
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
    // With nodes `lazy.lock` is in the line behind the one of `busy`.
    expect(locksOf("6.12")).toEqual([0, 0]);
  });
});

describe("vmalloc's variables since 6.9", () => {
  /** What a CPU waits for lines when it does `then` after another did `first`. */
  function waits(first: "pool" | "busy" | "free", then: "pool" | "busy" | "free"): number {
    const { vm } = bootKernel({ kernel: "6.12", cpus: 2 });
    const { loop } = vm;
    const locks = { pool: vm.nodes[0].poolLock, busy: vm.nodes[0].busyLock, free: vm.freeTreeLock };
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
    takes(0, locks[then]);
    takes(1, locks[first]);
    return takes(0, locks[then]);
  }

  it("are in lines of their own but for these: pool_lock beside the busy areas", () => {
    expect(waits("pool", "busy")).toBeGreaterThan(0);
    expect(waits("busy", "pool")).toBeGreaterThan(0);
    expect([waits("pool", "free"), waits("free", "busy")]).toEqual([0, 0]);
  });

  it("have both counters in one line: who frees a page takes it from who frees an area", () => {
    const { vm } = bootKernel({ kernel: "6.12", cpus: 2 });
    const { loop } = vm;
    const takes = (cpu: number, does: () => void): number => {
      loop.clockCycles.fill(Math.max(...loop.clockCycles) + 10_000);
      loop.currentCpu = cpu;
      const before = loop.lines.waitedCycles[cpu];
      does();
      return loop.lines.waitedCycles[cpu] - before;
    };
    takes(0, () => vm.addNrVmallocPages(1));
    expect(takes(1, () => vm.addLazyNr(1))).toBeGreaterThan(0);
    expect(takes(1, () => vm.addNrVmallocPages(-1))).toBe(0);
    expect(takes(0, () => vm.readAreaCache())).toBe(0);
  });
});
