import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Deadlock, EventLoop, type KernelCode, PAUSE_RESCHED, PAUSE_SLEEP, PAUSE_TURN } from "../../../arch/index.ts";
import { SpinLock } from "../../../mm/kernel/lock.ts";
import { Mutex } from "../../../mm/kernel/mutex.ts";
import { Work } from "../../../mm/kernel/work.ts";

const COSTS = { uncontendedCycles: 20, handOverTransfers: 2 };
const CPUS = 3;
const WORKS = 3;

/** One step of a thread: what it takes, how long it holds it, what it does meanwhile. */
interface Step {
  readonly lock: number;
  readonly holdCycles: number;
  readonly pause: "none" | "turn" | "resched";
  readonly queue: number | null;
}

const step: fc.Arbitrary<Step> = fc.record({
  lock: fc.nat(3),
  holdCycles: fc.nat(2000),
  pause: fc.constantFrom("none", "turn", "resched"),
  queue: fc.option(fc.nat(WORKS - 1)),
});

/** Locks (two spinlocks, two mutexes; a mutex is taken before a spinlock), works that use them, and who is where. */
class Scene {
  readonly loop = new EventLoop(CPUS);
  readonly locks = [
    new Mutex("m0", this.loop, COSTS),
    new Mutex("m1", this.loop, COSTS),
    new SpinLock("s0", this.loop, COSTS),
    new SpinLock("s1", this.loop, COSTS),
  ];
  readonly inside = [0, 0, 0, 0];
  readonly works: Work[];
  asked = 0;
  ended = 0;

  constructor(bodies: readonly (readonly Step[])[]) {
    this.works = bodies.map((steps, i) => new Work(`work ${i}`, this.loop, () => this.steps(steps, false)));
  }

  /** Takes the locks in pairs, lower number first, and checks that nobody else is inside. */
  *steps(steps: readonly Step[], mayQueue: boolean): KernelCode<void> {
    this.asked++;
    for (const { lock, holdCycles, pause, queue } of steps) {
      const taken = lock < 2 ? [lock, 2] : [lock];
      for (const i of taken) {
        if (!this.locks[i].tryTake()) yield* this.locks[i].take();
        expect(++this.inside[i]).toBe(1);
      }
      this.loop.spend(holdCycles);
      if (pause === "turn") yield PAUSE_TURN;
      for (const i of taken.reverse()) {
        this.inside[i]--;
        this.locks[i].release();
      }
      if (pause === "resched" && this.loop.needsResched()) yield PAUSE_RESCHED;
      if (mayQueue && queue !== null) this.works[queue].scheduleOn(holdCycles % CPUS);
    }
    this.ended++;
  }
}

describe("a call from outside while threads are in the middle of their code", () => {
  it("ends, and so do all threads and all queued work, whatever they hold and wait for", () => {
    const calls = fc.array(
      fc.record({
        cpu: fc.nat(CPUS - 1),
        steps: fc.array(step, { maxLength: 4 }),
        flush: fc.option(fc.nat(WORKS - 1)),
      }),
      { minLength: 1, maxLength: 12 },
    );
    const bodies = fc.array(fc.array(step, { minLength: 1, maxLength: 5 }), { minLength: WORKS, maxLength: WORKS });
    fc.assert(
      fc.property(bodies, calls, (works, made) => {
        const scene = new Scene(works);
        for (const { cpu, steps, flush } of made) {
          const clock = scene.loop.clockCycles[cpu];
          scene.loop.runSync(
            cpu,
            (function* () {
              expect(scene.loop.currentCpu).toBe(cpu);
              yield* scene.steps(steps, true);
              if (flush !== null) yield* scene.works[flush].flush();
            })(),
          );
          expect(scene.loop.clockCycles[cpu]).toBeGreaterThanOrEqual(clock);
        }
        scene.loop.run();
        expect(scene.ended).toBe(scene.asked);
        expect(scene.locks.map((lock) => lock.isHeld)).toEqual([false, false, false, false]);
        expect(scene.works.map((work) => work.isPending)).toEqual([false, false, false]);
        expect(scene.loop.running.concat(scene.loop.runQueues.all(), ...scene.loop.sleeping)).toEqual([
          null,
          null,
          null,
        ]);
      }),
      { numRuns: 400 },
    );
  });

  it("begins when the thread that its CPU is in the middle of leaves it, and before those that are only queued", () => {
    const loop = new EventLoop(2);
    const log: string[] = [];
    function* holder(): KernelCode<void> {
      log.push("holder begins");
      for (let i = 0; i < 3; i++) {
        loop.spend(100);
        yield PAUSE_TURN;
      }
      log.push("holder ends");
    }
    function* queued(): KernelCode<void> {
      log.push("queued");
      yield PAUSE_TURN;
    }
    loop.spawn("holder", 1, holder());
    loop.spawn("queued", 1, queued());
    loop.run(() => log.length > 0);
    loop.enterSync(1);
    log.push("call");
    loop.leaveSync();
    expect(log).toEqual(["holder begins", "holder ends", "call"]);
    loop.run();
    expect(log).toEqual(["holder begins", "holder ends", "call", "queued"]);
  });

  it("is a deadlock when that thread waits for what cannot come; the next call on another CPU is not disturbed", () => {
    const loop = new EventLoop(2);
    const lock = new SpinLock("lost", loop, COSTS);
    loop.runSync(0, lock.take());
    loop.spawn("waiter", 1, lock.take());
    expect(() => loop.run()).toThrow(Deadlock);
    loop.currentCpu = 0;
    expect(() => loop.runSync(1, lock.take())).toThrow(Deadlock);
    expect(loop.currentCpu).toBe(0);
    expect(loop.running[1]?.name).toBe("waiter");
    loop.runSync(
      0,
      (function* (): KernelCode<void> {
        lock.release();
        yield PAUSE_TURN;
      })(),
    );
    loop.run();
    expect(loop.running).toEqual([null, null]);
  });

  it("that fails is forgotten by the loop: what wakes its thread later wakes no later call", () => {
    const loop = new EventLoop(1);
    let sleeper = loop.currentThread;
    function* sleepForEver(): KernelCode<void> {
      sleeper = loop.currentThread;
      yield PAUSE_SLEEP;
    }
    expect(() => loop.runSync(0, sleepForEver())).toThrow(Deadlock);
    const first = sleeper;
    expect(loop.sleeping.size).toBe(0);
    expect(() =>
      loop.runSync(
        0,
        (function* () {
          if (first !== null) loop.wake(first, loop.nowCycles());
          yield* sleepForEver();
        })(),
      ),
    ).toThrow(Deadlock);
    expect(sleeper).not.toBe(first);
  });
});
