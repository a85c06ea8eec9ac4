/** CPUs that compute until another is done look less often the more of them there are, and are not any less busy for it. */
import { expect, it } from "vitest";
import { compute, type TopologyConfig } from "../../../../arch/index.ts";
import { computeUntil } from "../../../../src/experiments/base/busy-cpu.ts";
import { bootKernel } from "../../../../src/machine/kernel.ts";

/** How often all CPUs but one look whether that is done, which takes 10,000 cycles for each of them, and whether they computed meanwhile. */
function looksOf(cpus: number, topology?: TopologyConfig) {
  const kernel = bootKernel({ cpus, memoryBytes: 2 ** 28, ...(topology === undefined ? {} : { topology }) });
  const { loop } = kernel.machine;
  const doneAfter = 10_000 * cpus;
  let isDone = false;
  let looks = 0;
  const asked = (): boolean => {
    looks++;
    return isDone;
  };
  for (let cpu = 1; cpu < cpus; cpu++) kernel.spawn(`busy/${cpu}`, cpu, computeUntil(loop, asked));
  kernel.spawn(
    "acting",
    0,
    (function* () {
      if (loop.currentThread !== null) yield* compute(loop.currentThread, doneAfter);
      isDone = true;
    })(),
  );
  kernel.runUntilIdle();
  return { looksEach: looks / (cpus - 1), isBusyToTheEnd: Math.min(...loop.clockCycles) >= doneAfter };
}

it("each CPU looks as often on 512 CPUs as on 32 while what takes as much longer is done", () => {
  const few = looksOf(32);
  const many = looksOf(512);
  expect(few.looksEach).toBeGreaterThan(2);
  expect(many).toEqual(few);
  expect(many.isBusyToTheEnd).toBe(true);
});

it("CPUs that share cores look every 20,000 cycles, whatever their number", () => {
  const { looksEach } = looksOf(64, { sockets: 1, coresPerSocket: 32, threadsPerCore: 2 });
  // Of 640,000 cycles of the one that they wait for, some pass more slowly beside the other thread of its core.
  expect(looksEach).toBeGreaterThan(32);
});
