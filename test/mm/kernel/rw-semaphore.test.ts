/** Reader-writer semaphores as Linux has them: writers that spin, readers that are woken together. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { EventLoop, type KernelCode, PAUSE_TURN } from "../../../arch/index.ts";
import { SpinLock } from "../../../mm/kernel/lock.ts";
import { lockStatistics } from "../../../mm/kernel/lock-stat.ts";
import { RwSemaphore } from "../../../mm/kernel/rw-semaphore.ts";

const GHZ = 1;
/** 10 us and half of one for a reader. */
const SPIN_ONE_READER = 10_500;
const WOKEN = 700;

interface Machine {
  readonly loop: EventLoop;
  readonly sem: RwSemaphore;
  /** By CPU: how often its thread was woken. */
  readonly woken: number[];
  /** What happened, in order of time. */
  readonly log: string[];
  /** Which line a CPU that polls it read anew, and what was done to it by which CPU just before; only for CPUs that do not act themselves. */
  readonly polls: string[];
  /** What was done to which of its lines, or to which thread, by which CPU. */
  readonly touched: string[];
}

function machine(cpus: number): Machine {
  const loop = new EventLoop(cpus);
  const woken = Array.from({ length: cpus }, () => 0);
  const polls: string[] = [];
  const touched: string[] = [];
  const touches = (what: string): void => {
    touched.push(`${loop.currentCpu} ${what}`);
  };
  const poll = (line: string, cpu: number): void => {
    if (cpu !== loop.currentCpu) polls.push(`CPU ${cpu} reads the ${line} after CPU ${loop.currentCpu}`);
  };
  const sem = new RwSemaphore("sem", loop, {
    frequencyGhz: GHZ,
    touchCount() {
      touches("count");
      loop.spend(10);
    },
    readCount: () => touches("reads count"),
    clearCount: () => touches("clears count"),
    touchOwner: () => touches("owner"),
    readOwner: () => touches("reads owner"),
    touchQueue: () => touches("queue"),
    touchSpinners: () => touches("spinners"),
    marks: ({ cpu }) => touches(`marks ${cpu}`),
    pollCount: (cpu) => poll("count", cpu),
    pollOwner: (cpu) => poll("owner", cpu),
    wakes({ cpu }) {
      touches(`wakes ${cpu}`);
      loop.spend(50);
    },
    goesToSleep: () => 0,
    wasWoken(_, wokenBy) {
      touches(`woken by ${wokenBy}`);
      woken[loop.currentCpu]++;
      loop.spend(WOKEN);
    },
    seenAfterCycles: () => 30,
  });
  return { loop, sem, woken, log: [], polls, touched };
}

/** Works in steps, so that others act meanwhile. */
function* works({ loop }: Machine, cycles: number): KernelCode<void> {
  for (let left = cycles; left > 0; left -= 100) {
    loop.spend(Math.min(left, 100));
    yield PAUSE_TURN;
  }
}

/** From `at` on a thread has the semaphore for `cycles`. */
function* holds(on: Machine, kind: "read" | "write", at: number, cycles: number, name: string): KernelCode<void> {
  const { loop, sem, log } = on;
  yield* works(on, at);
  if (kind === "read") yield* sem.downRead();
  else yield* sem.downWrite();
  log.push(`${name} has it`);
  yield* works(on, cycles);
  log.push(`${name} gives it back`);
  if (kind === "read") yield* sem.upRead();
  else sem.upWrite();
  expect(loop.currentThread).not.toBeNull();
}

/** What a lock's statistics say after CPU 0 had it from 100 for 5,000 cycles in one go, and CPU 1 came for it at 200. */
function statisticsOf(kind: "write" | "read" | "spinlock"): { readonly contentions: number; readonly waited: number } {
  const { loop, sem } = machine(2);
  const lock = new SpinLock("lock", loop, { uncontendedCycles: 10, handOverTransfers: 0 });
  function* taking(cpu: number): KernelCode<void> {
    loop.spend(cpu === 0 ? 100 : 200);
    while (loop.mustYield()) yield PAUSE_TURN;
    if (kind === "spinlock") yield* lock.take();
    else if (kind === "write" || cpu === 0) yield* sem.downWrite();
    else yield* sem.downRead();
    loop.spend(cpu === 0 ? 5000 : 50);
    if (kind === "spinlock") lock.release();
    else if (kind === "write" || cpu === 0) sem.upWrite();
    else yield* sem.upRead();
  }
  for (const cpu of [0, 1]) loop.spawn(`taking/${cpu}`, cpu, taking(cpu));
  loop.run();
  const name = kind === "spinlock" ? "lock" : "sem";
  const statistics = lockStatistics(loop).find((each) => each.name === name);
  return { contentions: statistics?.contentions ?? 0, waited: statistics?.waitTotalCycles ?? 0 };
}

describe("who tries to take a reader-writer semaphore to read", () => {
  /** Whether CPU 1 had it at once while CPU 0 has it, with CPU 2 asleep for it or not, and what CPU 1 touched. */
  function tries(kind: "read" | "write" | "nobody", hasSleeper: boolean) {
    const on = machine(3);
    if (kind !== "nobody") on.loop.spawn("holder", 0, holds(on, kind, 0, 50_000, "holder"));
    if (hasSleeper) on.loop.spawn("sleeper", 2, holds(on, "write", 1000, 100, "sleeper"));
    let hasIt = false;
    function* tryer(): KernelCode<void> {
      on.loop.spend(30_000);
      yield PAUSE_TURN;
      hasIt = on.sem.tryDownRead();
      if (hasIt) yield* on.sem.upRead();
    }
    on.loop.spawn("tryer", 1, tryer());
    on.loop.run();
    expect(on.sem.isHeld).toBe(false);
    return { hasIt, touched: on.touched.filter((line) => line.startsWith("1 ")) };
  }

  it("has it where nobody or only readers do, after a look at the count", () => {
    expect(tries("nobody", false)).toEqual({
      hasIt: true,
      touched: ["1 reads count", "1 count", "1 owner", "1 count"],
    });
    expect(tries("read", false).hasIt).toBe(true);
  });

  it("only looks at the count where a writer has it or somebody is in the queue", () => {
    expect(tries("write", false)).toEqual({ hasIt: false, touched: ["1 reads count"] });
    // The writer has spun in vain by then, and sleeps.
    expect(tries("read", true)).toEqual({ hasIt: false, touched: ["1 reads count"] });
  });
});

describe("lock_stat of a reader-writer semaphore", () => {
  it.each(["write", "read"] as const)(
    "counts a wait to %s for a holder that ran ahead, as that of a spinlock does",
    (kind) => {
      const { contentions, waited } = statisticsOf(kind);
      expect(contentions).toBe(statisticsOf("spinlock").contentions);
      expect(contentions).toBe(1);
      expect(Math.abs(waited - statisticsOf("spinlock").waited)).toBeLessThan(30);
    },
  );
});

describe("a writer that spins", () => {
  it("reads count and owner after each reader that comes, and the count after each that goes", () => {
    const on = machine(4);
    on.loop.spawn("reader", 0, holds(on, "read", 0, 6000, "reader"));
    on.loop.spawn("writer", 1, holds(on, "write", 500, 100, "writer"));
    on.loop.spawn("another", 2, holds(on, "read", 1000, 1000, "another"));
    on.loop.run();
    expect(on.log.slice(0, 2)).toEqual(["reader has it", "another has it"]);
    expect(on.polls).toEqual([
      "CPU 1 reads the count after CPU 2",
      "CPU 1 reads the owner after CPU 2",
      "CPU 1 reads the count after CPU 2",
      "CPU 1 reads the count after CPU 0",
    ]);
  });

  it("reads only the owner while a writer has it, and nothing while another spins before it", () => {
    const on = machine(4);
    on.loop.spawn("first", 0, holds(on, "write", 0, 4000, "first"));
    on.loop.spawn("second", 1, holds(on, "write", 500, 4000, "second"));
    on.loop.spawn("third", 2, holds(on, "write", 1000, 100, "third"));
    on.loop.run();
    expect(on.polls).toEqual(["CPU 1 reads the owner after CPU 0", "CPU 2 reads the owner after CPU 1"]);
  });
});

describe("what those who cannot have a reader-writer semaphore touch", () => {
  /** The lines that a CPU touches, while CPU 0 has it to write from 0 to 50,000. */
  function touchedBy(cpu: number, readers: readonly number[], spins: boolean): string[] {
    const on = machine(4);
    on.loop.spawn("holder", 0, holds(on, "write", 0, 50_000, "holder"));
    for (const reader of readers)
      on.loop.spawn(`r${reader}`, reader, holds(on, "read", 1000 * reader, 100, `r${reader}`));
    if (spins) on.loop.spawn("w3", 3, holds(on, "write", 10_000, 100, "w3"));
    on.loop.run();
    return on.touched.filter((line) => line.startsWith(`${cpu} `)).map((line) => line.slice(2));
  }

  it("a reader adds to the count, looks at the owner, queues under the queue's lock and takes its addition back", () => {
    expect(touchedBy(1, [1], false)).toEqual(["count", "reads owner", "queue", "count", "woken by 0", "count"]);
  });

  it("a writer tries to exchange the count, and is one of those who spin from before it looks until it has it", () => {
    const touched = touchedBy(3, [], true);
    expect(touched).toEqual([
      "count",
      "reads owner",
      "spinners",
      "count",
      "owner",
      "spinners",
      "owner",
      "clears count",
    ]);
  });

  it("who gives it back marks all readers under the queue's lock before it wakes the first", () => {
    const touched = touchedBy(0, [1, 2, 3], false);
    expect(touched.slice(touched.indexOf("clears count") + 1)).toEqual([
      "queue",
      "count",
      ...["marks 1", "marks 2", "marks 3"],
      ...["wakes 1", "wakes 2", "wakes 3"],
    ]);
  });

  it("a writer that was woken takes the queue's lock again before it tries", () => {
    const on = machine(2);
    on.loop.spawn("reader", 0, holds(on, "read", 0, 50_000, "reader"));
    on.loop.spawn("writer", 1, holds(on, "write", 1000, 100, "writer"));
    on.loop.run();
    const touched = on.touched.filter((line) => line.startsWith("1 ")).map((line) => line.slice(2));
    expect(touched).toEqual([
      ...["count", "reads owner", "spinners", "spinners"],
      ...["queue", "count", "woken by 0", "queue", "count", "owner"],
      ...["owner", "clears count"],
    ]);
  });
});

describe("a reader-writer semaphore", () => {
  const threads = fc.array(
    fc.record({
      kind: fc.constantFrom("read" as const, "write" as const, "downgrade" as const),
      at: fc.nat(60_000),
      cycles: fc.nat(40_000),
      times: fc.integer({ min: 1, max: 4 }),
    }),
    { minLength: 1, maxLength: 10 },
  );

  it("is had by readers or by one writer, and everybody gets it, in the same order each time", () => {
    fc.assert(
      fc.property(threads, (all) => {
        const logs = [0, 1].map(() => {
          const on = machine(all.length);
          const { loop, sem, log } = on;
          let [readers, writers] = [0, 0];
          const check = (): void => {
            expect(writers === 0 || (writers === 1 && readers === 0)).toBe(true);
          };
          function* body({ kind, at, cycles, times }: (typeof all)[number], name: string): KernelCode<void> {
            for (let i = 0; i < times; i++) {
              yield* works(on, at);
              if (kind === "read") yield* sem.downRead();
              else yield* sem.downWrite();
              if (kind === "read") readers++;
              else writers++;
              check();
              yield* works(on, cycles);
              check();
              log.push(`${name}@${loop.nowCycles()}`);
              if (kind === "write") {
                writers--;
                sem.upWrite();
                continue;
              }
              if (kind === "downgrade") {
                writers--;
                readers++;
                sem.downgradeWrite();
                yield* works(on, cycles);
                check();
              }
              readers--;
              yield* sem.upRead();
            }
          }
          all.forEach((each, cpu) => {
            loop.spawn(`t${cpu}`, cpu, body(each, `t${cpu}`));
          });
          loop.run();
          expect([sem.isHeld, sem.waiting]).toEqual([false, 0]);
          return log;
        });
        expect(logs[0]).toHaveLength(all.reduce((sum, { times }) => sum + times, 0));
        expect(logs[0]).toEqual(logs[1]);
      }),
    );
  });

  it("has a writer spin for as long as the writer that has it runs: nobody sleeps, and nobody is in the queue", () => {
    const on = machine(3);
    for (const cpu of [0, 1, 2]) on.loop.spawn(`w${cpu}`, cpu, holds(on, "write", cpu * 100, 200_000, `w${cpu}`));
    on.loop.run();
    expect(on.woken).toEqual([0, 0, 0]);
    expect(on.log.filter((line) => line.endsWith("has it"))).toEqual(["w0 has it", "w1 has it", "w2 has it"]);
  });

  it("lets readers come while a writer spins for readers to go, and has them queue once it has given up", () => {
    const on = machine(4);
    on.loop.spawn("first", 0, holds(on, "read", 0, 60_000, "first"));
    on.loop.spawn("writer", 1, holds(on, "write", 1000, 1000, "writer"));
    on.loop.spawn("early", 2, holds(on, "read", 1000 + SPIN_ONE_READER - 2000, 100, "early"));
    on.loop.spawn("late", 3, holds(on, "read", 1000 + SPIN_ONE_READER + 2000, 100, "late"));
    on.loop.run();
    expect(on.log.filter((line) => line.endsWith("has it"))).toEqual([
      "first has it",
      "early has it",
      "writer has it",
      "late has it",
    ]);
    expect(on.woken).toEqual([0, 1, 0, 1]);
  });

  it("wakes all readers of the queue together, past a writer between them", () => {
    const on = machine(6);
    on.loop.spawn("holder", 0, holds(on, "read", 0, 100_000, "holder"));
    on.loop.spawn("w1", 1, holds(on, "write", 1000, 50_000, "w1"));
    on.loop.spawn("r2", 2, holds(on, "read", 30_000, 20_000, "r2"));
    on.loop.spawn("w3", 3, holds(on, "write", 32_000, 100, "w3"));
    on.loop.spawn("r4", 4, holds(on, "read", 34_000, 20_000, "r4"));
    on.loop.spawn("r5", 5, holds(on, "read", 36_000, 20_000, "r5"));
    on.loop.run();
    const order = on.log.filter((line) => !line.startsWith("holder"));
    expect(order[0]).toBe("w1 has it");
    expect(order[1]).toBe("w1 gives it back");
    expect(order.slice(2, 5).sort()).toEqual(["r2 has it", "r4 has it", "r5 has it"]);
    expect(order.at(-1)).toBe("w3 gives it back");
  });

  it("is handed over to who has waited in the queue for more than a jiffy, whoever spins", () => {
    const on = machine(3);
    const jiffy = 4e6 * GHZ;
    on.loop.spawn("holder", 0, holds(on, "read", 0, 3 * jiffy, "holder"));
    on.loop.spawn("waits", 1, holds(on, "write", 1000, 1000, "waits"));
    // Comes, finds that spinning is over, and queues behind.
    on.loop.spawn("later", 2, holds(on, "write", 2.9 * jiffy, 1000, "later"));
    on.loop.run();
    expect(on.log.filter((line) => line.endsWith("has it"))).toEqual(["holder has it", "waits has it", "later has it"]);
    expect(on.sem.class.snapshot()).toMatchObject({ contentions: 2, acquisitions: 2 });
  });

  it("is given back by a writer that has it only", () => {
    expect(() => machine(1).sem.upWrite()).toThrow("sem is given back by a writer, but none has it");
  });
});
