/** Loops of threads are timed to their own end. */
import { expect, it } from "vitest";
import { EventLoop, type KernelCode, PAUSE_TURN } from "../../../../arch/index.ts";
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
});
