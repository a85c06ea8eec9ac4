/** What each call of the kernel cost its CPU, by where its cycles went. It only looks. */
import {
  ACTIVITY_IDLE,
  ACTIVITY_LINE_WAIT,
  ACTIVITY_OTHER,
  ACTIVITY_SWITCH,
  type CycleAccounts,
} from "../../../arch/index.ts";

/** Calls beyond which no more are kept. */
const KEPT_MAX = 100_000;

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
  readonly booked: readonly number[];
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
  readonly ended: CallCost[] = [];
  private open: (OpenCall | null)[];
  private readonly accounts: CycleAccounts;
  private markEnded = 0;
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
    // After waiting for lines, the last that every machine has, come the kernel's own calls.
    if (to <= ACTIVITY_LINE_WAIT || (from !== ACTIVITY_OTHER && from !== ACTIVITY_IDLE && from !== ACTIVITY_SWITCH))
      return false;
    const { names } = this.accounts;
    this.open[cpu] = { name: names[to], fromCycles: atCycles, booked: this.bookedOf(cpu) };
    return false;
  }

  private end(cpu: number, { name, fromCycles, booked }: OpenCall, toCycles: number, position: number): void {
    this.open[cpu] = null;
    if (toCycles === fromCycles || this.ended.length >= KEPT_MAX) return;
    const parts: Record<string, number> = {};
    this.bookedOf(cpu).forEach((cycles, activity) => {
      const spent = cycles - (booked[activity] ?? 0);
      if (spent > 0) parts[this.accounts.names[activity]] = spent;
    });
    this.ended.push({ name, cpu, position, fromCycles, toCycles, parts });
  }

  private bookedOf(cpu: number): number[] {
    return this.accounts.names.map((_, activity) => this.accounts.cycles(cpu, activity));
  }

  /** What was added since it was called last. */
  takeTail(): CallsTail {
    const { ended, open, markEnded, markOpen } = this;
    this.markEnded = ended.length;
    this.markOpen = open.slice();
    return { ended: ended.slice(markEnded), openBefore: markOpen, openAfter: this.markOpen };
  }

  /** Takes away what was added last. */
  removeTail({ ended, openBefore }: CallsTail): void {
    this.ended.length -= ended.length;
    this.open = openBefore.slice();
  }

  /** Adds what was taken away. */
  addTail({ ended, openAfter }: CallsTail): void {
    this.ended.push(...ended);
    this.open = openAfter.slice();
  }
}
