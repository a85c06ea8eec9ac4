/**
 * What distinguishes one microarchitecture from another, as plain data: features, TLBs, caches of paging structures and of
 * page-table lines, costs. Presets are JSON-compatible; `arch/presets/preset-schema.ts` checks those that people write.
 */
import type { Vendor } from "../isa/vendor.ts";
import type { Figure, Origin } from "./figure.ts";
import type { IdleState } from "./idle-states.ts";
import type { IndexHash } from "./index-hash.ts";
import type { LineTransfers } from "./line-transfers.ts";
import type { MitigationsPreset } from "./mitigations.ts";
import type { Overlap } from "./overlap.ts";
import type { ReplacementName } from "./replacement/index.ts";
import type { SharedCorePreset } from "./shared-core.ts";
import type { VirtualizationPreset } from "./virtualization.ts";

/** Sizes of pages that a TLB can hold. */
export const TLB_PAGE_SIZES = ["4K", "2M", "1G"] as const;
/** A page size by its name. */
export type TlbPageSize = (typeof TLB_PAGE_SIZES)[number];

/** Which accesses use a TLB. */
export const TLB_KINDS = ["load", "store", "fetch"] as const;
/** A kind of access by its name. */
export type TlbKindName = (typeof TLB_KINDS)[number];

/** Shape of one set-associative structure. */
export interface TlbGeometry {
  /** What listings and messages call it. */
  readonly name: string;
  /** A power of two. */
  readonly sets: number;
  /** Slots of a set. */
  readonly ways: number;
  /** How the set follows from the page number. */
  readonly indexHash: IndexHash;
  /** What a full set evicts (replacement/index.ts). */
  readonly replacement: ReplacementName;
  /** How many PCIDs can have entries in it at once; no limit when absent. */
  readonly pcidCapacity?: Figure<"PCIDs">;
}

/** What of a TLB's shape has an origin. */
export const TLB_SHAPE_FIELDS = ["pageSizes", "sets", "ways", "indexHash", "replacement"] as const;
/** How each part of a TLB's shape is known. */
export type TlbOrigins = Readonly<Record<(typeof TLB_SHAPE_FIELDS)[number], Origin>>;

/** What of the shape of a paging-structure cache has an origin. */
export const STRUCTURE_SHAPE_FIELDS = ["sets", "ways", "replacement"] as const;
/** How each part of the shape of a paging-structure cache is known. */
export type StructureOrigins = Readonly<Record<(typeof STRUCTURE_SHAPE_FIELDS)[number], Origin>>;

/** A TLB of a preset. */
export interface TlbPreset extends TlbGeometry {
  /** First or second level. */
  readonly level: 1 | 2;
  /** Which accesses use it. */
  readonly kinds: readonly TlbKindName[];
  /** Which page sizes it holds; a larger page is held in pieces of the largest of them (assumed of Intel's parts, docs/presets.md). */
  readonly pageSizes: readonly TlbPageSize[];
  /** How its shape is known. */
  readonly origins: TlbOrigins;
}

/** A paging-structure cache of its own, or the name of the second-level TLB that holds its entries. */
export type PagingStructureCachePreset =
  | {
      readonly sets: number;
      readonly ways: number;
      readonly replacement: ReplacementName;
      readonly origins: StructureOrigins;
    }
  | { readonly sharedWith: string; readonly origins: { readonly sharedWith: Origin } };

/** Caches of the entries that walks use; a level that is absent is not cached (Intel SDM vol. 3A, 4.10.3). */
export interface PagingStructureCachesPreset {
  /** Entries of the fifth level. */
  readonly pml5e?: PagingStructureCachePreset;
  /** Entries of the fourth level. */
  readonly pml4e?: PagingStructureCachePreset;
  /** Page-directory-pointer entries. */
  readonly pdpte?: PagingStructureCachePreset;
  /** Page-directory entries. */
  readonly pde?: PagingStructureCachePreset;
}

/** One level of the data caches that page-table entries are fetched through. */
export interface DataCachePreset {
  /** `L1d`, `L2`, `LLC`. */
  readonly name: string;
  /** Size in bytes; lines have 64. */
  readonly sizeBytes: Figure<"bytes">;
  /** Ways of a set. */
  readonly ways: Figure<"ways">;
  /** Cycles of a fetch that this level answers. */
  readonly hitCycles: Figure<"cycles">;
}

/** CPUID-like feature flags. A machine without a feature refuses what belongs to it. */
export interface CpuFeatures {
  /** Execute disable, EFER.NXE. */
  readonly nx: boolean;
  /** Global pages, CR4.PGE. */
  readonly pge: boolean;
  /** 1 GiB pages. */
  readonly page1g: boolean;
  /** Five-level paging, CR4.LA57. */
  readonly la57: boolean;
  /** Process-context identifiers, CR4.PCIDE. */
  readonly pcid: boolean;
  /** The INVPCID instruction. */
  readonly invpcid: boolean;
  /** Supervisor-mode execution prevention. */
  readonly smep: boolean;
  /** Supervisor-mode access prevention. */
  readonly smap: boolean;
  /** Protection keys for user pages. */
  readonly pku: boolean;
  /** Protection keys for supervisor pages. */
  readonly pks: boolean;
  /** CET shadow stacks. */
  readonly shadowStack: boolean;
  /** IA32_PAT. */
  readonly pat: boolean;
  /** Memory-type range registers. */
  readonly mtrr: boolean;
  /** AMD's INVLPGB and TLBSYNC. */
  readonly invlpgb: boolean;
  /** Intel's Remote Action Request. */
  readonly rar: boolean;
  /** AMD's translation cache extension, EFER.TCE. */
  readonly tce: boolean;
  /** Linear-address masking: CR3.LAM_U48 and LAM_U57, CR4.LAM_SUP. */
  readonly lam: boolean;
  /** Linear-address space separation, CR4.LASS. */
  readonly lass: boolean;
  /** AMD's upper-address ignore, EFER.UAIE. */
  readonly uai: boolean;
}

/** What operations cost, in cycles. */
export interface CostProfile {
  /** A load, store or fetch whose translation a first-level TLB holds: issue cost, not latency. */
  readonly load: Figure<"cycles">;
  /** A store; otherwise as `load`. */
  readonly store: Figure<"cycles">;
  /** A fetch; otherwise as `load`. */
  readonly fetch: Figure<"cycles">;
  /** What a hit in the second-level TLB adds. */
  readonly secondLevelHit: Figure<"cycles">;
  /** What a page walk adds beside the fetches of entries. */
  readonly walk: Figure<"cycles">;
  /** Setting A or D bits in page-table entries, once a walk that sets any. */
  readonly setAccessedDirty: Figure<"cycles">;
  /** INVLPG. */
  readonly invlpg: Figure<"cycles">;
  /** INVPCID types 0 to 3. */
  readonly invpcidAddress: Figure<"cycles">;
  /** INVPCID type 1: one PCID. */
  readonly invpcidContext: Figure<"cycles">;
  /** INVPCID type 2: all. */
  readonly invpcidAll: Figure<"cycles">;
  /** INVPCID type 3: all but global translations. */
  readonly invpcidAllNonGlobal: Figure<"cycles">;
  /** MOV to CR3 that invalidates, and with bit 63 = 1. */
  readonly movCr3: Figure<"cycles">;
  /** MOV to CR3 with bit 63 = 1. */
  readonly movCr3NoFlush: Figure<"cycles">;
  /** MOV to CR0. */
  readonly movCr0: Figure<"cycles">;
  /** MOV to CR4, and what changing CR4.PGE adds. */
  readonly movCr4: Figure<"cycles">;
  /** What changing CR4.PGE adds. */
  readonly movCr4Flush: Figure<"cycles">;
  /** WRMSR. */
  readonly wrmsr: Figure<"cycles">;
  /** WRPKRU. */
  readonly wrpkru: Figure<"cycles">;
  /** Issuing INVLPGB, and waiting for it in TLBSYNC. */
  readonly invlpgb: Figure<"cycles">;
  /** Waiting for INVLPGBs in TLBSYNC. */
  readonly tlbsync: Figure<"cycles">;
  /** Taking the signal of a remote action (RAR): the action vector searched, payloads fetched; not what they ask for. */
  readonly remoteAction: Figure<"cycles">;
  /** Delivery of a page fault, up to the first instruction of its handler. */
  readonly pageFault: Figure<"cycles">;
  /** Filling 4 KiB with zeros (REP STOSB, REP STOSQ) that are in the core's own caches. */
  readonly zeroPage: Figure<"cycles">;
  /** Filling 4 KiB that are in the last level. */
  readonly zeroPageLastLevel: Figure<"cycles">;
  /** Filling 4 KiB that are in memory, where others are written back meanwhile: a page that no prefetcher has foreseen. */
  readonly zeroPageMemory: Figure<"cycles">;
  /** Filling 4 KiB that are in memory, right after the 4 KiB before them. */
  readonly zeroPageNext: Figure<"cycles">;
}

/** A microarchitecture. */
export interface Preset {
  /** What `--preset` and messages call it. */
  readonly name: string;
  /** The product in words. */
  readonly description: string;
  /** Whose manual the part follows where the two differ (vendor.ts). */
  readonly vendor: Vendor;
  /** Width of physical addresses in bits. */
  readonly maxPhyAddr: Figure<"bits">;
  /** Clock frequency, by which cycles become seconds. */
  readonly frequencyGhz: Figure<"GHz">;
  /** What the CPU can do. */
  readonly features: CpuFeatures;
  /** How that is known. */
  readonly origins: { readonly features: Origin };
  /** Its TLBs. */
  readonly tlbs: readonly TlbPreset[];
  /** Its paging-structure caches. */
  readonly pagingStructureCaches: PagingStructureCachesPreset;
  /** Its data caches, the first level first. */
  readonly dataCaches: readonly DataCachePreset[];
  /** A fetch that no data cache answers. */
  readonly memory: Figure<"cycles">;
  /** What a cache line costs that another CPU has. */
  readonly lineTransfers: LineTransfers;
  /** How much of a core each of its hardware threads gets while others execute. */
  readonly sharedCore: SharedCorePreset;
  /** How much of the translation of independent accesses it does at once. */
  readonly overlap: Overlap;
  /** What operations cost. */
  readonly costs: CostProfile;
  /** What the part can do for guests. */
  readonly virtualization: VirtualizationPreset;
  /** What Linux does on it against attacks by speculation; absent: nothing is known. */
  readonly mitigations?: MitigationsPreset;
  /** States in which it waits for work, the lightest first; absent: nothing is known. */
  readonly idleStates?: readonly IdleState[];
}
