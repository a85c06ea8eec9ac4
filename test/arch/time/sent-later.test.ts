/** What a CPU sent that turns out to have come later: it arrives as much later. */
import { describe, expect, it } from "vitest";
import { ACTIVITY_LOCK_WAIT, EventLoop, type KernelCode } from "../../../arch/index.ts";
import { PendingInterrupts } from "../../../arch/time/pending-interrupts.ts";

const SENT_AT = 1000;
const LATENCY = 500;
const TOOK = 300;

/**
 * CPU 0 sends to CPU 1 at {@link SENT_AT}, in one go; a timer's interrupt came to it at `timerAt` and took {@link TOOK}. When CPU 1, idle, takes what was
 * sent, and where CPU 0 is at the end.
 */
function run(timerAt: number, runsUntil = 2 * SENT_AT): { takenAt: number; senderAt: number } {
  const loop = new EventLoop(2);
  let takenAt = 0;
  function* sender(): KernelCode<void> {
    loop.spend(SENT_AT);
    loop.sendInterrupt(1, loop.nowCycles(), LATENCY, () => {
      takenAt = loop.nowCycles();
    });
    loop.spend(runsUntil - SENT_AT);
  }
  loop.spawn("sender", 0, sender());
  loop.postInterrupt(0, timerAt, () => loop.spend(TOOK));
  loop.run();
  return { takenAt, senderAt: loop.clockCycles[0] };
}

describe("an interrupt that a CPU takes after it has gone past its arrival", () => {
  it("puts off what the CPU sent after that", () => {
    expect(run(400)).toEqual({ takenAt: SENT_AT + TOOK + LATENCY, senderAt: 2 * SENT_AT + TOOK });
  });

  it("puts off nothing that was sent before", () => {
    expect(run(1200)).toEqual({ takenAt: SENT_AT + LATENCY, senderAt: 2 * SENT_AT + TOOK });
  });

  it("does not put off what its own handler sends, nor timers", () => {
    const loop = new EventLoop(2);
    const taken: number[] = [];
    const note = (): void => {
      taken.push(loop.nowCycles());
    };
    // biome-ignore lint/correctness/useYield: runs in one go
    function* busy(): KernelCode<void> {
      loop.spend(SENT_AT);
      loop.postInterrupt(1, SENT_AT + LATENCY, note);
    }
    loop.spawn("busy", 0, busy());
    loop.postInterrupt(0, 400, () => {
      loop.spend(100);
      loop.sendInterrupt(1, loop.nowCycles(), LATENCY, note);
      loop.spend(TOOK - 100);
    });
    loop.run();
    expect(taken).toEqual([500 + LATENCY, SENT_AT + LATENCY]);
  });
});

/** As {@link run}, but the timer's handler, which begins at 400, sends at 500; CPU 2 puts CPU 0 behind by {@link TOOK} from `behindFrom` on. */
function sentByHandler(behindFrom: number, runsUntil: number): number {
  const loop = new EventLoop(3);
  let takenAt = 0;
  // biome-ignore lint/correctness/useYield: runs in one go
  function* busy(): KernelCode<void> {
    loop.spend(runsUntil);
  }
  // biome-ignore lint/correctness/useYield: runs in one go
  function* other(): KernelCode<void> {
    loop.delay(0, behindFrom, TOOK, ACTIVITY_LOCK_WAIT);
  }
  loop.spawn("busy", 0, busy());
  loop.postInterrupt(0, 400, () => {
    loop.spend(100);
    loop.sendInterrupt(1, loop.nowCycles(), LATENCY, () => {
      takenAt = loop.nowCycles();
    });
    loop.spend(100);
    loop.spawn("other", 2, other());
  });
  loop.run();
  return takenAt;
}

describe("what a handler sends", () => {
  it.each([
    ["has gone past its arrival", SENT_AT],
    ["waits for it", 400],
  ])(
    "is sent when it does so, on a CPU that %s: who is put behind between its begin and then sends it later",
    (_what, runsUntil) => {
      expect(sentByHandler(399, runsUntil)).toBe(500 + LATENCY + TOOK);
      expect(sentByHandler(450, runsUntil)).toBe(500 + LATENCY + TOOK);
      expect(sentByHandler(550, runsUntil)).toBe(500 + LATENCY);
    },
  );

  it("is stretched with the time in which it is sent, also by the handler itself", () => {
    const interrupts = new PendingInterrupts(2);
    interrupts.beginRun();
    interrupts.handles(0);
    interrupts.post(1, { arrivalCycles: 600, handler: () => {}, isMaskable: true, senderCpu: 0, sentCycles: 500 });
    expect(interrupts.sentStretched(0, 400, 600, 100)).toEqual([1]);
    expect(interrupts.nextAt[1]).toBe(650);
    // The handler's own time does not move it, and what comes after its sending does not.
    expect(interrupts.handled(0, 400, 300, true)).toEqual([]);
    expect(interrupts.sentLater(0, 550, 10)).toEqual([]);
    expect(interrupts.sentLater(0, 549, 10)).toEqual([1]);
    expect(interrupts.nextAt[1]).toBe(660);
  });
});

it("a CPU that others put behind sends later what it sends after that", () => {
  const loop = new EventLoop(3);
  let takenAt = 0;
  function* sender(): KernelCode<void> {
    loop.spend(SENT_AT);
    loop.sendInterrupt(1, loop.nowCycles(), LATENCY, () => {
      takenAt = loop.nowCycles();
    });
  }
  // biome-ignore lint/correctness/useYield: runs in one go
  function* other(): KernelCode<void> {
    loop.delay(0, 700, TOOK, ACTIVITY_LOCK_WAIT);
    loop.delay(0, SENT_AT + TOOK, TOOK, ACTIVITY_LOCK_WAIT);
  }
  loop.spawn("sender", 0, sender());
  loop.spawn("other", 2, other());
  loop.run();
  expect(takenAt).toBe(SENT_AT + TOOK + LATENCY);
});
