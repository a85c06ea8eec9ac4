/**
 * Kernel code that may have to wait: for a lock, for other CPUs, for a work item.
 *
 * Writing it. Most such calls do not wait in the end. On the host a generator costs 30 to 50 ns even when it never pauses, so a
 * call that is made often is a plain function of type `Blocking<T>`. It returns `ready(value)` (`DONE` when there is no value)
 * or, where it has to wait, code that goes on from there. Two helpers cut it at such places:
 *
 *     return afterLock(node.lazyLock, addLazy, state, node, area);       // addLazy(state, node, area), with the lock held
 *     return afterCall(unlinkVmArea(state, address), freeArea, state, address); // freeArea(area, state, address), once area is known
 *
 * What every vmalloc and vfree goes through says the same in full, as V8 inlines a function only where it sees which one is called;
 * within `afterCall` and `afterLock` it sees many. With V8's limits for inlining raised as in `bench/host-v8.ts`, a vmalloc of a page and
 * its vfree take 310 to 480 ns so in place of 520:
 *
 *     const { lazyLock } = node;
 *     return lazyLock.tryTake() ? addLazy(state, node, area, owed) : afterWaiting(lazyLock, addLazy, state, node, area, owed);
 *
 *     const area = unlinkVmArea(state, address);
 *     return isReady(area) ? freeArea(resultOf(area), state, address) : afterCode(area, freeArea, state, address);
 *
 * Code that waits in a loop, or nearly always, is a generator (`KernelCode<T>`). That is a `Blocking<T>` too.
 *
 * Calling it. `wait` gives the value, in code that may wait itself:
 *
 *     const address = yield* wait(vmalloc(state, 8192));
 *     yield* wait(vfree(state, address));
 *
 * A plain function returns what it was given, or goes on with `afterCall`. From outside, `kernel.run(() => vmalloc(state, 8192))`
 * runs a call to its end. The value cannot be reached otherwise; `test/mm/kernel/blocking-calls.test.ts` finds calls whose result
 * is thrown away.
 */
import { type KernelCode, type Pause, type PausedCode, pausedWithin, TURN_WITHIN } from "../../arch/time/event-loop.ts";
import type { SpinLock } from "./lock.ts";
import type { Mutex } from "./mutex.ts";

/** What may be ready. Not objects: nothing would tell them from code. */
type Value = number | boolean | undefined;

declare const READY: unique symbol;

/** A value that was there without waiting; at run time the value itself. */
export interface Ready<T> {
  readonly [READY]: T;
}

/** What a call that may wait returns: its value, or the code that will find it. */
export type Blocking<T> = Ready<T> | KernelCode<T>;

/** A value, as the result of a call that did not have to wait. */
export function ready<T extends Value>(value: T): Ready<T> {
  return value as unknown as Ready<T>;
}

/** The result of a call without a value that did not have to wait. */
export const DONE: Ready<void> = undefined as unknown as Ready<void>;

/** Whether the value is there. Otherwise it is code. */
export function isReady<T>(found: Blocking<T>): found is Ready<T> {
  return typeof found !== "object";
}

/** The value of a call that is ready. */
export function resultOf<T>(found: Ready<T>): T {
  return found as unknown as T;
}

/** To be waited for with `yield*`, and at once. */
export interface Waiting<T> {
  [Symbol.iterator](): Iterator<Pause, T, void>;
}

/** What `yield*` asks of a value that is there. One object serves all: its value is read before anything else can run. */
const readyResult = { done: true as const, value: undefined as unknown };
const readyIterator = { next: () => readyResult };
const waitedFor = { [Symbol.iterator]: () => readyIterator };

/** Waits for the value, from code that may wait: `yield* wait(...)`. */
export function wait<T>(found: Blocking<T>): Waiting<T> {
  if (!isReady(found)) return found;
  readyResult.value = found;
  return waitedFor as Waiting<T>;
}

/**
 * A call that somebody else is to make, at a time of their choice: a function, or code of a generator, which does nothing before
 * it is waited for.
 */
export type Call<T> = (() => Blocking<T>) | KernelCode<T>;

/**
 * Makes the call.
 * @throws TypeError for what is no call: most likely it has been made already, where a function that makes it was expected
 */
export function make<T>(call: Call<T>): Blocking<T> {
  if (typeof call === "function") return call();
  if (typeof call === "object" && call !== null) return call;
  throw new TypeError(
    `${String(call)} is no call to be made: expected a function such as () => vmalloc(kernel.vm, 8192)`,
  );
}

/** A call as code of its own, for a thread or a work item. */
export function* asCode<T>(call: () => Blocking<T>): KernelCode<T> {
  return yield* wait(call());
}

/** What code goes on with: at most so many values. */
type Arguments = readonly [] | readonly [unknown, unknown?, unknown?, unknown?, unknown?, unknown?, unknown?];

/** Goes on with `rest(value, ...args)` once the value is there. */
export function afterCall<T, A extends Arguments, R>(
  found: Blocking<T>,
  rest: (value: T, ...args: A) => Blocking<R>,
  ...args: A
): Blocking<R> {
  return isReady(found) ? rest(resultOf(found), ...args) : afterCode(found, rest, ...args);
}

/** Goes on with `rest(value, ...args)` once `code` has found the value: the half of {@link afterCall} that waits. */
export function afterCode<T, A extends Arguments, R>(
  code: KernelCode<T>,
  rest: (value: T, ...args: A) => Blocking<R>,
  ...args: A
): KernelCode<R>;
export function afterCode(
  code: KernelCode<unknown>,
  rest: Rest,
  a?: unknown,
  b?: unknown,
  c?: unknown,
  d?: unknown,
  e?: unknown,
  f?: unknown,
  g?: unknown,
): KernelCode<unknown> {
  return new Continuation(code, null, rest, a, b, c, d, e, f, g);
}

/** Goes on with `rest(...args)` once `lock` is held. Who goes on releases it. */
export function afterLock<A extends Arguments, R>(
  lock: SpinLock | Mutex,
  rest: (...args: A) => Blocking<R>,
  ...args: A
): Blocking<R> {
  return lock.tryTake() ? rest(...args) : afterWaiting(lock, rest, ...args);
}

/** Goes on with `rest(...args)` once a lock is held that could not be taken at once: the half of {@link afterLock} that waits. */
export function afterWaiting<A extends Arguments, R>(
  lock: SpinLock | Mutex,
  rest: (...args: A) => Blocking<R>,
  ...args: A
): KernelCode<R>;
export function afterWaiting(
  lock: SpinLock | Mutex,
  rest: Rest,
  a?: unknown,
  b?: unknown,
  c?: unknown,
  d?: unknown,
  e?: unknown,
  f?: unknown,
  g?: unknown,
): KernelCode<unknown> {
  return new Continuation(null, lock, rest, a, b, c, d, e, f, g);
}

/** What is gone on with. */
type Rest = (...args: unknown[]) => Blocking<unknown>;

/**
 * Code that waits for other code or for a lock, and then goes on with a function. It does what a generator would, and is an object with
 * methods for the host's sake: on several CPUs a vmalloc waits at each lock through several of them, one in the other. With generators
 * pairs of vmalloc and vfree took 1.15 times as long on 4 CPUs, 1.25 where their arguments were a list.
 *
 * A thread that pauses in one goes on there (`PausedCode`): what waits for it, another of its kind or at last a generator, is not looked at before it is
 * told of the end.
 */
class Continuation implements Generator<Pause, unknown, void>, PausedCode {
  /** What is waited for: other code, the lock, or code that waits for the lock; null at the end. */
  private code: KernelCode<unknown> | null;
  private lock: SpinLock | Mutex | null;
  /** What is still to be called; null when it has been, and its own code, if any, is waited for. */
  private rest: Rest | null;
  /** Who waits for this one and has something to call then: null if that is no `Continuation`. */
  private parent: Continuation | null = null;
  /** What is called with; at the end, what came of it, if nobody was told. */
  private a: unknown;
  private readonly b: unknown;
  private readonly c: unknown;
  private readonly d: unknown;
  private readonly e: unknown;
  private readonly f: unknown;
  private readonly g: unknown;

  constructor(
    code: KernelCode<unknown> | null,
    lock: SpinLock | Mutex | null,
    rest: Rest,
    a: unknown,
    b: unknown,
    c: unknown,
    d: unknown,
    e: unknown,
    f: unknown,
    g: unknown,
  ) {
    this.code = code;
    this.lock = lock;
    this.rest = rest;
    this.a = a;
    this.b = b;
    this.c = c;
    this.d = d;
    this.e = e;
    this.f = f;
    this.g = g;
    if (code instanceof Continuation) code.parent = this;
  }

  /** As people see it, who print it. */
  get [Symbol.toStringTag](): string {
    return "Generator";
  }

  [Symbol.iterator](): this {
    return this;
  }

  next(): IteratorResult<Pause, unknown> {
    const { lock } = this;
    if (lock !== null && this.code === null) {
      // As `lock.take()`, without its code where nobody holds the lock: most often the CPU only has to let others act first.
      if (lock.mustYield()) return this.pausedFor(TURN_WITHIN);
      if (lock.takeFree()) return this.goOn(undefined);
      this.code = lock.takeHeld();
    }
    if (this.code === null) return { done: true, value: this.a };
    return this.after(this.code.next());
  }

  return(value: unknown): IteratorResult<Pause, unknown> {
    this.code?.return(undefined);
    this.end(undefined);
    return { done: true, value };
  }

  throw(failure: unknown): IteratorResult<Pause, unknown> {
    if (this.code !== null) return this.after(this.code.throw(failure));
    this.end(undefined);
    throw failure;
  }

  goOnAlone(): IteratorYieldResult<Pause> | null {
    let at: Continuation = this;
    try {
      for (;;) {
        const { lock } = at;
        let found: Blocking<unknown>;
        if (lock !== null && at.code === null) {
          if (lock.mustYield()) return at.pausedFor(TURN_WITHIN);
          if (!lock.takeFree()) {
            at.code = lock.takeHeld();
            continue;
          }
          found = at.callRest(undefined);
        } else {
          const step = (at.code as KernelCode<unknown>).next();
          // Code of this kind that is waited for has said where it paused.
          if (step.done !== true) return step === TURN_WITHIN ? step : at.pausedFor(step);
          if (at.rest === null) {
            if (at.parent === null) return at.end(step.value);
            at = at.parent;
          }
          found = at.callRest(step.value);
        }
        while (isReady(found)) {
          if (at.parent === null) return at.end(resultOf(found));
          at = at.parent;
          found = at.callRest(resultOf(found));
        }
        if (found instanceof Continuation) at = found;
      }
    } catch (failure) {
      while (at.parent !== null) at = at.parent;
      at.fails(failure);
      return null;
    }
  }

  private pausedFor(pause: IteratorYieldResult<Pause>): IteratorYieldResult<Pause> {
    pausedWithin.code = this;
    return pause;
  }

  /** The code that is waited for has made a step. */
  private after(step: IteratorResult<Pause, unknown>): IteratorResult<Pause, unknown> {
    return step.done === true && this.rest !== null ? this.goOn(step.value) : step;
  }

  /** What was waited for is there: calls what is left, and waits for that. */
  private goOn(value: unknown): IteratorResult<Pause, unknown> {
    const found = this.callRest(value);
    return isReady(found) ? { done: true, value: resultOf(found) } : found.next();
  }

  /** Calls what is left. Code that comes of it is its own from then on: who waits for this one waits for that. */
  private callRest(value: unknown): Blocking<unknown> {
    const { a, b, c, d, e, f, g } = this;
    const rest = this.rest as Rest;
    const isOfLock = this.lock !== null;
    this.end(undefined);
    const found = isOfLock ? rest(a, b, c, d, e, f, g) : rest(value, a, b, c, d, e, f, g);
    if (isReady(found)) return found;
    this.code = found;
    if (found instanceof Continuation) found.parent = this.parent;
    return found;
  }

  private end(value: unknown): null {
    this.code = null;
    this.lock = null;
    this.rest = null;
    this.a = value;
    return null;
  }

  /** Throws when it is gone on with. */
  private fails(failure: unknown): void {
    this.end(undefined);
    this.code = failing(failure);
  }
}

// biome-ignore lint/correctness/useYield: it is code, which throws when it is gone on with
function* failing(failure: unknown): KernelCode<never> {
  throw failure;
}
