/** AMD Zen 4: broadcast invalidation, five levels of page tables. */

import { bytes, cycles, ways } from "./figure.ts";
import type { Preset } from "./preset.ts";
import { ZEN_INSTRUCTION_TLBS, ZEN2 } from "./zen2.ts";

const MEASURED = "[F] chipsandcheese.com, Zen 4; replacement and index [M]";

/** Zen 4. */
export const ZEN4: Preset = {
  ...ZEN2,
  name: "zen4",
  description: "AMD Zen 4",
  maxPhyAddr: { value: 52, unit: "bits", source: "[M] EPYC 9004" },
  frequencyGhz: { value: 3.7, unit: "GHz", source: "[M] about what EPYC 9654 boosts to" },
  features: {
    ...ZEN2.features,
    la57: true,
    pcid: true,
    invpcid: true,
    pku: true,
    shadowStack: true,
    invlpgb: true,
  },
  tlbs: [
    ...ZEN_INSTRUCTION_TLBS,
    {
      name: "L1 dTLB",
      level: 1,
      kinds: ["load", "store"],
      pageSizes: ["4K", "2M", "1G"],
      sets: 1,
      ways: 72,
      indexHash: "linear",
      replacement: "lru",
      source: "[M] 72 entries",
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
      source: `${MEASURED}; 24 ways [M]`,
    },
  ],
  pagingStructureCaches: {
    pde: { sharedWith: "L2 dTLB", source: "[M] as in Zen 2" },
    pdpte: { sets: 1, ways: 64, replacement: "lru", source: "[F] chipsandcheese.com: 64 entries for PML4E and PDPTE" },
    pml4e: { sharedWith: "pdpte", source: "[F] chipsandcheese.com" },
    pml5e: { sharedWith: "pdpte", source: "[M]" },
  },
  dataCaches: [
    ZEN2.dataCaches[0],
    {
      name: "L2",
      sizeBytes: bytes(1_048_576, "[F] 1 MiB"),
      ways: ways(8, "[F] 8 ways"),
      hitCycles: cycles(14, "[M]"),
    },
    {
      name: "L3",
      sizeBytes: bytes(4_194_304, "[F] 32 MiB a core complex of 8 cores"),
      ways: ways(16, "[F] 16 ways"),
      hitCycles: cycles(50, "[M]"),
    },
  ],
  memory: cycles(340, "[M] about 90 ns"),
  costs: {
    ...ZEN2.costs,
    invpcidAddress: cycles(200, "[M]"),
    invpcidContext: cycles(300, "[M]"),
    invpcidAll: cycles(500, "[M]"),
    invpcidAllNonGlobal: cycles(500, "[M]"),
    invlpgb: cycles(250, "[M] issuing it"),
    tlbsync: cycles(1500, "[M] waiting for all cores of a socket"),
  },
};
