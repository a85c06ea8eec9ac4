/** vCPUs that share physical CPUs take turns, and what comes for one that does not run waits. */
import { expect, test } from "vitest";
import {
  compute,
  EventLoop,
  type KernelCode,
  Machine,
  PAUSE_SPIN,
  PAUSE_TURN,
  type Thread,
} from "../../../arch/index.ts";
import { HostScheduler } from "../../../src/guests/host-scheduler.ts";

const SLICE = 1000;
const TIMES = { sliceCycles: SLICE, haltPollCycles: 200 };

function loopOf(vcpus: number, physicalCpus: number, resumeCycles = 0) {
  const loop = new EventLoop(vcpus);
  const scheduler = new HostScheduler(loop, physicalCpus, TIMES, (cpu) => {
    loop.clockCycles[cpu] += resumeCycles;
  });
  loop.vcpuScheduler = scheduler;
  return { loop, scheduler };
}

/** A thread that computes in steps, and notes when it had done each. */
function computing(loop: EventLoop, cpu: number, steps: number, cycles: number, log: [number, number][] = []): void {
  const thread: Thread = loop.spawn(`t${cpu}`, cpu, code());
  function* code(): KernelCode<void> {
    for (let i = 0; i < steps; i++) {
      yield* compute(thread, cycles);
      log.push([cpu, loop.nowCycles()]);
    }
  }
}

test("two vCPUs on one physical CPU run a slice each in turn", () => {
  const { loop, scheduler } = loopOf(2, 1);
  const log: [number, number][] = [];
  computing(loop, 0, 4, 400, log);
  computing(loop, 1, 4, 400, log);
  loop.run();
  expect(log).toEqual([
    [0, 400],
    [0, 800],
    [1, 1400],
    [1, 1800],
    [0, 2200],
    [0, 2600],
    [1, 2800],
    [1, 3200],
  ]);
  // The first waits for a slice of the second; the second for one of the first's, then until that one has ended.
  expect([...scheduler.stolenCycles]).toEqual([1000, 1600]);
});

test("what a vCPU computes when its slice ends is done later by as long as it does not run", () => {
  const { loop } = loopOf(2, 1);
  const log: [number, number][] = [];
  computing(loop, 0, 1, 1500, log);
  computing(loop, 1, 1, 300, log);
  loop.run();
  expect(log).toEqual([
    [1, 1300],
    [0, 1800],
  ]);
});

test.each([3, 5])("%i vCPUs that never rest get the same share", (vcpus) => {
  const { loop } = loopOf(vcpus, 1);
  const log: [number, number][] = [];
  for (let cpu = 0; cpu < vcpus; cpu++) computing(loop, cpu, 40, 250, log);
  loop.run();
  const half = log.slice(0, log.length / 2);
  const counts = Array.from({ length: vcpus }, (_, cpu) => half.filter(([of]) => of === cpu).length);
  expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(SLICE / 250);
});

test("an interrupt to a vCPU that does not run waits until it runs again; to one that runs, it comes at once", () => {
  const { loop } = loopOf(3, 2);
  const taken: [number, number][] = [];
  // vCPUs 0 and 2 share a physical CPU; 1 has its own.
  computing(loop, 0, 1, 5000);
  computing(loop, 1, 1, 5000);
  computing(loop, 2, 1, 5000);
  for (const cpu of [0, 1, 2]) loop.postInterrupt(cpu, 1200, () => taken.push([cpu, loop.clockCycles[cpu]]));
  loop.run();
  expect(taken).toEqual([
    [1, 1200],
    [2, 1200],
    [0, 2000],
  ]);
});

test("a vCPU that halts gives its physical CPU away at once, and one that is woken has to wait", () => {
  const { loop, scheduler } = loopOf(2, 1, 50);
  const taken: number[] = [];
  computing(loop, 0, 1, 100);
  computing(loop, 1, 1, 400);
  loop.postInterrupt(0, 200, () => taken.push(loop.clockCycles[0]));
  loop.run();
  // 1 runs from 100 on, 50 cycles after the switch; 0 has its interrupt once it halts, at 550, and 50 later.
  expect(loop.clockCycles[1]).toBe(550);
  expect(taken).toEqual([600]);
  expect(scheduler.stolenCycles[0]).toBe(350);
  expect([...scheduler.preemptions]).toEqual([0, 0]);
});

test("a vCPU that waits long for an interrupt blocks, and takes time to run again; one that waits shortly polls", () => {
  const wokenAt = (at: number): number => {
    const { loop, scheduler } = loopOf(1, 1, 50);
    expect(scheduler.isPreempted(0, 150)).toBe(false);
    expect(scheduler.isPreempted(0, 250)).toBe(true);
    let taken = 0;
    loop.postInterrupt(0, at, () => {
      taken = loop.clockCycles[0];
    });
    loop.run();
    return taken;
  };
  expect(wokenAt(150)).toBe(150);
  expect(wokenAt(250)).toBe(300);
});

test("vCPUs that wait for each other for ever are a deadlock on one physical CPU too", () => {
  const { loop } = loopOf(2, 1);
  function* spins(): KernelCode<void> {
    yield PAUSE_SPIN;
  }
  loop.spawn("a", 0, spins());
  loop.spawn("b", 1, spins());
  expect(() => loop.run()).toThrow(/still wait/);
});

test("calls from outside on one vCPU after the other run one after the other", () => {
  const { loop } = loopOf(2, 1);
  function* spends(): KernelCode<void> {
    loop.spend(300);
    yield PAUSE_TURN;
  }
  loop.runSync(0, spends());
  loop.runSync(1, spends());
  expect([...loop.clockCycles]).toEqual([300, 600]);
});

test("vCPUs of one physical CPU share its TLBs: what one uses the other's evicts", () => {
  const misses = (physicalCpus: number): boolean => {
    const machine = new Machine({ cpus: 2, physicalCpus, preset: "skylake" });
    const [a, b] = machine.cpus;
    return a.mmu.tlbs !== b.mmu.tlbs;
  };
  expect(misses(2)).toBe(true);
  expect(misses(1)).toBe(false);
  expect(() => new Machine({ cpus: 2, physicalCpus: 3 })).toThrow(/physicalCpus/);
});
