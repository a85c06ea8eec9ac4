import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  ACTIVITY_IDLE,
  ACTIVITY_INTERRUPT,
  Deadlock,
  EventLoop,
  INTERRUPTED_RUNNING,
  type KernelCode,
  PAUSE_RESCHED,
  PAUSE_SLEEP,
  PAUSE_SPIN,
  PAUSE_TURN,
} from "../../../arch/index.ts";
import { type CodesInTurn, compute } from "../../../arch/time/event-loop.ts";
import { ReadyQueue } from "../../../arch/time/ready-queue.ts";

/** Spends each amount, letting others act in between; notes who ran when. */
function* steps(loop: EventLoop, name: string, amounts: readonly number[], log: string[]): KernelCode<void> {
  for (const amount of amounts) {
    while (loop.mustYield()) yield PAUSE_TURN;
    log.push(`${name}@${loop.nowCycles()}`);
    loop.spend(amount);
  }
}

describe("the event loop", () => {
  it("resumes the CPU that is furthest behind, the lower number first when two are level", () => {
    const loop = new EventLoop(3);
    const log: string[] = [];
    loop.spawn("b", 1, steps(loop, "b", [10, 10, 10], log));
    loop.spawn("a", 0, steps(loop, "a", [25, 5], log));
    loop.spawn("c", 2, steps(loop, "c", [1], log));
    loop.run();
    expect(log).toEqual(["a@0", "b@0", "c@0", "b@10", "b@20", "a@25"]);
  });

  it("refuses a CPU that there is not, and goes on", () => {
    const loop = new EventLoop(2);
    const log: string[] = [];
    for (const cpu of [-1, 2, 0.5, Number.NaN]) {
      const message = `CPU: ${cpu}: expected a whole number from 0 to 1`;
      expect(() => loop.spawn("nowhere", cpu, steps(loop, "nowhere", [1], log))).toThrow(message);
      expect(() => loop.runSync(cpu, steps(loop, "nowhere", [1], log))).toThrow(message);
      expect(() => loop.postInterrupt(cpu, 0, () => log.push("interrupt"))).toThrow(message);
    }
    loop.spawn("a", 1, steps(loop, "a", [10], log));
    loop.run();
    loop.runSync(0, steps(loop, "b", [10], log));
    expect(log).toEqual(["a@0", "b@0"]);
  });

  it("has a thread go on at once with what it runs next, told what the last returned, and end after the last", () => {
    const loop = new EventLoop(2);
    const log: string[] = [];
    function* returning(amounts: readonly number[], value: string): KernelCode<string> {
      yield* steps(loop, value, amounts, log);
      return value;
    }
    function* codes(): CodesInTurn {
      log.push(`first ${yield returning([10, 10], "a")}`);
      log.push(`then ${yield returning([], "nothing")}`);
      log.push(`last ${yield returning([10], "b")}`);
    }
    const thread = loop.spawn("thread", 0, steps(loop, "begin", [10], log), codes());
    loop.spawn("other", 1, steps(loop, "other", [15, 10], log));
    loop.run();
    expect(log).toEqual([
      ...["begin@0", "other@0", "a@10", "other@15", "a@20"],
      ...["first a", "then nothing", "b@30", "last b"],
    ]);
    expect(thread.done).toBe(true);
  });

  it("takes an interrupt when it arrives, not when it is sent, and goes on where it was", () => {
    const loop = new EventLoop(2);
    const log: string[] = [];
    loop.spawn("victim", 1, steps(loop, "victim", [100, 100, 100, 100], log));
    loop.postInterrupt(1, 150, (cpu) => {
      log.push(`interrupt on ${cpu}@${loop.nowCycles()}`);
      loop.spend(40);
    });
    loop.run();
    expect(log).toEqual(["victim@0", "victim@100", "interrupt on 1@150", "victim@240", "victim@340"]);
    expect(loop.accounts.cycles(1, ACTIVITY_INTERRUPT)).toBe(40);
  });

  it("keeps an interrupt waiting while interrupts are off", () => {
    const loop = new EventLoop(2);
    const taken: number[] = [];
    function* critical(): KernelCode<void> {
      loop.disableInterrupts();
      loop.disableInterrupts();
      loop.spend(500);
      yield PAUSE_TURN;
      loop.enableInterrupts();
      loop.spend(500);
      yield PAUSE_TURN;
      loop.enableInterrupts();
      yield PAUSE_TURN;
      loop.spend(7);
    }
    loop.spawn("critical", 1, critical());
    loop.postInterrupt(1, 10, () => taken.push(loop.nowCycles()));
    loop.run();
    expect(taken).toEqual([1000]);
    expect(() => loop.enableInterrupts()).toThrow(RangeError);
  });

  it("takes an interrupt that arrives within code which does not pause by its time, and once interrupts are on", () => {
    const atOf = (arrivals: number[], offFrom: number, offFor: number): number[] => {
      const loop = new EventLoop(2);
      const taken: number[] = [];
      function* work(): KernelCode<void> {
        loop.spend(offFrom);
        const began = loop.nowCycles();
        loop.spend(offFor);
        loop.interruptsWereOff(began);
        loop.spend(1000 - offFrom - offFor);
        yield PAUSE_TURN;
        loop.spend(1);
      }
      loop.spawn("work", 1, work());
      for (const at of arrivals) {
        loop.postInterrupt(1, at, () => {
          taken.push(loop.nowCycles());
          expect(loop.stateOf(1)).toBe(INTERRUPTED_RUNNING);
          loop.spend(30);
        });
      }
      loop.run();
      expect(loop.clockCycles[1]).toBe(1001 + 30 * arrivals.length);
      expect(loop.accounts.cycles(1, ACTIVITY_INTERRUPT)).toBe(30 * arrivals.length);
      return taken;
    };
    expect(atOf([150], 400, 200)).toEqual([150]);
    expect(atOf([400], 400, 200)).toEqual([400]);
    expect(atOf([401], 400, 200)).toEqual([600]);
    expect(atOf([599], 400, 200)).toEqual([600]);
    expect(atOf([600], 400, 200)).toEqual([600]);
    // A handler is not interrupted, and what comes after it is later by what it took.
    expect(atOf([150, 160], 400, 200)).toEqual([150, 180]);
    expect(atOf([150, 420], 400, 200)).toEqual([150, 420]);
    expect(atOf([150, 431], 400, 200)).toEqual([150, 630]);
    expect(atOf([450, 460], 400, 200)).toEqual([600, 630]);
  });

  it("lets whoever waits for an interrupt's handler go on at the time of it, not when the interrupted code pauses", () => {
    const loop = new EventLoop(2);
    let wokenAt = 0;
    function* long(): KernelCode<void> {
      loop.spend(100_000);
      yield PAUSE_TURN;
    }
    function* sender(): KernelCode<void> {
      const self = loop.currentThread;
      if (self === null) return;
      loop.spend(500);
      loop.postInterrupt(0, loop.nowCycles() + 100, () => {
        loop.spend(50);
        loop.wake(self, loop.nowCycles());
      });
      yield PAUSE_SPIN;
      wokenAt = loop.nowCycles();
    }
    loop.spawn("long", 0, long());
    loop.spawn("sender", 1, sender());
    loop.run();
    expect(wokenAt).toBe(650);
    expect(loop.clockCycles[0]).toBe(100_050);
  });

  it("wakes an idle CPU for an interrupt and books the time before as idle", () => {
    const loop = new EventLoop(2);
    loop.postInterrupt(1, 1000, () => loop.spend(30));
    loop.run();
    expect(loop.clockCycles[1]).toBe(1030);
    expect(loop.accounts.cycles(1, ACTIVITY_IDLE)).toBe(1000);
    expect(loop.accounts.cycles(1, ACTIVITY_INTERRUPT)).toBe(30);
  });

  it("takes an interrupt on time while a CPU computes, which then takes so much longer", () => {
    const loop = new EventLoop(2);
    let taken = 0;
    let found = -1;
    function* work(): KernelCode<void> {
      if (loop.currentThread !== null) yield* compute(loop.currentThread, 10_000);
      expect(loop.nowCycles()).toBe(10_300);
    }
    loop.spawn("work", 1, work());
    loop.postInterrupt(1, 2500, () => {
      taken = loop.nowCycles();
      found = loop.stateOf(1);
      loop.spend(300);
    });
    loop.run();
    expect([taken, found]).toEqual([2500, INTERRUPTED_RUNNING]);
    expect(loop.accounts.ofCpu(1)).toEqual(
      new Map([
        ["other", 10_000],
        ["interrupts", 300],
      ]),
    );
  });

  it("names the threads that wait for what cannot come, busy-waiting or asleep", () => {
    for (const pause of [PAUSE_SPIN, PAUSE_SLEEP] as const) {
      const loop = new EventLoop(1);
      function* forever(): KernelCode<void> {
        yield pause;
      }
      loop.spawn("waiter", 0, forever());
      expect(() => loop.run()).toThrow(Deadlock);
    }
  });

  it("charges a context switch for each change of thread, and none for going on with the same", () => {
    const loop = new EventLoop(1);
    loop.contextSwitchCycles = 1000;
    function* polite(times: number): KernelCode<void> {
      for (let i = 0; i < times; i++) {
        loop.spend(10);
        yield PAUSE_RESCHED;
      }
    }
    loop.spawn("alone", 0, polite(5));
    loop.run();
    expect(loop.clockCycles[0]).toBe(1050);
    loop.spawn("a", 0, polite(2));
    loop.spawn("b", 0, polite(2));
    loop.run();
    // a b a b, and both once more to their ends.
    expect(loop.clockCycles[0]).toBe(1050 + 6 * 1000 + 40);
  });

  it("puts every cycle of every CPU into exactly one account, whatever happens", () => {
    const action = fc.record({
      kind: fc.constantFrom("spend", "turn", "resched", "interrupt", "off", "activity"),
      cycles: fc.integer({ min: 0, max: 500 }),
      cpu: fc.integer({ min: 0, max: 3 }),
    });
    fc.assert(
      fc.property(fc.array(fc.array(action, { maxLength: 12 }), { minLength: 1, maxLength: 8 }), (threads) => {
        const loop = new EventLoop(4);
        loop.contextSwitchCycles = 11;
        let handled = 0;
        function* run(actions: (typeof threads)[number]): KernelCode<void> {
          for (const { kind, cycles, cpu } of actions) {
            while (loop.mustYield()) yield PAUSE_TURN;
            if (kind === "spend") loop.spend(cycles);
            else if (kind === "turn") yield PAUSE_TURN;
            else if (kind === "resched") yield PAUSE_RESCHED;
            else if (kind === "activity") loop.enterActivity(loop.accounts.activity(`work ${cpu}`));
            else if (kind === "interrupt") {
              loop.postInterrupt(cpu, loop.nowCycles() + cycles, () => {
                handled += 17;
                loop.spend(17);
              });
            } else {
              loop.disableInterrupts();
              loop.spend(cycles);
              yield PAUSE_TURN;
              loop.enableInterrupts();
            }
          }
        }
        threads.forEach((actions, i) => {
          loop.spawn(`thread ${i}`, i % 4, run(actions));
        });
        loop.run();
        let interrupts = 0;
        for (let cpu = 0; cpu < 4; cpu++) {
          const parts = [...loop.accounts.ofCpu(cpu).values()];
          expect(parts.reduce((sum, cycles) => sum + cycles, 0)).toBe(loop.clockCycles[cpu]);
          expect(Math.min(0, ...parts)).toBe(0);
          interrupts += loop.accounts.cycles(cpu, ACTIVITY_INTERRUPT);
        }
        expect(interrupts).toBe(handled);
      }),
    );
  });
});

describe("the queue of CPUs that can act", () => {
  it("gives the same order as looking at all of them", () => {
    const change = fc.tuple(fc.nat(15), fc.option(fc.nat(50), { nil: Number.POSITIVE_INFINITY }));
    fc.assert(
      fc.property(fc.array(change, { maxLength: 200 }), (changes) => {
        const queue = new ReadyQueue(16);
        const model = new Array<number>(16).fill(Number.POSITIVE_INFINITY);
        for (const [cpu, at] of changes) {
          queue.set(cpu, at);
          model[cpu] = at;
          const sorted = [...model].sort((a, b) => a - b);
          expect(queue.first).toBe(Number.isFinite(sorted[0]) ? model.indexOf(sorted[0]) : -1);
          expect(queue.secondAt).toBe(sorted[1]);
          expect(queue.earliestExcept(cpu)).toBe(Math.min(...model.filter((_, other) => other !== cpu)));
        }
      }),
    );
  });
});
