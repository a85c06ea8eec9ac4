/** Threads of execution, and why they pause. */
import { MmulabError } from "../isa/errors.ts";
import { ACTIVITY_OTHER } from "./cycle-accounts.ts";

/** Pause: another CPU may act before this one; go on when this CPU is the furthest behind. */
export const PAUSE_TURN = 0;
/** Pause: busy-wait until `wake`; interrupts are taken meanwhile when they are on. */
export const PAUSE_SPIN = 1;
/** Pause: sleep until `wake`; the CPU runs its other threads meanwhile. */
export const PAUSE_SLEEP = 2;
/** Pause: let the CPU's other ready threads run first (`cond_resched`). */
export const PAUSE_RESCHED = 3;

/** Pause: the CPU computes for `computeCycles` of the thread, taking interrupts on time; see {@link compute}. */
export const PAUSE_COMPUTE = 4;

/** Why a thread paused. */
export type Pause =
  | typeof PAUSE_TURN
  | typeof PAUSE_SPIN
  | typeof PAUSE_SLEEP
  | typeof PAUSE_RESCHED
  | typeof PAUSE_COMPUTE;

/** Code that may wait; its value is the generator's return value. */
export type KernelCode<T> = Generator<Pause, T, void>;

/**
 * Codes that a thread runs one after the other: it is told what each returned when it is asked for the next. A thread that goes on with code of this kind
 * resumes that code alone; within a generator that waits for it (`yield*`), both are resumed at each pause, and with a thousand threads the host has
 * neither in its caches.
 */
export type CodesInTurn = Generator<KernelCode<unknown>, void, unknown>;

/**
 * Code deep within a thread's code that has paused. Whatever waits for it would only pass the next step on: so a thread goes on with it alone until it, and
 * what waits for it in the same way, has ended, and then with its own code, which is told of it.
 */
export interface PausedCode {
  /** Goes on until it pauses; `pausedWithin.code` is then where. Null when it has ended, whether it returned or threw. */
  goOnAlone(): IteratorYieldResult<Pause> | null;
}

/** The code that has paused last of those that can go on alone. */
export const pausedWithin: { code: PausedCode | null } = { code: null };

/**
 * What such code yields for {@link PAUSE_TURN}: this object, by which a thread knows that it is the code which paused. `yield*` passes it on as it
 * is; code that resumes other code by hand and yields for itself does not.
 */
export const TURN_WITHIN: IteratorYieldResult<Pause> = { done: false, value: PAUSE_TURN };

/** A thread of execution, tied to one CPU until it migrates itself. What it runs comes first: V8 lays fields out as they are set. */
export class Thread {
  /** What it runs. */
  code: KernelCode<unknown>;
  /** What it runs when that has ended; null for nothing. */
  readonly codes: CodesInTurn | null;
  /** The CPU that runs it. */
  cpu: number;
  /** What traces and messages call it. */
  readonly name: string;
  /** While it is queued on its CPU: the earliest time at which it can go on. */
  readyCycles: number;
  /** Whether it waits for `wake`. */
  waiting: boolean;
  /** While it runs on no CPU: where it paused within its code, with which the event loop goes on alone; null where that goes on as a whole. */
  within: PausedCode | null;
  /** How long it computes while it pauses for that; else 0. */
  computeCycles: number;
  /** While it waits busily: when it looks up even if nobody wakes it. */
  deadlineCycles: number;
  /** While it waits busily: whether it looks up when its CPU gets another thread to run (`need_resched`). */
  givesWay: boolean;
  /** Threads that wait busily for as long as this one runs (`owner_on_cpu`); null for none. */
  watchers: Thread[] | null;
  /** Whether its code has ended. */
  done: boolean;
  /** What its code returned, once it is done. */
  result: unknown;
  /** What its code threw, when it ended that way. */
  failure: unknown;
  /** What it was doing when it last left its CPU (`cycle-accounts.ts`). */
  activity: number;

  constructor(
    name: string,
    cpu: number,
    readyCycles: number,
    code: KernelCode<unknown>,
    codes: CodesInTurn | null = null,
  ) {
    this.code = code;
    this.codes = codes;
    this.cpu = cpu;
    this.name = name;
    this.readyCycles = readyCycles;
    this.waiting = false;
    this.within = null;
    this.computeCycles = 0;
    this.deadlineCycles = Number.POSITIVE_INFINITY;
    this.givesWay = false;
    this.watchers = null;
    this.done = false;
    this.result = undefined;
    this.failure = undefined;
    this.activity = ACTIVITY_OTHER;
  }

  /** Gives it other code, in place of what it ran. */
  begin(code: KernelCode<unknown>): void {
    this.code = code;
    this.within = null;
  }

  /** Goes on until it pauses or all that it runs has ended. */
  next(): IteratorResult<Pause, unknown> {
    const result = this.code.next();
    return result.done === true && this.codes !== null ? this.nextCode(this.codes, result.value) : result;
  }

  private nextCode(codes: CodesInTurn, ended: unknown): IteratorResult<Pause, unknown> {
    let value = ended;
    for (;;) {
      const next = codes.next(value);
      if (next.done === true) return next;
      this.code = next.value;
      const result = next.value.next();
      if (result.done !== true) return result;
      value = result.value;
    }
  }
}

/**
 * Code that keeps the thread's CPU busy for `cycles`, for work that is not emulated in detail. Interrupts are taken when they
 * arrive, and make it end later.
 */
export function* compute(thread: Thread, cycles: number): KernelCode<void> {
  thread.computeCycles = cycles;
  yield PAUSE_COMPUTE;
  thread.computeCycles = 0;
}

/** Code that does nothing. */
export function* nothing(): KernelCode<void> {
  // It never pauses.
}

/** No CPU can do anything any more although threads wait. */
export class Deadlock extends MmulabError {
  override readonly name = "Deadlock";
  /** Names of the threads that wait. */
  readonly waiting: readonly string[];
  constructor(waiting: readonly string[]) {
    super("DEADLOCK", `every CPU is idle but ${waiting.join(", ")} still wait(s)`);
    this.waiting = waiting;
  }
}
