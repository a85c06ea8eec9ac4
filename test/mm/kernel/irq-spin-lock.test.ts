/** Spinlocks of plain code, held for a known time with interrupts off. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { EventLoop, type KernelCode, nothing, PAUSE_TURN } from "../../../arch/time/event-loop.ts";
import { IrqSpinLock } from "../../../mm/kernel/irq-spin-lock.ts";
import { lockStatistics } from "../../../mm/kernel/lock-stat.ts";

const COSTS = { uncontendedCycles: 20, handOverTransfers: 2 };
const TRANSFER = 50;

function threeCpus() {
  const loop = new EventLoop(4);
  loop.lines.transferCycles = [0, TRANSFER, TRANSFER, TRANSFER, TRANSFER, TRANSFER];
  const lock = new IrqSpinLock("list_lock", loop, COSTS);
  const hold = (cpu: number, atCycles: number, cycles: number): number => {
    loop.currentCpu = cpu;
    loop.clockCycles[cpu] = atCycles;
    lock.hold(cycles);
    return loop.clockCycles[cpu];
  };
  return { loop, hold };
}

it("are had by one CPU after the other: who comes meanwhile waits for all who came before, and polls the lock's word", () => {
  const { loop, hold } = threeCpus();
  expect(hold(0, 1000, 100)).toBe(1120);
  expect(hold(1, 1000, 100)).toBe(1120 + 2 * TRANSFER + 120);
  expect(hold(2, 1050, 10)).toBe(1340 + 2 * TRANSFER + 30);
  const [statistics] = lockStatistics(loop);
  expect(statistics).toMatchObject({ acquisitions: 3, contentions: 2, acquisitionBounces: 2, holdMaxCycles: 120 });
  expect(statistics.waitTotalCycles).toBe(120 + 290);
});

it("cost nobody a wait who comes after, and only their line when another CPU had them", () => {
  const { hold } = threeCpus();
  expect(hold(0, 1000, 100)).toBe(1120);
  expect(hold(0, 1120, 0)).toBe(1140);
  expect(hold(1, 2000, 0)).toBe(2000 + TRANSFER + 20);
});

it("have been had already by a CPU whose clock is before the time since which they are held; others at its time wait for it", () => {
  const { loop, hold } = threeCpus();
  hold(0, 1000, 100);
  expect(hold(1, 500, 100)).toBe(620);
  expect(hold(2, 600, 0)).toBe(620 + 2 * TRANSFER + 20);
  // CPU 0, which took them for nobody's, gets their line from CPU 2 after all.
  expect(loop.clockCycles[0]).toBe(1120 + TRANSFER);
});

/** A CPU that computes and holds the lock, again and again; after each `portion` of turns others may act. */
function* turns(
  loop: EventLoop,
  lock: IrqSpinLock,
  program: readonly (readonly [computes: number, holds: number])[],
  portion: number,
): KernelCode<void> {
  for (let i = 0; i < program.length; i++) {
    if (i % portion === 0) yield PAUSE_TURN;
    loop.spend(program[i][0]);
    lock.hold(program[i][1]);
  }
}

it("serve CPUs that run ahead of each other as many times a second as one after the other, however many there are", () => {
  const loop = new EventLoop(32);
  const lock = new IrqSpinLock("zone", loop, { uncontendedCycles: 0, handOverTransfers: 0 });
  const program = Array.from({ length: 20 }, () => [3_000, 1_000] as const);
  for (let cpu = 0; cpu < 32; cpu++) loop.spawn(`CPU ${cpu}`, cpu, turns(loop, lock, program, 5));
  loop.run();
  const took = Math.max(...loop.clockCycles);
  // The lock alone takes 32 * 20 * 1,000 cycles, after 3,000 in which the first computes.
  expect(took).toBeGreaterThanOrEqual(643_000);
  expect(took).toBeLessThan(1.02 * 643_000);
});

it("make nobody wait for longer than each other CPU has them once, and book all that they wait, whichever CPU runs ahead", () => {
  const turn = fc.tuple(fc.nat(4_000), fc.nat(1_000));
  const program = fc.tuple(fc.array(turn, { maxLength: 40 }), fc.integer({ min: 1, max: 40 }));
  fc.assert(
    fc.property(fc.array(program, { minLength: 1, maxLength: 8 }), (programs) => {
      const loop = new EventLoop(8);
      loop.lines.transferCycles = [0, TRANSFER, TRANSFER, TRANSFER, TRANSFER, TRANSFER];
      const lock = new IrqSpinLock("zone", loop, COSTS);
      programs.forEach(([each, portion], cpu) => {
        loop.spawn(`CPU ${cpu}`, cpu, turns(loop, lock, each, portion));
      });
      loop.run();
      const [statistics] = lockStatistics(loop);
      if (statistics === undefined) return;
      const longest = statistics.holdMaxCycles + COSTS.handOverTransfers * TRANSFER;
      expect(statistics.waitMaxCycles).toBeLessThanOrEqual((programs.length - 1) * longest);
      expect(statistics.acquisitions).toBe(programs.flatMap(([each]) => each).length);
      programs.forEach(([each], cpu) => {
        const own = each.reduce((sum, [computes, holds]) => sum + computes + holds + COSTS.uncontendedCycles, 0);
        const parts = loop.accounts.ofCpu(cpu);
        const waited = (parts.get("lock wait") ?? 0) + (parts.get("waiting for lines") ?? 0);
        expect(parts.get("other") ?? 0).toBe(own);
        expect(own + waited).toBe(loop.clockCycles[cpu]);
      });
    }),
  );
});

it("are free for a call from outside: those before it are over, whatever their CPUs' clocks", () => {
  const { loop, hold } = threeCpus();
  hold(0, 1000, 100);
  loop.runSync(1, nothing());
  expect(hold(1, 1050, 0)).toBe(1050 + TRANSFER + 20);
});
