/**
 * Which known replacement policy explains the times of visit sequences. A policy is tried on each sequence from several beginnings,
 * since some cycles settle in one of several patterns; what counts is whether one of these misses as often as was measured.
 */
import { REPLACEMENT_NAMES, type ReplacementName, replacementProblem } from "../../arch/presets/replacement/index.ts";
import { type Random, randomStream } from "../machine/random.ts";
import type { VisitSequence } from "./curves.ts";
import type { Levels } from "./plateaus.ts";
import { SetModel } from "./set-model.ts";

/** How well a policy does. */
export interface PolicyScore {
  readonly name: ReplacementName;
  /** Part of the clean sequences whose misses a period it gives exactly. */
  readonly explainedPart: number;
  /** Root mean square of the difference between its times and those measured, in nanoseconds a visit. */
  readonly rmsNs: number;
}

/** What was found for a level. */
export interface ReplacementFit {
  /** The best policy; null when no sequences were measured. */
  readonly name: ReplacementName | null;
  /** Whether it explains what was measured, and no other does as well. */
  readonly isExplained: boolean;
  /** Whether several policies explain it alike: the sequences do not tell them apart. */
  readonly isTied: boolean;
  /** Sequences whose least and median times agree. */
  readonly clean: number;
  /** All policies that exist for so many ways, the best first. */
  readonly tried: readonly PolicyScore[];
}

const NOTHING: ReplacementFit = { name: null, isExplained: false, isTied: false, clean: 0, tried: [] };
/** Sequences that must be clean for a verdict. */
const CLEAN_MIN = 8;
/** A policy must explain this part of them. */
const EXPLAINED_MIN = 0.85;
/** A sequence is clean when least and median differ by less than this many misses a period. */
const CLEAN_MISSES = 0.15;
/** A policy is right about a sequence when it is off by less than this many misses a period. */
const RIGHT_MISSES = 0.3;
const BEGINNINGS = 6;
const SETTLE_PERIODS = 30;
const COUNTED_PERIODS = 12;

/** Visits of a period that the first level, the second and a walk answer. */
type Answers = readonly [first: number, second: number, walks: number];

/** The first level's policy. @param ways of its sets */
export function fitFirstReplacement(sequences: readonly VisitSequence[], levels: Levels, ways: number): ReplacementFit {
  const { firstNs, secondNs } = levels;
  if (secondNs === null) return NOTHING;
  return bestPolicy(sequences, ways, secondNs - firstNs, (name) => {
    const settled = sequences.map(({ visits }) =>
      settledAnswers(visits, () => {
        const set = new SetModel(name, ways);
        return (page) => (set.visit(page) ? 0 : 1);
      }),
    );
    return settled.map((each) => each.map((answers) => timeOf(answers, firstNs, secondNs, 0)));
  });
}

/**
 * The second level's policy, behind a first level of known policy. What a walk takes is not known beforehand: for each policy the
 * time is taken with which it does best.
 */
export function fitSecondReplacement(
  sequences: readonly VisitSequence[],
  levels: Levels,
  ways: number,
  first: { readonly name: ReplacementName; readonly ways: number },
): ReplacementFit {
  const { firstNs, secondNs } = levels;
  if (secondNs === null || sequences.length === 0) return NOTHING;
  const slowest = Math.max(...sequences.map(({ medianNs }) => medianNs));
  return bestPolicy(sequences, ways, Math.max(slowest - secondNs, secondNs - firstNs), (name) => {
    const settled = sequences.map(({ visits }) =>
      settledAnswers(visits, () => {
        const near = new SetModel(first.name, first.ways);
        const far = new SetModel(name, ways);
        return (page) => (near.visit(page) ? 0 : far.visit(page) ? 1 : 2);
      }),
    );
    const walkNs = bestWalkTime(sequences, settled, firstNs, secondNs);
    return settled.map((each) => each.map((answers) => timeOf(answers, firstNs, secondNs, walkNs)));
  });
}

/** Ranks the policies. @param missNs what a miss takes @param timesOf for each sequence, the times that it can settle at */
function bestPolicy(
  sequences: readonly VisitSequence[],
  ways: number,
  missNs: number,
  timesOf: (name: ReplacementName) => readonly (readonly number[])[],
): ReplacementFit {
  const cleanOnes = sequences.map(
    ({ visits, leastNs, medianNs }) => ((medianNs - leastNs) * visits.length) / missNs < CLEAN_MISSES,
  );
  const clean = cleanOnes.filter(Boolean).length;
  if (clean === 0) return NOTHING;
  const tried = REPLACEMENT_NAMES.filter((name) => replacementProblem(name, ways) === null).map((name): PolicyScore => {
    const times = timesOf(name);
    let squares = 0;
    let right = 0;
    sequences.forEach(({ visits, medianNs }, i) => {
      if (!cleanOnes[i]) return;
      const off = Math.min(...times[i].map((time) => Math.abs(time - medianNs)));
      squares += off ** 2;
      if ((off * visits.length) / missNs < RIGHT_MISSES) right++;
    });
    return { name, explainedPart: right / clean, rmsNs: Math.sqrt(squares / clean) };
  });
  tried.sort((a, b) => b.explainedPart - a.explainedPart || a.rmsNs - b.rmsNs);
  const [best, next] = tried;
  if (best === undefined) return { ...NOTHING, clean };
  const isAlone = next === undefined || next.explainedPart < best.explainedPart || next.rmsNs > 2 * best.rmsNs;
  const isGood = clean >= CLEAN_MIN && best.explainedPart >= EXPLAINED_MIN;
  return { name: best.name, isExplained: isGood && isAlone, isTied: isGood && !isAlone, clean, tried };
}

function timeOf([first, second, walks]: Answers, firstNs: number, secondNs: number, walkNs: number): number {
  return (first * firstNs + second * secondNs + walks * walkNs) / (first + second + walks);
}

/** What the visits of a period settle at, from several beginnings. @param make a fresh TLB: who answers a visit */
function settledAnswers(visits: readonly number[], make: () => (page: number) => 0 | 1 | 2): Answers[] {
  const random = randomStream(visits.length);
  const found = new Map<string, Answers>();
  for (let i = 0; i < BEGINNINGS; i++) {
    const answers = settledFrom(visits, make(), i, random);
    found.set(answers.join(), answers);
  }
  return [...found.values()];
}

function settledFrom(
  visits: readonly number[],
  visit: (page: number) => 0 | 1 | 2,
  beginning: number,
  random: Random,
): Answers {
  // The first beginning is the cycle itself, as it is measured; the others begin with random visits.
  for (let i = 0; i < 10 * beginning; i++) visit(visits[random.between(0, visits.length - 1)]);
  for (let i = 0; i < SETTLE_PERIODS * visits.length; i++) visit(visits[i % visits.length]);
  const counts: [number, number, number] = [0, 0, 0];
  for (let i = 0; i < COUNTED_PERIODS * visits.length; i++) counts[visit(visits[i % visits.length])]++;
  return counts;
}

/** The time of a walk with which the first of each sequence's answers come nearest to what was measured (least squares). */
function bestWalkTime(
  sequences: readonly VisitSequence[],
  settled: readonly (readonly Answers[])[],
  firstNs: number,
  secondNs: number,
): number {
  let products = 0;
  let squares = 0;
  sequences.forEach(({ medianNs }, i) => {
    const [[first, second, walks]] = settled[i];
    const all = first + second + walks;
    const left = medianNs - (first * firstNs + second * secondNs) / all;
    products += (left * walks) / all;
    squares += (walks / all) ** 2;
  });
  return squares === 0 ? secondNs : Math.max(secondNs, products / squares);
}
