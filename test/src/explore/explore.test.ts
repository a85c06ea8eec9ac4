/** Searching, replaying and telling schedules. */
import { describe, expect, it } from "vitest";
import { expect as mustHold, turn } from "../../../src/explore/base/accesses.ts";
import type { ExploreTest } from "../../../src/explore/base/explore-test.ts";
import { Explorer } from "../../../src/explore/base/explorer.ts";
import { minimise, replaySchedule } from "../../../src/explore/base/minimise.ts";
import { type ExplorePlan, inOrder, runShare, sharesOf } from "../../../src/explore/base/plan.ts";
import { formatSchedule, parseSchedule } from "../../../src/explore/base/schedule-text.ts";
import { formatStory, tellStory } from "../../../src/explore/base/story.ts";
import { DepthFirst } from "../../../src/explore/base/strategies.ts";
import { explore } from "../../../src/explore/explore.ts";
import { endEndlessSchedules } from "../../../src/explore/host-limit.ts";
import { exploreTestByName } from "../../../src/explore/tests/index.ts";

const EXHAUSTIVE: ExplorePlan = { strategy: "exhaustive", preemptions: 2, sleepSets: true, depth: 0, seed: 0 };
const ALL = 1e6;

/** Two threads of `steps` steps, each with a chance for the other before it; what order they came in. */
function steps(count: number): { test: ExploreTest<{ order: string }>; orders: Set<string> } {
  const orders = new Set<string>();
  const thread = (name: string): ExploreTest<{ order: string }>["threads"][number] =>
    function* (kernel, situation) {
      for (let i = 0; i < count; i++) {
        yield* turn(kernel, `step of ${name}`);
        situation.order += name;
      }
    };
  const test: ExploreTest<{ order: string }> = {
    name: "steps",
    summary: "two threads take steps",
    setup: () => ({ order: "" }),
    threads: [thread("a"), thread("b")],
    check: (_kernel, { order }) => void orders.add(order),
  };
  return { test, orders };
}

/** All words of `a` and `b`, `count` of each, with at most so many changes from a thread that has not ended. */
function interleavings(count: number, preemptionsMax: number): Set<string> {
  const found = new Set<string>();
  const go = (word: string, a: number, b: number, preemptions: number): void => {
    if (preemptions > preemptionsMax) return;
    if (a === count && b === count) found.add(word);
    for (const next of ["a", "b"]) {
      if ((next === "a" ? a : b) === count) continue;
      const last = word.at(-1);
      const lastIsDone = last === undefined || (last === "a" ? a : b) === count;
      const isPreemption = !lastIsDone && next !== last;
      go(word + next, a + Number(next === "a"), b + Number(next === "b"), preemptions + Number(isPreemption));
    }
  };
  go("", 0, 0, 0);
  return found;
}

describe("an exhaustive search", () => {
  it.each([0, 1, 2, 3, 10])("reaches every interleaving with at most %i preemptions, and no other", (preemptions) => {
    const { test, orders } = steps(3);
    const result = runShare(new Explorer(test), { ...EXHAUSTIVE, preemptions }, { root: [], first: 0, count: ALL });
    expect(result.isComplete).toBe(true);
    expect([...orders].sort()).toEqual([...interleavings(3, preemptions)].sort());
  });

  it.each(["two-munmaps", "lazy-against-freed-tables"])("of %s is the same when it is cut into shares", (name) => {
    const plan = { ...EXHAUSTIVE, preemptions: 1 };
    const explorer = new Explorer(exploreTestByName(name));
    const whole = runShare(explorer, plan, { root: [], first: 0, count: ALL });
    expect(whole.redundant > 0).toBe(explorer.test.watched !== undefined);
    const shares = sharesOf(explorer, plan, ALL);
    expect(shares.length).toBeGreaterThan(8);
    const results = shares.map((share) => runShare(explorer, plan, share));
    expect(inOrder(results, shares.length, ALL)).toEqual(whole);
  });

  it("gives the same result on any number of threads of the computer", async () => {
    const test = { name: "switch-against-munmap", bugs: ["flushSkipsSwitchingCpus"] as const };
    const one = await explore(test, EXHAUSTIVE, { schedules: 1000, seconds: 0, jobs: 1 });
    expect(one.failure?.schedules).toBe(35);
    const random = { ...EXHAUSTIVE, strategy: "random" as const, seed: 5 };
    const found = await explore(test, random, { schedules: 3000, seconds: 0, jobs: 1 });
    expect(found.failure).not.toBeNull();
    const shares = sharesOf(new Explorer(exploreTestByName(test.name)), random, 3000);
    expect(shares.map(({ first }) => first)).toEqual([0, 500, 1000, 1500, 2000, 2500]);
  });
});

describe("a deadlock", () => {
  const test: ExploreTest = {
    name: "lock order",
    summary: "two locks in two orders",
    kernel: { proveLocking: false },
    setup: () => ({}),
    threads: [0, 1].map(
      (cpu) =>
        function* ({ vm }) {
          const [first, second] = cpu === 0 ? [vm.freeTreeLock, vm.purgeLock] : [vm.purgeLock, vm.freeTreeLock];
          if (!first.tryTake()) yield* first.take();
          if (!second.tryTake()) yield* second.take();
          second.release();
          first.release();
        },
    ),
  };

  it("is found, and names who waits", () => {
    const { failure } = runShare(new Explorer(test), EXHAUSTIVE, { root: [], first: 0, count: ALL });
    expect(failure?.result.failure?.kind).toBe("deadlock");
    expect(failure?.result.failure?.message).toContain("thread 0");
  });

  it("is told before it happens where locking is checked", () => {
    const checked = { ...test, kernel: { proveLocking: true } };
    const { failure } = runShare(new Explorer(checked), EXHAUSTIVE, { root: [], first: 0, count: ALL });
    expect(failure?.schedules).toBe(1);
    expect(failure?.result.failure?.message).toMatch(/circular locking dependency|invalid context/);
  });
});

describe("a failing schedule", () => {
  const buggy = (): Explorer<unknown> => {
    const test = exploreTestByName("switch-against-munmap");
    return new Explorer({ ...test, kernel: { ...test.kernel, bugs: ["cpumaskAfterGeneration"] } });
  };

  it("fails again when it is replayed from its text, whatever was run before", () => {
    const explorer = buggy();
    const { failure } = runShare(explorer, { ...EXHAUSTIVE, strategy: "random" }, { root: [], first: 0, count: ALL });
    const text = formatSchedule(failure?.result.deviations ?? new Map());
    for (const each of [explorer, buggy(), explorer]) {
      expect(replaySchedule(each, parseSchedule(text))).toEqual(failure?.result);
    }
  });

  it("is made shorter, and fails in the same way", () => {
    const explorer = buggy();
    const plan = { ...EXHAUSTIVE, strategy: "random" as const, seed: 3 };
    const { failure } = runShare(explorer, plan, { root: [], first: 0, count: ALL });
    if (failure === null) throw new Error("nothing was found");
    const shorter = minimise(explorer, failure.result);
    expect(shorter.failure?.kind).toBe(failure.result.failure?.kind);
    expect(shorter.deviations.size).toBeLessThanOrEqual(failure.result.deviations.size);
    expect(shorter.deviations.size).toBeLessThanOrEqual(2);
  });

  it("is told with the kernel's functions, each CPU in its column", () => {
    const explorer = buggy();
    const { failure } = runShare(explorer, EXHAUSTIVE, { root: [], first: 0, count: ALL });
    const story = tellStory(explorer, failure?.result.deviations ?? new Map());
    expect(story.map(({ text }) => text)).toContain("switch_mm_irqs_off: tlb_gen is read");
    expect(story.some(({ isInterference }) => isInterference)).toBe(true);
    expect(formatStory(story, 2)).toMatch(/^ +CPU 0 +CPU 1\n/);
  });

  it("has a text that is checked", () => {
    expect(formatSchedule(parseSchedule("1.1-4.2"))).toBe("1.1-4.2");
    expect(formatSchedule(parseSchedule("-"))).toBe("-");
    for (const wrong of ["", "1", "1.0", "4.1-1.1", "1.1-1.2", "a.b", "1.1-"]) {
      expect(() => parseSchedule(wrong), wrong).toThrow(/^--schedule /);
    }
  });
});

describe("going back to the beginning", () => {
  it("makes every schedule come to the same, however many were run before", () => {
    const explorer = new Explorer(exploreTestByName("pools-against-decay"));
    const run = (): string[] => {
      const strategy = new DepthFirst(2);
      const results: string[] = [];
      for (let i = 0; i < 60 && strategy.begin(i); i++) {
        const { choices, deviations } = explorer.run(strategy);
        const { clockCycles } = explorer.kernel.machine.loop;
        results.push(`${choices} ${formatSchedule(deviations)} ${[...clockCycles]} ${explorer.kernel.vm.purges}`);
      }
      return results;
    };
    const first = run();
    expect(run()).toEqual(first);
    expect(new Set(first).size).toBe(first.length);
  });

  it("forgets what a schedule that failed left behind", () => {
    const failing: ExploreTest<{ count: number }> = {
      name: "failing",
      summary: "fails in the middle of a call",
      setup: () => ({ count: 0 }),
      threads: [
        function* (kernel, situation) {
          yield* turn(kernel, "first");
          mustHold(++situation.count === 1, "the situation is new");
          if (!kernel.vm.purgeLock.tryTake()) yield* kernel.vm.purgeLock.take();
          throw new Error("with a lock held");
        },
      ],
    };
    const explorer = new Explorer(failing);
    for (let i = 0; i < 5; i++) {
      expect(replaySchedule(explorer, new Map()).failure).toEqual({ kind: "error", message: "with a lock held" });
    }
    expect(explorer.kernel.vm.purgeLock.isHeld).toBe(true);
  });
});

describe("code that never comes back", () => {
  const test: ExploreTest = {
    name: "circle",
    summary: "plain code in a circle, if the other CPU was first",
    setup: () => ({ isFirst: false }),
    threads: [
      function* (kernel, situation) {
        yield* turn(kernel, "walk");
        const state = situation as { isFirst: boolean };
        while (state.isFirst) kernel.machine.loop.spend(1);
      },
      function* (kernel, situation) {
        yield* turn(kernel, "link");
        (situation as { isFirst: boolean }).isFirst = true;
      },
    ],
  };

  it("is ended, named, and can be replayed, made shorter and told", () => {
    endEndlessSchedules();
    const explorer = new Explorer(test);
    const { failure } = runShare(explorer, EXHAUSTIVE, { root: [], first: 0, count: ALL });
    expect(failure?.result.failure?.kind).toBe("endless");
    expect(failure?.result.failure?.message).toContain("thread 0 on CPU 0 never comes back");
    if (failure === null) return;
    const shorter = minimise(explorer, failure.result);
    expect(shorter.failure).toEqual(failure.result.failure);
    expect(tellStory(explorer, shorter.deviations).length).toBeGreaterThan(2);
    expect(replaySchedule(explorer, new Map()).failure).toBeNull();
  });
});
