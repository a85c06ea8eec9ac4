/**
 * Cache lines of data that CPUs share, as MESI keeps them: a line is one CPU's alone, which may then write it, or several CPUs' to
 * read, or nobody's. Reading or writing what a CPU has costs nothing here; fetching it costs by where it is. Transfers of one line
 * are served one after the other, so that a line which many CPUs write is a queue.
 *
 *     loop.lines.write(line);   // the current CPU gets the line for itself, for a locked instruction
 *     loop.lines.store(line);   // ... and goes on meanwhile (`store-buffers.ts`)
 *     loop.lines.read(line);    // ... or a copy
 *
 * Time spent so is counted for each CPU and booked by the accounts as an activity of its own.
 */
import { checkState, restoreArray } from "../isa/state-error.ts";
import { HALF_LAST, HALVES_SHIFT, LineNumbers, NOBODY, WORD_HOLDER, WORDS_SHIFT } from "./line-numbers.ts";
import { LineSharers } from "./line-sharers.ts";
import { LineTransfers, type TransferClock } from "./line-transfers.ts";
import { StoreBuffers, type StoreClock } from "./store-buffers.ts";
import { type ByDistance, DISTANCE_SELF, type Topology } from "./topology.ts";

/** Lines, at least, that there is room for when it has to be made. Few: most are made at once, and a start waits until they are. */
const SPARE_LINES = 512;

/** What lines need of the event loop. */
export interface LineClock extends TransferClock, StoreClock {
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
  private readonly stores: StoreBuffers;
  private readonly sharers: LineSharers;

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
    this.transfers = new LineTransfers(clock, this.lines, {
      clusterOf: clock.topology.clusterOf,
      transferWithin: (from, to) => this.transferCycles[clock.topology.distance(from, to)],
    });
    this.stores = new StoreBuffers(clock, cpus);
    this.sharers = new LineSharers(clock.topology, this.lines, cpus);
  }

  /** New lines that nobody has; the number of the first. Lines are made while a machine boots, so that their numbers are the same each time. */
  make(lines: number): number {
    const first = this.count;
    this.count += lines;
    if (this.count > this.capacity) this.grow(this.count + Math.max(SPARE_LINES, this.count >> 3));
    return first;
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

  /**
   * The current CPU changes a line and goes on when it has it: what it does next depends on what was there, or it is a locked instruction. One that
   * has to fetch its line waits for the stores before it.
   */
  write(line: number): void {
    const cpu = this.clock.currentCpu;
    if (this.words[(line << WORDS_SHIFT) | WORD_HOLDER] - 1 !== cpu) this.fetchToWrite(line, cpu);
  }

  /** The current CPU stores to a line, and goes on meanwhile (`store-buffers.ts`). */
  store(line: number): void {
    const cpu = this.clock.currentCpu;
    if (this.words[(line << WORDS_SHIFT) | WORD_HOLDER] - 1 !== cpu) this.fetchToStore(line, cpu);
  }

  /** The current CPU has a line that it got in another way. */
  claim(line: number): void {
    this.takeToWrite(line, this.clock.currentCpu);
  }

  /** `cpu`, which waits, has read a line that it looks at again and again. */
  hasPolled(line: number, cpu: number): void {
    const held = this.words[(line << WORDS_SHIFT) | WORD_HOLDER] - 1;
    if (held === cpu || held === NOBODY) return;
    if (held >= 0) this.sharers.share(line, held);
    if (!this.sharers.has(line, cpu)) this.sharers.add(line, cpu);
  }

  /** The current CPU waits until all its stores are seen, as a locked instruction does. */
  drain(): void {
    const cpu = this.clock.currentCpu;
    const seenAt = this.stores.seenAt(cpu);
    if (seenAt > this.clock.clockCycles[cpu]) this.waitUntil(cpu, seenAt);
  }

  /** When others see all that `cpu` has stored; not before its clock. */
  seenAt(cpu: number): number {
    return Math.max(this.clock.clockCycles[cpu], this.stores.seenAt(cpu));
  }

  /** Gives each CPU a store buffer of so many entries. The machine sets it, before anything runs. */
  setStoreEntries(entries: number): void {
    this.stores.setEntries(entries);
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
    const transferCycles = this.takeToWrite(line, cpu);
    const until = this.transfers.serve(line, cpu, transferCycles, cycles);
    this.waitUntil(cpu, until - cycles);
    this.clock.clockCycles[cpu] = until;
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
        if (!this.sharers.has(line, cpu)) continue;
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
      if (held >= 0) this.sharers.share(line, last);
      if (!this.sharers.has(line, state.sharedCpu[i])) this.sharers.add(line, state.sharedCpu[i]);
      this.halves[(line << HALVES_SHIFT) | HALF_LAST] = last;
    });
    restoreArray("shared lines", "CPUs", this.waitedCycles, state.waitedCycles);
  }

  private fetchToRead(line: number, cpu: number): void {
    const holder = (line << WORDS_SHIFT) | WORD_HOLDER;
    const held = this.words[holder] - 1;
    if (held === NOBODY) {
      this.words[holder] = cpu + 1;
      return;
    }
    if (held >= 0) {
      const cycles = this.transferCycles[this.clock.topology.distance(held, cpu)];
      this.waitUntil(cpu, this.transfers.serve(line, cpu, cycles, 0));
      this.sharers.share(line, held);
      this.sharers.add(line, cpu);
      return;
    }
    if (this.sharers.has(line, cpu)) return;
    // Copies are handed out side by side.
    this.wait(cpu, this.transferCycles[this.sharers.nearest(line, cpu)]);
    this.sharers.add(line, cpu);
  }

  private fetchToWrite(line: number, cpu: number): void {
    this.drain();
    const until = this.fetch(line, cpu, false);
    if (until > 0) this.waitUntil(cpu, until);
  }

  private fetchToStore(line: number, cpu: number): void {
    // With all entries taken it waits for the one whose store is oldest.
    const freeAt = this.stores.freeAt(cpu);
    if (freeAt > this.clock.clockCycles[cpu]) this.waitUntil(cpu, freeAt);
    const until = this.fetch(line, cpu, true);
    if (until > 0) this.stores.add(cpu, until);
  }

  /** `cpu` gets a line for itself; when it has it, or 0 when nobody else has a copy. */
  private fetch(line: number, cpu: number, goesOn: boolean): number {
    const holder = (line << WORDS_SHIFT) | WORD_HOLDER;
    const held = this.words[holder];
    const cycles = this.takeToWrite(line, cpu);
    if (cycles === 0) return 0;
    const until = this.transfers.serve(line, cpu, cycles, 0, held > 0, goesOn);
    // Those whom it has come before have the line after it.
    if (this.transfers.hasJoined) this.words[holder] = held;
    return until;
  }

  /** The line is `cpu`'s alone from now on; what it takes to fetch it. */
  private takeToWrite(line: number, cpu: number): number {
    const holder = (line << WORDS_SHIFT) | WORD_HOLDER;
    const held = this.words[holder] - 1;
    this.words[holder] = cpu + 1;
    if (held >= 0) return this.transferCycles[this.clock.topology.distance(held, cpu)];
    if (held === NOBODY) return 0;
    const farthest = this.sharers.drop(line, held, cpu);
    return farthest === DISTANCE_SELF ? 0 : this.transferCycles[farthest];
  }

  /** A CPU waits until a time that is not past. */
  private waitUntil(cpu: number, untilCycles: number): void {
    this.wait(cpu, untilCycles - this.clock.clockCycles[cpu]);
  }

  private wait(cpu: number, cycles: number): void {
    this.clock.clockCycles[cpu] += cycles;
    this.waitedCycles[cpu] += cycles;
  }

  private grow(capacity: number): void {
    this.lines.grow(capacity);
    this.words = this.lines.words;
    this.halves = this.lines.halves;
    this.capacity = capacity;
  }
}
