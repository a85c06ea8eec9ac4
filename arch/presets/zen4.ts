/** AMD Zen 4: broadcast invalidation, five levels of page tables. */

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
  takenOver,
  ways,
} from "./figure.ts";
import { type Preset, STRUCTURE_SHAPE_FIELDS, TLB_SHAPE_FIELDS } from "./preset.ts";
import { ZEN_INSTRUCTION_TLBS, ZEN2 } from "./zen2.ts";

const MEASURED = measured("chipsandcheese.com, Zen 4");
const ZEN4_CACHES = documented("AMD's presentation of Zen 4: 1 MiB a core, 32 MiB a complex of 8 cores");
const UNKNOWN = { indexHash: assumed("linear: nothing else is known"), replacement: assumed("LRU: nothing is known") };

/** Zen 4. */
export const ZEN4: Preset = {
  ...ZEN2,
  name: "zen4",
  description: "AMD Zen 4",
  maxPhyAddr: bits(52, assumed("EPYC 9004; remembered")),
  frequencyGhz: gigahertz(3.7, documented("EPYC 9654, most boost")),
  features: {
    ...ZEN2.features,
    la57: true,
    pcid: true,
    invpcid: true,
    pku: true,
    shadowStack: true,
    invlpgb: true,
  },
  origins: { features: documented("AMD APM vol. 3, appendix E, CPUID; five-level paging since Zen 4") },
  tlbs: [
    ...ZEN_INSTRUCTION_TLBS.map((tlb) => ({ ...tlb, origins: allTakenOver(tlb.origins, "Zen 2") })),
    {
      name: "L1 dTLB",
      level: 1,
      kinds: ["load", "store"],
      pageSizes: ["4K", "2M", "1G"],
      sets: 1,
      ways: 72,
      indexHash: "linear",
      replacement: "lru",
      origins: allFrom(TLB_SHAPE_FIELDS, documented("72 entries, AMD's presentation of Zen 4"), UNKNOWN),
    },
    {
      name: "L2 dTLB",
      level: 2,
      kinds: ["load", "store"],
      pageSizes: ["4K", "2M"],
      sets: 128,
      ways: 24,
      indexHash: "linear",
      replacement: "lru",
      origins: allFrom(TLB_SHAPE_FIELDS, MEASURED, { ...UNKNOWN, ways: assumed("24 of 3072 entries; remembered") }),
    },
  ],
  pagingStructureCaches: {
    pde: { sharedWith: "L2 dTLB", origins: { sharedWith: assumed("as Zen 2") } },
    pdpte: {
      sets: 1,
      ways: 64,
      replacement: "lru",
      origins: allFrom(STRUCTURE_SHAPE_FIELDS, MEASURED, { replacement: UNKNOWN.replacement }),
    },
    pml4e: { sharedWith: "pdpte", origins: { sharedWith: MEASURED } },
    pml5e: { sharedWith: "pdpte", origins: { sharedWith: assumed("as PML4Es") } },
  },
  dataCaches: [
    { ...ZEN2.dataCaches[0], hitCycles: takenOver(ZEN2.dataCaches[0].hitCycles, "Zen 2") },
    {
      name: "L2",
      sizeBytes: bytes(1_048_576, ZEN4_CACHES),
      ways: ways(8, ZEN4_CACHES),
      hitCycles: cycles(14, assumed("remembered")),
    },
    {
      name: "L3",
      sizeBytes: bytes(4_194_304, ZEN4_CACHES),
      ways: ways(16, ZEN4_CACHES),
      hitCycles: cycles(50, assumed("remembered")),
    },
  ],
  memory: cycles(340, assumed("about 90 ns")),
  costs: {
    ...allTakenOver(ZEN2.costs, "Zen 2"),
    invpcidAddress: cycles(200, assumed("remembered")),
    invpcidContext: cycles(300, assumed("remembered")),
    invpcidAll: cycles(500, assumed("remembered")),
    invpcidAllNonGlobal: cycles(500, assumed("remembered")),
    invlpgb: cycles(250, assumed("issuing it")),
    tlbsync: cycles(1500, assumed("waiting for all cores of a socket")),
  },
};
