/** What waking a thread that sleeps moves between the waker's CPU and its own. */
import { describe, expect, it } from "vitest";
import { type KernelCode, PAUSE_SLEEP, PAUSE_TURN } from "../../../arch/index.ts";
import { ACTIVITY_SWITCH } from "../../../arch/time/cycle-accounts.ts";
import { IPI_POLICY } from "../../../mm/index.ts";
import { markForWakeUp, spendOnWakeUp, tryToWakeUp } from "../../../mm/kernel/wake-up.ts";
import { boot } from "../user/user-machine.ts";

/** What the waker on CPU 0 and the woken thread on CPU `cpu` waited for lines, in transfers between these two. */
function transfers(cpu: number, isMarked: boolean): { readonly waker: number; readonly woken: number } {
  const { kernel } = boot(IPI_POLICY);
  const { mm } = kernel;
  const { loop } = kernel.machine;
  let [waker, woken] = [0, 0];
  function* sleeper(): KernelCode<void> {
    const switched = loop.accounts.cycles(cpu, ACTIVITY_SWITCH);
    yield PAUSE_SLEEP;
    const before = loop.lines.waitedCycles[cpu];
    spendOnWakeUp(mm, switched, 0);
    woken = loop.lines.waitedCycles[cpu] - before;
  }
  const thread = kernel.spawn("sleeper", cpu, sleeper());
  function* waking(): KernelCode<void> {
    loop.spend(50_000);
    while (loop.mustYield()) yield PAUSE_TURN;
    const before = loop.lines.waitedCycles[0];
    if (isMarked) markForWakeUp(mm, thread);
    tryToWakeUp(mm, thread, isMarked);
    waker = loop.lines.waitedCycles[0] - before;
    loop.wake(thread, loop.nowCycles());
  }
  kernel.spawn("waker", 0, waking());
  kernel.runUntilIdle();
  const each = loop.lines.transferCycles[loop.topology.distance(0, cpu)];
  return cpu === 0 ? { waker, woken } : { waker: waker / each, woken: woken / each };
}

describe("a thread that is woken from another CPU", () => {
  it("costs the waker its entry in the queue, its state, its run queue, the list of calls and the flags of the idle thread", () => {
    expect(transfers(1, true).waker).toBe(13);
    expect(transfers(1, false).waker).toBe(11);
  });

  it("fetches back what the waker has written", () => {
    expect(transfers(1, true).woken).toBe(7);
  });

  it("moves nothing where both are on one CPU", () => {
    expect(transfers(0, true)).toEqual({ waker: 0, woken: 0 });
  });
});
