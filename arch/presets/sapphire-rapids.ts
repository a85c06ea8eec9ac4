/**
 * Intel Sapphire Rapids (Golden Cove) and Emerald Rapids (Raptor Cove), which have the same TLBs. Where CPUID and a measured core
 * differ, the core counts: `test/silicon` holds what it did, `test/arch/presets/silicon.test.ts` lays this preset beside it.
 */

import { allFrom, assumed, bits, bytes, cycles, documented, gigahertz, measured, ways } from "./figure.ts";
import { ICELAKE, SUNNY_COVE_DATA_TLBS } from "./icelake.ts";
import { SAPPHIRE_RAPIDS_IDLE } from "./idle-states.ts";
import { SAPPHIRE_RAPIDS_LINES } from "./line-transfers.ts";
import { SAPPHIRE_RAPIDS_MITIGATIONS } from "./mitigations.ts";
import { SAPPHIRE_RAPIDS_OVERLAP } from "./overlap.ts";
import { type Preset, TLB_SHAPE_FIELDS } from "./preset.ts";
import { INTEL_SHARED_CORE } from "./shared-core.ts";
import { SAPPHIRE_RAPIDS_VIRTUALIZATION } from "./virtualization.ts";
import { SAPPHIRE_RAPIDS_ZEROING } from "./zeroing.ts";

const CPUID = documented("CPUID leaf 18h, Sapphire Rapids");
const CPUID_CACHES = documented("CPUID leaf 4, Sapphire Rapids");
const MEASURED = measured("an Emerald Rapids core, test/silicon");
const AS_SKYLAKE = {
  indexHash: assumed("as Skylake"),
  replacement: assumed("as Skylake: tree-PLRU in first-level TLBs"),
};

/** Those of Ice Lake that no measurement has corrected. */
const OTHER_DATA_TLBS = SUNNY_COVE_DATA_TLBS.filter(({ name, level }) => level === 1 && name !== "L1 dTLB loads 4K");

/** Sapphire Rapids. */
export const SAPPHIRE_RAPIDS: Preset = {
  ...ICELAKE,
  name: "sapphire-rapids",
  description: "Intel Sapphire and Emerald Rapids",
  maxPhyAddr: bits(52, documented("CPUID leaf 80000008h, Sapphire Rapids (InstLatx64)")),
  frequencyGhz: gigahertz(2.0, documented("Xeon Platinum 8480+, base")),
  features: { ...ICELAKE.features, pks: true, shadowStack: true, rar: true },
  origins: {
    features: documented(
      "Intel SDM vol. 2A, CPUID; supervisor keys and shadow stacks since Sapphire Rapids; RAR: van Riel 2025, LKML",
    ),
  },
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
      origins: allFrom(TLB_SHAPE_FIELDS, MEASURED, { pageSizes: CPUID, replacement: AS_SKYLAKE.replacement }),
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
      origins: allFrom(TLB_SHAPE_FIELDS, CPUID, AS_SKYLAKE),
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
      // CPUID says 64 entries, the optimization manual 96.
      origins: allFrom(TLB_SHAPE_FIELDS, MEASURED, { pageSizes: CPUID }),
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
      replacement: "shared-node-plru",
      origins: allFrom(TLB_SHAPE_FIELDS, MEASURED, {
        replacement: measured("an Emerald Rapids core: 17,028 of 17,036 evictions (shared-node-plru.ts)"),
        pageSizes: assumed("that larger pages may use all ways; CPUID: half of them for 2 MiB, half for 1 GiB pages"),
      }),
    },
  ],
  dataCaches: [
    {
      name: "L1d",
      sizeBytes: bytes(49_152, CPUID_CACHES),
      ways: ways(12, CPUID_CACHES),
      hitCycles: cycles(5, MEASURED),
    },
    {
      name: "L2",
      sizeBytes: bytes(2_097_152, CPUID_CACHES),
      ways: ways(16, CPUID_CACHES),
      hitCycles: cycles(16, measured("an Emerald Rapids core, test/silicon: 3.67 ns over the first level at 3.0 GHz")),
    },
    {
      name: "LLC",
      sizeBytes: bytes(1_966_080, documented("1.875 MiB a core, Xeon Platinum 8480+")),
      ways: ways(15, CPUID_CACHES),
      hitCycles: cycles(70, assumed("about 35 ns over the mesh")),
    },
  ],
  memory: cycles(220, assumed("about 110 ns")),
  lineTransfers: SAPPHIRE_RAPIDS_LINES,
  sharedCore: INTEL_SHARED_CORE,
  overlap: SAPPHIRE_RAPIDS_OVERLAP,
  costs: {
    ...ICELAKE.costs,
    secondLevelHit: cycles(7, MEASURED),
    ...SAPPHIRE_RAPIDS_ZEROING,
    remoteAction: cycles(
      300,
      assumed("a microcode entry and return, 64 bytes searched, a payload of 64 bytes decoded"),
    ),
  },
  virtualization: SAPPHIRE_RAPIDS_VIRTUALIZATION,
  mitigations: SAPPHIRE_RAPIDS_MITIGATIONS,
  idleStates: SAPPHIRE_RAPIDS_IDLE,
};
