/** Intel Ice Lake (server core, Sunny Cove): separate TLB for stores, two second-level TLBs. */

import { allFrom, allTakenOver, assumed, bits, bytes, cycles, documented, gigahertz, ways } from "./figure.ts";
import { ICELAKE_IDLE } from "./idle-states.ts";
import { ICELAKE_LINES } from "./line-transfers.ts";
import { ICELAKE_MITIGATIONS } from "./mitigations.ts";
import { ICELAKE_OVERLAP } from "./overlap.ts";
import { type Preset, STRUCTURE_SHAPE_FIELDS, TLB_SHAPE_FIELDS, type TlbPreset } from "./preset.ts";
import { INTEL_SHARED_CORE } from "./shared-core.ts";
import { SKYLAKE, SKYLAKE_COSTS } from "./skylake.ts";
import { structuresTakenOver } from "./structures-taken-over.ts";
import { ICELAKE_VIRTUALIZATION } from "./virtualization.ts";
import { ICELAKE_ZEROING } from "./zeroing.ts";

const AS_SKYLAKE = {
  indexHash: assumed("as Skylake"),
  replacement: assumed("as Skylake: tree-PLRU in first-level TLBs"),
};
/** How a TLB is known that CPUID describes. */
const FROM_CPUID = allFrom(TLB_SHAPE_FIELDS, documented("CPUID leaf 18h"), AS_SKYLAKE);

const ITLB_MANUAL = documented("Intel optimization manual, Ice Lake; CPUID leaf 18h reports 8 entries for all sizes");
const CPUID_CACHES = documented("CPUID leaf 4, Ice Lake server");

/** The data TLBs that Ice Lake and Sapphire Rapids share. */
export const SUNNY_COVE_DATA_TLBS: readonly TlbPreset[] = [
  {
    name: "L1 dTLB loads 4K",
    level: 1,
    kinds: ["load"],
    pageSizes: ["4K"],
    sets: 16,
    ways: 4,
    indexHash: "linear",
    replacement: "tree-plru",
    origins: FROM_CPUID,
  },
  {
    name: "L1 dTLB loads 2M",
    level: 1,
    kinds: ["load"],
    pageSizes: ["2M"],
    sets: 8,
    ways: 4,
    indexHash: "linear",
    replacement: "tree-plru",
    origins: FROM_CPUID,
  },
  {
    name: "L1 dTLB loads 1G",
    level: 1,
    kinds: ["load"],
    pageSizes: ["1G"],
    sets: 1,
    ways: 8,
    indexHash: "linear",
    replacement: "tree-plru",
    origins: FROM_CPUID,
  },
  {
    name: "L1 dTLB stores",
    level: 1,
    kinds: ["store"],
    pageSizes: ["4K", "2M", "1G"],
    sets: 1,
    ways: 16,
    indexHash: "linear",
    replacement: "tree-plru",
    origins: FROM_CPUID,
  },
  {
    name: "L2 TLB 4K+2M",
    level: 2,
    kinds: ["load", "store", "fetch"],
    pageSizes: ["4K", "2M"],
    sets: 128,
    ways: 8,
    indexHash: "xor",
    replacement: "tree-plru",
    origins: {
      ...FROM_CPUID,
      indexHash: assumed("XOR as Skylake; the address bit above the index chooses between the two for 4 KiB pages"),
    },
  },
  {
    name: "L2 TLB 4K+1G",
    level: 2,
    kinds: ["load", "store", "fetch"],
    pageSizes: ["4K", "1G"],
    sets: 128,
    ways: 8,
    indexHash: "xor",
    replacement: "tree-plru",
    origins: FROM_CPUID,
  },
];

/** Ice Lake. */
export const ICELAKE: Preset = {
  ...SKYLAKE,
  name: "icelake",
  description: "Intel Ice Lake (server)",
  maxPhyAddr: bits(46, documented("CPUID leaf 80000008h of a Xeon Gold 6330 (InstLatx64)")),
  frequencyGhz: gigahertz(2.3, documented("Xeon Platinum 8380, base")),
  features: { ...SKYLAKE.features, la57: true },
  origins: { features: documented("Intel SDM vol. 2A, CPUID; five-level paging since Ice Lake server") },
  tlbs: [
    {
      name: "L1 iTLB 4K",
      level: 1,
      kinds: ["fetch"],
      pageSizes: ["4K"],
      sets: 16,
      ways: 8,
      indexHash: "linear",
      replacement: "tree-plru",
      origins: allFrom(TLB_SHAPE_FIELDS, ITLB_MANUAL, AS_SKYLAKE),
    },
    {
      name: "L1 iTLB 2M",
      level: 1,
      kinds: ["fetch"],
      pageSizes: ["2M"],
      sets: 2,
      ways: 8,
      indexHash: "linear",
      replacement: "tree-plru",
      origins: allFrom(TLB_SHAPE_FIELDS, ITLB_MANUAL, AS_SKYLAKE),
    },
    ...SUNNY_COVE_DATA_TLBS,
  ],
  pagingStructureCaches: {
    ...structuresTakenOver(SKYLAKE.pagingStructureCaches, "Skylake"),
    pml5e: { sets: 1, ways: 2, replacement: "lru", origins: allFrom(STRUCTURE_SHAPE_FIELDS, assumed("like PML4Es")) },
  },
  dataCaches: [
    {
      name: "L1d",
      sizeBytes: bytes(49_152, CPUID_CACHES),
      ways: ways(12, CPUID_CACHES),
      hitCycles: cycles(5, documented("Intel optimization manual, Ice Lake")),
    },
    {
      name: "L2",
      sizeBytes: bytes(1_310_720, CPUID_CACHES),
      ways: ways(20, CPUID_CACHES),
      hitCycles: cycles(14, assumed("remembered")),
    },
    {
      name: "LLC",
      sizeBytes: bytes(1_572_864, documented("1.5 MiB a core, Xeon Platinum 8380")),
      ways: ways(12, CPUID_CACHES),
      hitCycles: cycles(60, assumed("about 25 ns over the mesh")),
    },
  ],
  memory: cycles(220, assumed("about 95 ns")),
  lineTransfers: ICELAKE_LINES,
  sharedCore: INTEL_SHARED_CORE,
  overlap: ICELAKE_OVERLAP,
  costs: {
    ...allTakenOver(SKYLAKE_COSTS, "Skylake"),
    secondLevelHit: cycles(8, assumed("remembered")),
    walk: cycles(20, assumed("so that a walk of one near entry is 25, as in Skylake")),
    ...ICELAKE_ZEROING,
  },
  virtualization: ICELAKE_VIRTUALIZATION,
  mitigations: ICELAKE_MITIGATIONS,
  idleStates: ICELAKE_IDLE,
};
