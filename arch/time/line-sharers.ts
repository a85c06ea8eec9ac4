/**
 * Who has copies of the lines that several CPUs read. A copy comes from the nearest CPU of the cluster's own, if one there has the line: the last-level
 * cache of a socket of Intel's knows what all its cores have and answers for them, and of copies in several sockets one is in the forwarding state (MESIF: the
 * last that was made); the last-level cache of a core complex of AMD's has shadow tags of the second-level caches and gets a line from there (software optimization
 * guide, family 17h). Otherwise it comes from the one that read it last.
 */
import {
  HALF_LAST,
  HALF_SHARER,
  HALF_SHARERS,
  HALVES_SHIFT,
  type LineNumbers,
  SHARERS_MAX,
  WORD_HOLDER,
  WORDS_SHIFT,
} from "./line-numbers.ts";
import { DISTANCE_CORE, DISTANCE_SELF, DISTANCE_SOCKET, type Distance, type Topology } from "./topology.ts";

/** Whose line it is: a few CPUs', who are among the line's numbers. */
const FEW = -2;
/** And from here down: more CPUs', by the number of their set. */
const FIRST_SET = -3;
const FIRST_SETS = 16;

/** The CPUs that have copies of lines. */
export class LineSharers {
  private readonly topology: Topology;
  private readonly lines: LineNumbers;
  /** Words of a set: bits by CPU, then a bit for each of these words that is not 0. */
  private readonly bitWords: number;
  private readonly setWords: number;
  /**
   * Sets of more than a few CPUs that share a line. In pairs of vmalloc and vfree on 1024 CPUs nine of ten CPUs that come for a line that others
   * share find eight at most: who these are is seen where the line's other numbers are.
   */
  private sets: Uint32Array;
  private readonly freeSets: number[] = [];
  private setCount = 0;

  constructor(topology: Topology, lines: LineNumbers, cpus: number) {
    this.topology = topology;
    this.lines = lines;
    this.bitWords = (cpus + 31) >> 5;
    this.setWords = this.bitWords + ((this.bitWords + 31) >> 5);
    this.sets = new Uint32Array(FIRST_SETS * this.setWords);
  }

  /** A line that is `cpu`'s alone becomes one that several may have. */
  share(line: number, cpu: number): void {
    this.lines.words[(line << WORDS_SHIFT) | WORD_HOLDER] = FEW + 1;
    this.lines.halves[(line << HALVES_SHIFT) | HALF_SHARERS] = 1;
    this.lines.halves[(line << HALVES_SHIFT) | HALF_SHARER] = cpu;
  }

  /** Adds a CPU that is not one of the several that have a line. */
  add(line: number, cpu: number): void {
    const { words, halves } = this.lines;
    const holder = (line << WORDS_SHIFT) | WORD_HOLDER;
    const half = line << HALVES_SHIFT;
    halves[half | HALF_LAST] = cpu;
    let held = words[holder] - 1;
    if (held === FEW) {
      const count = halves[half | HALF_SHARERS];
      if (count < SHARERS_MAX) {
        halves[(half | HALF_SHARER) + count] = cpu;
        halves[half | HALF_SHARERS] = count + 1;
        return;
      }
      held = FIRST_SET - this.setOfFew(line);
      words[holder] = held + 1;
    }
    this.setBit(FIRST_SET - held, cpu);
  }

  /** Whether `cpu` is one of several CPUs that have a line. */
  has(line: number, cpu: number): boolean {
    const held = this.lines.words[(line << WORDS_SHIFT) | WORD_HOLDER] - 1;
    if (held !== FEW) return (this.sets[(FIRST_SET - held) * this.setWords + (cpu >> 5)] & (1 << (cpu & 31))) !== 0;
    const { halves } = this.lines;
    const first = (line << HALVES_SHIFT) | HALF_SHARER;
    const end = first + halves[(line << HALVES_SHIFT) | HALF_SHARERS];
    let at = first;
    while (at < end && halves[at] !== cpu) at++;
    return at < end;
  }

  /** How far the CPU is that gives `cpu`, which has none, a copy of a line that several have: the nearest of its cluster, or who read it last. */
  nearest(line: number, cpu: number): Distance {
    const { topology } = this;
    const { words, halves } = this.lines;
    const half = line << HALVES_SHIFT;
    const last = topology.distance(halves[half | HALF_LAST], cpu);
    if (last <= DISTANCE_CORE) return last;
    const held = words[(line << WORDS_SHIFT) | WORD_HOLDER] - 1;
    let nearest = DISTANCE_SOCKET as Distance;
    if (held === FEW) {
      const first = half | HALF_SHARER;
      for (let at = first + halves[half | HALF_SHARERS] - 1; at >= first && nearest > DISTANCE_CORE; at--)
        nearest = nearerOf(nearest, topology.distance(halves[at], cpu));
    } else {
      const near = topology.clusterMask(cpu);
      const first = (FIRST_SET - held) * this.setWords;
      for (let i = 0; i < near.words.length && nearest > DISTANCE_CORE; i++) {
        for (let left = this.sets[first + near.words[i]] & near.bits[i]; left !== 0; left &= left - 1)
          nearest = nearerOf(nearest, topology.distance(32 * near.words[i] + 31 - Math.clz32(left & -left), cpu));
      }
    }
    return nearest < DISTANCE_SOCKET ? nearest : last;
  }

  /** No CPU has a copy any more of a line that several had, `held` being whose it was; how far the farthest of them but `cpu` was. */
  drop(line: number, held: number, cpu: number): Distance {
    if (held === FEW) return this.farthestOfFew(line, cpu);
    this.freeSets.push(FIRST_SET - held);
    return this.dropSet(FIRST_SET - held, cpu);
  }

  /** How far the farthest of the few CPUs is that have a line, other than `cpu`. */
  private farthestOfFew(line: number, cpu: number): Distance {
    const { topology } = this;
    const { halves } = this.lines;
    const first = (line << HALVES_SHIFT) | HALF_SHARER;
    const end = first + halves[(line << HALVES_SHIFT) | HALF_SHARERS];
    let farthest = DISTANCE_SELF as Distance;
    for (let at = first; at < end; at++) farthest = fartherOf(farthest, topology.distance(halves[at], cpu));
    return farthest;
  }

  /** Takes all CPUs out of a larger set; how far the farthest of them but `cpu` is. */
  private dropSet(set: number, cpu: number): Distance {
    const { topology } = this;
    const { sets, bitWords, setWords } = this;
    const first = set * setWords;
    let farthest = DISTANCE_SELF as Distance;
    for (let group = bitWords; group < setWords; group++) {
      for (let used = sets[first + group]; used !== 0; used &= used - 1) {
        const word = 32 * (group - bitWords) + 31 - Math.clz32(used & -used);
        for (let bits = sets[first + word]; bits !== 0; bits &= bits - 1) {
          const sharer = 32 * word + 31 - Math.clz32(bits & -bits);
          if (sharer !== cpu) farthest = fartherOf(farthest, topology.distance(sharer, cpu));
        }
        sets[first + word] = 0;
      }
      sets[first + group] = 0;
    }
    return farthest;
  }

  /** A new set with the few CPUs that have a line. */
  private setOfFew(line: number): number {
    const { halves } = this.lines;
    const set = this.newSet();
    const first = (line << HALVES_SHIFT) | HALF_SHARER;
    const end = first + halves[(line << HALVES_SHIFT) | HALF_SHARERS];
    for (let at = first; at < end; at++) this.setBit(set, halves[at]);
    return set;
  }

  private setBit(set: number, cpu: number): void {
    const { sets, bitWords } = this;
    const first = set * this.setWords;
    sets[first + (cpu >> 5)] |= 1 << (cpu & 31);
    sets[first + bitWords + (cpu >> 10)] |= 1 << ((cpu >> 5) & 31);
  }

  private newSet(): number {
    const free = this.freeSets.pop();
    if (free !== undefined) return free;
    const set = this.setCount++;
    if ((set + 1) * this.setWords > this.sets.length) {
      const larger = new Uint32Array(2 * this.sets.length);
      larger.set(this.sets);
      this.sets = larger;
    }
    return set;
  }
}

function nearerOf(one: Distance, other: Distance): Distance {
  return one < other ? one : other;
}

function fartherOf(one: Distance, other: Distance): Distance {
  return one > other ? one : other;
}
