/**
 * AMD Zen 3: the first with broadcast invalidation (INVLPGB) and PCIDs; Linux's figures of INVLPGB were measured on an EPYC of this
 * kind (Milan). Its TLBs have the shape of all Zens since.
 */

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
  type Origin,
  ways,
} from "./figure.ts";
import { ZEN2_IDLE } from "./idle-states.ts";
import { ZEN3_LINES } from "./line-transfers.ts";
import { ZEN3_MITIGATIONS } from "./mitigations.ts";
import { ZEN3_OVERLAP } from "./overlap.ts";
import { type Preset, TLB_SHAPE_FIELDS, type TlbPreset } from "./preset.ts";
import { ZEN3_SHARED_CORE } from "./shared-core.ts";
import { structuresTakenOver } from "./structures-taken-over.ts";
import { AS_ZEN4, ZEN_DATA_WAYS, ZEN2 } from "./zen2.ts";
import { ZEN3_ZEROING } from "./zeroing.ts";

const LINEAR = assumed("linear: nothing else is known");
const LRU = assumed("LRU: nothing is known");

/** What differs between the TLBs of Zens since the third. */
interface ZenTlbs {
  /** Entries of the first level for data; it is fully associative. */
  readonly firstLevelEntries: number;
  /** Entries of the second level for instructions. */
  readonly fetchEntries: number;
  /** Entries of the second level for data. */
  readonly dataEntries: number;
  /** Its ways. */
  readonly dataWays: number;
  /** How `dataWays` is known. */
  readonly dataWaysOrigin: Origin;
  /** How the rest is known. */
  readonly origin: Origin;
}

/** Ways of the second level for instructions. */
const FETCH_WAYS = 8;
const FETCH_WAYS_ORIGIN = assumed("8 as Zen 2; CPUID: 4 for 4 KiB, 2 for 2 MiB pages");

/** The TLBs of a Zen since the third. 1 GiB pages become pieces of 2 MiB in a second level that does not hold them. */
export function zenTlbs(shape: ZenTlbs): TlbPreset[] {
  const { firstLevelEntries, fetchEntries, dataEntries, dataWays, dataWaysOrigin, origin } = shape;
  return [
    {
      name: "L1 iTLB",
      level: 1,
      kinds: ["fetch"],
      pageSizes: ["4K", "2M", "1G"],
      sets: 1,
      ways: 64,
      indexHash: "linear",
      replacement: "lru",
      origins: allFrom(TLB_SHAPE_FIELDS, origin, { replacement: LRU }),
    },
    {
      name: "L2 iTLB",
      level: 2,
      kinds: ["fetch"],
      pageSizes: ["4K", "2M"],
      sets: fetchEntries / FETCH_WAYS,
      ways: FETCH_WAYS,
      indexHash: "linear",
      replacement: "tree-plru",
      origins: allFrom(TLB_SHAPE_FIELDS, origin, {
        sets: FETCH_WAYS_ORIGIN,
        ways: FETCH_WAYS_ORIGIN,
        indexHash: LINEAR,
        replacement: assumed("tree-PLRU: nothing is known"),
      }),
    },
    {
      name: "L1 dTLB",
      level: 1,
      kinds: ["load", "store"],
      pageSizes: ["4K", "2M", "1G"],
      sets: 1,
      ways: firstLevelEntries,
      indexHash: "linear",
      replacement: "lru",
      origins: allFrom(TLB_SHAPE_FIELDS, origin, { replacement: LRU }),
    },
    {
      name: "L2 dTLB",
      level: 2,
      kinds: ["load", "store"],
      pageSizes: ["4K", "2M"],
      sets: dataEntries / dataWays,
      ways: dataWays,
      indexHash: "bit9",
      replacement: "tree-plru",
      origins: allFrom(TLB_SHAPE_FIELDS, origin, { ...AS_ZEN4, sets: dataWaysOrigin, ways: dataWaysOrigin }),
    },
  ];
}

/** The second-level TLB for 1 GiB pages of Zen 3 and Zen 4. @param origin how it is known */
export function zenGigabyteTlb(origin: Origin): TlbPreset {
  return {
    name: "L2 dTLB 1G",
    level: 2,
    kinds: ["load", "store"],
    pageSizes: ["1G"],
    sets: 1,
    ways: 64,
    indexHash: "linear",
    replacement: "lru",
    origins: allFrom(TLB_SHAPE_FIELDS, origin, { replacement: LRU }),
  };
}

const CPUID = documented("CPUID leaves 80000005h, 80000006h and 80000019h of an EPYC 7003 (InstLatx64)");
const CPUID_CACHES = documented("CPUID leaf 8000001Dh of an EPYC 7003 (InstLatx64)");
const MEASURED = measured("InstLatx64, Ryzen 5900X, memory latency");

/** Zen 3. */
export const ZEN3: Preset = {
  ...ZEN2,
  name: "zen3",
  description: "AMD Zen 3",
  maxPhyAddr: bits(48, documented("CPUID leaf 80000008h of an EPYC 7003 (InstLatx64)")),
  frequencyGhz: gigahertz(3.4, assumed("about what an EPYC 7003 of many cores boosts to")),
  features: {
    ...ZEN2.features,
    pcid: true,
    invpcid: true,
    pku: true,
    shadowStack: true,
    invlpgb: true,
  },
  origins: { features: documented("CPUID of an EPYC 7003 (InstLatx64)") },
  tlbs: [
    ...zenTlbs({
      firstLevelEntries: 64,
      fetchEntries: 512,
      dataEntries: 2048,
      dataWays: 8,
      dataWaysOrigin: ZEN_DATA_WAYS,
      origin: CPUID,
    }),
    zenGigabyteTlb(CPUID),
  ],
  pagingStructureCaches: structuresTakenOver(ZEN2.pagingStructureCaches, "Zen 2"),
  dataCaches: [
    {
      name: "L1d",
      sizeBytes: bytes(32_768, CPUID_CACHES),
      ways: ways(8, CPUID_CACHES),
      hitCycles: cycles(4, MEASURED),
    },
    {
      name: "L2",
      sizeBytes: bytes(524_288, CPUID_CACHES),
      ways: ways(8, CPUID_CACHES),
      hitCycles: cycles(12, MEASURED),
    },
    {
      name: "L3",
      sizeBytes: bytes(4_194_304, documented("CPUID leaf 8000001Dh: 32 MiB a core complex of 8 cores")),
      ways: ways(16, CPUID_CACHES),
      hitCycles: cycles(47, measured("InstLatx64, Ryzen 5900X: 45 to 50")),
    },
  ],
  memory: cycles(320, assumed("about 95 ns")),
  lineTransfers: ZEN3_LINES,
  sharedCore: ZEN3_SHARED_CORE,
  overlap: ZEN3_OVERLAP,
  costs: {
    ...allTakenOver(ZEN2.costs, "Zen 2"),
    secondLevelHit: cycles(
      5,
      measured("InstLatx64, Ryzen 5900X: 15 to 20 cycles from 64 to 96 pages, 4 to 16 KiB apart"),
    ),
    invpcidAddress: cycles(200, assumed("remembered of AMD parts")),
    invpcidContext: cycles(300, assumed("remembered of AMD parts")),
    invpcidAll: cycles(500, assumed("remembered of AMD parts")),
    invpcidAllNonGlobal: cycles(500, assumed("remembered of AMD parts")),
    invlpgb: cycles(250, assumed("issuing it")),
    tlbsync: cycles(1500, assumed("waiting for all cores of a socket")),
    ...ZEN3_ZEROING,
  },
  mitigations: ZEN3_MITIGATIONS,
  idleStates: ZEN2_IDLE,
};
