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
import { clustersOf } from "./hold-groups.ts";
import {
  HALF_LAST,
  HALF_SHARER,
  HALF_SHARERS,
  HALVES_SHIFT,
  LineNumbers,
  NOBODY,
  SHARERS_MAX,
  WORD_HOLDER,
  WORDS_SHIFT,
} from "./line-numbers.ts";
import { LineTransfers, type TransferClock } from "./line-transfers.ts";
import { SharerSets } from "./sharer-sets.ts";
import { type ByDistance, DISTANCE_SELF, type Topology } from "./topology.ts";

/** Whose line it is, beside `NOBODY`. 0 and up: that CPU's alone. This: a few CPUs', who are among the line's numbers. */
const FEW = -2;
/** And from here down: more CPUs', by the number of their set. */
const FIRST_SET = -3;
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
  /** When the last store of each CPU to a line that it did not have is done; no later than its clock where none is under way. */
  readonly storedAtCycles: Float64Array;
  /** What moving a line costs, in cycles, by the distance of the CPU that has it. The machine sets it. */
  transferCycles: ByDistance = [0, 0, 0, 0, 0, 0];

  /** Whether a CPU has stored so in this run. */
  private hasStored = false;
  private readonly clock: LineClock;
  private count = 0;
  private capacity = 0;
  private readonly lines = new LineNumbers();
  /** The words of `lines`. */
  private words = this.lines.words;
  /** And their halves. */
  private halves = this.lines.halves;
  private readonly transfers: LineTransfers;
  /** Means nothing: it has what `expect` looks at used. */
  private expected = 0;
  /** Of more than a few CPUs that share a line. */
  private readonly sets: SharerSets;

  /**
   * Whether there is only one CPU: then nobody ever waits for a line, and code that would go through many need not. For the host's sake:
   * a pair of vmalloc and vfree on one CPU took 1.12 to 1.26 times as long with searches that did (1,370 ns in place of 1,090; of 100
   * pages 2,140 in place of 1,900).
   */
  readonly isAlone: boolean;

  /** @param clock of the machine */
  constructor(clock: LineClock) {
    this.clock = clock;
    const cpus = clock.clockCycles.length;
    this.isAlone = cpus === 1;
    this.waitedCycles = new Float64Array(cpus);
    this.transfers = new LineTransfers(clock, this.lines, this.waitedCycles, clustersOf(clock.topology, this));
    this.storedAtCycles = new Float64Array(cpus);
    this.sets = new SharerSets(cpus, clock.topology);
  }

  /** New lines that nobody has; the number of the first. Lines are made while a machine boots, so that their numbers are the same each time. */
  make(lines: number): number {
    const first = this.count;
    this.count += lines;
    if (this.count > this.capacity) this.grow(this.count + Math.max(SPARE_LINES, this.count >> 3));
    return first;
  }

  /** So many lines are about to be made, in several calls: room for all of them is made once. */
  reserve(lines: number): void {
    if (this.count + lines > this.capacity) this.grow(this.count + lines + SPARE_LINES);
  }

  /**
   * The current CPU will come for a line: for the host's sake. Said of several lines before the first of them is read, it has their numbers
   * fetched into the host's caches side by side. Results are the same without.
   */
  expect(line: number): void {
    this.expected |= this.words[(line << WORDS_SHIFT) | WORD_HOLDER];
  }

  /** The current CPU reads a line. */
  read(line: number): void {
    const cpu = this.clock.currentCpu;
    if (this.words[(line << WORDS_SHIFT) | WORD_HOLDER] - 1 !== cpu) this.fetchToRead(line, cpu);
  }

  /** The current CPU writes a line. */
  write(line: number): void {
    const cpu = this.clock.currentCpu;
    if (this.words[(line << WORDS_SHIFT) | WORD_HOLDER] - 1 !== cpu) this.fetchToWrite(line, cpu);
  }

  /** The current CPU has a line that it got in another way. */
  claim(line: number): void {
    this.takeToWrite(line, this.clock.currentCpu);
  }

  /**
   * The current CPU stores to a line and goes on, while its store buffer waits for the line (Intel SDM, volume 3, "Store Buffer"). Its next locked
   * instruction waits for the store ({@link drainStores}), and whatever it stores after it is seen after it, such as the release of a lock. Lines for
   * several stores come side by side.
   */
  store(line: number): void {
    const cpu = this.clock.currentCpu;
    if (this.words[(line << WORDS_SHIFT) | WORD_HOLDER] - 1 !== cpu) this.storing(cpu, this.takeToWrite(line, cpu));
  }

  /** A store, as {@link store} makes it, to a line without a number of its own that `from` wrote last. */
  storeTakenOver(from: number): void {
    this.storing(this.clock.currentCpu, this.takeOverCycles(from));
  }

  /** A thread or a call from outside begins: the stores of those before it are done. */
  beginRun(): void {
    if (!this.hasStored) return;
    this.storedAtCycles.fill(0);
    this.hasStored = false;
  }

  /** The current CPU waits until its stores are done, as a locked instruction does. */
  drainStores(): void {
    const cpu = this.clock.currentCpu;
    const cycles = this.storedAtCycles[cpu] - this.clock.clockCycles[cpu];
    if (cycles > 0) this.wait(cpu, cycles);
  }

  /** A line goes back to `cpu`, from which another has just taken it in vain: `cpu` writes it before anybody else does. */
  giveBack(line: number, cpu: number): void {
    this.takeToWrite(line, cpu);
  }

  /** `cpu`, which polls a line, reads it anew: it does nothing else meanwhile, so that it need not wait here. */
  poll(line: number, cpu: number): void {
    const holder = (line << WORDS_SHIFT) | WORD_HOLDER;
    const held = this.words[holder] - 1;
    if (held === cpu) return;
    if (held === NOBODY) {
      this.words[holder] = cpu + 1;
      return;
    }
    if (held >= 0) this.shareAmong(line, held);
    else if (this.hasCopy(line, cpu)) return;
    this.addCopy(line, cpu);
  }

  /** The current CPU takes over `lines` lines without numbers of their own that `from` wrote last. */
  takeOver(from: number, lines: number): void {
    if (lines > 0) this.waitFor(lines * this.takeOverCycles(from));
  }

  /** What one of these takes to come. */
  takeOverCycles(from: number): number {
    const { currentCpu, topology } = this.clock;
    return from === currentCpu ? 0 : this.transferCycles[topology.distance(from, currentCpu)];
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
    this.transfers.serve(line, cpu, this.takeToWrite(line, cpu), cycles);
  }

  /** The CPU's clock without what it has waited for lines. */
  ownCycles(cpu: number): number {
    return this.clock.clockCycles[cpu] - this.waitedCycles[cpu];
  }

  /** Copies the lines, for saved states. */
  capture(): SharedLinesState {
    const { words, halves } = this;
    const rows = { line: [] as number[], holder: [] as number[] };
    const shared = { line: [] as number[], cpu: [] as number[] };
    const cpus = this.clock.clockCycles.length;
    for (let line = 0; line < this.count; line++) {
      const at = line << WORDS_SHIFT;
      const held = words[at | WORD_HOLDER] - 1;
      if (held === NOBODY) continue;
      rows.line.push(line);
      rows.holder.push(held >= 0 ? held : halves[(line << HALVES_SHIFT) | HALF_LAST]);
      if (held >= 0) continue;
      for (let cpu = 0; cpu < cpus; cpu++) {
        if (!this.hasCopy(line, cpu)) continue;
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
    const { words } = this;
    for (let at = WORD_HOLDER; at < words.length; at += 1 << WORDS_SHIFT) words[at] = 0;
    state.line.forEach((line, i) => {
      words[(line << WORDS_SHIFT) | WORD_HOLDER] = state.holder[i] + 1;
    });
    this.transfers.clear();
    state.sharedLine.forEach((line, i) => {
      const held = words[(line << WORDS_SHIFT) | WORD_HOLDER] - 1;
      const last = held >= 0 ? held : this.halves[(line << HALVES_SHIFT) | HALF_LAST];
      if (held >= 0) this.shareAmong(line, last);
      if (!this.hasCopy(line, state.sharedCpu[i])) this.addCopy(line, state.sharedCpu[i]);
      this.halves[(line << HALVES_SHIFT) | HALF_LAST] = last;
    });
    restoreArray("shared lines", "CPUs", this.waitedCycles, state.waitedCycles);
    this.beginRun();
  }

  private fetchToRead(line: number, cpu: number): void {
    const holder = (line << WORDS_SHIFT) | WORD_HOLDER;
    const held = this.words[holder] - 1;
    if (held === NOBODY) {
      this.words[holder] = cpu + 1;
      return;
    }
    const { topology } = this.clock;
    if (held >= 0) {
      this.transfers.serve(line, cpu, this.transferCycles[topology.distance(held, cpu)], 0);
      this.shareAmong(line, held);
      this.addCopy(line, cpu);
      return;
    }
    if (this.hasCopy(line, cpu)) return;
    // Copies are handed out side by side.
    this.wait(cpu, this.transferCycles[topology.distance(this.halves[(line << HALVES_SHIFT) | HALF_LAST], cpu)]);
    this.addCopy(line, cpu);
  }

  private fetchToWrite(line: number, cpu: number): void {
    this.drainStores();
    const cycles = this.takeToWrite(line, cpu);
    if (cycles > 0) this.transfers.serve(line, cpu, cycles, 0, true);
  }

  /** A store of `cpu` is on its way, and done in `cycles`. */
  private storing(cpu: number, cycles: number): void {
    const doneAt = this.clock.clockCycles[cpu] + cycles;
    if (doneAt <= this.storedAtCycles[cpu]) return;
    this.storedAtCycles[cpu] = doneAt;
    this.hasStored = true;
  }

  /** The line is `cpu`'s alone from now on; what it takes to fetch it. */
  private takeToWrite(line: number, cpu: number): number {
    const holder = (line << WORDS_SHIFT) | WORD_HOLDER;
    const held = this.words[holder] - 1;
    this.words[holder] = cpu + 1;
    if (held >= 0) return this.transferCycles[this.clock.topology.distance(held, cpu)];
    if (held === NOBODY) return 0;
    if (held === FEW) return this.farthestOfFewCycles(line, cpu);
    const farthest = this.sets.drop(FIRST_SET - held, cpu);
    return farthest === DISTANCE_SELF ? 0 : this.transferCycles[farthest];
  }

  private wait(cpu: number, cycles: number): void {
    this.clock.clockCycles[cpu] += cycles;
    this.waitedCycles[cpu] += cycles;
  }

  /** What it takes until the few CPUs that have a line, other than `cpu`, have dropped their copies; 0 when there are none. */
  private farthestOfFewCycles(line: number, cpu: number): number {
    const { topology } = this.clock;
    const { halves } = this;
    const first = (line << HALVES_SHIFT) | HALF_SHARER;
    const end = first + halves[(line << HALVES_SHIFT) | HALF_SHARERS];
    let farthest = DISTANCE_SELF as number;
    for (let at = first; at < end; at++) farthest = Math.max(farthest, topology.distance(halves[at], cpu));
    return farthest === DISTANCE_SELF ? 0 : this.transferCycles[farthest];
  }

  /** Whether `cpu` is one of several CPUs that have a line. */
  private hasCopy(line: number, cpu: number): boolean {
    const held = this.words[(line << WORDS_SHIFT) | WORD_HOLDER] - 1;
    if (held !== FEW) return this.sets.has(FIRST_SET - held, cpu);
    const { halves } = this;
    const first = (line << HALVES_SHIFT) | HALF_SHARER;
    const end = first + halves[(line << HALVES_SHIFT) | HALF_SHARERS];
    let at = first;
    while (at < end && halves[at] !== cpu) at++;
    return at < end;
  }

  /** Adds a CPU that is not one of the several that have a line. */
  private addCopy(line: number, cpu: number): void {
    const { words, halves } = this;
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
    this.sets.add(FIRST_SET - held, cpu);
  }

  /** A new set with the few CPUs that have a line. */
  private setOfFew(line: number): number {
    const { halves } = this;
    const set = this.sets.make();
    const first = (line << HALVES_SHIFT) | HALF_SHARER;
    const end = first + halves[(line << HALVES_SHIFT) | HALF_SHARERS];
    for (let at = first; at < end; at++) this.sets.add(set, halves[at]);
    return set;
  }

  /** A line that is `cpu`'s alone becomes one that several may have. */
  private shareAmong(line: number, cpu: number): void {
    this.words[(line << WORDS_SHIFT) | WORD_HOLDER] = FEW + 1;
    this.halves[(line << HALVES_SHIFT) | HALF_SHARERS] = 1;
    this.halves[(line << HALVES_SHIFT) | HALF_SHARER] = cpu;
  }

  private grow(capacity: number): void {
    this.lines.grow(capacity);
    this.words = this.lines.words;
    this.halves = this.lines.halves;
    this.capacity = capacity;
  }
}
