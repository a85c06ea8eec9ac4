/** Intel Skylake: the best known TLBs of all. Cores and caches of a client part; where CPUs share lines, the mesh and links of a server (Skylake-SP). */

import {
  allFrom,
  assumed,
  bits,
  bytes,
  cycles,
  documented,
  gigahertz,
  measured,
  pcids,
  takenOver,
  ways,
} from "./figure.ts";
import { SKYLAKE_IDLE } from "./idle-states.ts";
import { SKYLAKE_LINES } from "./line-transfers.ts";
import { SKYLAKE_MITIGATIONS } from "./mitigations.ts";
import { SKYLAKE_OVERLAP } from "./overlap.ts";
import type { CostProfile, Preset } from "./preset.ts";
import { STRUCTURE_SHAPE_FIELDS, TLB_SHAPE_FIELDS } from "./preset.ts";
import { INTEL_SHARED_CORE } from "./shared-core.ts";
import { SKYLAKE_VIRTUALIZATION } from "./virtualization.ts";
import { SKYLAKE_ZEROING } from "./zeroing.ts";

const CPUID = documented("CPUID leaf 2 and Intel optimization manual, Skylake");
const TLBDR = measured("Tatar et al., TLB;DR, USENIX Security 2022, on Skylake");
const MANUAL = documented("Intel optimization manual, Skylake client");
/** A laptop on which the kernel's developers measured instructions. */
const LUTOMIRSKI = "Lutomirski, Linux commit d8bced79af1d, Skylake laptop";
const LIKE_4K = {
  indexHash: assumed("linear, as the first-level TLBs for 4 KiB pages"),
  replacement: assumed("tree-PLRU, as the first-level TLBs for 4 KiB pages"),
};

/** What hardware takes of a page fault, without the handler. */
export const HASWELL_FAULT = measured(
  "Torvalds 2014 (Google+, post YDKRFDwHwr6), on a Haswell: the fault 715 cycles, IRET 330",
);

/** Costs of Skylake; later Intel profiles start from them. */
export const SKYLAKE_COSTS: CostProfile = {
  load: cycles(1, assumed("issue cost of a load whose latency is hidden; two can issue a cycle")),
  store: cycles(1, assumed("one store a cycle")),
  fetch: cycles(1, assumed("one fetch block a cycle")),
  secondLevelHit: cycles(9, measured("InstLatx64, Skylake-X: 14 to 23 cycles from 64 to 96 pages 4 KiB apart")),
  walk: cycles(
    21,
    assumed("so that a walk of one near entry (PDE cached) is 25 and of four is 37: 25 to 35 remembered"),
  ),
  setAccessedDirty: cycles(250, assumed("a microcode assist to set A or D")),
  invlpg: cycles(200, measured("Hansen 2017, LKML: 198 to 230 marginal on Skylake")),
  invpcidAddress: cycles(350, measured("Hansen 2017, LKML, Skylake")),
  invpcidContext: cycles(350, assumed("as one address")),
  invpcidAll: cycles(980, measured(`${LUTOMIRSKI}: 376 ns, at 2.6 GHz`)),
  invpcidAllNonGlobal: cycles(980, assumed("as with globals")),
  movCr3: cycles(96, measured("Molnar 2015, LKML: 96 hot, 251 to 366 colder")),
  movCr3NoFlush: cycles(96, assumed("as with a flush, hot")),
  movCr0: cycles(100, assumed("serialising")),
  movCr4: cycles(350, assumed(`half of two CR4 writes, less the flush; both 539 ns: ${LUTOMIRSKI}, at 2.6 GHz`)),
  movCr4Flush: cycles(350, assumed("what the same two writes leave for the flush")),
  wrmsr: cycles(100, assumed("serialising")),
  wrpkru: cycles(23, assumed("remembered of measurements")),
  invlpgb: cycles(0, documented("not in this CPU")),
  tlbsync: cycles(0, documented("not in this CPU")),
  remoteAction: cycles(0, documented("not in this CPU")),
  pageFault: cycles(1050, takenOver(HASWELL_FAULT, "Haswell")),
  ...SKYLAKE_ZEROING,
};

/** Skylake. */
export const SKYLAKE: Preset = {
  name: "skylake",
  description: "Intel Skylake",
  vendor: "intel",
  maxPhyAddr: bits(46, documented("CPUID leaf 80000008h of a Xeon (InstLatx64); 39 on client parts")),
  frequencyGhz: gigahertz(2.6, assumed("the laptop on which INVPCID was measured")),
  features: {
    nx: true,
    pge: true,
    page1g: true,
    la57: false,
    pcid: true,
    invpcid: true,
    smep: true,
    smap: true,
    pku: true,
    pks: false,
    shadowStack: false,
    pat: true,
    mtrr: true,
    invlpgb: false,
    rar: false,
    tce: false,
    lam: false,
    lass: false,
    uai: false,
  },
  origins: { features: documented("Intel SDM vol. 2A, CPUID; as Linux lists them for Skylake server") },
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
      origins: allFrom(TLB_SHAPE_FIELDS, TLBDR, { pageSizes: CPUID }),
    },
    {
      name: "L1 iTLB 2M",
      level: 1,
      kinds: ["fetch"],
      pageSizes: ["2M"],
      sets: 1,
      ways: 8,
      indexHash: "linear",
      replacement: "tree-plru",
      origins: allFrom(TLB_SHAPE_FIELDS, CPUID, LIKE_4K),
    },
    {
      name: "L1 dTLB 4K",
      level: 1,
      kinds: ["load", "store"],
      pageSizes: ["4K"],
      sets: 16,
      ways: 4,
      indexHash: "linear",
      replacement: "tree-plru",
      origins: allFrom(TLB_SHAPE_FIELDS, TLBDR, { pageSizes: CPUID }),
    },
    {
      name: "L1 dTLB 2M",
      level: 1,
      kinds: ["load", "store"],
      pageSizes: ["2M"],
      sets: 8,
      ways: 4,
      indexHash: "linear",
      replacement: "tree-plru",
      origins: allFrom(TLB_SHAPE_FIELDS, CPUID, LIKE_4K),
    },
    {
      name: "L1 dTLB 1G",
      level: 1,
      kinds: ["load", "store"],
      pageSizes: ["1G"],
      sets: 1,
      ways: 4,
      indexHash: "linear",
      replacement: "tree-plru",
      origins: allFrom(TLB_SHAPE_FIELDS, CPUID, LIKE_4K),
    },
    {
      name: "L2 TLB",
      level: 2,
      kinds: ["load", "store", "fetch"],
      pageSizes: ["4K", "2M"],
      sets: 128,
      ways: 12,
      indexHash: "xor",
      replacement: "mru3-plru4",
      pcidCapacity: pcids(4, TLBDR),
      origins: allFrom(TLB_SHAPE_FIELDS, TLBDR, { pageSizes: CPUID }),
    },
    {
      name: "L2 TLB 1G",
      level: 2,
      kinds: ["load", "store", "fetch"],
      pageSizes: ["1G"],
      sets: 4,
      ways: 4,
      indexHash: "linear",
      replacement: "tree-plru",
      origins: allFrom(TLB_SHAPE_FIELDS, CPUID, LIKE_4K),
    },
  ],
  pagingStructureCaches: {
    pde: {
      sets: 8,
      ways: 4,
      replacement: "lru",
      origins: allFrom(STRUCTURE_SHAPE_FIELDS, assumed("about 32 entries remembered")),
    },
    pdpte: {
      sets: 1,
      ways: 4,
      replacement: "lru",
      origins: allFrom(STRUCTURE_SHAPE_FIELDS, assumed("about 4 entries remembered")),
    },
    pml4e: {
      sets: 1,
      ways: 2,
      replacement: "lru",
      origins: allFrom(STRUCTURE_SHAPE_FIELDS, assumed("a few entries remembered")),
    },
  },
  dataCaches: [
    {
      name: "L1d",
      sizeBytes: bytes(32_768, MANUAL),
      ways: ways(8, MANUAL),
      hitCycles: cycles(4, documented("Intel optimization manual, Skylake: simple addressing")),
    },
    {
      name: "L2",
      sizeBytes: bytes(
        262_144,
        documented("Intel optimization manual, Skylake client; a server core has 1 MiB, 16 ways"),
      ),
      ways: ways(4, MANUAL),
      hitCycles: cycles(12, MANUAL),
    },
    {
      name: "LLC",
      sizeBytes: bytes(
        2_097_152,
        documented("2 MiB a core, Skylake client; a server has 1.375 MiB a core, in which L2 is not included"),
      ),
      ways: ways(16, assumed("remembered")),
      hitCycles: cycles(44, MANUAL),
    },
  ],
  memory: cycles(210, assumed("about 80 ns")),
  lineTransfers: SKYLAKE_LINES,
  sharedCore: INTEL_SHARED_CORE,
  overlap: SKYLAKE_OVERLAP,
  costs: SKYLAKE_COSTS,
  virtualization: SKYLAKE_VIRTUALIZATION,
  mitigations: SKYLAKE_MITIGATIONS,
  idleStates: SKYLAKE_IDLE,
};
