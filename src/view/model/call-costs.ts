/** What each call of the kernel cost its CPU, by where its cycles went. It only looks. */
import {
  ACTIVITY_IDLE,
  ACTIVITY_LINE_WAIT,
  ACTIVITY_OTHER,
  ACTIVITY_SWITCH,
  type CycleAccounts,
  SHARED_CORE,
} from "../../../arch/index.ts";
import { Recent } from "./recent.ts";

/** Calls that are kept: the latest. */
const KEPT = 20_000;

/** A call of the kernel on one CPU, or, where its thread slept in it, one of the stretches between. */
export interface CallCost {
  /** The activity that it began with: `vmalloc`, `vfree`, `purge`, ... */
  readonly name: string;
  readonly cpu: number;
  /** The step in which it ended. */
  readonly position: number;
  readonly fromCycles: number;
  readonly toCycles: number;
  /** Cycles by activity; they sum up to its time. Those without any are left out. */
  readonly parts: Readonly<Record<string, number>>;
}

/** A call that has begun. */
interface OpenCall {
  readonly name: string;
  readonly fromCycles: number;
  /** Cycles of its CPU by activity when it began. */
  readonly booked: Float64Array;
}

/** What was added in one step. */
export interface CallsTail {
  readonly ended: readonly CallCost[];
  readonly openBefore: readonly (OpenCall | null)[];
  readonly openAfter: readonly (OpenCall | null)[];
}

/** Collects calls by what `Tracks` is told of the CPUs' activities. */
export class CallCosts {
  /** Calls that have ended, in that order. */
  readonly ended = new Recent<CallCost>(KEPT);
  private open: (OpenCall | null)[];
  private readonly accounts: CycleAccounts;
  private markOpen: readonly (OpenCall | null)[];

  constructor(accounts: CycleAccounts, cpus: number) {
    this.accounts = accounts;
    this.open = new Array<OpenCall | null>(cpus).fill(null);
    this.markOpen = this.open.slice();
  }

  /** A CPU goes from one activity to another, in a step; all its time up to now is booked. @returns whether a call has ended */
  changed(cpu: number, from: number, to: number, atCycles: number, position: number): boolean {
    const call = this.open[cpu];
    if (call !== null) {
      if (to !== ACTIVITY_OTHER && to !== ACTIVITY_IDLE) return false;
      this.end(cpu, call, atCycles, position);
      return true;
    }
    const { names } = this.accounts;
    // After waiting for lines, the last that every machine has, come the kernel's own calls.
    if (
      to <= ACTIVITY_LINE_WAIT ||
      names[to] === SHARED_CORE ||
      (from !== ACTIVITY_OTHER && from !== ACTIVITY_IDLE && from !== ACTIVITY_SWITCH)
    )
      return false;
    this.open[cpu] = { name: names[to], fromCycles: atCycles, booked: this.bookedOf(cpu) };
    return false;
  }

  private end(cpu: number, { name, fromCycles, booked }: OpenCall, toCycles: number, position: number): void {
    this.open[cpu] = null;
    if (toCycles === fromCycles) return;
    const parts: Record<string, number> = {};
    const { accounts } = this;
    for (let activity = 0; activity < accounts.names.length; activity++) {
      // An activity that was named during the call had no cycles before.
      const spent = accounts.cycles(cpu, activity) - (activity < booked.length ? booked[activity] : 0);
      if (spent > 0) parts[accounts.names[activity]] = spent;
    }
    this.ended.push({ name, cpu, position, fromCycles, toCycles, parts });
  }

  private bookedOf(cpu: number): Float64Array {
    const { accounts } = this;
    const booked = new Float64Array(accounts.names.length);
    for (let activity = 0; activity < booked.length; activity++) booked[activity] = accounts.cycles(cpu, activity);
    return booked;
  }

  /** What was added since it was called last. */
  takeTail(): CallsTail {
    const { ended, open, markOpen } = this;
    this.markOpen = open.slice();
    return { ended: ended.takeTail(), openBefore: markOpen, openAfter: this.markOpen };
  }

  /** Takes away what was added last. */
  removeTail({ ended, openBefore }: CallsTail): void {
    this.ended.removeTail(ended);
    this.open = openBefore.slice();
  }

  /** Adds what was taken away. */
  addTail({ ended, openAfter }: CallsTail): void {
    this.ended.addTail(ended);
    this.open = openAfter.slice();
  }
}
