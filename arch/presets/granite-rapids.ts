/** Intel Granite Rapids (Xeon 6, Redwood Cove): the TLBs of Sapphire Rapids, which CPUID here describes as they are. */

import {
  allFrom,
  allTakenOver,
  assumed,
  bits,
  bytes,
  cycles,
  documented,
  gigahertz,
  takenOver,
  ways,
} from "./figure.ts";
import { GRANITE_RAPIDS_IDLE } from "./idle-states.ts";
import { SAPPHIRE_RAPIDS_MITIGATIONS } from "./mitigations.ts";
import { type Preset, TLB_SHAPE_FIELDS, type TlbPreset } from "./preset.ts";
import { SAPPHIRE_RAPIDS } from "./sapphire-rapids.ts";
import { structuresTakenOver } from "./structures-taken-over.ts";
import { guestCachesTakenOver } from "./virtualization.ts";
import { GRANITE_RAPIDS_ZEROING } from "./zeroing.ts";

const PART = "Sapphire Rapids";
const CPUID = documented("CPUID leaf 18h of a Xeon 6 (InstLatx64)");
const CPUID_CACHES = documented("CPUID leaf 4 of a Xeon 6 (InstLatx64)");

/** CPUID says sizes, sets and ways; the rest is as in the older part. The second level is two halves by CPUID, one as measured there. */
function ofCpuid(tlb: TlbPreset): TlbPreset {
  const { indexHash, replacement } = tlb.origins;
  if (tlb.level === 2) return { ...tlb, origins: allTakenOver(tlb.origins, PART) };
  const unknown = { indexHash: takenOver(indexHash, PART), replacement: takenOver(replacement, PART) };
  return { ...tlb, origins: allFrom(TLB_SHAPE_FIELDS, CPUID, unknown) };
}

/** Granite Rapids. */
export const GRANITE_RAPIDS: Preset = {
  ...SAPPHIRE_RAPIDS,
  name: "granite-rapids",
  description: "Intel Granite Rapids",
  maxPhyAddr: bits(52, documented("CPUID leaf 80000008h of a Xeon 6 (InstLatx64)")),
  frequencyGhz: gigahertz(2.3, assumed("about the base of large parts")),
  origins: { features: documented("CPUID of a Xeon 6 (InstLatx64)") },
  tlbs: SAPPHIRE_RAPIDS.tlbs.map(ofCpuid),
  pagingStructureCaches: structuresTakenOver(SAPPHIRE_RAPIDS.pagingStructureCaches, PART),
  dataCaches: [
    {
      name: "L1d",
      sizeBytes: bytes(49_152, CPUID_CACHES),
      ways: ways(12, CPUID_CACHES),
      hitCycles: takenOver(SAPPHIRE_RAPIDS.dataCaches[0].hitCycles, PART),
    },
    {
      name: "L2",
      sizeBytes: bytes(2_097_152, CPUID_CACHES),
      ways: ways(16, CPUID_CACHES),
      hitCycles: takenOver(SAPPHIRE_RAPIDS.dataCaches[1].hitCycles, PART),
    },
    {
      name: "LLC",
      sizeBytes: bytes(4_194_304, assumed("about what a core has of it; slices count together")),
      ways: ways(16, CPUID_CACHES),
      hitCycles: cycles(76, assumed("33 ns over the mesh (realworldtech.com, after chipsandcheese.com, Xeon 6985P-C)")),
    },
  ],
  memory: cycles(300, assumed("about 130 ns; higher than in Sapphire Rapids")),
  overlap: allTakenOver(SAPPHIRE_RAPIDS.overlap, PART),
  costs: { ...allTakenOver(SAPPHIRE_RAPIDS.costs, PART), ...GRANITE_RAPIDS_ZEROING },
  virtualization: guestCachesTakenOver(SAPPHIRE_RAPIDS.virtualization, PART),
  mitigations: SAPPHIRE_RAPIDS_MITIGATIONS,
  idleStates: GRANITE_RAPIDS_IDLE,
};
