/**
 * Intel Sapphire Rapids (Golden Cove) and Emerald Rapids (Raptor Cove), which have the same TLBs. Where CPUID and a measured core
 * differ, the core counts: `test/silicon` holds what it did, `test/arch/presets/silicon.test.ts` lays this preset beside it.
 */

import { bytes, cycles, ways } from "./figure.ts";
import { ICELAKE, SUNNY_COVE_DATA_TLBS } from "./icelake.ts";
import type { Preset } from "./preset.ts";

const CPUID = "[F] CPUID leaf 18h; replacement and index [M], as in Skylake";
const MEASURED = "[F] measured on an Emerald Rapids core (test/silicon)";

/** Those of Ice Lake that no measurement has corrected. */
const OTHER_DATA_TLBS = SUNNY_COVE_DATA_TLBS.filter(({ name, level }) => level === 1 && name !== "L1 dTLB loads 4K");

/** Sapphire Rapids. */
export const SAPPHIRE_RAPIDS: Preset = {
  ...ICELAKE,
  name: "sapphire-rapids",
  description: "Intel Sapphire Rapids and Emerald Rapids",
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
      source: `${MEASURED}: entries, ways, index; replacement [M]`,
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
    {
      name: "L1 dTLB loads 4K",
      level: 1,
      kinds: ["load"],
      pageSizes: ["4K"],
      sets: 16,
      ways: 6,
      indexHash: "linear",
      replacement: "mru3-plru2",
      source: `${MEASURED}: all of it; the optimization manual too gives 96 entries, CPUID 64`,
    },
    ...OTHER_DATA_TLBS,
    {
      name: "L2 TLB",
      level: 2,
      kinds: ["load", "store", "fetch"],
      pageSizes: ["4K", "2M", "1G"],
      sets: 128,
      ways: 16,
      indexHash: "xor",
      replacement: "tree-plru",
      source: `${MEASURED}: sets, ways and index for 4 KiB pages; CPUID has two halves of 8 ways, one for 2 MiB and one for 1 GiB pages beside those of 4 KiB; that larger pages may use all 16, and the replacement [M]`,
    },
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
