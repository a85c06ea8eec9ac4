/** The parts of a CPU that its fast path works on. */

import type { PagingMode } from "../isa/paging-mode.ts";
import type { PhysicalMemory } from "../memory/physical-memory.ts";
import type { Preset } from "../presets/preset.ts";
import type { CpuArrays } from "../tlb/cpu-arrays.ts";
import type { PagingStructureCaches } from "../tlb/paging-structure-caches.ts";
import type { TlbHierarchy } from "../tlb/tlb-hierarchy.ts";
import type { WalkCaches } from "../tlb/walk-caches.ts";
import type { KnownTables } from "./known-tables.ts";

/** What the paths of all kinds of access of a CPU share. */
export interface AccessPathParts {
  /** Where the numbers of all these parts lie. */
  readonly arrays: CpuArrays;
  /** The clocks of all CPUs, in cycles, and which is the CPU's. */
  readonly clocks: Float64Array;
  readonly cpu: number;
  /** Both levels of TLBs. */
  readonly tlbs: TlbHierarchy;
  /** The paging-structure caches. */
  readonly structures: PagingStructureCaches;
  /** The data caches as the page walker sees them. */
  readonly walkCaches: WalkCaches;
  /** What the control registers mean for paging. */
  readonly mode: PagingMode;
  /** Physical memory. */
  readonly memory: PhysicalMemory;
  /** The microarchitecture, for its costs. */
  readonly preset: Preset;
}

/** With what walks remember. */
export interface WalkParts extends AccessPathParts {
  readonly tables: KnownTables;
}
