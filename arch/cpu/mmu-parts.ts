/** What of the machine a memory-management unit works on. */

import type { PhysicalMemory } from "../memory/physical-memory.ts";
import type { Preset } from "../presets/preset.ts";
import type { TakeBytes } from "../tlb/line-cache.ts";

/** Memory, and the model of the unit. */
export interface MmuParts {
  /** The machine's memory. */
  readonly memory: PhysicalMemory;
  /** Where the data caches behind the walkers have the host's memory from. */
  readonly takeCacheBytes: TakeBytes;
  /** Where the arrays of CPUs have it from. */
  readonly takeCpuBytes: TakeBytes;
  /** The microarchitecture. */
  readonly preset: Preset;
}
