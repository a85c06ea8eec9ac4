import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ACTIVITY_LOCK_WAIT, EventLoop, type KernelCode, PAUSE_TURN, Topology } from "../../../arch/index.ts";
import { lockStatistics, SpinLock } from "../../../mm/index.ts";

const COSTS = { uncontendedCycles: 20, handOverTransfers: 2 };
/** By distance: a core's other thread, a cluster, a socket, other sockets. */
const TRANSFERS = [0, 40, 200, 300, 500, 700] as const;

/** A loop whose lines cost something. */
function loopOf(cpus: number, topology?: Topology): EventLoop {
  const loop = new EventLoop(cpus, topology);
  loop.lines.transferCycles = TRANSFERS;
  return loop;
}

function* holding(loop: EventLoop, lock: SpinLock, arrive: number, hold: number, log: number[]): KernelCode<void> {
  loop.spend(arrive);
  if (!lock.tryTake()) yield* lock.take();
  log.push(loop.currentCpu);
  loop.spend(hold);
  yield PAUSE_TURN;
  lock.release();
}

describe("spinlocks", () => {
  it("are handed over in the order in which they were asked for", () => {
    const loop = loopOf(4);
    const lock = new SpinLock("lock", loop, COSTS);
    const log: number[] = [];
    [0, 30, 10, 20].forEach((arrive, cpu) => {
      loop.spawn(`cpu ${cpu}`, cpu, holding(loop, lock, arrive, 1000, log));
    });
    loop.run();
    expect(log).toEqual([0, 2, 3, 1]);
    expect(lock.isHeld).toBe(false);
  });

  it("cost the way of their cache line: the same CPU, the same core, the same socket, another socket", () => {
    const topology = new Topology(8, { sockets: 2, coresPerSocket: 2, threadsPerCore: 2 });
    for (const [next, cost] of [
      [0, 20],
      [4, 40],
      [1, 200],
      [2, 500],
    ]) {
      const loop = loopOf(8, topology);
      const lock = new SpinLock("lock", loop, COSTS);
      for (const cpu of [0, next]) {
        loop.runSync(cpu, holding(loop, lock, cpu === 0 ? 0 : 10_000, 0, []));
      }
      expect(loop.clockCycles[next] - (next === 0 ? 20 : 10_000)).toBe(next === 0 ? 20 : 20 + cost);
    }
  });

  it("are waited for until a release that lies in the CPU's future", () => {
    const loop = loopOf(2);
    const lock = new SpinLock("lock", loop, COSTS);
    function* quick(): KernelCode<void> {
      if (!lock.tryTake()) yield* lock.take();
      loop.spend(1000);
      lock.release();
    }
    loop.spawn("first", 0, quick());
    loop.spawn("second", 1, quick());
    loop.run();
    // It asks at once; once the line has come it waits for the release, and for the line to go there and back.
    expect(loop.clockCycles[1]).toBe(1020 + 400 + 20 + 1000);
    expect(loop.accounts.cycles(1, ACTIVITY_LOCK_WAIT)).toBe(1020 + 400 - 200);
    expect(loop.lines.waitedCycles[1]).toBe(200);
  });

  it("are found free where they are given back before their line has come: no later than a lock that was free all along", () => {
    const gotAt = (release: number): number => {
      const loop = loopOf(2);
      const lock = new SpinLock("lock", loop, COSTS);
      loop.spawn("holder", 0, holding(loop, lock, 0, release - 20, []));
      let at = 0;
      function* asks(): KernelCode<void> {
        loop.spend(1000);
        if (!lock.tryTake()) yield* lock.take();
        at = loop.nowCycles();
        lock.release();
      }
      loop.spawn("asks", 1, asks());
      loop.run();
      return at;
    };
    // It asks at 1,000, and sees the word at 1,200.
    expect([500, 1000, 1100, 1200].map(gotAt)).toEqual([1220, 1220, 1220, 1220]);
    expect([1201, 1500].map(gotAt)).toEqual([1201 + 420, 1500 + 420]);
  });

  it("are given back when the stores before that are done, while the CPU goes on", () => {
    for (const pauses of [false, true]) {
      const loop = loopOf(3);
      const lock = new SpinLock("lock", loop, COSTS);
      const line = loop.lines.make(1);
      loop.currentCpu = 2;
      loop.lines.write(line);
      let [goesOnAt, gotAt] = [0, 0];
      function* holder(): KernelCode<void> {
        if (!lock.tryTake()) yield* lock.take();
        loop.spend(1000);
        if (pauses) yield PAUSE_TURN;
        loop.lines.store(line);
        lock.release();
        goesOnAt = loop.nowCycles();
      }
      function* waiter(): KernelCode<void> {
        loop.spend(100);
        if (!lock.tryTake()) yield* lock.take();
        gotAt = loop.nowCycles();
        lock.release();
      }
      loop.spawn("holder", 0, holder());
      loop.spawn("waiter", 1, waiter());
      loop.run();
      expect([goesOnAt, gotAt]).toEqual([1020, 1020 + 200 + 400 + 20]);
    }
  });

  it("are had at the same times whether their holders act in one go or pause", () => {
    const topology = new Topology(8, { sockets: 2, coresPerSocket: 2, threadsPerCore: 2 });
    const visit = fc.record({ cpu: fc.nat(7), arrives: fc.nat(3000), holds: fc.nat(2000) });
    const run = (visits: readonly { cpu: number; arrives: number; holds: number }[], pauses: boolean): number[] => {
      const loop = loopOf(8, topology);
      const lock = new SpinLock("lock", loop, COSTS);
      const gotAt: number[] = [];
      visits.forEach(({ cpu, arrives, holds }, i) => {
        function* visitor(): KernelCode<void> {
          loop.spend(arrives);
          if (!lock.tryTake()) yield* lock.take();
          gotAt[i] = loop.nowCycles();
          loop.spend(holds);
          if (pauses) yield PAUSE_TURN;
          lock.release();
        }
        loop.spawn(`visitor ${i}`, cpu, visitor());
      });
      loop.run();
      return gotAt;
    };
    fc.assert(
      fc.property(fc.uniqueArray(visit, { selector: ({ cpu }) => cpu, minLength: 2, maxLength: 8 }), (visits) => {
        expect(run(visits, true)).toEqual(run(visits, false));
      }),
    );
  });

  it("are not taken ahead of a CPU that is behind and may take them first", () => {
    const loop = loopOf(2);
    const lock = new SpinLock("lock", loop, COSTS);
    const log: number[] = [];
    function* late(): KernelCode<void> {
      loop.spend(1000);
      // The lock is free, but CPU 1 is 1000 cycles behind.
      expect(lock.isHeld).toBe(false);
      expect(lock.tryTake()).toBe(false);
      yield* lock.take();
      log.push(0);
      lock.release();
    }
    loop.spawn("late", 0, late());
    loop.spawn("early", 1, holding(loop, lock, 500, 100, log));
    loop.run();
    expect(log).toEqual([1, 0]);
    // Free from 620 on; the line comes from CPU 1.
    expect(loop.clockCycles[0]).toBe(1000 + 220);
  });

  it("reach the CPU that waits once their line has come twice from the CPU that releases, whatever the distance", () => {
    const topology = new Topology(8, { sockets: 2, coresPerSocket: 2, threadsPerCore: 2 });
    for (const [waiter, cost] of [
      [4, 40],
      [1, 200],
      [2, 500],
    ]) {
      const loop = loopOf(8, topology);
      const lock = new SpinLock("lock", loop, COSTS);
      let gotAt = 0;
      function* waits(): KernelCode<void> {
        loop.spend(100);
        if (!lock.tryTake()) yield* lock.take();
        gotAt = loop.nowCycles();
        lock.release();
      }
      loop.spawn("holder", 0, holding(loop, lock, 0, 5000, []));
      loop.spawn("waiter", waiter, waits());
      loop.run();
      expect(gotAt).toBe(20 + 5000 + 20 + 2 * cost);
      expect(loop.accounts.cycles(waiter, ACTIVITY_LOCK_WAIT)).toBe(gotAt - 100);
    }
  });

  it("take interrupts while they are waited for", () => {
    const loop = loopOf(2);
    const lock = new SpinLock("lock", loop, COSTS);
    const log: number[] = [];
    loop.spawn("holder", 0, holding(loop, lock, 0, 10_000, log));
    loop.spawn("waiter", 1, holding(loop, lock, 10, 0, log));
    let takenAt = 0;
    loop.postInterrupt(1, 3000, () => {
      takenAt = loop.nowCycles();
    });
    loop.run();
    expect(takenAt).toBe(3000);
  });

  it("refuse a thread that holds them already, and a release by nobody", () => {
    const loop = loopOf(1);
    const lock = new SpinLock("lock", loop, COSTS);
    function* twice(): KernelCode<void> {
      if (!lock.tryTake()) yield* lock.take();
      if (!lock.tryTake()) yield* lock.take();
    }
    expect(() => loop.runSync(0, twice())).toThrow("takes lock, which it holds already");
    const other = new SpinLock("other", loop, COSTS);
    expect(() => other.release()).toThrow("other is released but not held");
  });

  it("never have two holders, serve everybody, and their statistics agree with the accounts", () => {
    const visit = fc.record({ think: fc.nat(300), hold: fc.nat(300), pause: fc.boolean() });
    fc.assert(
      fc.property(fc.array(fc.array(visit, { maxLength: 6 }), { minLength: 2, maxLength: 5 }), (cpus) => {
        const loop = loopOf(cpus.length);
        const lock = new SpinLock("lock", loop, COSTS);
        let holders = 0;
        let visits = 0;
        function* visitor(list: (typeof cpus)[number]): KernelCode<void> {
          for (const { think, hold, pause } of list) {
            loop.spend(think);
            if (!lock.tryTake()) yield* lock.take();
            expect(++holders).toBe(1);
            loop.spend(hold);
            if (pause) yield PAUSE_TURN;
            holders--;
            visits++;
            lock.release();
          }
        }
        cpus.forEach((list, cpu) => {
          loop.spawn(`cpu ${cpu}`, cpu, visitor(list));
        });
        loop.run();
        const [statistics] = lockStatistics(loop);
        expect(statistics.acquisitions).toBe(visits);
        const waits = cpus.map((_, cpu) => loop.accounts.cycles(cpu, ACTIVITY_LOCK_WAIT));
        expect(statistics.waitTotalCycles).toBe(waits.reduce((sum, each) => sum + each, 0));
        expect(statistics.waitMaxCycles).toBeLessThanOrEqual(statistics.waitTotalCycles);
      }),
    );
  });
});

describe("lock statistics", () => {
  it("count a bounce where another CPU had the lock last, and none the first time or on the same CPU", () => {
    const loop = new EventLoop(2);
    const lock = new SpinLock("lock", loop, COSTS);
    function* visit(): KernelCode<void> {
      if (!lock.tryTake()) yield* lock.take();
      lock.release();
    }
    const bounces: number[] = [];
    for (const cpu of [0, 0, 1, 1, 0]) {
      loop.runSync(cpu, visit());
      bounces.push(lockStatistics(loop)[0].acquisitionBounces);
    }
    expect(bounces).toEqual([0, 0, 1, 1, 2]);
  });
});
