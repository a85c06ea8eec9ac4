import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EventLoop, type KernelCode, PAUSE_RESCHED, PAUSE_TURN } from "../../../../arch/index.ts";
import { Turns } from "../../../../src/workloads/base/turns.ts";

/** Few cycles a microsecond, so that polls and slices are short: 10 and 150 cycles on one CPU. */
const FREQUENCY_GHZ = 0.0002;
const POLL_CYCLES = 10;
const SLICE_CYCLES = 150;

/** Turns as a generator says them. */
class TurnsAsGenerator {
  private readonly loop: EventLoop;
  private dueCycles = 0;
  private sliceStartCycles = 0;
  constructor(loop: EventLoop) {
    this.loop = loop;
  }

  isDue(): boolean {
    return this.loop.nowCycles() >= this.dueCycles || this.loop.mustYield();
  }

  *take(): KernelCode<void> {
    const { loop } = this;
    const sliceCycles = SLICE_CYCLES * (1 + Math.floor(Math.log2(loop.cpus)));
    while (loop.mustYield()) yield PAUSE_TURN;
    if (loop.nowCycles() < this.dueCycles) return;
    yield PAUSE_TURN;
    const isSliceOver = loop.nowCycles() - this.sliceStartCycles >= sliceCycles;
    if (isSliceOver && loop.needsResched()) yield PAUSE_RESCHED;
    if (isSliceOver) this.sliceStartCycles = loop.nowCycles();
    this.dueCycles = loop.nowCycles() + POLL_CYCLES;
  }
}

/** Threads that spend so many cycles between turns, two threads in a row on each CPU; who ran when. */
function orderOf(
  threads: readonly (readonly number[])[],
  makeOfThread: (loop: EventLoop) => () => Turns | TurnsAsGenerator,
): string[] {
  const loop = new EventLoop(Math.ceil(threads.length / 2));
  const turnsOfThread = makeOfThread(loop);
  const log: string[] = [];
  threads.forEach((amounts, i) => {
    const turns = turnsOfThread();
    const code = function* (): KernelCode<void> {
      for (const amount of amounts) {
        if (turns.isDue()) yield* turns.take();
        log.push(`${i}@${loop.nowCycles()}`);
        loop.spend(amount);
      }
    };
    loop.spawn(`${i}`, i >> 1, code());
  });
  loop.run();
  return log;
}

function turnsOfAll(loop: EventLoop): () => Turns {
  const turns = new Turns(loop, FREQUENCY_GHZ);
  return () => turns;
}

describe("turns of threads", () => {
  it("let others act when a generator that polls and gives up its slice would", () => {
    const amounts = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(fc.array(amounts, { minLength: 1, maxLength: 6 }), (threads) => {
        const order = orderOf(threads, turnsOfAll);
        expect(order).toEqual(orderOf(threads, (loop) => () => new TurnsAsGenerator(loop)));
      }),
    );
  });

  it("share a CPU out by slices", () => {
    const order = orderOf([Array(20).fill(20), Array(20).fill(20)], turnsOfAll);
    const names = order.map((each) => each[0]).join("");
    expect(names).toMatch(/^0+1+0+1+/);
  });
});
