import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EventLoop, type KernelCode, PAUSE_TURN, Topology, type TopologyConfig } from "../../../arch/index.ts";
import { lockStatistics, newSpinLock, type SpinLock } from "../../../mm/index.ts";
import { SpinLock as QueuedLock } from "../../../mm/kernel/lock.ts";
import { useSpinlocks } from "../../../mm/kernel/spinlocks.ts";
import { TestAndSetLock } from "../../../mm/kernel/test-and-set-lock.ts";
import { type Held, modelOf, type Turn } from "./test-and-set-model.ts";

const COSTS = { uncontendedCycles: 20, handOverTransfers: 2 };
/** By distance: a core's other thread, a cluster, a socket, other sockets. */
const TRANSFERS = [0, 40, 100, 300, 500, 700] as const;
const FLAT: TopologyConfig = { sockets: 1, coresPerSocket: 8, threadsPerCore: 1 };
/** Complexes of two cores. */
const COMPLEXES: TopologyConfig = { sockets: 1, coresPerSocket: 8, threadsPerCore: 1, coresPerCluster: 2 };
const DEEP: TopologyConfig = { sockets: 2, coresPerSocket: 4, threadsPerCore: 2, coresPerCluster: 2 };

function loopOf(cpus: number, topology: TopologyConfig): EventLoop {
  const loop = new EventLoop(cpus, new Topology(cpus, topology));
  loop.lines.transferCycles = TRANSFERS;
  return loop;
}

function* turns(loop: EventLoop, lock: SpinLock, all: readonly Turn[], log: Held[]): KernelCode<void> {
  for (const { thinksCycles, holdsCycles } of all) {
    loop.spend(thinksCycles);
    if (!lock.tryTake()) yield* lock.take();
    const fromCycles = loop.nowCycles();
    loop.spend(holdsCycles);
    log.push({ cpu: loop.currentCpu, fromCycles, untilCycles: loop.nowCycles() });
    lock.release();
  }
}

/** Who had a lock when, on CPUs that do this each. */
function historyOf(loop: EventLoop, lock: SpinLock, byCpu: readonly (readonly Turn[])[]): Held[] {
  const log: Held[] = [];
  byCpu.forEach((all, cpu) => {
    loop.spawn(`cpu ${cpu}`, cpu, turns(loop, lock, all, log));
  });
  loop.run();
  return log;
}

function once(thinksCycles: number, holdsCycles: number): Turn[] {
  return [{ thinksCycles, holdsCycles }];
}

/** Times that no two CPUs share by chance: the model and the loop need not agree on who is first of two at the same time. */
const cycles = (most: number) => fc.integer({ min: 1, max: most * 65_536 }).map((parts) => parts / 65_536);
const turn = fc.record({ thinksCycles: cycles(3000), holdsCycles: cycles(800) });
const plan = fc.array(fc.array(turn, { maxLength: 6 }), { minLength: 1, maxLength: 8 });

describe("a test-and-set lock", () => {
  it.each([
    ["a flat machine", FLAT],
    ["complexes of two cores", COMPLEXES],
    ["two sockets of clusters of siblings", DEEP],
  ])("is had by the CPUs by which the plain model says, and when: %s", (_, topology) => {
    fc.assert(
      fc.property(plan, (byCpu) => {
        const loop = loopOf(byCpu.length, topology);
        const transferCycles = (from: number, to: number) => TRANSFERS[loop.topology.distance(from, to)];
        const model = modelOf(byCpu, { uncontendedCycles: COSTS.uncontendedCycles, transferCycles });
        fc.pre(model !== null);
        const log = historyOf(loop, new TestAndSetLock("lock", loop, COSTS), byCpu);
        expect(log).toEqual(model);
        // One at a time, and all turns come.
        log.slice(1).forEach(({ fromCycles }, i) => {
          expect(fromCycles).toBeGreaterThanOrEqual(log[i].untilCycles);
        });
        expect(log).toHaveLength(byCpu.flat().length);
      }),
      { numRuns: 300, interruptAfterTimeLimit: 4000, markInterruptAsFailure: false, endOnFailure: true },
    );
  });

  it("accounts for every cycle: waiting, lines and the rest are the clock; the statistics count each take", () => {
    fc.assert(
      fc.property(plan, (byCpu) => {
        const loop = loopOf(byCpu.length, COMPLEXES);
        const lock = new TestAndSetLock("lock", loop, COSTS);
        historyOf(loop, lock, byCpu);
        byCpu.forEach((_all, cpu) => {
          const parts = [...loop.accounts.ofCpu(cpu).values()].reduce((sum, each) => sum + each, 0);
          expect(parts).toBeCloseTo(loop.clockCycles[cpu], 6);
        });
        const statistics = lockStatistics(loop).find(({ name }) => name === "lock");
        expect(statistics?.acquisitions).toBe(byCpu.flat().length);
        const held = byCpu.flat().reduce((sum, { holdsCycles }) => sum + holdsCycles, 0);
        expect(statistics?.holdTotalCycles).toBeCloseTo(held, 6);
      }),
    );
  });

  it("costs a CPU that is alone with it what a queued lock does", () => {
    const byCpu = [[...once(100, 50), ...once(10, 5)], [], once(10_000, 50)];
    const queued = loopOf(3, FLAT);
    const set = loopOf(3, FLAT);
    expect(historyOf(set, new TestAndSetLock("lock", set, COSTS), byCpu)).toEqual(
      historyOf(queued, new QueuedLock("lock", queued, COSTS), byCpu),
    );
  });

  it("is handed over to one that waits as a queued lock is: its look at the word, and its own try", () => {
    const loop = loopOf(2, FLAT);
    const log = historyOf(loop, new TestAndSetLock("lock", loop, COSTS), [once(0, 5000), once(100, 10)]);
    expect(log[1].fromCycles).toBe(log[0].untilCycles + 2 * 100 + 20);
  });

  it("goes to the nearest of those who wait, however long others have", () => {
    const loop = loopOf(6, COMPLEXES);
    // CPU 4 of another complex comes first, then CPU 1 of the holder's.
    const byCpu = [once(0, 5000), once(2000, 10), [], [], once(100, 10)];
    const log = historyOf(loop, new TestAndSetLock("lock", loop, COSTS), byCpu);
    expect(log.map(({ cpu }) => cpu)).toEqual([0, 1, 4]);
  });

  it("goes to the CPU that gave it back, if that comes again before anybody has read the word", () => {
    const loop = loopOf(6, COMPLEXES);
    const byCpu = [[...once(0, 5000), ...once(50, 10)], once(100, 10)];
    const log = historyOf(loop, new TestAndSetLock("lock", loop, COSTS), byCpu);
    expect(log.map(({ cpu }) => cpu)).toEqual([0, 0, 1]);
    // The line is still there: it costs what it costs a CPU alone.
    expect(log[1].fromCycles).toBe(log[0].untilCycles + 50 + 20);
  });

  it("starves one who is far while two that are near pass it to each other; a queued lock does not", () => {
    const near = Array.from({ length: 20 }, () => once(150, 400)).flat();
    const byCpu = [near, near, [], [], [...once(500, 10)]];
    const placeOfFar = (make: typeof QueuedLock): number => {
      const loop = loopOf(5, COMPLEXES);
      return historyOf(loop, new make("lock", loop, COSTS), byCpu).findIndex(({ cpu }) => cpu === 4);
    };
    expect(placeOfFar(QueuedLock)).toBe(2);
    expect(placeOfFar(TestAndSetLock)).toBeGreaterThan(30);
  });

  it("has those who are equally near in the order in which they came", () => {
    const loop = loopOf(4, FLAT);
    const byCpu = [once(0, 9000), once(300, 10), once(100, 10), once(200, 10)];
    const log = historyOf(loop, new TestAndSetLock("lock", loop, COSTS), byCpu);
    expect(log.map(({ cpu }) => cpu)).toEqual([0, 2, 3, 1]);
  });

  it("has the line taken once more by each who saw the word free and was too late", () => {
    const loop = loopOf(4, FLAT);
    const byCpu = [once(0, 9000), once(100, 1), once(200, 1), once(300, 1)];
    const log = historyOf(loop, new TestAndSetLock("lock", loop, COSTS), byCpu);
    // CPU 1 reads the word and takes it. CPUs 2 and 3 have read it too by then; theirs are two more transfers, behind which CPU 2's next try queues.
    expect(log[1].fromCycles).toBe(log[0].untilCycles + 100 + 100 + 20);
    expect(log[2].fromCycles).toBe(log[0].untilCycles + 100 + 100 + 2 * 100 + 100 + 20);
  });

  it("with its word in a line of other things takes that line from who reads them", () => {
    const loop = loopOf(2, FLAT);
    const line = loop.lines.make(1);
    const lock = new TestAndSetLock("lock", loop, COSTS, line);
    const read: number[] = [];
    function* holder(): KernelCode<void> {
      yield* lock.take();
      loop.spend(1000);
      lock.release();
      loop.spend(5000);
      yield PAUSE_TURN;
      const before = loop.nowCycles();
      loop.lines.read(line);
      read.push(loop.nowCycles() - before);
    }
    loop.spawn("holder", 0, holder());
    loop.spawn("waiter", 1, turns(loop, lock, once(100, 10), []));
    loop.run();
    expect(read).toEqual([100]);
  });
});

it("spinlocks of a machine are of the kind that was said before they were made; queued without a word", () => {
  const loop = loopOf(1, FLAT);
  expect(newSpinLock("lock", loop, COSTS)).not.toBeInstanceOf(TestAndSetLock);
  useSpinlocks(loop, "test-and-set");
  expect(newSpinLock("lock", loop, COSTS)).toBeInstanceOf(TestAndSetLock);
});
