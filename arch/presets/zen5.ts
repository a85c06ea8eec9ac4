/** AMD Zen 5 (EPYC 9005, Turin). */

import { allTakenOver, assumed, bits, bytes, cycles, documented, gigahertz, takenOver, ways } from "./figure.ts";
import { ZEN4_IDLE } from "./idle-states.ts";
import { ZEN5_LINES } from "./line-transfers.ts";
import { ZEN5_MITIGATIONS } from "./mitigations.ts";
import type { Preset } from "./preset.ts";
import { ZEN4_SHARED_CORE } from "./shared-core.ts";
import { structuresTakenOver } from "./structures-taken-over.ts";
import { ZEN_DATA_WAYS } from "./zen2.ts";
import { zenTlbs } from "./zen3.ts";
import { ZEN4 } from "./zen4.ts";

const HOT_CHIPS = documented("Cohen and Subramony, Hot Chips 2024, and CPUID of an EPYC 9005 (InstLatx64)");
const CPUID_CACHES = documented("CPUID leaf 8000001Dh of an EPYC 9005 (InstLatx64)");

/** Zen 5. */
export const ZEN5: Preset = {
  ...ZEN4,
  name: "zen5",
  description: "AMD Zen 5",
  maxPhyAddr: bits(52, documented("CPUID leaf 80000008h of an EPYC 9005 (InstLatx64)")),
  frequencyGhz: gigahertz(4.1, assumed("EPYC 9655, about the boost of all cores")),
  origins: { features: documented("CPUID of an EPYC 9005 (InstLatx64)") },
  // The second level holds everything but 1 GiB pages (Hot Chips 2024).
  tlbs: zenTlbs({
    firstLevelEntries: 96,
    fetchEntries: 2048,
    dataEntries: 4096,
    dataWays: 8,
    dataWaysOrigin: ZEN_DATA_WAYS,
    origin: HOT_CHIPS,
  }),
  pagingStructureCaches: structuresTakenOver(ZEN4.pagingStructureCaches, "Zen 4"),
  dataCaches: [
    {
      name: "L1d",
      sizeBytes: bytes(49_152, CPUID_CACHES),
      ways: ways(12, CPUID_CACHES),
      hitCycles: takenOver(ZEN4.dataCaches[0].hitCycles, "Zen 4"),
    },
    {
      name: "L2",
      sizeBytes: bytes(1_048_576, CPUID_CACHES),
      ways: ways(16, CPUID_CACHES),
      hitCycles: takenOver(ZEN4.dataCaches[1].hitCycles, "Zen 4"),
    },
    {
      name: "L3",
      sizeBytes: bytes(4_194_304, documented("CPUID leaf 8000001Dh: 32 MiB a core complex of 8 cores")),
      ways: ways(16, CPUID_CACHES),
      hitCycles: cycles(46, assumed("about 11 ns")),
    },
  ],
  memory: cycles(430, assumed("about 105 ns")),
  lineTransfers: ZEN5_LINES,
  sharedCore: ZEN4_SHARED_CORE,
  overlap: allTakenOver(ZEN4.overlap, "Zen 4"),
  costs: allTakenOver(ZEN4.costs, "Zen 4"),
  mitigations: ZEN5_MITIGATIONS,
  idleStates: ZEN4_IDLE,
};
