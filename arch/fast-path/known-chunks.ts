/**
 * Which chunks of memory exist: a larger page may lie in many, and not all of them have been written to. A chunk that exists stays, so
 * what is known of it needs no telling.
 */

import type { PhysicalMemory } from "../memory/physical-memory.ts";
import * as chunks from "../memory/physical-memory.ts";

// The module's own constants, which V8 folds into the code (README.md, "Constants").
const { CHUNK_FRAMES_SHIFT } = chunks;

/** The chunks of a memory. */
export class KnownChunks {
  private readonly memory: PhysicalMemory;
  /** By number of a chunk: 1 where it exists and all of its frames are memory. */
  readonly whole: Uint8Array;

  constructor(memory: PhysicalMemory) {
    this.memory = memory;
    this.whole = memory.wholeChunks;
  }

  /** Whether `frame`, below 2^31, is in a chunk that exists, all of whose frames are memory. A chunk is made if there is none yet. */
  have(frame: number): boolean {
    return this.whole[frame >>> CHUNK_FRAMES_SHIFT] === 1 || this.memory.wholeChunkAt(frame) !== null;
  }
}
