/** What a CPU is made from. */

import type { PhysicalMemory } from "../memory/physical-memory.ts";
import type { CpuFeatures, Preset } from "../presets/preset.ts";
import type { EventLoop } from "../time/event-loop.ts";
import type { Cpu } from "./cpu.ts";

/** Parts of the machine that a CPU is connected to, and its model. */
export interface CpuParts {
  readonly memory: PhysicalMemory;
  readonly loop: EventLoop;
  readonly preset: Preset;
  readonly features: CpuFeatures;
  readonly maxPhyAddr: number;
  readonly levels: 4 | 5;
  /** All CPUs of the machine, for instructions that reach others. */
  readonly cpus: readonly Cpu[];
}
