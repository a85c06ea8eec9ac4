/** Loops of threads are timed to their own end, and the time is divided up until then. */
import { expect, it } from "vitest";
import { ACTIVITY_LOCK_WAIT, EventLoop, type KernelCode, PAUSE_TURN } from "../../../../arch/index.ts";
import { LoopTimes } from "../../../../src/experiments/user-flush/loop-times.ts";

it("counts no interrupt that comes when a thread's last loop is over", () => {
  const loop = new EventLoop(2);
  const times = new LoopTimes(loop, 8);
  function* loops(cyclesOfLoop: number): KernelCode<void> {
    for (let i = 0; i < 8; i++) {
      times.begins(i);
      loop.spend(cyclesOfLoop);
      while (loop.mustYield()) yield PAUSE_TURN;
    }
    times.ends();
  }
  loop.spawn("short", 0, loops(100));
  loop.spawn("long", 1, loops(1000));
  loop.postInterrupt(0, 5000, () => loop.spend(700));
  loop.run();
  expect(loop.clockCycles[0]).toBe(5700);
  expect([times.cyclesOf(0), times.cyclesOf(1)]).toEqual([100, 1000]);
  // Nor is a CPU idle in the time that is measured because its thread is through before others are.
  expect(times.shares.percents()).toMatchObject({ idlePercent: 0, interruptPercent: 0 });
});

it("divides up the time of the loops that are counted, and of no others", () => {
  const loop = new EventLoop(1);
  const times = new LoopTimes(loop, 8);
  // biome-ignore lint/correctness/useYield: kernel code is a generator even where it never waits
  function* loops(): KernelCode<void> {
    loop.accounts.enter(0, ACTIVITY_LOCK_WAIT);
    loop.spend(5000);
    for (let i = 0; i < 8; i++) {
      times.begins(i);
      const was = loop.accounts.enter(0, 0);
      loop.spend(75);
      loop.accounts.enter(0, was);
      loop.spend(25);
    }
    times.ends();
    loop.spend(5000);
  }
  loop.spawn("waiting", 0, loops());
  loop.run();
  expect(times.shares.percents().lockWaitPercent).toBe(25);
});
