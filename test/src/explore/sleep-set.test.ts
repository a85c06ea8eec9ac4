/** Sleep sets leave schedules out, and nothing that can be found: the same final states, the same failures, fewer schedules. */
import { describe, expect, it } from "vitest";
import { cachedTables, cachedTranslations } from "../../../arch/index.ts";
import { type BugName, UserSpaces, vmallocinfo } from "../../../mm/index.ts";
import type { ExploreTest } from "../../../src/explore/base/explore-test.ts";
import { Explorer } from "../../../src/explore/base/explorer.ts";
import { DepthFirst } from "../../../src/explore/base/strategies.ts";
import { EXPLORE_TESTS, exploreTestByName } from "../../../src/explore/tests/index.ts";
import type { Kernel } from "../../../src/machine/kernel.ts";

/** Schedules above which a test is not searched twice here. */
const SMALL_ENOUGH = 1500;

/** All that counts of a final state: times and where an entry lies in its TLB do not. */
function finalState({ vm, mm, machine, log, pages }: Kernel): string {
  const sorted = (entries: readonly object[]): readonly string[] => entries.map((each) => JSON.stringify(each)).sort();
  const caches = machine.cpus.map((cpu) => [sorted(cachedTranslations(cpu)), sorted(cachedTables(cpu))]);
  const { userSpaces } = mm;
  const states = userSpaces instanceof UserSpaces ? userSpaces.tlbStates : [];
  const generations = states.map(({ isLazy, loadedAsid, tlbGen }) => [isLazy, loadedAsid, [...tlbGen]]);
  const use = pages.zones.map((zone) => [...zone.use]);
  const tables = machine.cpus.map((cpu) => cpu.mmu.mode.rootFrame);
  return JSON.stringify([
    vmallocinfo(vm),
    vm.lazyNr,
    vm.nrVmallocPages,
    log.lines.length,
    caches,
    generations,
    use,
    tables,
  ]);
}

interface Search {
  readonly states: ReadonlySet<string>;
  readonly failures: ReadonlySet<string>;
  readonly schedules: number;
  readonly redundant: number;
  readonly isComplete: boolean;
}

/** Runs all schedules, also after one that fails. */
function search(test: ExploreTest, preemptions: number, sleepSets: boolean): Search {
  const explorer = new Explorer(test);
  const strategy = new DepthFirst(preemptions, [], sleepSets);
  const states = new Set<string>();
  const failures = new Set<string>();
  let schedules = 0;
  let redundant = 0;
  while (schedules < SMALL_ENOUGH) {
    if (!strategy.begin(schedules + redundant)) {
      return { states, failures, schedules, redundant, isComplete: true };
    }
    const { failure, isRedundant } = explorer.run(strategy);
    if (isRedundant) redundant++;
    else schedules++;
    if (failure !== null) failures.add(`${failure.kind}: ${failure.message}`);
    else if (!isRedundant) states.add(finalState(explorer.kernel));
  }
  return { states, failures, schedules, redundant, isComplete: false };
}

function compare(test: ExploreTest, preemptions: number): { readonly all: Search; readonly reduced: Search } {
  const all = search(test, preemptions, false);
  const reduced = search(test, preemptions, true);
  if (!all.isComplete) return { all, reduced };
  expect([...reduced.states].sort()).toEqual([...all.states].sort());
  expect([...reduced.failures].sort()).toEqual([...all.failures].sort());
  return { all, reduced };
}

/** What has more schedules of one preemption than are searched here. */
const TOO_LARGE: ReadonlySet<string> = new Set(["pages-joined-against-loads"]);
const WATCHING = EXPLORE_TESTS.filter(({ watched, name }) => watched !== undefined && !TOO_LARGE.has(name));

describe("sleep sets", () => {
  it.each(WATCHING.map((test) => [test.name, test] as const))(
    "come to the same states in %s, in fewer schedules",
    (_name, test) => {
      const { all, reduced } = compare(test, 1);
      expect(all.isComplete).toBe(true);
      expect(reduced.redundant).toBeGreaterThan(0);
      expect(reduced.schedules).toBeLessThan(0.95 * all.schedules);
    },
  );

  it("come to the same with two preemptions", () => {
    const { all, reduced } = compare(exploreTestByName("lazy-against-freed-tables"), 2);
    expect(all.isComplete).toBe(true);
    expect(reduced.schedules).toBeLessThan(0.8 * all.schedules);
  });

  it("change nothing in tests in which nobody prefetches", () => {
    const { all, reduced } = compare(exploreTestByName("two-purges"), 1);
    expect(reduced).toEqual(all);
  });

  const bugs = ["lazyCpusKeepFreedTables", "earlyAcknowledgement", "tablesFreedBeforeFlush"] as const;
  it.each(bugs.map((bug: BugName) => [bug] as const))("lose no failure of %s", (bug) => {
    for (const { name, ...test } of WATCHING.filter((each) => each.name.includes("tables"))) {
      const { all, reduced } = compare({ ...test, name, kernel: { ...test.kernel, bugs: [bug] } }, 1);
      expect(all.isComplete).toBe(true);
      expect(reduced.schedules).toBeLessThan(all.schedules);
    }
  });
});
