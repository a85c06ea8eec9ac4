/**
 * Where every cycle of every CPU went. At any moment a CPU is in one activity; whatever advances its clock meanwhile is
 * booked there, so that the parts of a CPU sum up to its clock exactly. Page walks and waits for cache lines are taken out of the
 * activity in which they happen and booked on their own.
 */
import { checkState, restoreArray } from "../isa/state-error.ts";

/** Kernel code outside any named activity. */
export const ACTIVITY_OTHER = 0;
/** Nothing to run. */
export const ACTIVITY_IDLE = 1;
/** Busy-waiting for a lock. */
export const ACTIVITY_LOCK_WAIT = 2;
/** Telling other CPUs to run something: filling in requests, writing the interrupt command register. */
export const ACTIVITY_IPI_SEND = 3;
/** Busy-waiting for other CPUs' acknowledgements. */
export const ACTIVITY_IPI_WAIT = 4;
/** In an interrupt handler: cycles stolen from whatever the CPU was doing. */
export const ACTIVITY_INTERRUPT = 5;
/** Invalidating translations of the CPU's own TLB for a flush that it began. */
export const ACTIVITY_FLUSH = 6;
/** Changing from one thread to another. */
export const ACTIVITY_SWITCH = 7;
/** Page walks, whatever the CPU was doing. */
export const ACTIVITY_WALK = 8;
/** Waiting for cache lines that other CPUs had (`shared-lines.ts`), whatever the CPU was doing. */
export const ACTIVITY_LINE_WAIT = 9;
/**
 * What the activity is called in which is what executing took longer because a sibling executed on the same core (`shared-cores.ts`), whatever the CPU was
 * doing. Only machines with siblings have it.
 */
export const SHARED_CORE = "shared core";

const BUILT_IN = [
  "other",
  "idle",
  "lock wait",
  "IPI send",
  "IPI wait",
  "interrupts",
  "TLB flush",
  "context switch",
  "page walks",
  "waiting for lines",
];

/** Sees every change of activity; `atCycles` is the CPU's clock. Only looks. */
export interface ActivityObserver {
  /** `cpu` goes from activity `from` to activity `to`. */
  activityChanged(cpu: number, from: number, to: number, atCycles: number): void;
  /**
   * `cpu`'s clock is set back by `cycles`, to `toCycles`, for an interrupt handler that ran before the CPU came so far; then forward again
   * (`cycles` < 0), by which all that it did after the handler's begin is as much later as the handler took.
   */
  clockSetBack?(cpu: number, cycles: number, toCycles: number): void;
}

/** Cycles by CPU and activity. */
export class CycleAccounts {
  /** Names of the activities, by number. */
  readonly names: string[] = [...BUILT_IN];
  /** What each CPU is doing. Change it with {@link enter}. */
  readonly current: Int32Array;
  /** Told of every change of activity; null for no observer. */
  observer: ActivityObserver | null = null;
  /** Told of each time in which a CPU had nothing to run, once it is over; null for nobody. */
  idleObserver: ((cpu: number, fromCycles: number, untilCycles: number) => void) | null = null;
  /** All page-walk cycles of a CPU so far; the machine sets it. */
  walkCyclesOf: (cpu: number) => number = () => 0;
  /** Cycles that each CPU has waited for lines so far: read, never written. */
  private readonly lineCycles: Float64Array;

  private readonly clockCycles: Float64Array;
  private readonly since: Float64Array;
  private readonly walksSince: Float64Array;
  private readonly linesSince: Float64Array;
  /** By activity, then by CPU. */
  private readonly booked: Float64Array[];

  /**
   * @param clockCycles each CPU's clock: read, never written
   * @param lineCycles cycles that each CPU has waited for lines: read, never written
   */
  constructor(clockCycles: Float64Array, lineCycles: Float64Array = new Float64Array(clockCycles.length)) {
    const cpus = clockCycles.length;
    this.clockCycles = clockCycles;
    this.lineCycles = lineCycles;
    this.current = new Int32Array(cpus);
    this.since = new Float64Array(cpus);
    this.walksSince = new Float64Array(cpus);
    this.linesSince = new Float64Array(cpus);
    this.booked = BUILT_IN.map(() => new Float64Array(cpus));
  }

  /** The number of the activity called `name`, made when there is none yet. */
  activity(name: string): number {
    const known = this.names.indexOf(name);
    if (known >= 0) return known;
    this.names.push(name);
    this.booked.push(new Float64Array(this.clockCycles.length));
    return this.names.length - 1;
  }

  /** Begins an activity on `cpu`; returns the one that ends, to be entered again afterwards. */
  enter(cpu: number, activity: number): number {
    const was = this.current[cpu];
    if (was === activity) return was;
    this.settle(cpu);
    this.current[cpu] = activity;
    this.observer?.activityChanged(cpu, was, activity, this.clockCycles[cpu]);
    return was;
  }

  /** Books the time from the CPU's clock to `untilCycles`, to which the caller then sets the clock, as idle. */
  idle(cpu: number, untilCycles: number): void {
    this.settle(cpu);
    this.booked[ACTIVITY_IDLE][cpu] += untilCycles - this.clockCycles[cpu];
    this.since[cpu] = untilCycles;
    if (this.idleObserver !== null) this.idleObserver(cpu, this.clockCycles[cpu], untilCycles);
  }

  /**
   * Books the time from the CPU's clock to `untilCycles`, to which the caller then sets the clock, as an activity within the one that it is
   * in, and that it then goes on with. Nothing of it is a walk or a wait for a line.
   */
  within(cpu: number, activity: number, untilCycles: number): void {
    const cycles = untilCycles - this.clockCycles[cpu];
    this.booked[activity][cpu] += cycles;
    this.since[cpu] += cycles;
    const { observer } = this;
    const around = this.current[cpu];
    if (observer === null || around === activity) return;
    observer.activityChanged(cpu, around, activity, this.clockCycles[cpu]);
    observer.activityChanged(cpu, activity, around, untilCycles);
  }

  /** The caller sets a CPU's clock back by `cycles` (forward when negative) in which nothing happened: they are booked nowhere. */
  setBack(cpu: number, cycles: number): void {
    this.settle(cpu);
    this.since[cpu] -= cycles;
    this.observer?.clockSetBack?.(cpu, cycles, this.since[cpu]);
  }

  /** Books what has not been booked yet of one CPU. */
  settle(cpu: number): void {
    const now = this.clockCycles[cpu];
    const walks = this.walkCyclesOf(cpu);
    const walked = walks - this.walksSince[cpu];
    const lines = this.lineCycles[cpu];
    const waited = lines - this.linesSince[cpu];
    this.booked[this.current[cpu]][cpu] += now - this.since[cpu] - walked - waited;
    this.booked[ACTIVITY_WALK][cpu] += walked;
    this.booked[ACTIVITY_LINE_WAIT][cpu] += waited;
    this.since[cpu] = now;
    this.walksSince[cpu] = walks;
    this.linesSince[cpu] = lines;
  }

  /** Cycles of one CPU that went to one activity, up to now. */
  cycles(cpu: number, activity: number): number {
    this.settle(cpu);
    return this.booked[activity][cpu];
  }

  /** Cycles of one CPU by activity; those without any are left out. Sums up to the CPU's clock. */
  ofCpu(cpu: number): Map<string, number> {
    this.settle(cpu);
    const parts = new Map<string, number>();
    this.names.forEach((name, activity) => {
      const cycles = this.booked[activity][cpu];
      if (cycles !== 0) parts.set(name, cycles);
    });
    return parts;
  }

  /** Cycles of all CPUs by activity, in the order of the activities' numbers. */
  total(): Map<string, number> {
    const parts = new Map<string, number>();
    this.names.forEach((name, activity) => {
      let cycles = 0;
      for (let cpu = 0; cpu < this.clockCycles.length; cpu++) cycles += this.cycles(cpu, activity);
      if (cycles !== 0) parts.set(name, cycles);
    });
    return parts;
  }

  /** Copies all accounts, for saved states. */
  capture(): CycleAccountsState {
    const { current, since, walksSince, linesSince, booked, names } = this;
    const cpus = current.length;
    const cycles = new Float64Array(names.length * cpus);
    booked.forEach((ofCpus, activity) => {
      cycles.set(ofCpus, activity * cpus);
    });
    return {
      activities: [...names],
      current: current.slice(),
      since: since.slice(),
      walksSince: walksSince.slice(),
      linesSince: linesSince.slice(),
      cycles,
    };
  }

  /**
   * Brings the accounts into a captured state. Activities are known by their names.
   * @throws StateError when the accounts are of another number of CPUs
   */
  restore(state: CycleAccountsState): void {
    const cpus = this.current.length;
    const numbers = state.activities.map((name) => this.activity(name));
    const fits = state.current.length === cpus && state.cycles.length === numbers.length * cpus;
    checkState("cycle accounts", fits, `are not those of ${cpus} CPUs`);
    const known = state.current.every((activity) => activity < numbers.length);
    checkState("cycle accounts", known, `name ${numbers.length} activities, and CPUs have others`);
    for (const ofCpus of this.booked) ofCpus.fill(0);
    numbers.forEach((number, i) => {
      this.booked[number].set(state.cycles.subarray(i * cpus, (i + 1) * cpus));
    });
    for (let cpu = 0; cpu < cpus; cpu++) this.current[cpu] = numbers[state.current[cpu]];
    restoreArray("cycle accounts", "times", this.since, state.since);
    restoreArray("cycle accounts", "cycles of walks", this.walksSince, state.walksSince);
    restoreArray("cycle accounts", "cycles of waits for lines", this.linesSince, state.linesSince);
  }
}

/** All accounts. Arrays have one element a CPU, but for `cycles`. */
export interface CycleAccountsState {
  /** Names of all activities, in the order in which they came up. */
  readonly activities: readonly string[];
  /** What each CPU is doing, by its number among `activities`. */
  readonly current: Int32Array;
  /** The clock, and the cycles of page walks and of waits for lines, up to which everything is booked. */
  readonly since: Float64Array;
  readonly walksSince: Float64Array;
  readonly linesSince: Float64Array;
  /** Booked cycles: activity by activity, of each CPU. */
  readonly cycles: Float64Array;
}
