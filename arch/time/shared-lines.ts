/**
 * Cache lines of data that CPUs share, as MESI keeps them: a line is one CPU's alone, which may then write it, or several CPUs' to
 * read, or nobody's. Reading or writing what a CPU has costs nothing here; fetching it costs by where it is. Transfers of one line
 * are served one after the other, so that a line which many CPUs write is a queue.
 *
 *     loop.lines.write(line);   // the current CPU gets the line for itself
 *     loop.lines.read(line);    // ... or a copy
 *
 * Time spent so is counted for each CPU and booked by the accounts as an activity of its own.
 */
import { checkState, restoreArray } from "../isa/state-error.ts";
import { LineTransfers, type TransferClock } from "./line-transfers.ts";
import { type ByDistance, DISTANCE_SELF, type Topology } from "./topology.ts";

/** Whose line it is: nobody's, and then free to take: what is new is in the caches of the CPU that made it. 0 and up: that CPU's alone. Below -1: several CPUs', by the number of their set. */
const NOBODY = -1;
const FIRST_SET = -2;
const FIRST_SETS = 16;
/** Lines, at least, that there is room for when it has to be made. Few: most are made at once, and a start waits until they are. */
const SPARE_LINES = 512;

/** What lines need of the event loop. */
export interface LineClock extends TransferClock {
  /** The CPU whose code runs now. */
  readonly currentCpu: number;
  /** Which CPUs are near to each other. */
  readonly topology: Topology;
}

/** All lines that are not as they were at boot. An element a line, or a line and a sharer. */
export interface SharedLinesState {
  /** Lines. */
  readonly line: Uint32Array;
  /** The CPU that has it alone, or that read it last. */
  readonly holder: Uint16Array;
  /** Lines that several CPUs have, once for each of them. */
  readonly sharedLine: Uint32Array;
  /** The CPU. */
  readonly sharedCpu: Uint16Array;
  /** Cycles that each CPU has waited. */
  readonly waitedCycles: Float64Array;
}

/** All shared lines of a machine. */
export class SharedLines {
  /** Cycles that each CPU has waited for lines. */
  readonly waitedCycles: Float64Array;
  /** What moving a line costs, in cycles, by the distance of the CPU that has it. The machine sets it. */
  transferCycles: ByDistance = [0, 0, 0, 0, 0, 0];

  private readonly clock: LineClock;
  private readonly words: number;
  private count = 0;
  private holder = new Int32Array(0);
  private readonly transfers: LineTransfers;
  /**
   * Sets of CPUs that share a line: who has had it longest, who read it last, and bits by CPU. Most are two CPUs, one of which writes
   * next: as long as there are no more, the bits are all clear.
   */
  private first = new Int32Array(FIRST_SETS);
  private forwarder = new Int32Array(FIRST_SETS);
  private isPair = new Uint8Array(FIRST_SETS);
  private sets: Uint32Array;
  private readonly freeSets: number[] = [];
  private setCount = 0;

  /**
   * Whether there is only one CPU: then nobody ever waits for a line, and code that would go through many need not. For the host's sake:
   * a pair of vmalloc and vfree on one CPU took 1.12 to 1.26 times as long with searches that did (1,370 ns in place of 1,090; of 100
   * pages 2,140 in place of 1,900).
   */
  readonly isAlone: boolean;

  /** @param clock of the machine */
  constructor(clock: LineClock) {
    this.clock = clock;
    this.transfers = new LineTransfers(clock);
    const cpus = clock.clockCycles.length;
    this.isAlone = cpus === 1;
    this.waitedCycles = new Float64Array(cpus);
    this.words = (cpus + 31) >> 5;
    this.sets = new Uint32Array(FIRST_SETS * this.words);
  }

  /** New lines that nobody has; the number of the first. Lines are made while a machine boots, so that their numbers are the same each time. */
  make(lines: number): number {
    const first = this.count;
    this.count += lines;
    if (this.count > this.holder.length) this.grow(this.count + Math.max(SPARE_LINES, this.count >> 3));
    return first;
  }

  /** The current CPU reads a line. */
  read(line: number): void {
    const cpu = this.clock.currentCpu;
    if (this.holder[line] !== cpu) this.fetchToRead(line, cpu);
  }

  /** The current CPU writes a line. */
  write(line: number): void {
    const cpu = this.clock.currentCpu;
    if (this.holder[line] !== cpu) this.fetchToWrite(line, cpu);
  }

  /** The current CPU takes over `lines` lines without numbers of their own that `from` wrote last. */
  takeOver(from: number, lines: number): void {
    const { currentCpu, topology } = this.clock;
    if (from !== currentCpu && lines > 0)
      this.wait(currentCpu, lines * this.transferCycles[topology.distance(from, currentCpu)]);
  }

  /** The current CPU waits `cycles` for lines without numbers of their own. */
  waitFor(cycles: number): void {
    if (cycles > 0) this.wait(this.clock.currentCpu, cycles);
  }

  /**
   * The current CPU gets a line to write and works `cycles` on what it guards: others that want it meanwhile come after. For what is
   * served one CPU after the other in code which cannot wait.
   */
  occupy(line: number, cycles: number): void {
    const cpu = this.clock.currentCpu;
    this.wait(cpu, this.transfers.serve(line, cpu, this.takeToWrite(line, cpu), cycles));
    this.clock.clockCycles[cpu] += cycles;
  }

  /** The CPU's clock without what it has waited for lines. */
  ownCycles(cpu: number): number {
    return this.clock.clockCycles[cpu] - this.waitedCycles[cpu];
  }

  /** Copies the lines, for saved states. */
  capture(): SharedLinesState {
    const rows = { line: [] as number[], holder: [] as number[] };
    const shared = { line: [] as number[], cpu: [] as number[] };
    const cpus = this.clock.clockCycles.length;
    for (let line = 0; line < this.count; line++) {
      const held = this.holder[line];
      if (held === NOBODY) continue;
      rows.line.push(line);
      rows.holder.push(held >= 0 ? held : this.forwarder[FIRST_SET - held]);
      if (held >= 0) continue;
      for (let cpu = 0; cpu < cpus; cpu++) {
        if (!this.hasCopy(FIRST_SET - held, cpu)) continue;
        shared.line.push(line);
        shared.cpu.push(cpu);
      }
    }
    return {
      line: Uint32Array.from(rows.line),
      holder: Uint16Array.from(rows.holder),
      sharedLine: Uint32Array.from(shared.line),
      sharedCpu: Uint16Array.from(shared.cpu),
      waitedCycles: this.waitedCycles.slice(),
    };
  }

  /** Brings the lines of a machine booted alike into a captured state. @throws StateError when there are no such lines or CPUs */
  restore(state: SharedLinesState): void {
    const cpus = this.clock.clockCycles.length;
    const known = state.line.every((line) => line < this.count) && state.holder.every((cpu) => cpu < cpus);
    checkState("shared lines", known, `are not those of ${cpus} CPUs`);
    this.holder.fill(NOBODY);
    state.line.forEach((line, i) => {
      this.holder[line] = state.holder[i];
    });
    this.transfers.clear();
    state.sharedLine.forEach((line, i) => {
      const last = this.holder[line];
      const sharer = state.sharedCpu[i];
      const set = last >= 0 ? this.newPair(last, last) : FIRST_SET - last;
      this.holder[line] = FIRST_SET - set;
      if (this.hasCopy(set, sharer)) return;
      const forwarder = this.forwarder[set];
      this.addCopy(set, sharer);
      this.forwarder[set] = forwarder;
    });
    restoreArray("shared lines", "CPUs", this.waitedCycles, state.waitedCycles);
  }

  private fetchToRead(line: number, cpu: number): void {
    const held = this.holder[line];
    if (held === NOBODY) {
      this.holder[line] = cpu;
      return;
    }
    const { topology } = this.clock;
    if (held >= 0) {
      this.transfer(line, cpu, this.transferCycles[topology.distance(held, cpu)]);
      this.holder[line] = FIRST_SET - this.newPair(held, cpu);
      return;
    }
    const set = FIRST_SET - held;
    if (this.hasCopy(set, cpu)) return;
    // Copies are handed out side by side.
    this.wait(cpu, this.transferCycles[topology.distance(this.forwarder[set], cpu)]);
    this.addCopy(set, cpu);
  }

  private fetchToWrite(line: number, cpu: number): void {
    const cycles = this.takeToWrite(line, cpu);
    if (cycles > 0) this.transfer(line, cpu, cycles);
  }

  /** The line is `cpu`'s alone from now on; what it takes to fetch it. */
  private takeToWrite(line: number, cpu: number): number {
    const held = this.holder[line];
    this.holder[line] = cpu;
    if (held >= 0) return this.transferCycles[this.clock.topology.distance(held, cpu)];
    if (held === NOBODY) return 0;
    const set = FIRST_SET - held;
    this.freeSets.push(set);
    return this.isPair[set] === 1 ? this.farthestOfPairCycles(set, cpu) : this.dropCopiesCycles(set, cpu);
  }

  private transfer(line: number, cpu: number, cycles: number): void {
    this.wait(cpu, this.transfers.serve(line, cpu, cycles, 0));
  }

  private wait(cpu: number, cycles: number): void {
    this.clock.clockCycles[cpu] += cycles;
    this.waitedCycles[cpu] += cycles;
  }

  /** What it takes until the CPUs of a pair other than `cpu` have dropped their copies; 0 when there are none. */
  private farthestOfPairCycles(set: number, cpu: number): number {
    const { topology } = this.clock;
    const [first, last] = [this.first[set], this.forwarder[set]];
    if (first === cpu) return last === cpu ? 0 : this.transferCycles[topology.distance(last, cpu)];
    const distance = topology.distance(first, cpu);
    return this.transferCycles[last === cpu ? distance : Math.max(distance, topology.distance(last, cpu))];
  }

  /** What it takes until all CPUs of a larger set but `cpu` have dropped their copies, which they do. */
  private dropCopiesCycles(set: number, cpu: number): number {
    const { topology } = this.clock;
    const { sets, words } = this;
    let farthest = DISTANCE_SELF as number;
    for (let word = 0; word < words; word++) {
      for (let bits = sets[set * words + word]; bits !== 0; bits &= bits - 1) {
        const sharer = 32 * word + 31 - Math.clz32(bits & -bits);
        if (sharer !== cpu) farthest = Math.max(farthest, topology.distance(sharer, cpu));
      }
      sets[set * words + word] = 0;
    }
    return farthest === DISTANCE_SELF ? 0 : this.transferCycles[farthest];
  }

  private hasCopy(set: number, cpu: number): boolean {
    if (this.isPair[set] === 1) return this.first[set] === cpu || this.forwarder[set] === cpu;
    return (this.sets[set * this.words + (cpu >> 5)] & (1 << (cpu & 31))) !== 0;
  }

  /** Adds a CPU that is not in it. */
  private addCopy(set: number, cpu: number): void {
    if (this.isPair[set] === 1) {
      this.isPair[set] = 0;
      this.setBit(set, this.first[set]);
      this.setBit(set, this.forwarder[set]);
    }
    this.setBit(set, cpu);
    this.forwarder[set] = cpu;
  }

  private setBit(set: number, cpu: number): void {
    this.sets[set * this.words + (cpu >> 5)] |= 1 << (cpu & 31);
  }

  /** A set of two CPUs; both may be the same. */
  private newPair(first: number, last: number): number {
    const set = this.newSet();
    this.first[set] = first;
    this.forwarder[set] = last;
    this.isPair[set] = 1;
    return set;
  }

  private newSet(): number {
    const free = this.freeSets.pop();
    if (free !== undefined) return free;
    const set = this.setCount++;
    if (set === this.forwarder.length) {
      this.first = doubled(this.first, new Int32Array(2 * set));
      this.forwarder = doubled(this.forwarder, new Int32Array(2 * set));
      this.isPair = doubled(this.isPair, new Uint8Array(2 * set));
      this.sets = doubled(this.sets, new Uint32Array(2 * set * this.words));
    }
    return set;
  }

  private grow(capacity: number): void {
    const holder = new Int32Array(capacity).fill(NOBODY);
    holder.set(this.holder);
    this.holder = holder;
    this.transfers.grow(capacity);
  }
}

/** `larger` with what is in `array` at its begin. */
function doubled<T extends Int32Array | Uint8Array | Uint32Array>(array: T, larger: T): T {
  larger.set(array);
  return larger;
}
