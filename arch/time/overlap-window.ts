/**
 * How long accesses take that do not wait for each other, as on a core that executes out of order: they begin one after another, their
 * hits of the second level and their page walks overlap, and they complete in order.
 *
 * - An access begins when the one before has taken its issue cost, and not before all but the last `window` - 1 accesses are complete.
 * - A hit of the second level takes its cycles; others may begin meanwhile, as many as there are.
 * - A walk takes one of the `walkers` for its whole length: the first that is free. Walks begin in the order of the program.
 * - Other work of the program, which waits for none of them, takes its cycles between two that begin.
 * - A fetch keeps all that follows waiting for its translation: what comes next is not known before.
 *
 * The clock is always the time at which all accesses so far are complete, so what an access adds to it may be less than it took, or 0.
 */
import type { Overlap } from "../presets/overlap.ts";

const KIND_FETCH = 2;
const KINDS = 3;

/** What is under way, for saved states. */
export interface OverlapState {
  /** `OverlapWindow.completed`. */
  readonly completed: number;
  /** When the next access can begin, for its place in the program. */
  readonly issued: number;
  /** When the last walk began. */
  readonly walked: number;
  /** When each walker is free. */
  readonly walkers: Float64Array;
  /** When each of the last accesses is complete, the oldest first. */
  readonly window: Float64Array;
  /** Until when loads, stores and fetches have walked. */
  readonly walking: Float64Array;
}

/** The independent accesses of one CPU. All times are values of its clock. */
export class OverlapWindow {
  /** When the last access is complete. A clock that says something else has gone on without this: the next access begins anew. */
  completed = Number.NaN;
  /** Of the last access: cycles in which its walk was under way and none before it of the same kind. */
  walkActive = 0;
  /** Of the last access: cycles by which its walk has set back the time at which all is complete. */
  walkExposed = 0;
  private issued = 0;
  private walked = 0;
  private readonly walkers: Float64Array;
  private readonly window: Float64Array;
  private oldest = 0;
  private readonly walking = new Float64Array(KINDS);

  constructor(overlap: Overlap) {
    this.walkers = new Float64Array(overlap.walkers.value);
    this.window = new Float64Array(overlap.window.value);
  }

  /**
   * The next access, of kind 0 to 2 (load, store, fetch).
   * @param now the CPU's clock before it
   * @param issueCycles what an access takes that hits the first level
   * @param hitCycles what hits of the second level add
   * @param walkCycles what page walks add
   * @returns the clock after it
   */
  add(now: number, kind: number, issueCycles: number, hitCycles: number, walkCycles: number): number {
    if (now !== this.completed) this.begin(now);
    const { window, oldest } = this;
    const begin = Math.max(this.issued, window[oldest]);
    this.issued = begin + issueCycles;
    const hit = this.issued + hitCycles;
    const withoutWalk = Math.max(this.completed, hit);
    this.walkActive = 0;
    this.walkExposed = 0;
    let end = hit;
    if (walkCycles > 0) {
      end = this.walk(kind, hit, walkCycles);
      this.walkExposed = Math.max(0, end - withoutWalk);
    }
    if (kind === KIND_FETCH) this.issued = end;
    this.completed = Math.max(withoutWalk, end);
    window[oldest] = this.completed;
    this.oldest = oldest + 1 === window.length ? 0 : oldest + 1;
    return this.completed;
  }

  /**
   * Work between two accesses that waits for none of them.
   * @param now the CPU's clock before it
   * @returns the clock after it
   */
  work(now: number, cycles: number): number {
    if (now !== this.completed) this.begin(now);
    this.issued += cycles;
    this.completed = Math.max(this.completed, this.issued);
    return this.completed;
  }

  /** What is under way. */
  capture(): OverlapState {
    const { completed, issued, walked, oldest } = this;
    const window = new Float64Array(this.window.length);
    for (let i = 0; i < window.length; i++) window[i] = this.window[(oldest + i) % window.length];
    return { completed, issued, walked, walkers: this.walkers.slice(), window, walking: this.walking.slice() };
  }

  /** Whether something was captured of a window of the same size and as many walkers. */
  fits({ walkers, window, walking }: OverlapState): boolean {
    return walkers.length === this.walkers.length && window.length === this.window.length && walking.length === KINDS;
  }

  /** Brings back what was captured of a window that {@link fits}. */
  restore({ completed, issued, walked, walkers, window, walking }: OverlapState): void {
    this.completed = completed;
    this.issued = issued;
    this.walked = walked;
    this.oldest = 0;
    this.walkers.set(walkers);
    this.window.set(window);
    this.walking.set(walking);
  }

  private begin(now: number): void {
    this.completed = now;
    this.issued = now;
    this.walked = now;
    this.walkers.fill(now);
    this.window.fill(now);
    this.walking.fill(now);
  }

  /** A walk that can begin at `ready`; returns when it ends. */
  private walk(kind: number, ready: number, cycles: number): number {
    const { walkers, walking } = this;
    let first = 0;
    for (let i = 1; i < walkers.length; i++) if (walkers[i] < walkers[first]) first = i;
    const start = Math.max(ready, walkers[first], this.walked);
    const end = start + cycles;
    walkers[first] = end;
    this.walked = start;
    if (end > walking[kind]) {
      this.walkActive = end - Math.max(start, walking[kind]);
      walking[kind] = end;
    }
    return end;
  }
}
