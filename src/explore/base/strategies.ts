/**
 * Which schedules are tried: exhaustively, by priorities, or at random. A schedule is the list of its choices, each an index into what
 * could happen there; 0 is what happens without interference: the code under way goes on, else the CPU that acted last, else the
 * lowest.
 */
import { type Random, randomStream } from "../../machine/random.ts";

/** The random choices of schedule number `index`, which no other schedule has any part in. */
function randomOf(seed: number, index: number): Random {
  return randomStream((seed ^ Math.imul(index + 1, 0x9e3779b1)) | 0);
}

/** Chooses for one schedule after the other. */
export interface Strategy {
  /** What it is called on the command line. */
  readonly name: string;
  /** Whether schedules are to be ended that come to the same as others that it tries (`SleepSet`). */
  readonly leavesOutRedundant: boolean;
  /**
   * Prepares schedule number `index`; they are asked for in ascending order, but perhaps not all of them.
   * @returns false when there is no such schedule
   */
  begin(index: number): boolean;
  /**
   * Chooses an index into `actions`.
   * @param isUnderWay whether the first of them is code that is under way: another choice preempts it
   */
  pick(actions: readonly number[], isUnderWay: boolean): number;
  /** The schedule is over: what it consisted of. */
  end(choices: number): void;
}

/**
 * Depth-first, all schedules with at most `preemptions` preemptions; choices that preempt nothing are free (Musuvathi and Qadeer,
 * "Iterative context bounding for systematic testing of multithreaded programs", PLDI 2007).
 */
export class DepthFirst implements Strategy {
  readonly name = "exhaustive";
  readonly leavesOutRedundant: boolean;
  private readonly preemptionsMax: number;
  /** The first choices of a share of the tree; all schedules begin with them. */
  private readonly root: readonly number[];
  private readonly choices: number[] = [];
  private readonly limits: number[] = [];
  private depth = 0;
  private preemptions = 0;

  /** @param sleepSets whether schedules are left out that come to the same as others */
  constructor(preemptionsMax: number, root: readonly number[] = [], sleepSets = false) {
    this.preemptionsMax = preemptionsMax;
    this.root = root;
    this.leavesOutRedundant = sleepSets;
  }

  begin(index: number): boolean {
    if (index === 0) this.choices.push(...this.root);
    else if (!this.backtrack()) return false;
    this.depth = 0;
    this.preemptions = 0;
    return true;
  }

  pick(actions: readonly number[], isUnderWay: boolean): number {
    const { choices, limits, depth } = this;
    this.depth++;
    const mayPreempt = !isUnderWay || this.preemptions < this.preemptionsMax;
    limits[depth] = mayPreempt ? actions.length : 1;
    if (depth === choices.length) choices.push(0);
    const choice = choices[depth];
    if (isUnderWay && choice > 0) this.preemptions++;
    return choice;
  }

  end(choices: number): void {
    this.choices.length = Math.max(choices, this.root.length);
  }

  /** How many alternatives choice number `choice` of the last schedule had within the bound. */
  limitAt(choice: number): number {
    return this.limits[choice];
  }

  /** Goes on with the deepest choice that has an alternative left; false when there is none. */
  private backtrack(): boolean {
    const { choices, limits } = this;
    while (choices.length > this.root.length) {
      const last = choices.length - 1;
      if (++choices[last] < limits[last]) return true;
      choices.pop();
    }
    return false;
  }
}

/**
 * Priorities with `depth` - 1 change points (Burckhardt et al., "A randomized scheduler with probabilistic guarantees of finding
 * bugs", ASPLOS 2010): of all that can happen, what has the highest priority does; at each change point, a random place in the
 * schedule, what was about to happen gets the lowest.
 */
export class Pct implements Strategy {
  readonly name = "pct";
  readonly leavesOutRedundant = false;
  private readonly seed: number;
  private readonly changes: number;
  private readonly priorities = new Map<number, number>();
  private readonly changeAt = new Set<number>();
  private random: Random;
  private choice = 0;
  private lowest = 0;
  private length: number;

  /** @param length about how many choices a schedule of the test has */
  constructor(seed: number, depth: number, length: number) {
    this.seed = seed;
    this.changes = Math.max(0, depth - 1);
    this.length = length;
    this.random = randomOf(seed, 0);
  }

  begin(index: number): boolean {
    this.random = randomOf(this.seed, index);
    this.priorities.clear();
    this.changeAt.clear();
    for (let i = 0; i < this.changes; i++) this.changeAt.add(this.random.between(0, this.length - 1));
    this.choice = 0;
    this.lowest = 0;
    return true;
  }

  pick(actions: readonly number[]): number {
    let best = this.highest(actions);
    if (this.changeAt.has(this.choice++)) {
      this.priorities.set(actions[best], --this.lowest);
      best = this.highest(actions);
    }
    return best;
  }

  end(): void {
    // The length given at the beginning stays: a schedule must not depend on those before it.
  }

  private highest(actions: readonly number[]): number {
    const { priorities } = this;
    let best = 0;
    for (let i = 0; i < actions.length; i++) {
      if (!priorities.has(actions[i])) priorities.set(actions[i], this.random.between(1, 2 ** 24));
      if ((priorities.get(actions[i]) ?? 0) > (priorities.get(actions[best]) ?? 0)) best = i;
    }
    return best;
  }
}

/** At each choice preempts with probability 1 / `oneIn`; where nothing is under way all that can happen is equally likely. */
export class RandomWalk implements Strategy {
  readonly name = "random";
  readonly leavesOutRedundant = false;
  private readonly seed: number;
  private readonly oneIn: number;
  private random: Random;

  constructor(seed: number, oneIn = 8) {
    this.seed = seed;
    this.oneIn = oneIn;
    this.random = randomOf(seed, 0);
  }

  begin(index: number): boolean {
    this.random = randomOf(this.seed, index);
    return true;
  }

  pick(actions: readonly number[], isUnderWay: boolean): number {
    if (actions.length === 1) return 0;
    if (!isUnderWay) return this.random.between(0, actions.length - 1);
    return this.random.between(0, this.oneIn - 1) > 0 ? 0 : this.random.between(1, actions.length - 1);
  }

  end(): void {
    // Nothing is learnt from one schedule for the next.
  }
}

/**
 * One schedule, given by where it does something else than go on: the index chosen there, by number of the choice. Where there is no such
 * choice it goes on: what it came to says which it made.
 */
export class Replayed implements Strategy {
  readonly name = "replay";
  readonly leavesOutRedundant = false;
  private readonly deviations: ReadonlyMap<number, number>;
  private choice = 0;

  constructor(deviations: ReadonlyMap<number, number>) {
    this.deviations = deviations;
  }

  begin(index: number): boolean {
    this.choice = 0;
    return index === 0;
  }

  pick(actions: readonly number[]): number {
    const choice = this.deviations.get(this.choice++) ?? 0;
    return choice < actions.length ? choice : 0;
  }

  end(): void {
    // There is but one.
  }
}
