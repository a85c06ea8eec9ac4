/**
 * Hardware threads of a core that execute at the same time: each gets less than a whole core. A thread that waits leaves the core to its
 * siblings: one that is idle, that waits for a cache line, or that waits busily with PAUSE, which keeps the units of the core free.
 *
 * The event loop runs code between two pauses in one go, so that what a CPU did is known as spans of time, each with the cycles of it that were
 * executed (where in the span they lie is not kept: they count as spread evenly). When a CPU has gone through one, it is laid beside what is known of its
 * siblings. Where both executed they executed more slowly: both clocks go forward by as much, the sibling's too if it has gone past that time already, as with
 * an interrupt that is taken late. The delay is an activity of its own.
 */
import type { PendingInterrupts } from "./pending-interrupts.ts";
import type { Topology } from "./topology.ts";

/** What sharing cores needs of the event loop. */
export interface SharedCoreClock {
  readonly cpus: number;
  readonly topology: Topology;
  /** Each CPU's clock. */
  readonly clockCycles: Float64Array;
  /** By CPU: cycles in which it waited without leaving the code that it runs, but for lines. */
  readonly stalledCycles: Float64Array;
  readonly lines: { readonly waitedCycles: Float64Array };
  readonly interrupts: PendingInterrupts;
  /** The earliest time at which any CPU can act. */
  readonly earliestCycles: number;
  /** What `cpu` did from `fromCycles` until `untilCycles` took `cycles` more; so did what it computes. */
  stretch(cpu: number, fromCycles: number, untilCycles: number, cycles: number): void;
}

/** Spans of a CPU that are kept at most; of more, the two oldest become one. */
const SPANS_MAX = 8;
/** Numbers of a span: when it begins and ends, and how many of its cycles were executed. */
const SPAN_NUMBERS = 3;
const BEGIN = 0;
const END = 1;
const EXECUTED = 2;

/** Who executes when, of all CPUs that have siblings. */
export class SharedCores {
  private readonly clock: SharedCoreClock;
  /** What each cycle in which a CPU and one of its siblings both execute takes longer. */
  private readonly slowDown: number;
  /** By CPU: the other threads of its core. */
  private readonly siblings: readonly (readonly number[])[];
  /** By CPU: its clock, and what it had waited, up to which all is known. */
  private readonly since: Float64Array;
  private readonly waited: Float64Array;
  /** By CPU: when its last span ends. */
  private readonly until: Float64Array;
  /** By CPU: delays that are due, less than a cycle. */
  private readonly rest: Float64Array;
  /** By CPU: in which run its spans are; those before are over. */
  private readonly run: Int32Array;
  private readonly counts: Int32Array;
  private readonly spans: Float64Array;

  private constructor(clock: SharedCoreClock, siblings: readonly (readonly number[])[], slowDown: number) {
    const { cpus } = clock;
    this.clock = clock;
    this.siblings = siblings;
    this.slowDown = slowDown;
    this.since = clock.clockCycles.slice();
    this.waited = new Float64Array(cpus);
    this.until = new Float64Array(cpus);
    this.rest = new Float64Array(cpus);
    this.run = new Int32Array(cpus);
    this.counts = new Int32Array(cpus);
    this.spans = new Float64Array(cpus * SPANS_MAX * SPAN_NUMBERS);
  }

  /**
   * Those of a machine; null where no CPU has a sibling, or siblings do not slow each other. Nor do they where a core has more than two threads: no part that
   * is emulated has, and what three get done is not known.
   * @param throughput what two threads of a core get done in the time in which one that is alone gets 1 done
   */
  static of(clock: SharedCoreClock, throughput: number): SharedCores | null {
    const { coreOf } = clock.topology;
    const ofCore = new Map<number, number[]>();
    coreOf.forEach((core, cpu) => {
      ofCore.set(core, [...(ofCore.get(core) ?? []), cpu]);
    });
    const siblings = Array.from(coreOf, (core, cpu) => (ofCore.get(core) ?? []).filter((other) => other !== cpu));
    const others = Math.max(0, ...siblings.map(({ length }) => length));
    const slowDown = others === 1 ? 2 / throughput - 1 : 0;
    return slowDown > 0 ? new SharedCores(clock, siblings, slowDown) : null;
  }

  /** Forgets all that was, for states that are loaded. */
  reset(): void {
    for (let cpu = 0; cpu < this.clock.cpus; cpu++) this.startRun(cpu);
  }

  /** `cpu`'s clock has gone on to `atCycles`, and it executed nothing on the way, or what it computed. */
  caughtUp(cpu: number, atCycles: number): void {
    const { lines, stalledCycles } = this.clock;
    this.since[cpu] = atCycles;
    this.waited[cpu] = lines.waitedCycles[cpu] + stalledCycles[cpu];
    this.until[cpu] = Math.max(this.until[cpu], atCycles);
  }

  /** `cpu`'s clock was set back by `cycles`, or forward when negative, in which nothing happened. */
  wasSetBack(cpu: number, cycles: number): void {
    this.since[cpu] -= cycles;
  }

  /** `cpu` pauses: all that it did has happened, and it computes for `computeCycles` from now on. */
  paused(cpu: number, computeCycles: number): void {
    this.settle(cpu);
    if (computeCycles > 0) this.executed(cpu, this.clock.clockCycles[cpu], computeCycles, computeCycles);
  }

  /** Has `cpu`'s clock and those of its siblings say what it took them to execute side by side, as far as it is known. */
  settle(cpu: number): void {
    const { clockCycles, lines, stalledCycles, interrupts } = this.clock;
    if (this.run[cpu] !== interrupts.run) this.beginRun(cpu);
    const now = clockCycles[cpu];
    const waits = lines.waitedCycles[cpu] + stalledCycles[cpu];
    const cycles = now - this.since[cpu];
    const executed = cycles - (waits - this.waited[cpu]);
    this.since[cpu] = now;
    this.waited[cpu] = waits;
    if (cycles > 0) this.executed(cpu, now - cycles, cycles, Math.max(0, executed));
  }

  private beginRun(cpu: number): void {
    this.run[cpu] = this.clock.interrupts.run;
    this.counts[cpu] = 0;
    this.until[cpu] = 0;
    this.rest[cpu] = 0;
  }

  private startRun(cpu: number): void {
    const { clockCycles, lines, stalledCycles } = this.clock;
    this.beginRun(cpu);
    this.since[cpu] = clockCycles[cpu];
    this.waited[cpu] = lines.waitedCycles[cpu] + stalledCycles[cpu];
  }

  /** `cpu` was busy for `cycles` from `atCycles` on, or from the end of what it did before, and executed in `executed` of them. */
  private executed(cpu: number, atCycles: number, cycles: number, executed: number): void {
    const { clock } = this;
    const begin = Math.max(this.until[cpu], atCycles);
    const end = begin + cycles;
    let due = this.rest[cpu];
    for (const sibling of this.siblings[cpu]) {
      if (this.run[sibling] !== clock.interrupts.run) this.beginRun(sibling);
      if (this.until[sibling] > begin) due += this.besides(sibling, begin, end, executed / cycles);
    }
    const delay = Math.floor(due);
    this.rest[cpu] = due - delay;
    this.push(cpu, begin, end + delay, executed + delay);
    this.until[cpu] = end;
    if (delay > 0) this.delay(cpu, begin, end, delay);
  }

  /** Puts the spans of `cpu` forward by what a sibling does to them that executes with `density` from `begin` to `end`; returns by how much. */
  private besides(cpu: number, begin: number, end: number, density: number): number {
    const { spans, slowDown } = this;
    const first = cpu * SPANS_MAX * SPAN_NUMBERS;
    const last = first + this.counts[cpu] * SPAN_NUMBERS;
    let later = 0;
    for (let at = first; at < last; at += SPAN_NUMBERS) {
      const from = spans[at + BEGIN];
      const until = spans[at + END];
      const both = Math.min(end, until) - Math.max(begin, from);
      const delay = both > 0 ? ((both * density * spans[at + EXECUTED]) / (until - from)) * slowDown : 0;
      spans[at + BEGIN] = from + later;
      later += delay;
      spans[at + END] = until + later;
      spans[at + EXECUTED] += delay;
    }
    const due = later + this.rest[cpu];
    const delay = Math.floor(due);
    this.rest[cpu] = due - delay;
    if (delay > 0) this.delay(cpu, begin, Math.min(end, this.until[cpu]), delay);
    return later;
  }

  private delay(cpu: number, fromCycles: number, untilCycles: number, cycles: number): void {
    this.clock.stretch(cpu, fromCycles, untilCycles, cycles);
    this.since[cpu] += cycles;
    this.until[cpu] += cycles;
  }

  /** Adds a span; those that nobody executes beside any more go. */
  private push(cpu: number, begin: number, end: number, executed: number): void {
    const { spans } = this;
    const first = cpu * SPANS_MAX * SPAN_NUMBERS;
    const floor = Math.min(begin, this.clock.earliestCycles);
    let count = this.counts[cpu];
    let over = 0;
    while (over < count && spans[first + over * SPAN_NUMBERS + END] <= floor) over++;
    if (over > 0) {
      spans.copyWithin(first, first + over * SPAN_NUMBERS, first + count * SPAN_NUMBERS);
      count -= over;
    }
    if (count === SPANS_MAX) {
      spans[first + END] = spans[first + SPAN_NUMBERS + END];
      spans[first + EXECUTED] += spans[first + SPAN_NUMBERS + EXECUTED];
      spans.copyWithin(first + SPAN_NUMBERS, first + 2 * SPAN_NUMBERS, first + count * SPAN_NUMBERS);
      count--;
    }
    const at = first + count * SPAN_NUMBERS;
    spans[at + BEGIN] = begin;
    spans[at + END] = end;
    spans[at + EXECUTED] = executed;
    this.counts[cpu] = count + 1;
  }
}
