/** AMD Zen 4: larger TLBs than Zen 3, five levels of page tables. */

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
import { ZEN4_IDLE } from "./idle-states.ts";
import { ZEN4_MITIGATIONS } from "./mitigations.ts";
import { ZEN4_OVERLAP } from "./overlap.ts";
import { type Preset, STRUCTURE_SHAPE_FIELDS, type TlbPreset } from "./preset.ts";
import { ZEN4_SHARED_CORE } from "./shared-core.ts";
import { ZEN3, zenGigabyteTlb, zenTlbs } from "./zen3.ts";
import { ZEN4_ZEROING } from "./zeroing.ts";

const CPUID = documented("CPUID leaves 80000005h, 80000006h and 80000019h of an EPYC 9004 (InstLatx64)");
const CPUID_CACHES = documented("CPUID leaf 8000001Dh of an EPYC 9004 (InstLatx64)");
const GENOA = measured("an EPYC of model 17 (Genoa) in a virtual machine on 4 KiB host pages (test/silicon/zen4)");
const CHIPS_AND_CHEESE = measured("chipsandcheese.com, Zen 4: 64 entries for PML4E and PDPTE");

/** What an EPYC shows of the TLBs for loads; the rest is by CPUID. */
const LOAD_TLBS = zenTlbs({
  firstLevelEntries: 72,
  fetchEntries: 512,
  dataEntries: 3072,
  dataWays: 12,
  dataWaysOrigin: GENOA,
  origin: CPUID,
}).map((tlb): TlbPreset => {
  const { origins } = tlb;
  if (tlb.name === "L1 iTLB") return { ...tlb, origins: { ...origins, sets: GENOA, ways: GENOA } };
  if (tlb.name === "L1 dTLB") {
    const replacement = assumed(
      "LRU: cycles of 73 and 74 pages miss less often on an EPYC, of 80 always (docs/presets.md)",
    );
    return { ...tlb, origins: { ...origins, sets: GENOA, ways: GENOA, indexHash: GENOA, replacement } };
  }
  if (tlb.name !== "L2 dTLB") return tlb;
  return {
    ...tlb,
    replacement: "quad-pair-plru",
    origins: { ...origins, sets: GENOA, ways: GENOA, indexHash: GENOA, replacement: GENOA },
  };
});

/** Zen 4. */
export const ZEN4: Preset = {
  ...ZEN3,
  name: "zen4",
  description: "AMD Zen 4",
  maxPhyAddr: bits(52, documented("CPUID leaf 80000008h of an EPYC 9004 (InstLatx64)")),
  frequencyGhz: gigahertz(3.7, documented("EPYC 9654, most boost")),
  features: { ...ZEN3.features, la57: true, uai: true },
  origins: {
    features: documented(
      "CPUID of an EPYC 9004 (InstLatx64); upper-address ignore: AMD's PPR of family 19h, model 11h",
    ),
  },
  tlbs: [...LOAD_TLBS, zenGigabyteTlb(CPUID)],
  pagingStructureCaches: {
    pde: { sharedWith: "L2 dTLB", origins: { sharedWith: GENOA } },
    pdpte: {
      sets: 1,
      ways: 64,
      replacement: "lru",
      origins: allFrom(STRUCTURE_SHAPE_FIELDS, CHIPS_AND_CHEESE, { replacement: assumed("LRU: nothing is known") }),
    },
    pml4e: { sharedWith: "pdpte", origins: { sharedWith: CHIPS_AND_CHEESE } },
    pml5e: { sharedWith: "pdpte", origins: { sharedWith: assumed("like PML4Es") } },
  },
  dataCaches: [
    {
      name: "L1d",
      sizeBytes: bytes(32_768, CPUID_CACHES),
      ways: ways(8, CPUID_CACHES),
      hitCycles: cycles(4, GENOA),
    },
    {
      name: "L2",
      sizeBytes: bytes(1_048_576, CPUID_CACHES),
      ways: ways(8, CPUID_CACHES),
      hitCycles: cycles(15, GENOA),
    },
    {
      name: "L3",
      sizeBytes: bytes(4_194_304, documented("CPUID leaf 8000001Dh: 32 MiB a core complex of 8 cores")),
      ways: ways(16, CPUID_CACHES),
      hitCycles: cycles(50, measured("InstLatx64, Ryzen 7000 (Raphael), memory latency")),
    },
  ],
  memory: cycles(340, assumed("about 90 ns")),
  lineTransfers: allTakenOver(ZEN3.lineTransfers, "Zen 3"),
  sharedCore: ZEN4_SHARED_CORE,
  overlap: ZEN4_OVERLAP,
  costs: {
    ...allTakenOver(ZEN3.costs, "Zen 3"),
    secondLevelHit: cycles(7, GENOA),
    ...ZEN4_ZEROING,
    invlpg: cycles(
      135,
      measured(
        "127 to 144 cycles in a guest on an EPYC of model 17: what a page more costs mprotect up to 33 pages and from 34 on",
      ),
    ),
  },
  mitigations: ZEN4_MITIGATIONS,
  idleStates: ZEN4_IDLE,
};
