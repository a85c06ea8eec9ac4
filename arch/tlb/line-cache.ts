/** One level of the data caches of one CPU as the page walker sees them (walk-caches.ts): its lines, in words of the CPU's. */

import type { LineCacheShape } from "./line-cache-shape.ts";

/** Where an array of so many bytes goes: a buffer, and the byte of it. */
export type TakeBytes = (bytes: number) => readonly [ArrayBuffer, number];

/** A level, and where it has its lines. */
export class LineCache {
  /** What it has in common with that of other CPUs. */
  readonly shape: LineCacheShape;
  /** What it holds, and other things. */
  readonly words: Int32Array;

  constructor(shape: LineCacheShape, words: Int32Array) {
    this.shape = shape;
    this.words = words;
  }

  /** Looks for a line: a hit is recorded (true), what is not there is put in (false). */
  use(line: number): boolean {
    return this.shape.use(this.words, line);
  }

  /** Takes all lines out. */
  clear(): void {
    this.shape.clear(this.words);
  }

  /** Has `visit` called with every line that it holds, by set times ways plus way. */
  forEachLine(visit: (place: number, line: number) => void): void {
    this.shape.forEachLine(this.words, visit);
  }

  /** Has `visit` called with the replacement state of every set that is not in state 0. */
  forEachState(visit: (set: number, state: number) => void): void {
    this.shape.forEachState(this.words, visit);
  }

  /**
   * Puts a line into a place (set times ways plus way), for saved states.
   * @throws StateError when there is no such place, or it is not in the line's set
   */
  putBack(place: number, line: number): void {
    this.shape.putBack(this.words, place, line);
  }

  /** Brings a set into a state, for saved states. @throws StateError when there is no such set or state */
  setState(set: number, state: number): void {
    this.shape.setState(this.words, set, state);
  }
}
