/** What a CPU is made from. */

import type { PhysicalMemory } from "../memory/physical-memory.ts";
import type { CpuFeatures, Preset } from "../presets/preset.ts";
import type { EventLoop } from "../time/event-loop.ts";

/** Parts of the machine that a CPU is connected to, and its model. */
export interface CpuParts {
  /** The machine's memory. */
  readonly memory: PhysicalMemory;
  /** Its clocks. */
  readonly loop: EventLoop;
  /** The microarchitecture. */
  readonly preset: Preset;
  /** The preset's features, as the machine's settings change them. */
  readonly features: CpuFeatures;
  /** Width of physical addresses in bits. */
  readonly maxPhyAddr: number;
  /** Levels of page tables. */
  readonly levels: 4 | 5;
}
