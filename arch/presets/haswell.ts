/** Intel Haswell (server: Xeon E5 v3): a second level of 1024 entries, one page walker, no SMAP. */

import { allFrom, allTakenOver, assumed, bits, bytes, cycles, documented, gigahertz, ways } from "./figure.ts";
import { HASWELL_IDLE } from "./idle-states.ts";
import { HASWELL_LINES } from "./line-transfers.ts";
import { HASWELL_MITIGATIONS } from "./mitigations.ts";
import { HASWELL_OVERLAP } from "./overlap.ts";
import { type Preset, TLB_SHAPE_FIELDS, type TlbPreset } from "./preset.ts";
import { INTEL_SHARED_CORE } from "./shared-core.ts";
import { HASWELL_FAULT, SKYLAKE, SKYLAKE_COSTS } from "./skylake.ts";
import { structuresTakenOver } from "./structures-taken-over.ts";
import { guestCachesTakenOver } from "./virtualization.ts";
import { HASWELL_ZEROING } from "./zeroing.ts";

const MANUAL = documented("Intel optimization manual, Haswell");
const NOT_HERE = { indexHash: assumed("linear, as in the parts before Skylake"), replacement: assumed("as Skylake") };
const FETCH_WAYS = documented(
  "CPUID leaf 2 of a Haswell (000306C3, descriptor B5h): 64 entries a thread, 8 ways; Intel's optimization manual says 4 ways",
);
const TLBLEED = assumed("linear: Gras et al., TLBleed, USENIX Security 2018, on parts before Broadwell; remembered");

/**
 * The first-level TLBs of Ivy Bridge and Haswell.
 * @param manual where their shapes are from
 * @param fetchWays ways of the instruction TLB of 128 pages of 4 KiB, and `fetchOrigin` where that is from
 */
export function firstLevelTlbs(
  manual: typeof MANUAL,
  fetchWays: number,
  fetchOrigin: typeof MANUAL,
): readonly TlbPreset[] {
  const origins = allFrom(TLB_SHAPE_FIELDS, manual, NOT_HERE);
  const of4K = { ...origins, indexHash: TLBLEED };
  const ofFetches = { ...of4K, sets: fetchOrigin, ways: fetchOrigin };
  const rest = { level: 1, indexHash: "linear", replacement: "tree-plru", origins } as const;
  return [
    {
      ...rest,
      name: "L1 iTLB 4K",
      kinds: ["fetch"],
      pageSizes: ["4K"],
      sets: 128 / fetchWays,
      ways: fetchWays,
      origins: ofFetches,
    },
    { ...rest, name: "L1 iTLB 2M", kinds: ["fetch"], pageSizes: ["2M"], sets: 1, ways: 8 },
    { ...rest, name: "L1 dTLB 4K", kinds: ["load", "store"], pageSizes: ["4K"], sets: 16, ways: 4, origins: of4K },
    { ...rest, name: "L1 dTLB 2M", kinds: ["load", "store"], pageSizes: ["2M"], sets: 8, ways: 4 },
    { ...rest, name: "L1 dTLB 1G", kinds: ["load", "store"], pageSizes: ["1G"], sets: 1, ways: 4 },
  ];
}

/** Haswell. */
export const HASWELL: Preset = {
  ...SKYLAKE,
  name: "haswell",
  description: "Intel Haswell (server)",
  maxPhyAddr: bits(46, documented("CPUID leaf 80000008h of a Xeon E5 v3 (InstLatx64)")),
  frequencyGhz: gigahertz(2.6, assumed("a Xeon E5-2630 v3 or E5-2670 v3 with all cores busy; remembered")),
  features: { ...SKYLAKE.features, smap: false, pku: false },
  origins: { features: documented("Intel SDM vol. 2A, CPUID: SMAP since Broadwell, protection keys since Skylake") },
  tlbs: [
    ...firstLevelTlbs(MANUAL, 8, FETCH_WAYS),
    {
      name: "L2 TLB",
      level: 2,
      kinds: ["load", "store", "fetch"],
      pageSizes: ["4K", "2M"],
      sets: 128,
      ways: 8,
      indexHash: "linear",
      replacement: "tree-plru",
      origins: allFrom(TLB_SHAPE_FIELDS, MANUAL, {
        indexHash: TLBLEED,
        replacement: assumed("tree-PLRU, as first-level TLBs of Skylake"),
      }),
    },
  ],
  pagingStructureCaches: structuresTakenOver(SKYLAKE.pagingStructureCaches, "Skylake"),
  dataCaches: [
    { name: "L1d", sizeBytes: bytes(32_768, MANUAL), ways: ways(8, MANUAL), hitCycles: cycles(4, MANUAL) },
    { name: "L2", sizeBytes: bytes(262_144, MANUAL), ways: ways(8, MANUAL), hitCycles: cycles(11, MANUAL) },
    {
      name: "LLC",
      sizeBytes: bytes(2_621_440, documented("2.5 MiB a core, Xeon E5 v3")),
      ways: ways(20, documented("CPUID leaf 4 of a Xeon E5 v3 (InstLatx64)")),
      hitCycles: cycles(55, assumed("21 ns: Molka et al., ICPP 2015, on a Xeon E5-2680 v3; remembered")),
    },
  ],
  memory: cycles(250, assumed("96 ns: Molka et al., ICPP 2015, on a Xeon E5-2680 v3; remembered")),
  lineTransfers: HASWELL_LINES,
  sharedCore: INTEL_SHARED_CORE,
  overlap: HASWELL_OVERLAP,
  costs: {
    ...allTakenOver(SKYLAKE_COSTS, "Skylake"),
    secondLevelHit: cycles(8, documented("Intel's top-down metrics (pmu-tools), Haswell server: Mem_STLB_Hit_Cost")),
    pageFault: cycles(1050, HASWELL_FAULT),
    ...HASWELL_ZEROING,
  },
  virtualization: guestCachesTakenOver(
    {
      ...SKYLAKE.virtualization,
      features: { ...SKYLAKE.virtualization.features, modeBasedExecute: false },
    },
    "Skylake",
  ),
  mitigations: HASWELL_MITIGATIONS,
  idleStates: HASWELL_IDLE,
};
