/** What a CPU sent that turns out to have come later: it arrives as much later. */
import { describe, expect, it } from "vitest";
import { ACTIVITY_LOCK_WAIT, EventLoop, type KernelCode } from "../../../arch/index.ts";

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
