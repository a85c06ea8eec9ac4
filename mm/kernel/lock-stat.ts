/**
 * Statistics of locks by name, as `/proc/lock_stat` shows them (Linux, Documentation/locking/lockstat.rst). All locks of one
 * name are one class. Times are cycles here; the file shows microseconds.
 */
import { checkState } from "../../arch/isa/state-error.ts";
import type { EventLoop } from "../../arch/time/event-loop.ts";
import type { LockWatcher } from "./lock-watcher.ts";

const CONTENTIONS = 0;
const CONTENTION_BOUNCES = 1;
const WAIT_TOTAL = 2;
const WAIT_MIN = 3;
const WAIT_MAX = 4;
const ACQUISITIONS = 5;
const ACQUISITION_BOUNCES = 6;
const HOLD_TOTAL = 7;
const HOLD_MIN = 8;
const HOLD_MAX = 9;
const FIELDS = 10;

/** What the locks of one name did. */
export class LockClass {
  readonly name: string;
  /** Counts and times, by the constants above. */
  readonly values = new Float64Array(FIELDS);
  /** Who watches its locks; null when nobody does. */
  watcher: LockWatcher | null;

  constructor(name: string, watcher: LockWatcher | null = null) {
    this.name = name;
    this.watcher = watcher;
    this.values[WAIT_MIN] = Number.POSITIVE_INFINITY;
    this.values[HOLD_MIN] = Number.POSITIVE_INFINITY;
  }

  /** A lock was taken. */
  taken(): void {
    this.values[ACQUISITIONS]++;
  }

  /** Another CPU had the lock last that was taken. */
  bounced(): void {
    this.values[ACQUISITION_BOUNCES]++;
  }

  /** A lock was given back after `cycles`. */
  held(cycles: number): void {
    const { values } = this;
    values[HOLD_TOTAL] += cycles;
    if (cycles < values[HOLD_MIN] || cycles > values[HOLD_MAX]) this.heldAsNever(cycles);
  }

  private heldAsNever(cycles: number): void {
    const { values } = this;
    values[HOLD_MIN] = Math.min(values[HOLD_MIN], cycles);
    values[HOLD_MAX] = Math.max(values[HOLD_MAX], cycles);
  }

  /** Somebody waited `cycles` for a lock; `bounced` when another CPU had it last. */
  waited(cycles: number, bounced: boolean): void {
    const { values } = this;
    values[CONTENTIONS]++;
    if (bounced) values[CONTENTION_BOUNCES]++;
    values[WAIT_TOTAL] += cycles;
    if (cycles < values[WAIT_MIN]) values[WAIT_MIN] = cycles;
    if (cycles > values[WAIT_MAX]) values[WAIT_MAX] = cycles;
  }

  /** Somebody of whom it was said that it waited `wasCycles` (0: not at all) waits `cycles`, which are more. */
  waitsLonger(wasCycles: number, cycles: number): void {
    const { values } = this;
    if (wasCycles === 0) {
      this.waited(cycles, true);
      return;
    }
    values[WAIT_TOTAL] += cycles - wasCycles;
    if (cycles > values[WAIT_MAX]) values[WAIT_MAX] = cycles;
  }

  /** The statistics at present. */
  snapshot(): LockStatistics {
    const { name, values } = this;
    const contentions = values[CONTENTIONS];
    const acquisitions = values[ACQUISITIONS];
    return {
      name,
      contentionBounces: values[CONTENTION_BOUNCES],
      contentions,
      waitMinCycles: contentions === 0 ? 0 : values[WAIT_MIN],
      waitMaxCycles: values[WAIT_MAX],
      waitTotalCycles: values[WAIT_TOTAL],
      waitAverageCycles: contentions === 0 ? 0 : values[WAIT_TOTAL] / contentions,
      acquisitionBounces: values[ACQUISITION_BOUNCES],
      acquisitions,
      holdMinCycles: acquisitions === 0 ? 0 : values[HOLD_MIN],
      holdMaxCycles: values[HOLD_MAX],
      holdTotalCycles: values[HOLD_TOTAL],
      holdAverageCycles: acquisitions === 0 ? 0 : values[HOLD_TOTAL] / acquisitions,
    };
  }
}

/** One line of `/proc/lock_stat`, times in cycles. */
export interface LockStatistics {
  readonly name: string;
  readonly contentionBounces: number;
  readonly contentions: number;
  readonly waitMinCycles: number;
  readonly waitMaxCycles: number;
  readonly waitTotalCycles: number;
  readonly waitAverageCycles: number;
  readonly acquisitionBounces: number;
  readonly acquisitions: number;
  readonly holdMinCycles: number;
  readonly holdMaxCycles: number;
  readonly holdTotalCycles: number;
  readonly holdAverageCycles: number;
}

/** The classes of a machine's locks by name, and who watches them. */
interface LockClasses {
  readonly byName: Map<string, LockClass>;
  watcher: LockWatcher | null;
}

const classesOf = new WeakMap<EventLoop, LockClasses>();

/** All classes of a machine's locks: an object that stays the same as long as the machine. */
export function lockClassesOf(loop: EventLoop): object {
  return classesFor(loop);
}

function classesFor(loop: EventLoop): LockClasses {
  let classes = classesOf.get(loop);
  if (classes === undefined) {
    classes = { byName: new Map(), watcher: null };
    classesOf.set(loop, classes);
  }
  return classes;
}

/** The class of the locks called `name` on a machine. */
export function lockClass(loop: EventLoop, name: string): LockClass {
  const { byName, watcher } = classesFor(loop);
  let found = byName.get(name);
  if (found === undefined) {
    found = new LockClass(name, watcher);
    byName.set(name, found);
  }
  return found;
}

/** Has `watcher` told of all locks of a machine from now on. */
export function watchLocks(loop: EventLoop, watcher: LockWatcher): void {
  const classes = classesFor(loop);
  classes.watcher = watcher;
  for (const each of classes.byName.values()) each.watcher = watcher;
}

/** Statistics of all locks of a machine by name, those with most contentions first, as the kernel sorts them. */
export function lockStatistics(loop: EventLoop): LockStatistics[] {
  const all = [...classesFor(loop).byName.values()].map((each) => each.snapshot());
  return all.sort((a, b) => b.contentions - a.contentions || (a.name < b.name ? -1 : 1));
}

/** Statistics of all locks of an event loop, for saved states: ten values a name. */
export interface LockStatisticsState {
  readonly names: readonly string[];
  /**
   * Contentions, those with another CPU, cycles waited in all, at least, at most; acquisitions, those after another CPU, cycles held
   * in all, at least, at most. The least of none is infinity.
   */
  readonly values: Float64Array;
}

/** Copies the statistics of all locks, in order of names. */
export function captureLockStatistics(loop: EventLoop): LockStatisticsState {
  const classes = [...classesFor(loop).byName.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  const values = new Float64Array(classes.length * FIELDS);
  classes.forEach((each, i) => {
    values.set(each.values, i * FIELDS);
  });
  return { names: classes.map(({ name }) => name), values };
}

/** Brings the statistics of all locks into a captured state. @throws StateError when values are missing */
export function restoreLockStatistics(loop: EventLoop, { names, values }: LockStatisticsState): void {
  checkState("lock statistics", values.length === names.length * FIELDS, `have no ${FIELDS} values a name`);
  names.forEach((name, i) => {
    lockClass(loop, name).values.set(values.subarray(i * FIELDS, (i + 1) * FIELDS));
  });
}
