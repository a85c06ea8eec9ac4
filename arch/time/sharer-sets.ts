/**
 * Sets of CPUs that share a line, where they are more than there is room for among the line's numbers (`line-numbers.ts`). In pairs of vmalloc and
 * vfree on 1024 CPUs nine of ten CPUs that come for a line that others share find eight at most.
 */
import { DISTANCE_SELF, type Distance, type Topology } from "./topology.ts";

const FIRST_SETS = 16;

/** All such sets of a machine, by number. */
export class SharerSets {
  private readonly topology: Topology;
  /** Words of a set: bits by CPU, then a bit for each of these words that is not 0. */
  private readonly bitWords: number;
  private readonly setWords: number;
  private sets: Uint32Array;
  private readonly freeSets: number[] = [];
  private count = 0;

  /** @param cpus of the machine, whose topology is `topology` */
  constructor(cpus: number, topology: Topology) {
    this.topology = topology;
    this.bitWords = (cpus + 31) >> 5;
    this.setWords = this.bitWords + ((this.bitWords + 31) >> 5);
    this.sets = new Uint32Array(FIRST_SETS * this.setWords);
  }

  /** The number of a set that nobody is in. */
  make(): number {
    const free = this.freeSets.pop();
    if (free !== undefined) return free;
    const set = this.count++;
    if ((set + 1) * this.setWords > this.sets.length) {
      const larger = new Uint32Array(2 * this.sets.length);
      larger.set(this.sets);
      this.sets = larger;
    }
    return set;
  }

  /** Adds a CPU to a set. */
  add(set: number, cpu: number): void {
    const { sets, bitWords } = this;
    const first = set * this.setWords;
    sets[first + (cpu >> 5)] |= 1 << (cpu & 31);
    sets[first + bitWords + (cpu >> 10)] |= 1 << ((cpu >> 5) & 31);
  }

  /** Whether a CPU is in a set. */
  has(set: number, cpu: number): boolean {
    return (this.sets[set * this.setWords + (cpu >> 5)] & (1 << (cpu & 31))) !== 0;
  }

  /** Does away with a set. @returns how far the farthest of its CPUs is from `cpu`; `DISTANCE_SELF` when there is no other */
  drop(set: number, cpu: number): Distance {
    const { topology, sets, bitWords, setWords } = this;
    const first = set * setWords;
    let farthest: Distance = DISTANCE_SELF;
    for (let group = bitWords; group < setWords; group++) {
      for (let used = sets[first + group]; used !== 0; used &= used - 1) {
        const word = 32 * (group - bitWords) + 31 - Math.clz32(used & -used);
        for (let bits = sets[first + word]; bits !== 0; bits &= bits - 1) {
          const distance = topology.distance(32 * word + 31 - Math.clz32(bits & -bits), cpu);
          if (distance > farthest) farthest = distance;
        }
        sets[first + word] = 0;
      }
      sets[first + group] = 0;
    }
    this.freeSets.push(set);
    return farthest;
  }
}
