import { describe, expect, it } from "vitest";
import { EventLoop, type KernelCode, PAUSE_TURN } from "../../../arch/time/event-loop.ts";
import {
  afterCall,
  afterLock,
  asCode,
  type Blocking,
  DONE,
  isReady,
  make,
  ready,
  resultOf,
  wait,
} from "../../../mm/kernel/blocking.ts";
import { DEFAULT_KERNEL_COSTS } from "../../../mm/kernel/kernel-costs.ts";
import { SpinLock } from "../../../mm/kernel/lock.ts";
import { randomStream } from "../../../src/machine/random.ts";

const VALUES = [0, 42, -12, 0xffff_c900_0000, undefined, true, false];

/** Code that pauses once before it has the value. */
function* later<T>(value: T): KernelCode<T> {
  yield PAUSE_TURN;
  return value;
}

/** Runs a call to its end; its value. */
function outcome<T>(found: Blocking<T>): T {
  if (isReady(found)) return resultOf(found);
  while (true) {
    const { done, value } = found.next();
    if (done) return value;
  }
}

function lockOf(cpus: number): { loop: EventLoop; lock: SpinLock } {
  const loop = new EventLoop(cpus);
  return { loop, lock: new SpinLock("lock", loop, DEFAULT_KERNEL_COSTS.lock) };
}

describe("a call that may wait", () => {
  it.each(VALUES)("that is ready gives %s at once, and to code that waits for it", (value) => {
    const found: Blocking<typeof value> = ready(value);
    expect(isReady(found)).toBe(true);
    expect(outcome(found)).toBe(value);
    expect(outcome(asCode(() => found))).toBe(value);
  });

  it("that has to wait gives the value to code that waits for it", () => {
    const found: Blocking<number> = later(7);
    expect(isReady(found)).toBe(false);
    expect(outcome(asCode(() => found))).toBe(7);
  });

  it("keeps its value when others that are ready are waited for within its arguments", () => {
    function* code(): KernelCode<number[]> {
      const add = (a: number, b: number): Blocking<number> => ready(a + b);
      const sum = yield* wait(add(yield* wait(ready(1)), yield* wait(add(2, yield* wait(ready(3))))));
      return [sum, yield* wait(ready(5)), yield* wait(later(8))];
    }
    expect(outcome(code())).toEqual([6, 5, 8]);
  });
});

describe("afterCall", () => {
  it.each([
    ["ready", () => ready(20)],
    ["code", () => later(20)],
  ])("goes on with the value and its arguments where the call is %s", (_, call: () => Blocking<number>) => {
    const seen: unknown[] = [];
    const rest = (value: number, factor: number, name: string): Blocking<number> => {
      seen.push([value, factor, name]);
      return ready(value * factor);
    };
    expect(outcome(afterCall(call(), rest, 3, "x"))).toBe(60);
    expect(seen).toEqual([[20, 3, "x"]]);
  });

  it("waits for what goes on to wait as well", () => {
    expect(outcome(afterCall(later(1), (value) => later(value + 1)))).toBe(2);
    expect(outcome(afterCall(ready(1), (value) => later(value + 1)))).toBe(2);
  });
});

describe("what goes on later", () => {
  /** Code that says what becomes of it. */
  function* watched(said: string[]): KernelCode<number> {
    try {
      yield PAUSE_TURN;
      return 1;
    } catch (failure) {
      said.push(String(failure));
      return 2;
    } finally {
      said.push("ended");
    }
  }
  const goOn = (found: number, said: string[]): Blocking<number> => {
    said.push(`goes on with ${found}`);
    return ready(found);
  };
  /** The same as `afterCall(watched(said), goOn, said)`, as a generator. */
  function* asGenerator(said: string[]): KernelCode<number> {
    return yield* wait(goOn(yield* watched(said), said));
  }
  const ways: [string, (code: KernelCode<number>) => unknown][] = [
    ["resumed past its end", (code) => [code.next(), code.next(), code.next(), code.next()]],
    ["ended before its begin", (code) => [code.return(7), code.next()]],
    ["ended while it waits", (code) => [code.next(), code.return(7), code.next()]],
    ["told of a failure while it waits", (code) => [code.next(), code.throw("failure"), code.next()]],
  ];
  it.each(ways)("does what a generator does that is %s", (_, act) => {
    const [asObject, generated]: [string[], string[]] = [[], []];
    const call = afterCall(watched(asObject), goOn, asObject);
    if (isReady(call)) throw new Error("is ready");
    expect(act(call)).toEqual(act(asGenerator(generated)));
    expect(asObject).toEqual(generated);
    expect(Object.prototype.toString.call(call)).toBe("[object Generator]");
  });
});

describe("afterLock", () => {
  it("goes on at once with the lock held when it is free", () => {
    const { loop, lock } = lockOf(1);
    loop.runSync(
      0,
      (function* () {
        const found = afterLock(lock, (a: number, b: number) => ready(lock.isHeld ? a + b : -1), 1, 2);
        expect(isReady(found)).toBe(true);
        expect(yield* wait(found)).toBe(3);
        lock.release();
      })(),
    );
  });

  it("goes on once the holder has given the lock back when it is not", () => {
    const { loop, lock } = lockOf(2);
    const log: string[] = [];
    const critical = (name: string): Blocking<void> => {
      log.push(`${name} ${lock.owner?.name}`);
      lock.release();
      return DONE;
    };
    loop.spawn(
      "holder",
      0,
      (function* () {
        yield* lock.take();
        loop.spend(10_000);
        log.push("released");
        lock.release();
      })(),
    );
    loop.spawn(
      "waiter",
      1,
      asCode(() => afterLock(lock, critical, "second")),
    );
    loop.run();
    expect(log).toEqual(["released", "second waiter"]);
  });
});

describe("code that goes on alone where it paused", () => {
  type Way = (code: KernelCode<number>) => KernelCode<number>;
  /** Resumes code by hand and yields for itself, so that its thread never goes on within it. */
  function* byHand<T>(code: KernelCode<T>): KernelCode<T> {
    for (;;) {
      const step = code.next();
      if (step.done === true) return step.value;
      yield step.value;
    }
  }

  /** Four CPUs make random calls that wait for locks and for each other's results, and fail at times; what they did when. */
  function logOf(seed: number, way: Way): string[] {
    const { between } = randomStream(seed);
    const below = (end: number): number => between(0, end - 1);
    const loop = new EventLoop(4);
    const locks = ["a", "b"].map((name) => new SpinLock(name, loop, DEFAULT_KERNEL_COSTS.lock));
    const log: string[] = [];
    const say = (what: string): void => {
      log.push(`${loop.nowCycles()} ${loop.currentThread?.name}: ${what}`);
    };
    const ended = (value: number, depth: number, name: string): Blocking<number> => {
      say(`${name} has ${value}`);
      loop.spend(below(300));
      if (below(12) === 0) throw new Error(`${name} fails`);
      return below(3) > 0 ? callOf(depth - 1, `${name}e`) : ready(value + depth);
    };
    const held = (lock: SpinLock, depth: number, name: string): Blocking<number> => {
      say(`${name} has ${lock.name}`);
      loop.spend(below(300));
      lock.release();
      return below(2) > 0 ? callOf(depth - 1, `${name}h`) : ready(depth);
    };
    function* caught(depth: number, name: string): KernelCode<number> {
      try {
        return (yield* wait(callOf(depth - 1, `${name}g`))) + 1;
      } catch (failure) {
        say(`${name} catches ${String(failure)}`);
        return below(10);
      } finally {
        say(`${name} is left`);
      }
    }
    const callOf = (depth: number, name: string): Blocking<number> => {
      const kind = depth <= 0 ? 0 : below(8);
      const lock = locks[below(2)];
      if (kind === 0) return ready(below(100));
      if (kind === 1) return caught(depth, name);
      if (kind < 4) return afterCall(callOf(depth - 1, `${name}c`), ended, depth, name);
      return afterLock(lock, held, lock, depth, name);
    };
    for (let cpu = 0; cpu < 4; cpu++) loop.spawn(`cpu ${cpu}`, cpu, way(caught(12, "")));
    loop.run();
    return [...log, ...Array.from(loop.clockCycles, String)];
  }

  it("does the same at the same times as code that is resumed as a whole", () => {
    let waits = 0;
    for (let seed = 1; seed <= 300; seed++) {
      const log = logOf(seed, (code) => code);
      expect(log, `seed ${seed}`).toEqual(logOf(seed, byHand));
      waits += log.filter((line) => line.includes("has a")).length;
    }
    expect(waits).toBeGreaterThan(300);
  });

  it("leaves code that resumes other code by hand each of its steps", () => {
    /** Two CPUs take a lock in turns, `take` by `take`; how often each has to resume that by hand. */
    const stepsOf = (take: (loop: EventLoop, lock: SpinLock) => KernelCode<void>): number[] => {
      const { loop, lock } = lockOf(2);
      const steps = [0, 0];
      function* counted(cpu: number, code: KernelCode<void>): KernelCode<void> {
        for (let step = code.next(); step.done !== true; step = code.next()) {
          steps[cpu]++;
          yield step.value;
        }
      }
      for (const cpu of [0, 1]) loop.spawn(`cpu ${cpu}`, cpu, counted(cpu, take(loop, lock)));
      loop.run();
      return steps;
    };
    const objects = stepsOf((loop, lock) => {
      const again = (left: number): Blocking<void> => {
        lock.release();
        loop.spend(500);
        return left === 0 ? DONE : afterLock(lock, again, left - 1);
      };
      return asCode(() => afterLock(lock, again, 5));
    });
    const generators = stepsOf(function* (loop, lock) {
      for (let i = 0; i <= 5; i++) {
        if (!lock.tryTake()) yield* lock.take();
        lock.release();
        loop.spend(500);
      }
    });
    expect(objects).toEqual(generators);
    expect(Math.min(...objects)).toBeGreaterThan(3);
  });
});

describe("a call for others to make", () => {
  it("is a function, or code that has not begun", () => {
    expect(outcome(make(() => ready(3)))).toBe(3);
    expect(outcome(make(later(4)))).toBe(4);
  });

  it.each([undefined, 0, 4096, true])("is refused when it has been made already and gave %s", (value) => {
    expect(() => make(value as never)).toThrow(/no call to be made: expected a function such as \(\) => vmalloc/);
  });
});
