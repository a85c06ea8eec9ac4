/** What a CPU is made from. */

import type { CpuFeatures } from "../presets/preset.ts";
import type { EventLoop } from "../time/event-loop.ts";
import type { FlushAttribution } from "../tlb/flush-attribution.ts";
import type { GuestNumbers } from "../tlb/guest-numbers.ts";
import type { GuestPhysicalCaches } from "../tlb/guest-physical-caches.ts";
import type { Mmu } from "./mmu.ts";
import type { MmuParts } from "./mmu-parts.ts";

/** What virtual CPUs of one physical CPU have in common. */
export interface SharedCaches {
  /** A unit with the TLBs and caches. */
  readonly mmu: Mmu;
  /** The numbers by which they know guests. */
  readonly numbers: GuestNumbers;
  /** The caches of guest-physical mappings. */
  readonly guestPhysical: GuestPhysicalCaches;
  /** As `Cpu.attributeFlushes`. */
  attributeFlushes(): FlushAttribution;
}

/** Parts of the machine that a CPU is connected to, and its model. */
export interface CpuParts extends MmuParts {
  /** Its clocks. */
  readonly loop: EventLoop;
  /** The preset's features, as the machine's settings change them. */
  readonly features: CpuFeatures;
  /** Width of physical addresses in bits. */
  readonly maxPhyAddr: number;
  /** Levels of page tables. */
  readonly levels: 4 | 5;
  /** Those of another virtual CPU of the same physical one, which this one has too; absent: it has its own. */
  readonly shared?: SharedCaches | undefined;
}
