/**
 * Which chunks of memory exist: a larger page may lie in many, and not all of them have been written to. A chunk that exists stays, so
 * what is known of it needs no telling.
 */

import type { PhysicalMemory } from "../memory/physical-memory.ts";
import * as chunks from "../memory/physical-memory.ts";

// The module's own constants, which V8 folds into the code (README.md, "Constants").
const { CHUNK_FRAMES_SHIFT } = chunks;
/** How many chunks are remembered; a power of two: those of a page of 1 GiB. */
const REMEMBERED = 256;
/** Bits of a chunk's number that say where in `KnownChunks.numbers` it is. */
export const KNOWN_CHUNKS_MASK = REMEMBERED - 1;
const NO_CHUNK = -1;

/** Chunks that are known to exist, those asked for last. */
export class KnownChunks {
  private readonly memory: PhysicalMemory;
  /** Their numbers, by the low bits of these. */
  readonly numbers = new Int32Array(REMEMBERED).fill(NO_CHUNK);

  constructor(memory: PhysicalMemory) {
    this.memory = memory;
  }

  /** Whether `frame`, below 2^31, is in a chunk that exists, all of whose frames are memory. A chunk is made if there is none yet. */
  have(frame: number): boolean {
    const number = frame >>> CHUNK_FRAMES_SHIFT;
    return this.numbers[number & (REMEMBERED - 1)] === number || this.learn(frame);
  }

  private learn(frame: number): boolean {
    if (this.memory.wholeChunkAt(frame) === null) return false;
    const number = frame >>> CHUNK_FRAMES_SHIFT;
    this.numbers[number & (REMEMBERED - 1)] = number;
    return true;
  }
}
