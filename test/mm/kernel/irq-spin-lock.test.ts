/** Spinlocks of plain code, held for a known time with interrupts off. */
import { expect, it } from "vitest";
import { EventLoop } from "../../../arch/time/event-loop.ts";
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

it("have been had already by a CPU whose clock is before the time since which they are held", () => {
  const { hold } = threeCpus();
  hold(0, 1000, 100);
  expect(hold(1, 500, 0)).toBe(500 + TRANSFER + 20);
});
