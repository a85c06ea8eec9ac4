/** What of the machine a memory-management unit works on. */

import type { PhysicalMemory } from "../memory/physical-memory.ts";
import type { Preset } from "../presets/preset.ts";
import type { CommonArrays } from "../tlb/cpu-arrays.ts";
import type { TakeBytes } from "../tlb/line-cache.ts";

/** Memory, and the model of the unit. */
export interface MmuParts {
  /** The machine's memory. */
  readonly memory: PhysicalMemory;
  /** Where the data caches behind the walkers have the host's memory from. */
  readonly takeCacheBytes: TakeBytes;
  /** The arrays that CPUs have in common; none: each has its own. */
  readonly commonArrays: CommonArrays | undefined;
  /** The microarchitecture. */
  readonly preset: Preset;
}
