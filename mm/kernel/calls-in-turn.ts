/**
 * Code that makes one call after the other, each of which may wait: what a generator with `yield* wait(...)` in a loop does, without a generator for the host's
 * sake. That would be resumed between any two calls, and with a thousand threads it is in none of the host's caches then.
 */
import type { KernelCode, Pause } from "../../arch/time/event-loop.ts";
import { type Blocking, isReady, type Ready, resultOf } from "./blocking.ts";

/** Calls one after the other, as code whose value is `T`. After a call that throws it is not to be resumed. */
export abstract class CallsInTurn<T> implements Generator<Pause, T, void> {
  /** What the last call waits in; null for nothing. */
  private waitsIn: KernelCode<unknown> | null = null;
  private isOver = false;

  /** Makes the next call, having been told what came of the last one (at first: undefined); returns what it does, or what {@link over} does. */
  protected abstract call(value: unknown): Blocking<unknown>;

  /** All calls are made, and this is what came of them. */
  protected over(value: Ready<T>): Ready<T> {
    this.isOver = true;
    return value;
  }

  next(): IteratorResult<Pause, T> {
    const { waitsIn } = this;
    if (waitsIn === null) return this.goOn(undefined);
    const step = waitsIn.next();
    return step.done === true ? this.goOn(step.value) : step;
  }

  return(value: T): IteratorResult<Pause, T> {
    this.waitsIn?.return(undefined);
    this.waitsIn = null;
    this.isOver = true;
    return { done: true, value };
  }

  throw(failure: unknown): IteratorResult<Pause, T> {
    if (this.waitsIn === null) {
      this.isOver = true;
      throw failure;
    }
    const step = this.waitsIn.throw(failure);
    return step.done === true ? this.goOn(step.value) : step;
  }

  [Symbol.iterator](): this {
    return this;
  }

  /** As people see it, who print it. */
  get [Symbol.toStringTag](): string {
    return "Generator";
  }

  private goOn(first: unknown): IteratorResult<Pause, T> {
    let value = first;
    while (!this.isOver) {
      const found = this.call(value);
      if (isReady(found)) {
        value = resultOf(found);
        continue;
      }
      const step = found.next();
      if (step.done !== true) {
        this.waitsIn = found;
        return step;
      }
      value = step.value;
    }
    this.waitsIn = null;
    return { done: true, value: value as T };
  }
}
