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

it("have been had already by a CPU whose clock is before the time since which they are held; others at its time wait for it", () => {
  const { hold } = threeCpus();
  hold(0, 1000, 100);
  expect(hold(1, 500, 100)).toBe(500 + TRANSFER + 120);
  expect(hold(2, 600, 0)).toBe(670 + 2 * TRANSFER + 20);
});

it("serve CPUs that come in no order as many times a second as one after the other, however many there are", () => {
  const loop = new EventLoop(32);
  const lock = new IrqSpinLock("zone", loop, { uncontendedCycles: 0, handOverTransfers: 0 });
  // Each CPU computes 3,000 cycles and holds the lock for 1,000, twenty times: the loop runs whichever is behind, by portions of five.
  const rounds = 20;
  for (let done = 0; done < rounds; done += 5) {
    for (let cpu = 0; cpu < 32; cpu++) {
      loop.currentCpu = cpu;
      for (let round = 0; round < 5; round++) {
        loop.clockCycles[cpu] += 3_000;
        lock.hold(1_000);
      }
    }
  }
  const took = Math.max(...loop.clockCycles);
  // The lock alone takes 32 * 20 * 1,000 cycles; a line of one CPU after the other cannot be quicker, nor much slower.
  expect(took).toBeGreaterThan(0.9 * 32 * rounds * 1_000);
  expect(took).toBeLessThan(1.2 * 32 * rounds * 1_000);
});
