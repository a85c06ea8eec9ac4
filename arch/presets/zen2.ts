/** AMD Zen 2: fully associative first level for all sizes; the second-level data TLB also holds PDEs. */

import {
  allFrom,
  allTakenOver,
  assumed,
  bits,
  bytes,
  cycles,
  documented,
  gigahertz,
  measured,
  ways,
} from "./figure.ts";
import { ZEN2_IDLE } from "./idle-states.ts";
import { ZEN2_LINES } from "./line-transfers.ts";
import { ZEN2_MITIGATIONS } from "./mitigations.ts";
import { ZEN2_OVERLAP } from "./overlap.ts";
import { type Preset, STRUCTURE_SHAPE_FIELDS, TLB_SHAPE_FIELDS, type TlbPreset } from "./preset.ts";
import { ZEN2_SHARED_CORE } from "./shared-core.ts";
import { SKYLAKE_COSTS } from "./skylake.ts";
import { AMD_VIRTUALIZATION } from "./virtualization.ts";
import { ZEN2_ZEROING } from "./zeroing.ts";

const MANUAL = documented("AMD software optimization guide, family 17h models 30h and up");
const UNKNOWN = {
  indexHash: assumed("linear: nothing else is known"),
  replacement: assumed("LRU where fully associative, else tree-PLRU: nothing is known"),
};
/**
 * Ways of the second level for data that a page of 4 KiB can be in. Zen's is skewed: pages of each size lie in a part of its ways (H. Brais,
 * in comments to stackoverflow.com/q/69814823), which is what CPUID says and a Zen 4 does, where it is 12 of 24.
 */
export const ZEN_DATA_WAYS = documented(
  "CPUID leaf 80000006h: 8 to 15 ways for 4 KiB pages, of which 8 leave a power of two of sets",
);
/** What nobody has measured of that level but on a Zen 4. */
export const AS_ZEN4 = {
  indexHash: assumed("as measured on a Zen 4: the low bits but the topmost, and bit 9"),
  replacement: assumed("tree-PLRU, as measured on a Zen 4, whose tree has twelve ways"),
};
/** How a TLB is known that the manual describes. */
const FROM_MANUAL = allFrom(TLB_SHAPE_FIELDS, MANUAL, UNKNOWN);
const MEASURED = measured("InstLatx64, Ryzen 3000 (Matisse) and EPYC 7002, memory latency");
const CPUID = documented("CPUID leaf 80000006h of an EPYC 7002 (InstLatx64)");
const CACHES = documented("AMD software optimization guide, family 17h models 30h and up; 7-cpu.com, Zen 2");

/** Its instruction TLBs. */
const INSTRUCTION_TLBS: readonly TlbPreset[] = [
  {
    name: "L1 iTLB",
    level: 1,
    kinds: ["fetch"],
    pageSizes: ["4K", "2M", "1G"],
    sets: 1,
    ways: 64,
    indexHash: "linear",
    replacement: "lru",
    origins: FROM_MANUAL,
  },
  {
    name: "L2 iTLB",
    level: 2,
    kinds: ["fetch"],
    pageSizes: ["4K", "2M"],
    sets: 128,
    ways: 8,
    indexHash: "linear",
    replacement: "tree-plru",
    // 1024 entries, for 4 KiB and 2 MiB pages alike; wikichip.org and 7-cpu.com have 512.
    origins: allFrom(TLB_SHAPE_FIELDS, CPUID, UNKNOWN),
  },
];

/** Zen 2. */
export const ZEN2: Preset = {
  name: "zen2",
  description: "AMD Zen 2",
  vendor: "amd",
  maxPhyAddr: bits(48, documented("CPUID leaf 80000008h; 43 with memory encryption")),
  frequencyGhz: gigahertz(3.4, documented("EPYC 7742, most boost")),
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
    rar: false,
    tce: true,
    lam: false,
    lass: false,
    uai: false,
  },
  origins: { features: documented("AMD APM vol. 3, appendix E, CPUID; PCIDs and protection keys since Zen 3") },
  tlbs: [
    ...INSTRUCTION_TLBS,
    {
      name: "L1 dTLB",
      level: 1,
      kinds: ["load", "store"],
      pageSizes: ["4K", "2M", "1G"],
      sets: 1,
      ways: 64,
      indexHash: "linear",
      replacement: "lru",
      origins: FROM_MANUAL,
    },
    {
      name: "L2 dTLB",
      level: 2,
      kinds: ["load", "store"],
      pageSizes: ["4K", "2M"],
      sets: 256,
      ways: 8,
      indexHash: "bit9",
      replacement: "tree-plru",
      // 1 GiB pages become 2 MiB pieces. The 12 ways of wikichip.org do not divide its 2048 entries.
      origins: { ...FROM_MANUAL, ...AS_ZEN4, sets: ZEN_DATA_WAYS, ways: ZEN_DATA_WAYS },
    },
  ],
  pagingStructureCaches: {
    pde: { sharedWith: "L2 dTLB", origins: { sharedWith: MANUAL } },
    pdpte: {
      sets: 1,
      ways: 64,
      replacement: "lru",
      origins: allFrom(STRUCTURE_SHAPE_FIELDS, MANUAL, { replacement: UNKNOWN.replacement }),
    },
    pml4e: { sharedWith: "pdpte", origins: { sharedWith: MANUAL } },
  },
  dataCaches: [
    {
      name: "L1d",
      sizeBytes: bytes(32_768, CACHES),
      ways: ways(8, CACHES),
      hitCycles: cycles(4, MEASURED),
    },
    {
      name: "L2",
      sizeBytes: bytes(524_288, CACHES),
      ways: ways(8, CACHES),
      hitCycles: cycles(12, MEASURED),
    },
    {
      name: "L3",
      sizeBytes: bytes(4_194_304, documented("16 MiB a core complex of 4 cores, 7-cpu.com")),
      ways: ways(16, CACHES),
      hitCycles: cycles(39, measured("InstLatx64, Ryzen 3000 (Matisse): 37 to 42")),
    },
  ],
  memory: cycles(270, assumed("about 80 ns")),
  lineTransfers: ZEN2_LINES,
  sharedCore: ZEN2_SHARED_CORE,
  overlap: ZEN2_OVERLAP,
  costs: {
    ...allTakenOver(SKYLAKE_COSTS, "Skylake"),
    secondLevelHit: cycles(7, assumed("remembered of AMD parts")),
    walk: cycles(20, assumed("remembered")),
    invlpg: cycles(110, assumed("remembered")),
    movCr3: cycles(150, assumed("remembered")),
    movCr4: cycles(200, assumed("remembered")),
    movCr4Flush: cycles(400, assumed("remembered")),
    ...ZEN2_ZEROING,
  },
  virtualization: AMD_VIRTUALIZATION,
  mitigations: ZEN2_MITIGATIONS,
  idleStates: ZEN2_IDLE,
};
