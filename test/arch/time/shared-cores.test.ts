/** Hardware threads of a core that slow each other where both execute. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  ACTIVITY_IDLE,
  EventLoop,
  type KernelCode,
  PAUSE_SLEEP,
  PAUSE_SPIN,
  PAUSE_TURN,
  SHARED_CORE,
  type Thread,
  Topology,
} from "../../../arch/index.ts";
import { compute } from "../../../arch/time/event-loop.ts";
import { OffSpans } from "../../../arch/time/off-spans.ts";

/** Two threads that execute get 1.25 cores between them: each cycle takes 1.6. */
const THROUGHPUT = 1.25;
const SLOWER = 2 / THROUGHPUT;

/** Two cores of two threads: CPUs 0 and 2 are siblings, and 1 and 3. */
function machine(throughput = THROUGHPUT, threadsPerCore = 2): EventLoop {
  const cpus = 2 * threadsPerCore;
  const loop = new EventLoop(cpus, new Topology(cpus, { sockets: 1, coresPerSocket: 2, threadsPerCore }));
  loop.shareCores(throughput);
  return loop;
}

/** Executes each amount, letting others act in between. */
function* executes(loop: EventLoop, ...amounts: readonly number[]): KernelCode<void> {
  for (const amount of amounts) {
    while (loop.mustYield()) yield PAUSE_TURN;
    loop.spend(amount);
  }
}

function* computes(loop: EventLoop, cycles: number): KernelCode<void> {
  if (loop.currentThread !== null) yield* compute(loop.currentThread, cycles);
}

const shared = (loop: EventLoop, cpu: number): number => loop.accounts.cycles(cpu, loop.accounts.activity(SHARED_CORE));
const tens = (times: number): number[] => Array.from({ length: times }, () => 10);

describe("two hardware threads of a core", () => {
  it.each([
    ["that execute step by step", (loop: EventLoop) => executes(loop, ...tens(100))],
    ["that execute in one go", (loop: EventLoop) => executes(loop, 1000)],
    ["that compute", (loop: EventLoop) => computes(loop, 1000)],
  ])("take longer by what they get of the core less: %s", (_, code) => {
    const loop = machine();
    for (const cpu of [0, 2]) loop.spawn(`sibling ${cpu}`, cpu, code(loop));
    loop.run();
    for (const cpu of [0, 2]) {
      // What of a time both execute in is known to a step.
      expect(loop.clockCycles[cpu]).toBeGreaterThan(1000 * SLOWER - 12);
      expect(loop.clockCycles[cpu]).toBeLessThanOrEqual(1000 * SLOWER);
      expect(shared(loop, cpu)).toBe(loop.clockCycles[cpu] - 1000);
    }
  });

  it("slow each other for as long as both execute: the longer has the core for itself in the end", () => {
    const loop = machine();
    loop.spawn("long", 0, executes(loop, ...tens(300)));
    loop.spawn("short", 2, executes(loop, ...tens(100)));
    loop.run();
    expect(Math.abs(loop.clockCycles[2] - 1000 * SLOWER)).toBeLessThan(20);
    expect(Math.abs(loop.clockCycles[0] - (1000 * SLOWER + 2000))).toBeLessThan(20);
  });

  it("leave threads of other cores alone, and a core to a thread that is alone on it", () => {
    const loop = machine();
    for (const cpu of [0, 1]) loop.spawn(`core ${cpu}`, cpu, executes(loop, ...tens(100)));
    loop.run();
    expect([...loop.clockCycles.subarray(0, 2)]).toEqual([1000, 1000]);
  });

  it("leave the core to each other while they wait: for a line, for a lock, asleep", () => {
    const loop = machine();
    const waiters: Thread[] = [];
    function* waits(pause: typeof PAUSE_SPIN | typeof PAUSE_SLEEP): KernelCode<void> {
      if (loop.currentThread !== null) waiters.push(loop.currentThread);
      yield pause;
    }
    function* ofLine(): KernelCode<void> {
      loop.lines.waitFor(5000);
      yield PAUSE_TURN;
    }
    for (const code of [() => waits(PAUSE_SPIN), () => waits(PAUSE_SLEEP), ofLine]) {
      const began = Math.max(...loop.clockCycles);
      loop.spawn("waits", 2, code());
      loop.spawn("executes", 0, executes(loop, ...tens(100)));
      loop.run(() => loop.clockCycles[0] >= began + 1000);
      for (const waiter of waiters.splice(0)) loop.wake(waiter, loop.clockCycles[0]);
      loop.run();
    }
    expect(shared(loop, 0) + shared(loop, 2)).toBe(0);
  });

  it("slow each other by how much of their time they execute, where a step waits too", () => {
    const loop = machine();
    function* halfWaits(): KernelCode<void> {
      for (let i = 0; i < 100; i++) {
        while (loop.mustYield()) yield PAUSE_TURN;
        loop.spend(50);
        loop.lines.waitFor(50);
      }
    }
    loop.spawn("half", 0, halfWaits());
    loop.spawn("all", 2, executes(loop, ...Array.from({ length: 100 }, () => 100)));
    loop.run();
    const [half, all] = [shared(loop, 0), shared(loop, 2)];
    // Of the 10,000 cycles that each has without sharing, both execute in half of the time.
    expect(half).toBeGreaterThan(0.9 * 5000 * (SLOWER - 1));
    expect(half).toBeLessThan(1.1 * 5000 * (SLOWER - 1));
    expect(all).toBeGreaterThan(half * 0.9);
  });

  it("have interrupts taken when they arrive: a handler and what it interrupts share the core like all else", () => {
    const loop = machine();
    const taken: number[] = [];
    loop.spawn("interrupted", 0, computes(loop, 1000));
    loop.spawn("sibling", 2, computes(loop, 4000));
    loop.postInterrupt(0, 500, () => {
      taken.push(loop.nowCycles());
      loop.spend(200);
    });
    loop.run();
    expect(taken).toEqual([500]);
    expect(Math.abs(loop.clockCycles[0] - 1200 * SLOWER)).toBeLessThan(3);
  });

  it("have what they send reach others as much later as they come to send it", () => {
    const takenAt = (withSibling: boolean): number => {
      const loop = machine();
      let at = 0;
      function* sends(): KernelCode<void> {
        while (loop.mustYield()) yield PAUSE_TURN;
        loop.spend(1000);
        loop.sendInterrupt(1, loop.nowCycles(), 2000, () => {
          at = loop.nowCycles();
        });
        loop.spend(1000);
      }
      loop.spawn("sends", 0, sends());
      if (withSibling) loop.spawn("sibling", 2, executes(loop, 2000));
      loop.run();
      return at;
    };
    expect(takenAt(false)).toBe(3000);
    expect(Math.abs(takenAt(true) - (1000 * SLOWER + 2000))).toBeLessThan(3);
  });

  it("do not slow each other where a preset says so, or a core has not two threads: nothing is kept then", () => {
    expect(machine(2).sharedCores).toBeNull();
    expect(machine(THROUGHPUT, 1).sharedCores).toBeNull();
    expect(machine(THROUGHPUT, 3).sharedCores).toBeNull();
    expect(machine().sharedCores).not.toBeNull();
  });
});

describe("sharing cores", () => {
  const work = fc.array(fc.tuple(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 1, max: 500 })), { maxLength: 60 });

  it("is in the accounts: each CPU's parts sum up to its clock, executed cycles stay what they were, the same each time", () => {
    fc.assert(
      fc.property(work, (all) => {
        const clocks = [0, 1].map(() => {
          const loop = machine();
          for (let cpu = 0; cpu < 4; cpu++) {
            const own = all.filter(([of]) => of === cpu).map(([, cycles]) => cycles);
            loop.spawn(`on ${cpu}`, cpu, executes(loop, ...own));
          }
          loop.run();
          for (let cpu = 0; cpu < 4; cpu++) {
            const parts = [...loop.accounts.ofCpu(cpu).values()].reduce((sum, part) => sum + part, 0);
            expect(parts).toBe(loop.clockCycles[cpu]);
            const executed = all.filter(([of]) => of === cpu).reduce((sum, [, cycles]) => sum + cycles, 0);
            expect(parts - shared(loop, cpu) - loop.accounts.cycles(cpu, ACTIVITY_IDLE)).toBe(executed);
            expect(shared(loop, cpu)).toBeLessThanOrEqual(executed * (SLOWER - 1) + 1);
          }
          return [...loop.clockCycles];
        });
        expect(clocks[0]).toEqual(clocks[1]);
      }),
    );
  });

  it("makes times without interrupts longer, and puts those after it later", () => {
    const spans = new OffSpans();
    spans.add(100, 200, true);
    spans.add(400, 500, true);
    spans.stretch(100, 300, 40);
    expect(spans.takenAt(100)).toBe(220);
    expect(spans.takenAt(439)).toBe(439);
    expect(spans.takenAt(440)).toBe(540);
  });
});
