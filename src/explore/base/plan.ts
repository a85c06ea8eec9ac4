/** Which schedules of a test are explored, and running them in order. */
import { endsWithin } from "./endless-code.ts";
import type { Explorer, ScheduleResult } from "./explorer.ts";
import { replaySchedule, runOne } from "./minimise.ts";
import { DepthFirst, Pct, RandomWalk, type Strategy } from "./strategies.ts";

/** Names of the strategies. */
export const STRATEGIES = ["exhaustive", "pct", "random"] as const;
/** The name of a strategy. */
export type StrategyName = (typeof STRATEGIES)[number];

/** Which schedules. */
export interface ExplorePlan {
  readonly strategy: StrategyName;
  /** Preemptions in one schedule at most (exhaustive). */
  readonly preemptions: number;
  /** Whether schedules are left out that come to the same as others that are tried (exhaustive). */
  readonly sleepSets: boolean;
  /** Ordering constraints that a bug may need: change points of priorities, and one (pct). */
  readonly depth: number;
  readonly seed: number;
}

/** A part of a plan's schedules: those that begin with choices (exhaustive), or those of some numbers (pct, random). */
export interface Share {
  readonly root: readonly number[];
  readonly first: number;
  /** Schedules at most. */
  readonly count: number;
}

/** A schedule that failed. */
export interface FoundFailure {
  /** How many schedules were run up to it, itself included. */
  readonly schedules: number;
  readonly result: ScheduleResult;
}

/** What came of a share. */
export interface ShareResult {
  /** Schedules that were run. */
  readonly schedules: number;
  /** Schedules that were begun and then left out, because others that are tried come to the same; they are not counted as run. */
  readonly redundant: number;
  /** Whether there are no others in it. */
  readonly isComplete: boolean;
  readonly failure: FoundFailure | null;
  /** Choices of the longest schedule. */
  readonly choicesMax: number;
}

/** Schedules that are run between two looks at whether they end, and how long they may take on the host. */
const SCHEDULES_AT_ONCE = 100;
const AT_ONCE_MS = 3000;

/** About how many choices a schedule has: those of one without interference. */
function scheduleLength(explorer: Explorer<unknown>): number {
  const strategy = new DepthFirst(0);
  strategy.begin(0);
  return Math.max(1, runOne(explorer, strategy).choices);
}

function strategyOf(plan: ExplorePlan, share: Share, explorer: Explorer<unknown>): Strategy {
  if (plan.strategy === "exhaustive") return new DepthFirst(plan.preemptions, share.root, plan.sleepSets);
  if (plan.strategy === "random") return new RandomWalk(plan.seed);
  return new Pct(plan.seed, plan.depth, scheduleLength(explorer));
}

/**
 * Runs the schedules of a share up to the first that fails.
 * @param goesOn asked before each, with the number of those begun; false ends the share, incomplete
 */
export function runShare(
  explorer: Explorer<unknown>,
  plan: ExplorePlan,
  share: Share,
  goesOn: (done: number) => boolean = () => true,
): ShareResult {
  const strategy = strategyOf(plan, share, explorer);
  const done: { -readonly [Key in keyof ShareResult]: ShareResult[Key] } = {
    schedules: 0,
    redundant: 0,
    isComplete: false,
    failure: null,
    choicesMax: 0,
  };
  const count = (result: ScheduleResult): void => {
    if (result.isRedundant) {
      done.redundant++;
      return;
    }
    done.schedules++;
    done.choicesMax = Math.max(done.choicesMax, result.choices);
    if (result.failure !== null) done.failure = { schedules: done.schedules, result };
  };
  const begun = (): number => done.schedules + done.redundant;
  const isOver = (): boolean =>
    done.failure !== null || done.isComplete || done.schedules >= share.count || !goesOn(begun());
  const some = (): void => {
    for (let i = 0; i < SCHEDULES_AT_ONCE && !isOver(); i++) {
      if (strategy.begin(share.first + begun())) count(explorer.run(strategy));
      else done.isComplete = true;
    }
  };
  while (!isOver()) {
    if (endsWithin(AT_ONCE_MS, some)) continue;
    // One of them does not end, or the host is busy: run by itself it shows which.
    const result = replaySchedule(explorer, explorer.interrupted().deviations);
    strategy.end(result.choices);
    count(result);
  }
  return done;
}

/** Schedules of one share of a strategy that draws them by number. */
const DRAWN_AT_ONCE = 500;
/** Shares that an exhaustive search is cut into, at least, if there are so many. */
const SHARES_MIN = 32;

/**
 * Cuts a plan into shares whose schedules, one share after the other, are the plan's in order, whatever the number of workers.
 * @param schedules how many are to be run at most
 */
export function sharesOf(explorer: Explorer<unknown>, plan: ExplorePlan, schedules: number): Share[] {
  if (plan.strategy !== "exhaustive") {
    const shares: Share[] = [];
    for (let first = 0; first < schedules; first += DRAWN_AT_ONCE) {
      shares.push({ root: [], first, count: Math.min(DRAWN_AT_ONCE, schedules - first) });
    }
    return shares;
  }
  let roots: readonly (readonly number[])[] = [[]];
  while (roots.length < SHARES_MIN) {
    const next = roots.flatMap((root) => childrenOf(explorer, plan, root));
    if (next.length === roots.length) break;
    roots = next;
  }
  return roots.map((root) => ({ root, first: 0, count: schedules }));
}

/** The roots one choice longer that together stand for `root`; itself when its schedules have no further choice. */
function childrenOf(
  explorer: Explorer<unknown>,
  plan: ExplorePlan,
  root: readonly number[],
): readonly (readonly number[])[] {
  const strategy = new DepthFirst(plan.preemptions, root, plan.sleepSets);
  strategy.begin(0);
  const { choices } = runOne(explorer, strategy);
  if (choices <= root.length) return [root];
  return Array.from({ length: strategy.limitAt(root.length) }, (_, index) => [...root, index]);
}

/** What came of all shares, in order, as if they had been run one after the other. */
export function inOrder(results: readonly ShareResult[], shares: number, schedulesMax: number): ShareResult {
  let schedules = 0;
  let redundant = 0;
  let choicesMax = 0;
  for (const result of results) {
    choicesMax = Math.max(choicesMax, result.choicesMax);
    redundant += result.redundant;
    const { failure } = result;
    if (failure !== null && schedules + failure.schedules <= schedulesMax) {
      const found = { schedules: schedules + failure.schedules, result: failure.result };
      return { schedules: found.schedules, redundant, isComplete: false, failure: found, choicesMax };
    }
    schedules = Math.min(schedulesMax, schedules + result.schedules);
  }
  const isComplete = results.length === shares && results.every((each) => each.isComplete) && schedules < schedulesMax;
  return { schedules, redundant, isComplete, failure: null, choicesMax };
}
