/** Intel Sapphire Rapids (Golden Cove). */

import { bytes, cycles, ways } from "./figure.ts";
import { ICELAKE, SUNNY_COVE_DATA_TLBS } from "./icelake.ts";
import type { Preset } from "./preset.ts";

const CPUID = "[F] CPUID leaf 18h; replacement and index [M], as in Skylake";

/** Sapphire Rapids. */
export const SAPPHIRE_RAPIDS: Preset = {
  ...ICELAKE,
  name: "sapphire-rapids",
  description: "Intel Sapphire Rapids; the optimization manual gives its first-level load TLB 96 entries, CPUID 64",
  maxPhyAddr: { value: 46, unit: "bits", source: "[M] Xeon 8480" },
  frequencyGhz: { value: 2.0, unit: "GHz", source: "[M] Xeon 8480, base" },
  features: { ...ICELAKE.features, pks: true, shadowStack: true },
  tlbs: [
    {
      name: "L1 iTLB 4K",
      level: 1,
      kinds: ["fetch"],
      pageSizes: ["4K"],
      sets: 32,
      ways: 8,
      indexHash: "linear",
      replacement: "tree-plru",
      source: CPUID,
    },
    {
      name: "L1 iTLB 2M",
      level: 1,
      kinds: ["fetch"],
      pageSizes: ["2M"],
      sets: 4,
      ways: 8,
      indexHash: "linear",
      replacement: "tree-plru",
      source: CPUID,
    },
    ...SUNNY_COVE_DATA_TLBS,
  ],
  dataCaches: [
    ICELAKE.dataCaches[0],
    {
      name: "L2",
      sizeBytes: bytes(2_097_152, "[F] CPUID leaf 4, Sapphire Rapids: 2 MiB"),
      ways: ways(16, "[F] CPUID leaf 4, Sapphire Rapids"),
      hitCycles: cycles(15, "[M]"),
    },
    {
      name: "LLC",
      sizeBytes: bytes(1_966_080, "[F] 1.875 MiB a core"),
      ways: ways(15, "[F] CPUID leaf 4, Sapphire Rapids"),
      hitCycles: cycles(70, "[M] about 33 ns over the mesh"),
    },
  ],
  memory: cycles(220, "[M] about 110 ns"),
  costs: { ...ICELAKE.costs, secondLevelHit: cycles(7, "[M]") },
};
