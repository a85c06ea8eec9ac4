/** AMD Zen 2: fully associative first level for all sizes; the second-level data TLB also holds PDEs. */

import { bytes, cycles, ways } from "./figure.ts";
import type { Preset, TlbPreset } from "./preset.ts";
import { SKYLAKE_COSTS } from "./skylake.ts";

const MANUAL = "[F] vendor manual as quoted by wikichip and 7-cpu.com; replacement and index [M]";

/** The instruction TLBs that Zen 2 and Zen 4 share. */
export const ZEN_INSTRUCTION_TLBS: readonly TlbPreset[] = [
  {
    name: "L1 iTLB",
    level: 1,
    kinds: ["fetch"],
    pageSizes: ["4K", "2M", "1G"],
    sets: 1,
    ways: 64,
    indexHash: "linear",
    replacement: "lru",
    source: MANUAL,
  },
  {
    name: "L2 iTLB",
    level: 2,
    kinds: ["fetch"],
    pageSizes: ["4K", "2M"],
    sets: 64,
    ways: 8,
    indexHash: "linear",
    replacement: "tree-plru",
    source: MANUAL,
  },
];

/** Zen 2. */
export const ZEN2: Preset = {
  name: "zen2",
  description: "AMD Zen 2",
  vendor: "amd",
  maxPhyAddr: { value: 48, unit: "bits", source: "[M] 43 with memory encryption" },
  frequencyGhz: { value: 3.4, unit: "GHz", source: "[M] about what EPYC 7742 boosts to" },
  features: {
    nx: true,
    pge: true,
    page1g: true,
    la57: false,
    pcid: false,
    invpcid: false,
    smep: true,
    smap: true,
    pku: false,
    pks: false,
    shadowStack: false,
    pat: true,
    mtrr: true,
    invlpgb: false,
    tce: true,
  },
  tlbs: [
    ...ZEN_INSTRUCTION_TLBS,
    {
      name: "L1 dTLB",
      level: 1,
      kinds: ["load", "store"],
      pageSizes: ["4K", "2M", "1G"],
      sets: 1,
      ways: 64,
      indexHash: "linear",
      replacement: "lru",
      source: MANUAL,
    },
    {
      name: "L2 dTLB",
      level: 2,
      kinds: ["load", "store"],
      pageSizes: ["4K", "2M"],
      sets: 128,
      ways: 16,
      indexHash: "linear",
      replacement: "tree-plru",
      source: `${MANUAL}; 2048 entries [F]; 16 ways [C]: 12, as quoted, does not divide 2048; 1 GiB pages become 2 MiB pieces [F]`,
    },
  ],
  pagingStructureCaches: {
    pde: { sharedWith: "L2 dTLB", source: "[F] the second-level data TLB also holds PDEs" },
    pdpte: { sets: 1, ways: 64, replacement: "lru", source: "[M] 64 entries for PML4E and PDPTE, as in Zen 4" },
    pml4e: { sharedWith: "pdpte", source: "[M] as in Zen 4" },
  },
  dataCaches: [
    {
      name: "L1d",
      sizeBytes: bytes(32_768, "[F] 7-cpu.com, Zen 2"),
      ways: ways(8, "[F] 7-cpu.com, Zen 2"),
      hitCycles: cycles(4, "[M]"),
    },
    {
      name: "L2",
      sizeBytes: bytes(524_288, "[F] 7-cpu.com, Zen 2"),
      ways: ways(8, "[F] 7-cpu.com, Zen 2"),
      hitCycles: cycles(12, "[M]"),
    },
    {
      name: "L3",
      sizeBytes: bytes(4_194_304, "[F] 16 MiB a core complex of 4 cores, 7-cpu.com"),
      ways: ways(16, "[F] 7-cpu.com, Zen 2"),
      hitCycles: cycles(39, "[M]"),
    },
  ],
  memory: cycles(270, "[M] about 80 ns"),
  costs: {
    ...SKYLAKE_COSTS,
    secondLevelHit: cycles(7, "[M] AMD"),
    walk: cycles(20, "[M]"),
    invlpg: cycles(110, "[M]"),
    movCr3: cycles(150, "[M]"),
    movCr4: cycles(200, "[M]"),
    movCr4Flush: cycles(400, "[M]"),
  },
};
