/** What a microarchitecture can do for guests, and what that costs, as data. No part's own figures of this are published in full. */

import type { EptAbilities } from "../isa/ept.ts";
import { allTakenOver, assumed, cycles, documented, type Figure, measured, type Origin, sets, ways } from "./figure.ts";

/** What VMX or SVM of a CPU can do. */
export interface VirtualizationFeatures extends EptAbilities {
  /** VPIDs: Intel's tags of guests. AMD's ASIDs are always there. */
  readonly vpid: boolean;
  /** Mode-based execute control for EPT. */
  readonly modeBasedExecute: boolean;
  /** Advanced VM-exit information for EPT violations: bits 9 to 11 of the exit qualification. */
  readonly advancedExits: boolean;
}

/** Shape of one cache of guest-physical mappings; LRU. */
export interface GuestPhysicalCachePreset {
  readonly sets: Figure<"sets">;
  readonly ways: Figure<"ways">;
}

/** Caches of guest-physical mappings: pages, and entries that refer to tables, by level. */
export interface GuestPhysicalCachesPreset {
  /** No ways: a translation of the second stage is never cached by itself, only with the guest's, in TLBs and combined entries. */
  readonly pages: GuestPhysicalCachePreset;
  readonly pde: GuestPhysicalCachePreset;
  readonly pdpte: GuestPhysicalCachePreset;
  readonly pml4e: GuestPhysicalCachePreset;
  readonly pml5e: GuestPhysicalCachePreset;
}

/** What it costs, in cycles. */
export interface VirtualizationCosts {
  /** VM entry, VMRUN. */
  readonly vmEntry: Figure<"cycles">;
  /** VM exit, VMEXIT. */
  readonly vmExit: Figure<"cycles">;
  /** INVEPT. */
  readonly invept: Figure<"cycles">;
  /** INVVPID. */
  readonly invvpid: Figure<"cycles">;
  /** INVLPGA. */
  readonly invlpga: Figure<"cycles">;
}

/** All of it. */
export interface VirtualizationPreset {
  readonly features: VirtualizationFeatures;
  /**
   * Whether INVLPG in a guest removes all of the guest's translations while some may be pieces of a page that is larger in the
   * guest's tables than in those of the second stage.
   */
  readonly invlpgDropsFractured: boolean;
  readonly origins: { readonly features: Origin; readonly invlpgDropsFractured: Origin };
  readonly guestPhysicalCaches: GuestPhysicalCachesPreset;
  readonly costs: VirtualizationCosts;
}

const SIZE_ASSUMED = assumed("no vendor says; as many as the caches of linear addresses have, or less");

function cache(setCount: number, wayCount: number): GuestPhysicalCachePreset {
  return { sets: sets(setCount, SIZE_ASSUMED), ways: ways(wayCount, SIZE_ASSUMED) };
}

const CACHES: GuestPhysicalCachesPreset = {
  pages: cache(1, 32),
  pde: cache(1, 16),
  pdpte: cache(1, 4),
  pml4e: cache(1, 2),
  pml5e: cache(1, 2),
};

const COSTS: VirtualizationCosts = {
  vmEntry: cycles(600, assumed("a round trip of about 1300 is remembered of Skylake")),
  vmExit: cycles(700, assumed("a round trip of about 1300 is remembered of Skylake")),
  invept: cycles(400, assumed("about as INVPCID of one context")),
  invvpid: cycles(400, assumed("about as INVPCID of one context")),
  invlpga: cycles(200, assumed("as Skylake's INVLPG")),
};

const AMIT = assumed("N. Amit, LKML 2019 to 2021: INVLPG in a guest flushes all while pages are fractured");

/** Skylake (server): four levels; no advanced information. */
export const SKYLAKE_VIRTUALIZATION: VirtualizationPreset = {
  features: {
    vpid: true,
    ept5: false,
    ept1g: true,
    eptExecuteOnly: true,
    eptAccessedDirty: true,
    modeBasedExecute: true,
    advancedExits: false,
  },
  invlpgDropsFractured: true,
  origins: {
    features: documented("Intel SDM vol. 3D, appendix A.10; IA32_VMX_EPT_VPID_CAP as remembered"),
    invlpgDropsFractured: AMIT,
  },
  guestPhysicalCaches: CACHES,
  costs: COSTS,
};

/** Ice Lake: five levels, and advanced information. */
export const ICELAKE_VIRTUALIZATION: VirtualizationPreset = {
  ...SKYLAKE_VIRTUALIZATION,
  features: { ...SKYLAKE_VIRTUALIZATION.features, ept5: true, advancedExits: true },
};

const EMERALD_RAPIDS = measured("an Emerald Rapids core: what walks of test/silicon/stlb-sequences.txt cost");
const AS_LINEAR = assumed(
  "as the PDE cache for linear addresses; with 32 entries in one set, or 16, walks on an Emerald Rapids core are foretold a little worse",
);

/**
 * Sapphire Rapids. Walks on a core (`test/silicon/stlb-sequences.txt`; docs/presets.md) cost what they do where each address of a table
 * of the guest, and that of the page, is walked for in the second stage, from an entry for 2 MiB of guest-physical memory on.
 */
export const SAPPHIRE_RAPIDS_VIRTUALIZATION: VirtualizationPreset = {
  ...ICELAKE_VIRTUALIZATION,
  guestPhysicalCaches: {
    ...CACHES,
    pages: { sets: sets(1, EMERALD_RAPIDS), ways: ways(0, EMERALD_RAPIDS) },
    pde: { sets: sets(8, AS_LINEAR), ways: ways(4, AS_LINEAR) },
  },
};

/** What a part can do for guests, with caches as another part has them. @param part that one's name */
export function guestCachesTakenOver(known: VirtualizationPreset, part: string): VirtualizationPreset {
  const caches = Object.entries(known.guestPhysicalCaches).map(([name, cache]) => [name, allTakenOver(cache, part)]);
  return { ...known, guestPhysicalCaches: Object.fromEntries(caches) };
}

/** AMD: nested page tables have the abilities of the host's own. */
export const AMD_VIRTUALIZATION: VirtualizationPreset = {
  features: {
    vpid: false,
    ept5: false,
    ept1g: false,
    eptExecuteOnly: false,
    eptAccessedDirty: false,
    modeBasedExecute: false,
    advancedExits: false,
  },
  invlpgDropsFractured: false,
  origins: {
    features: documented("AMD APM vol. 2, chapter 15: SVM has none of these"),
    invlpgDropsFractured: assumed("nobody has reported it of AMD parts"),
  },
  guestPhysicalCaches: CACHES,
  costs: COSTS,
};
