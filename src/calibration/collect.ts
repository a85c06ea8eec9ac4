/** The whole measurement: curves first, then, once the geometry is known, sequences within one set. */
import { type Random, randomStream } from "../machine/random.ts";
import type { ChainTimer } from "./chain-timer.ts";
import type { Curve, CurvePoint, MeasuredCurves, SetCurve, VisitSequence } from "./curves.ts";
import { fitFirstLevel, fitSecondLevel } from "./geometry-fit.ts";
import {
  firstCounts,
  orderedPages,
  pagesOfOneSet,
  randomSequences,
  refinement,
  SET_COUNTS,
  STRIDES,
  shuffled,
} from "./plan.ts";
import { findLevels } from "./plateaus.ts";
import { type SetGeometry, setOf } from "./set-geometry.ts";

/** How thoroughly is measured. */
export interface CollectSettings {
  /** Of the orders of visits. */
  readonly seed: number;
  /** A third of the time, and less of it repeated. */
  readonly isQuick: boolean;
  /** Called as each part begins: `done` of `total`, and what it is. */
  readonly onProgress?: (done: number, total: number, text: string) => void;
}

/** Measurements of one point that differ by less agree. */
const AGREEMENT = 1.04;
/** Times that a point is measured again while its two best times do not agree. */
const REPEATS_MAX = 4;
const ORDERS = 4;
const QUICK_ORDERS = 2;
const REPETITIONS = 12;
const QUICK_REPETITIONS = 6;
const SEQUENCES = 40;
const QUICK_SEQUENCES = 20;
const SEQUENCE_ROUNDS = 12;
const QUICK_SEQUENCE_ROUNDS = 3;
/** Beginnings of a sequence: from some, a cycle of visits settles in one pattern, from some in another. */
const BEGINNINGS = 5;
/** Rounds over all strides: every point is measured in each of them, so that what disturbs one does not disturb all. */
const ROUNDS = 4;
const QUICK_ROUNDS = 2;

/** Measures everything. The same timer, settings and seed give the same points. */
export function collectCurves(timer: ChainTimer, settings: CollectSettings): MeasuredCurves {
  const collector = new Collector(timer, settings);
  const loads = collector.curves();
  const sets = collector.setCurves(loads);
  const { firstLevelSequences, secondLevelSequences } = collector.sequences(loads, sets);
  const { origin, clockGhz } = timer;
  const disagreeing = collector.disagreeingPart();
  return { origin, clockGhz, disagreeing, loads, sets, firstLevelSequences, secondLevelSequences };
}

/** A point as it is measured again and again. */
interface Sample {
  readonly pages: number;
  readonly times: number[];
}

class Collector {
  private readonly timer: ChainTimer;
  private readonly settings: CollectSettings;
  private readonly strides: readonly number[];
  private readonly samples = new Map<number, Sample[]>();
  private done = 0;

  constructor(timer: ChainTimer, settings: CollectSettings) {
    this.timer = timer;
    this.settings = settings;
    // Without a known alignment, fields of the page numbers are not what the pages of these strides need.
    const isMeant = (stride: number) => timer.isAligned || Number.isInteger(Math.log2(stride));
    this.strides = STRIDES.filter(isMeant);
  }

  /** All curves, each point as often as its times disagree. */
  curves(): Curve[] {
    for (const stride of this.strides) {
      this.step(`stride ${stride}`);
      const counts = firstCounts(stride, this.timer.memoryPages, this.settings.isQuick);
      this.samples.set(
        stride,
        counts.map((pages) => ({ pages, times: [this.time(stride, pages)] })),
      );
    }
    this.refine();
    for (let round = 1; round < this.rounds; round++) {
      for (const stride of this.strides) {
        this.step(`stride ${stride} again`);
        for (const sample of this.samplesOf(stride)) this.repeat(stride, sample);
      }
    }
    // The least times may have moved a rise.
    this.refine();
    return this.current();
  }

  /**
   * Curves within one set of the second level for each index that the others leave possible. The pages are of one set of the first
   * level as well, and that one is kept full.
   */
  setCurves(loads: readonly Curve[]): SetCurve[] {
    const levels = findLevels(loads);
    const first = fitFirstLevel(loads, levels).geometry;
    if (first === null || !this.timer.isAligned) return [];
    const curves: SetCurve[] = [];
    // Pages of one set of both levels say most. Where the two indexes have so much in common that such pages do not tell the candidates
    // apart, pages of any set of the first level do.
    for (const isOneFirstSet of [true, false]) {
      const { candidates } = fitSecondLevel(loads, curves, levels, first);
      if (curves.length > 0 && candidates.length <= 1) break;
      const seen = new Map(candidates.map((each) => [`${each.sets} ${each.indexHash}`, each]));
      for (const each of [...seen.values()].slice(0, CANDIDATES_MAX))
        curves.push(this.setCurve(each, first, isOneFirstSet));
    }
    return curves;
  }

  /** Sequences of visits within a set of each level whose geometry the curves give. */
  sequences(
    loads: readonly Curve[],
    sets: readonly SetCurve[],
  ): Pick<MeasuredCurves, "firstLevelSequences" | "secondLevelSequences"> {
    const levels = findLevels(loads);
    const first = fitFirstLevel(loads, levels).geometry;
    if (first === null || !this.timer.isAligned) return { firstLevelSequences: [], secondLevelSequences: [] };
    const second = fitSecondLevel(loads, sets, levels, first).geometry;
    const random = randomStream(this.settings.seed, 1);
    const spread = this.pagesOf(first, second === null ? () => true : spreadOver(second));
    const within = second === null ? [] : this.pagesOf(second, (page) => setOf(first, page) === 0);
    return {
      firstLevelSequences: this.timeSequences("first level", spread, first.ways, random),
      secondLevelSequences: second === null ? [] : this.timeSequences("second level", within, second.ways, random),
    };
  }

  /** The part of all points whose two best times do not agree. */
  disagreeingPart(): number {
    const all = [...this.samples.values()].flat();
    return all.filter(({ times }) => times.length > 1 && !agree(times)).length / all.length;
  }

  private setCurve(geometry: SetGeometry, first: SetGeometry, isOneFirstSet: boolean): SetCurve {
    this.step(`one set of ${geometry.sets}`);
    const { memoryPages } = this.timer;
    const most = SET_COUNTS[SET_COUNTS.length - 1];
    const isWanted = (page: number) => !isOneFirstSet || setOf(first, page) === 0;
    const targets = pagesOfOneSet(geometry, memoryPages, most, isWanted);
    const isSpread = spreadOver(geometry);
    const fillers = isOneFirstSet
      ? pagesOfOneSet(first, memoryPages, first.ways, (page) => setOf(geometry, page) !== 0 && isSpread(page))
      : overfilling(first).filter((page) => !targets.includes(page));
    const random = randomStream(this.settings.seed, 2);
    const counts = SET_COUNTS.filter((count) => count <= targets.length);
    const rounds = this.settings.isQuick ? QUICK_ROUNDS : ROUNDS;
    const points = counts.map((pages) => {
      const used = [...targets.slice(0, pages), ...fillers];
      let least = Number.POSITIVE_INFINITY;
      for (let i = 0; i < rounds; i++)
        least = Math.min(least, this.timer.time(shuffled(used, random), this.repetitions));
      return { pages, ns: least };
    });
    return { targets, fillers, points };
  }

  /** Times each sequence from several beginnings, all of them in several rounds: what disturbs one round does not disturb all. */
  private timeSequences(what: string, pages: readonly number[], ways: number, random: Random): VisitSequence[] {
    const { isQuick } = this.settings;
    const sequences = randomSequences(pages, ways, isQuick ? QUICK_SEQUENCES : SEQUENCES, random);
    const times = sequences.map(() => new Float64Array(BEGINNINGS).fill(Number.POSITIVE_INFINITY));
    const rounds = isQuick ? QUICK_SEQUENCE_ROUNDS : SEQUENCE_ROUNDS;
    for (let round = 0; round < rounds; round++) {
      this.step(`sequences of the ${what}`);
      sequences.forEach((visits, index) => {
        for (let i = 0; i < BEGINNINGS; i++) {
          times[index][i] = Math.min(times[index][i], this.timer.time(rotated(visits, i), this.repetitions));
        }
      });
    }
    return sequences.map((visits, index) => {
      const sortedTimes = times[index].toSorted();
      return { visits, leastNs: sortedTimes[0], medianNs: sortedTimes[Math.floor(BEGINNINGS / 2)] };
    });
  }

  private pagesOf(geometry: SetGeometry, accepts: (page: number) => boolean): number[] {
    return pagesOfOneSet(geometry, this.timer.memoryPages, geometry.ways + PAGES_BEYOND, accepts);
  }

  /** Adds points until the rises of all curves are known to the page. */
  private refine(): void {
    for (let added = true; added; ) {
      added = false;
      const { firstNs, secondNs } = findLevels(this.current());
      const levels = secondNs === null ? [firstNs] : [firstNs, secondNs];
      for (const stride of this.strides) {
        const samples = this.samplesOf(stride);
        for (let pages = refinement(leastOf(samples), levels); pages !== null; ) {
          const sample = { pages, times: [this.time(stride, pages)] };
          this.repeat(stride, sample);
          samples.push(sample);
          samples.sort((a, b) => a.pages - b.pages);
          added = true;
          pages = refinement(leastOf(samples), levels);
        }
      }
    }
  }

  private repeat(stride: number, sample: Sample): void {
    sample.times.push(this.time(stride, sample.pages));
    for (let i = 0; i < REPEATS_MAX && !agree(sample.times); i++) sample.times.push(this.time(stride, sample.pages));
  }

  /** The least of several orders, the same ones each time. */
  private time(stride: number, pages: number): number {
    const orders = this.settings.isQuick ? QUICK_ORDERS : ORDERS;
    const random = randomStream(this.settings.seed + stride * 1024 + pages);
    let least = Number.POSITIVE_INFINITY;
    for (let order = 0; order < orders; order++) {
      least = Math.min(least, this.timer.time(orderedPages(stride, pages, order, random), this.repetitions));
    }
    return least;
  }

  private get repetitions(): number {
    return this.settings.isQuick ? QUICK_REPETITIONS : REPETITIONS;
  }

  private current(): Curve[] {
    return this.strides.map((stride) => ({ stride, points: leastOf(this.samplesOf(stride)) }));
  }

  private samplesOf(stride: number): Sample[] {
    return this.samples.get(stride) ?? [];
  }

  private get rounds(): number {
    return this.settings.isQuick ? QUICK_ROUNDS : ROUNDS;
  }

  private step(text: string): void {
    const sequenceSteps = 2 * (this.settings.isQuick ? QUICK_SEQUENCE_ROUNDS : SEQUENCE_ROUNDS);
    this.settings.onProgress?.(this.done++, this.rounds * this.strides.length + sequenceSteps, text);
  }
}

/** Indexes of the second level that are tried, at the most. */
const CANDIDATES_MAX = 8;
/** Pages of one set beyond its ways that sequences can use. */
const PAGES_BEYOND = 4;

function leastOf(samples: readonly Sample[]): CurvePoint[] {
  return samples.map(({ pages, times }) => ({ pages, ns: leastRepeated(times) }));
}

/** The least time that another one agrees with: a single one may be too short. The least of all where no two agree. */
function leastRepeated(times: readonly number[]): number {
  const sorted = times.toSorted((a, b) => a - b);
  return sorted.find((ns, i) => sorted[i + 1] <= ns * AGREEMENT) ?? sorted[0];
}

function agree(times: readonly number[]): boolean {
  const [least, next] = times.toSorted((a, b) => a - b);
  return next <= least * AGREEMENT;
}

/** Accepts pages so that no set of `geometry` gets more than half of its ways. */
function spreadOver(geometry: SetGeometry): (page: number) => boolean {
  const counts = new Map<number, number>();
  return (page) => {
    const set = setOf(geometry, page);
    const count = counts.get(set) ?? 0;
    if (count + 1 > Math.max(1, geometry.ways / 2)) return false;
    counts.set(set, count + 1);
    return true;
  };
}

/** Neighbouring pages of which every set of a TLB gets one more than it holds. */
function overfilling({ sets, ways }: SetGeometry): number[] {
  return Array.from({ length: sets * (ways + 1) }, (_, i) => i);
}

/** A cycle begun at another of its visits. */
function rotated(visits: readonly number[], by: number): number[] {
  const at = (by * 7) % visits.length;
  return [...visits.slice(at), ...visits.slice(0, at)];
}
