/**
 * How much of address translation a part does at once for accesses that do not wait for each other: page walkers, and how far the core
 * runs ahead of the oldest access that is not complete.
 */
import { assumed, documented, type Figure, measured, type Origin, takenOver } from "./figure.ts";

/** What limits the overlap of independent accesses (arch/time/overlap-window.ts). */
export interface Overlap {
  /** Page walks that are under way at once, at the most. */
  readonly walkers: Figure<"walkers">;
  /** Accesses that are under way at once, at the most: the entries of the buffer that loads wait in. */
  readonly window: Figure<"accesses">;
}

const ICELAKE_LOADS = documented("Intel, as anandtech.com 14514 reports: 128 loads in flight, 72 in Skylake");
/** That AMD's parts of three generations have six. */
const SIX_WALKERS = documented(
  "AMD, as anandtech.com 16214 reports: Zen 3 has four table walkers more than the two before",
);
const LOADS_OF_ZEN =
  "44 entries of the load queue and 28 of address generation, as AMD counts them (anandtech.com 16214)";

function walkers(value: number, origin: Origin): Figure<"walkers"> {
  return { value, unit: "walkers", ...origin };
}

function accesses(value: number, origin: Origin): Figure<"accesses"> {
  return { value, unit: "accesses", ...origin };
}

/** Skylake. */
export const SKYLAKE_OVERLAP: Overlap = {
  walkers: walkers(2, documented("Intel optimization manual, 2.1.3: two page walks in parallel")),
  window: accesses(72, documented("Intel optimization manual, Skylake: 72 load buffers")),
};

/** Haswell. */
export const HASWELL_OVERLAP: Overlap = {
  walkers: walkers(1, documented("Intel optimization manual, Broadwell: a second page miss handler is new there")),
  window: accesses(72, documented("Intel optimization manual, Haswell: 72 load buffers")),
};

/** Ivy Bridge. */
export const IVY_BRIDGE_OVERLAP: Overlap = {
  walkers: HASWELL_OVERLAP.walkers,
  window: accesses(64, documented("Intel optimization manual, Sandy Bridge: 64 load buffers")),
};

/** Ice Lake. */
export const ICELAKE_OVERLAP: Overlap = {
  walkers: takenOver(SKYLAKE_OVERLAP.walkers, "Skylake"),
  window: accesses(128, ICELAKE_LOADS),
};

/** Sapphire Rapids (Golden Cove). */
export const SAPPHIRE_RAPIDS_OVERLAP: Overlap = {
  walkers: walkers(
    4,
    documented("Intel Architecture Day 2021, Golden Cove: four page walks at once, two before (cpunews.net)"),
  ),
  window: accesses(192, assumed("192 load buffers: remembered")),
};

/** Zen 2. */
export const ZEN2_OVERLAP: Overlap = {
  walkers: walkers(2, documented("AMD, as wikichip.org (Zen 2) and anandtech.com 16214 report: two table walkers")),
  window: accesses(72, documented(LOADS_OF_ZEN)),
};

/** Zen 3. */
export const ZEN3_OVERLAP: Overlap = {
  walkers: walkers(6, SIX_WALKERS),
  window: accesses(72, documented(LOADS_OF_ZEN)),
};

/** Zen 4. */
export const ZEN4_OVERLAP: Overlap = {
  walkers: takenOver(ZEN3_OVERLAP.walkers, "Zen 3"),
  window: accesses(136, measured("chipsandcheese.com, Zen 4, part 2: 136 loads in flight")),
};
