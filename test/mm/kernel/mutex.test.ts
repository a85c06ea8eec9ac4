/** Mutexes as Linux has them: who spins, who sleeps, who is woken, and what of it moves lines. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  ACTIVITY_LOCK_WAIT,
  EventLoop,
  type KernelCode,
  PAUSE_SLEEP,
  PAUSE_TURN,
  type Thread,
} from "../../../arch/index.ts";
import { ACTIVITY_SWITCH } from "../../../arch/time/cycle-accounts.ts";
import { IPI_POLICY, lockStatistics, Mutex } from "../../../mm/index.ts";
import { boot } from "../user/user-machine.ts";

const COSTS = { uncontendedCycles: 20, handOverTransfers: 2 };
const TRANSFER = 200;

/** A machine without a kernel, in which each transfer costs the same. */
class Machine {
  readonly loop: EventLoop;
  readonly mutex: Mutex;
  /** Who had it, in order. */
  readonly log: string[] = [];
  /** When each had it. */
  readonly gotAt = new Map<string, number>();

  constructor(cpus: number) {
    this.loop = new EventLoop(cpus);
    this.loop.lines.transferCycles = [0, TRANSFER, TRANSFER, TRANSFER, TRANSFER, TRANSFER];
    this.mutex = new Mutex("mutex", this.loop, COSTS);
  }

  /** A thread that asks at a time and has the mutex for so long; asleep meanwhile if it says so. */
  asks(name: string, cpu: number, atCycles: number, holdCycles: number, sleeps = false): Thread {
    return this.loop.spawn(name, cpu, this.visit(name, atCycles, holdCycles, sleeps));
  }

  private *visit(name: string, atCycles: number, holdCycles: number, sleeps: boolean): KernelCode<void> {
    const { loop, mutex } = this;
    loop.spend(atCycles - loop.nowCycles());
    yield PAUSE_TURN;
    if (!mutex.tryTake()) yield* mutex.take();
    this.log.push(name);
    this.gotAt.set(name, loop.nowCycles());
    if (sleeps) yield* this.sleeps(holdCycles);
    else loop.spend(holdCycles);
    yield PAUSE_TURN;
    mutex.release();
  }

  private *sleeps(cycles: number): KernelCode<void> {
    const { loop } = this;
    const until = loop.nowCycles() + cycles;
    const self = loop.currentThread as Thread;
    loop.postInterrupt(loop.currentCpu, until, () => loop.wake(self, until));
    yield PAUSE_SLEEP;
  }

  /** At a time a CPU gets another thread to run, for so long. The last CPU sees to that. */
  keepsBusy(cpu: number, atCycles: number, cycles: number): void {
    const { loop } = this;
    function* other(): KernelCode<void> {
      loop.spend(cycles);
      yield PAUSE_TURN;
    }
    function* spawner(): KernelCode<void> {
      loop.spend(atCycles - loop.nowCycles());
      yield PAUSE_TURN;
      loop.spawn("other", cpu, other());
    }
    loop.spawn("spawner", loop.cpus - 1, spawner());
  }

  /** Cycles that a CPU spent spinning or in the queue's code. */
  busyCycles(cpu: number): number {
    return this.loop.accounts.cycles(cpu, ACTIVITY_LOCK_WAIT);
  }
}

describe("a mutex that a running thread has", () => {
  it("is spun for: whoever looks sees the release a transfer later and fetches the line", () => {
    const machine = new Machine(2);
    machine.asks("owner", 0, 0, 10_000);
    machine.asks("spinner", 1, 1000, 0);
    machine.loop.run();
    const released = (machine.gotAt.get("owner") as number) + 10_000 + TRANSFER + 20;
    // Seen; fetched and set; and osq left.
    expect(machine.gotAt.get("spinner")).toBe(released + (TRANSFER + 20) + (TRANSFER + 20) + 20);
    expect(machine.busyCycles(1)).toBeGreaterThan(9000);
  });

  it("loses its line to whoever asks in vain, and its release fetches it back", () => {
    const alone = new Machine(2);
    alone.asks("owner", 0, 0, 10_000);
    alone.loop.run();
    const asked = new Machine(2);
    asked.asks("owner", 0, 0, 10_000);
    asked.asks("spinner", 1, 1000, 0);
    asked.loop.run();
    expect(asked.loop.clockCycles[0] - alone.loop.clockCycles[0]).toBe(TRANSFER + 20);
  });

  it("goes to those who spin in the order in which they came", () => {
    const machine = new Machine(4);
    machine.asks("owner", 0, 0, 10_000);
    [300, 100, 200].forEach((at, i) => {
      machine.asks(`spinner ${i + 1}`, i + 1, at * 10, 50);
    });
    machine.loop.run();
    expect(machine.log).toEqual(["owner", "spinner 2", "spinner 3", "spinner 1"]);
  });

  it("is not spun for where the CPU has another thread to run", () => {
    const machine = new Machine(2);
    machine.asks("owner", 0, 0, 10_000);
    machine.asks("waiter", 1, 500, 0);
    let otherDone = 0;
    function* other(): KernelCode<void> {
      machine.loop.spend(100);
      otherDone = machine.loop.nowCycles();
      yield PAUSE_TURN;
    }
    machine.loop.spawn("other", 1, other());
    machine.loop.run();
    expect(machine.log).toEqual(["owner", "waiter"]);
    expect(otherDone).toBeLessThan(2000);
    expect(machine.busyCycles(1)).toBeLessThan(1000);
  });

  it("is spun for no longer once the spinner's CPU gets another thread to run", () => {
    const machine = new Machine(3);
    machine.asks("owner", 0, 0, 10_000);
    machine.asks("waiter", 1, 500, 0);
    let otherAt = 0;
    function* other(): KernelCode<void> {
      otherAt = machine.loop.nowCycles();
      yield PAUSE_TURN;
    }
    function* spawner(): KernelCode<void> {
      machine.loop.spend(4000);
      yield PAUSE_TURN;
      machine.loop.spawn("other", 1, other());
    }
    machine.loop.spawn("spawner", 2, spawner());
    machine.loop.run();
    // It leaves osq, and reschedules before it queues.
    expect(otherAt).toBe(4000 + 20);
    expect(machine.log).toEqual(["owner", "waiter"]);
    expect(machine.busyCycles(1)).toBeLessThan(5000);
  });
});

describe("a mutex whose owner does not run", () => {
  it("is slept for", () => {
    const machine = new Machine(2);
    machine.asks("owner", 0, 0, 10_000, true);
    machine.asks("waiter", 1, 1000, 0);
    machine.loop.run();
    expect(machine.log).toEqual(["owner", "waiter"]);
    expect(machine.busyCycles(1)).toBeLessThan(1500);
  });

  it("is spun for until its owner leaves its CPU", () => {
    const machine = new Machine(2);
    const { loop, mutex } = machine;
    function* owner(): KernelCode<void> {
      if (!mutex.tryTake()) yield* mutex.take();
      loop.spend(5000);
      yield PAUSE_TURN;
      const self = loop.currentThread as Thread;
      loop.postInterrupt(0, 20_000, () => loop.wake(self, 20_000));
      yield PAUSE_SLEEP;
      mutex.release();
    }
    loop.spawn("owner", 0, owner());
    machine.asks("waiter", 1, 1000, 0);
    loop.run();
    expect(machine.log).toEqual(["waiter"]);
    expect(machine.busyCycles(1)).toBeGreaterThan(4000);
    expect(machine.busyCycles(1)).toBeLessThan(6500);
    expect(machine.gotAt.get("waiter")).toBeGreaterThan(20_000);
  });

  it("wakes who slept first, and whoever comes before that one runs takes it", () => {
    const machine = new Machine(5);
    machine.asks("owner", 0, 0, 50_000, true);
    machine.asks("sleeper 1", 1, 5000, 100);
    machine.asks("sleeper 2", 2, 9000, 100);
    machine.keepsBusy(1, 15_000, 60_000);
    // Comes while it is free, and sleeper 1 has been woken, whose CPU is busy.
    machine.asks("thief", 3, 60_000, 100);
    machine.loop.run();
    expect(machine.log).toEqual(["owner", "thief", "sleeper 1", "sleeper 2"]);
    expect(machine.gotAt.get("thief")).toBeLessThan(61_000);
    expect(machine.gotAt.get("sleeper 1")).toBeGreaterThan(75_000);
  });

  it("is handed over to the first of the queue where that one found it taken again, past those who spin", () => {
    const machine = new Machine(5);
    machine.asks("owner", 0, 0, 20_000, true);
    machine.asks("sleeper", 1, 5000, 100);
    machine.keepsBusy(1, 15_000, 20_000);
    machine.asks("thief", 2, 25_000, 40_000);
    machine.asks("spinner", 3, 30_000, 100);
    machine.loop.run();
    // The sleeper runs again from 35,000 on.
    expect(machine.log).toEqual(["owner", "thief", "sleeper", "spinner"]);
    expect(machine.busyCycles(1)).toBeGreaterThan(28_000);
  });

  it("is handed over even while that one sleeps again, so that the mutex waits for it", () => {
    const machine = new Machine(5);
    machine.asks("owner", 0, 0, 20_000, true);
    machine.asks("sleeper", 1, 5000, 100);
    machine.keepsBusy(1, 15_000, 20_000);
    machine.asks("thief", 2, 25_000, 40_000, true);
    machine.keepsBusy(1, 60_000, 20_000);
    // Comes after it is handed over, before the sleeper runs again.
    machine.asks("late", 3, 70_000, 100);
    machine.loop.run();
    expect(machine.log).toEqual(["owner", "thief", "sleeper", "late"]);
    expect(machine.gotAt.get("sleeper")).toBeGreaterThan(79_000);
  });
});

describe("what a sleeper of a kernel's mutex costs", () => {
  /** Cycles waited for lines by the CPU that gives it back and the one that slept, in transfers between the two. */
  function transfers(): { readonly waker: number; readonly woken: number; readonly switched: number } {
    const { kernel } = boot(IPI_POLICY);
    const { loop } = kernel.machine;
    const mutex = new Mutex("mutex", loop, kernel.mm.costs.lock);
    let [waker, wokenBefore] = [0, 0];
    function* owner(): KernelCode<void> {
      if (!mutex.tryTake()) yield* mutex.take();
      const self = loop.currentThread as Thread;
      loop.postInterrupt(0, loop.nowCycles() + 100_000, () => loop.wake(self, loop.nowCycles()));
      yield PAUSE_SLEEP;
      const before = loop.lines.waitedCycles[0];
      mutex.release();
      waker = loop.lines.waitedCycles[0] - before;
      wokenBefore = loop.lines.waitedCycles[1];
    }
    function* sleeper(): KernelCode<void> {
      loop.spend(20_000);
      yield PAUSE_TURN;
      if (!mutex.tryTake()) yield* mutex.take();
      mutex.release();
    }
    kernel.spawn("owner", 0, owner());
    kernel.spawn("sleeper", 1, sleeper());
    const switched = loop.accounts.cycles(1, ACTIVITY_SWITCH);
    kernel.runUntilIdle();
    const each = loop.lines.transferCycles[loop.topology.distance(0, 1)];
    return {
      waker: waker / each,
      woken: (loop.lines.waitedCycles[1] - wokenBefore) / each,
      switched: loop.accounts.cycles(1, ACTIVITY_SWITCH) - switched,
    };
  }

  it("moves the mutex's line and 13 others to whoever wakes it, and 7 and the mutex's back", () => {
    const { waker, woken } = transfers();
    expect(waker).toBe(1 + 13);
    expect(woken).toBe(7 + 1);
  });

  it("takes a change of threads on the sleeper's CPU beside that to its first thread", () => {
    const { kernel } = boot(IPI_POLICY);
    const { contextSwitchCycles } = kernel.machine.loop;
    expect(contextSwitchCycles).toBeGreaterThan(0);
    expect(transfers().switched).toBe(2 * contextSwitchCycles);
  });
});

describe("mutexes of any number of threads", () => {
  const visit = fc.record({ think: fc.nat(3000), hold: fc.nat(3000), sleeps: fc.boolean() });
  const thread = fc.record({ cpu: fc.nat(3), visits: fc.array(visit, { maxLength: 6 }) });

  it("never have two owners, serve everybody, and are free afterwards", () => {
    fc.assert(
      fc.property(fc.array(thread, { minLength: 2, maxLength: 8 }), (threads) => {
        const { loop, mutex } = new Machine(4);
        let owners = 0;
        let visits = 0;
        function* visitor(list: (typeof threads)[number]["visits"]): KernelCode<void> {
          for (const { think, hold, sleeps } of list) {
            loop.spend(think);
            yield PAUSE_TURN;
            if (!mutex.tryTake()) yield* mutex.take();
            expect(++owners).toBe(1);
            expect(mutex.owner).toBe(loop.currentThread);
            loop.spend(hold);
            const self = loop.currentThread as Thread;
            const until = loop.nowCycles() + hold;
            if (sleeps) loop.postInterrupt(loop.currentCpu, until, () => loop.wake(self, until));
            yield sleeps ? PAUSE_SLEEP : PAUSE_TURN;
            owners--;
            visits++;
            mutex.release();
          }
        }
        threads.forEach(({ cpu, visits: list }, i) => {
          loop.spawn(`thread ${i}`, cpu, visitor(list));
        });
        loop.run();
        expect(visits).toBe(threads.reduce((sum, each) => sum + each.visits.length, 0));
        expect(mutex.isHeld).toBe(false);
        expect(lockStatistics(loop)[0].acquisitions).toBe(visits);
      }),
    );
  });
});
