/** Intel Ivy Bridge (server: Xeon E7 v2, up to eight sockets): a second level for 4 KiB pages only, no INVPCID. */

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
import { firstLevelTlbs, HASWELL } from "./haswell.ts";
import { IVY_BRIDGE_IDLE } from "./idle-states.ts";
import { IVY_BRIDGE_LINES } from "./line-transfers.ts";
import { HASWELL_MITIGATIONS } from "./mitigations.ts";
import { IVY_BRIDGE_OVERLAP } from "./overlap.ts";
import { type Preset, TLB_SHAPE_FIELDS } from "./preset.ts";
import { INTEL_SHARED_CORE } from "./shared-core.ts";
import { structuresTakenOver } from "./structures-taken-over.ts";
import { guestCachesTakenOver } from "./virtualization.ts";
import { IVY_BRIDGE_ZEROING } from "./zeroing.ts";

const MANUAL = documented("Intel optimization manual, Sandy Bridge, whose TLBs and caches Ivy Bridge has");

/** Ivy Bridge. */
export const IVY_BRIDGE: Preset = {
  ...HASWELL,
  name: "ivy-bridge",
  description: "Intel Ivy Bridge (server)",
  maxPhyAddr: bits(46, documented("CPUID leaf 80000008h of a Xeon E5 v2 (InstLatx64)")),
  frequencyGhz: gigahertz(2.3, documented("Xeon E7-8870 v2, base")),
  features: { ...HASWELL.features, invpcid: false },
  origins: { features: documented("Intel SDM vol. 2A, CPUID: INVPCID since Haswell, SMEP since Ivy Bridge") },
  tlbs: [
    ...firstLevelTlbs(MANUAL, 4, MANUAL),
    {
      name: "L2 TLB",
      level: 2,
      kinds: ["load", "store", "fetch"],
      pageSizes: ["4K"],
      sets: 128,
      ways: 4,
      indexHash: "linear",
      replacement: "tree-plru",
      origins: allFrom(TLB_SHAPE_FIELDS, MANUAL, {
        indexHash: HASWELL.tlbs[0].origins.indexHash,
        replacement: assumed("tree-PLRU, as first-level TLBs of Skylake"),
      }),
    },
  ],
  pagingStructureCaches: structuresTakenOver(HASWELL.pagingStructureCaches, "Haswell"),
  dataCaches: [
    { name: "L1d", sizeBytes: bytes(32_768, MANUAL), ways: ways(8, MANUAL), hitCycles: cycles(4, MANUAL) },
    { name: "L2", sizeBytes: bytes(262_144, MANUAL), ways: ways(8, MANUAL), hitCycles: cycles(12, MANUAL) },
    {
      name: "LLC",
      sizeBytes: bytes(2_097_152, documented("30 MiB for 15 cores, Xeon E7-8870 v2")),
      ways: ways(16, assumed("remembered")),
      hitCycles: cycles(36, measured("anandtech.com 7757, on a Xeon E7 v2: 15.5 ns")),
    },
  ],
  memory: cycles(290, assumed("about 125 ns: as Haswell's, and some 30 for the buffers between it and its memory")),
  lineTransfers: IVY_BRIDGE_LINES,
  sharedCore: INTEL_SHARED_CORE,
  overlap: IVY_BRIDGE_OVERLAP,
  costs: {
    ...allTakenOver(HASWELL.costs, "Haswell"),
    secondLevelHit: cycles(7, documented("Intel's top-down metrics (pmu-tools), Ivy Bridge server: Mem_STLB_Hit_Cost")),
    invlpg: cycles(246, measured("Hansen 2014, LKML, Ivy Bridge: 230 to 262 for each further page of a flush")),
    ...IVY_BRIDGE_ZEROING,
  },
  // Bits A and D of EPT entries came with Haswell: Linux lists ept_ad for it and not for Ivy Bridge.
  virtualization: guestCachesTakenOver(
    { ...HASWELL.virtualization, features: { ...HASWELL.virtualization.features, eptAccessedDirty: false } },
    "Haswell",
  ),
  mitigations: HASWELL_MITIGATIONS,
  idleStates: IVY_BRIDGE_IDLE,
};
