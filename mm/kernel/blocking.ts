/**
 * Kernel code that may have to wait: for a lock, for other CPUs, for a work item.
 *
 * Writing it. Most such calls do not wait in the end. On the host a generator costs 30 to 50 ns even when it never pauses, so a
 * call that is made often is a plain function of type `Blocking<T>`. It returns `ready(value)` (`DONE` when there is no value)
 * or, where it has to wait, code that goes on from there. Two helpers cut it at such places:
 *
 *     return afterLock(node.lazyLock, addLazy, state, node, area);       // addLazy(state, node, area), with the lock held
 *     return afterCall(removeVmArea(state, address), freeVm, state, address); // freeVm(vm, state, address), once vm is known
 *
 * What every vmalloc and vfree goes through says the same in full, as V8 inlines a function only where it sees which one is called;
 * within `afterCall` and `afterLock` it sees many. With V8's limits for inlining raised as in `bench/host-v8.ts`, a vmalloc of a page and
 * its vfree take 310 to 480 ns so in place of 520:
 *
 *     const { lazyLock } = node;
 *     return lazyLock.tryTake() ? addLazy(state, node, area, owed) : afterWaiting(lazyLock, addLazy, state, node, area, owed);
 *
 *     const vm = removeVmArea(state, address);
 *     return isReady(vm) ? freeVm(resultOf(vm), state, address) : afterCode(vm, freeVm, state, address);
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
import { type KernelCode, PAUSE_TURN, type Pause } from "../../arch/time/event-loop.ts";
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

/** One object serves all: who resumes code only reads it. */
const TURN: IteratorYieldResult<Pause> = { done: false, value: PAUSE_TURN };

/**
 * Code that waits for other code or for a lock, and then goes on with a function. It does what a generator would, and is an object with
 * methods for the host's sake: on several CPUs a vmalloc waits at each lock through several of them, one in the other. With generators
 * pairs of vmalloc and vfree took 1.15 times as long on 4 CPUs, 1.25 where their arguments were a list.
 */
class Continuation implements Generator<Pause, unknown, void> {
  /** What is waited for; null when it is the lock, and at the end. */
  private code: KernelCode<unknown> | null;
  private lock: SpinLock | Mutex | null;
  private readonly isOfLock: boolean;
  /** What is still to be called; null when it has been, and its own code, if any, is waited for. */
  private rest: Rest | null;
  private readonly a: unknown;
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
    this.isOfLock = lock !== null;
    this.rest = rest;
    this.a = a;
    this.b = b;
    this.c = c;
    this.d = d;
    this.e = e;
    this.f = f;
    this.g = g;
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
    if (lock !== null) {
      // As `lock.take()`, without its code where nobody holds the lock: most often the CPU only has to let others act first.
      if (lock.mustYield()) return TURN;
      this.lock = null;
      if (lock.takeFree()) return this.goOn(undefined);
      this.code = lock.takeHeld();
    }
    if (this.code === null) return { done: true, value: undefined };
    return this.after(this.code.next());
  }

  return(value: unknown): IteratorResult<Pause, unknown> {
    this.code?.return(undefined);
    this.end();
    return { done: true, value };
  }

  throw(failure: unknown): IteratorResult<Pause, unknown> {
    if (this.code !== null) return this.after(this.code.throw(failure));
    this.end();
    throw failure;
  }

  /** The code that is waited for has made a step. */
  private after(step: IteratorResult<Pause, unknown>): IteratorResult<Pause, unknown> {
    return step.done === true && this.rest !== null ? this.goOn(step.value) : step;
  }

  /** What was waited for is there: calls what is left, and waits for that. */
  private goOn(value: unknown): IteratorResult<Pause, unknown> {
    const { a, b, c, d, e, f, g } = this;
    const rest = this.rest as Rest;
    this.rest = null;
    this.code = null;
    const found = this.isOfLock ? rest(a, b, c, d, e, f, g) : rest(value, a, b, c, d, e, f, g);
    if (isReady(found)) return { done: true, value: resultOf(found) };
    this.code = found;
    return found.next();
  }

  private end(): void {
    this.code = null;
    this.lock = null;
    this.rest = null;
  }
}
