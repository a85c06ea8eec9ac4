/** Intel Ice Lake (server core, Sunny Cove): separate TLB for stores, two second-level TLBs. */

import { bytes, cycles, ways } from "./figure.ts";
import type { Preset, TlbPreset } from "./preset.ts";
import { SKYLAKE, SKYLAKE_COSTS } from "./skylake.ts";

const CPUID = "[F] CPUID leaf 18h; replacement and index [M], as in Skylake";

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
    source: CPUID,
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
    source: CPUID,
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
    source: CPUID,
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
    source: CPUID,
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
    source: `${CPUID}; the address bit above the index chooses between the two for 4 KiB pages [M]`,
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
    source: CPUID,
  },
];

/** Ice Lake. */
export const ICELAKE: Preset = {
  ...SKYLAKE,
  name: "icelake",
  description: "Intel Ice Lake (server)",
  maxPhyAddr: { value: 46, unit: "bits", source: "[M] Xeon 8380" },
  frequencyGhz: { value: 2.3, unit: "GHz", source: "[M] Xeon 8380, base" },
  features: { ...SKYLAKE.features, la57: true },
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
      source: CPUID,
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
      source: CPUID,
    },
    ...SUNNY_COVE_DATA_TLBS,
  ],
  pagingStructureCaches: {
    ...SKYLAKE.pagingStructureCaches,
    pml5e: { sets: 1, ways: 2, replacement: "lru", source: "[M] a few entries" },
  },
  dataCaches: [
    {
      name: "L1d",
      sizeBytes: bytes(49_152, "[F] CPUID leaf 4, Ice Lake"),
      ways: ways(12, "[F] CPUID leaf 4, Ice Lake"),
      hitCycles: cycles(5, "[F] Intel optimization manual, Ice Lake"),
    },
    {
      name: "L2",
      sizeBytes: bytes(1_310_720, "[F] CPUID leaf 4, Ice Lake server: 1.25 MiB"),
      ways: ways(20, "[F] CPUID leaf 4, Ice Lake server"),
      hitCycles: cycles(14, "[M]"),
    },
    {
      name: "LLC",
      sizeBytes: bytes(1_572_864, "[F] 1.5 MiB a core"),
      ways: ways(12, "[F] CPUID leaf 4, Ice Lake server"),
      hitCycles: cycles(60, "[M] about 25 ns over the mesh"),
    },
  ],
  memory: cycles(220, "[M] about 95 ns"),
  costs: {
    ...SKYLAKE_COSTS,
    secondLevelHit: cycles(8, "[M]"),
    walk: cycles(20, "[M] as Skylake; two walkers are not modelled"),
  },
};
