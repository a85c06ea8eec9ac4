import { describe, expect, it } from "vitest";
import { EventLoop, type KernelCode, PAUSE_TURN } from "../../../arch/index.ts";
import { Work } from "../../../mm/index.ts";

describe("work items", () => {
  function* spend(loop: EventLoop, cycles: number): KernelCode<void> {
    loop.spend(cycles);
    yield PAUSE_TURN;
  }

  it("are queued once while they are pending", () => {
    const loop = new EventLoop(2);
    let runs = 0;
    const work = new Work("work", loop, function* () {
      runs++;
      yield* spend(loop, 100);
    });
    expect([work.scheduleOn(0), work.scheduleOn(1), work.isPending]).toEqual([true, false, true]);
    loop.run();
    expect([runs, work.isPending]).toEqual([1, false]);
    expect(loop.clockCycles[1]).toBe(0);
  });

  it("never run on two CPUs at once: one queued while it runs runs again where it ran", () => {
    const loop = new EventLoop(2);
    let running = 0;
    const ranOn: number[] = [];
    const work = new Work("work", loop, function* () {
      expect(++running).toBe(1);
      ranOn.push(loop.currentCpu);
      yield* spend(loop, 1000);
      running--;
    });
    function* other(): KernelCode<void> {
      yield* spend(loop, 500);
      expect(work.schedule()).toBe(true);
      expect(work.schedule()).toBe(false);
    }
    work.scheduleOn(0);
    loop.spawn("other", 1, other());
    loop.run();
    expect(ranOn).toEqual([0, 0]);
  });

  it("are waited for until they neither run nor are pending", () => {
    const loop = new EventLoop(2);
    const work = new Work("work", loop, () => spend(loop, 3000));
    let waitedUntil = 0;
    function* waiter(): KernelCode<void> {
      yield* work.flush();
      waitedUntil = loop.nowCycles();
    }
    work.scheduleOn(0);
    loop.spawn("waiter", 1, waiter());
    loop.run();
    expect(waitedUntil).toBe(3000);
  });
});
