/** What a CPU has cached of the page tables, listed without side effects: for checkers and views. */

import { LEVEL_BYTES } from "../isa/linear-address.ts";
import { GLOBAL_CONTEXT, SIZE_BYTES, SIZE_TABLE } from "../isa/translation.ts";
import { structureLevel } from "../tlb/paging-structure-caches.ts";
import type { Tlb } from "../tlb/tlb.ts";
import type { Cpu } from "./cpu.ts";

/** One entry of a TLB. */
export interface CachedTranslation {
  /** Name of the TLB. */
  readonly tlb: string;
  /** First linear address that it translates. */
  readonly la: number;
  /** 4096, 2 MiB or 1 GiB. */
  readonly sizeBytes: number;
  /** First 4 KiB frame. */
  readonly frame: number;
  /** The PCID it belongs to; null for a global translation. */
  readonly pcid: number | null;
  /** Rights and attributes (`TR_*` of translation.ts). */
  readonly flags: number;
}

/** One entry of a paging-structure cache. */
export interface CachedTable {
  /** Name of the cache, or of the TLB that holds such entries too. */
  readonly structure: string;
  /** Level of the cached entry: 2 (PDE) to 5 (PML5E). */
  readonly level: number;
  /** First linear address that it leads to. */
  readonly la: number;
  /** Bytes of addresses that it leads to. */
  readonly sizeBytes: number;
  /** Frame of the page table that it names, which is one level below. */
  readonly frame: number;
  /** The PCID it belongs to: entries of tables are never global. */
  readonly pcid: number;
  /** Rights over all levels down to it (`TR_*` of translation.ts). */
  readonly flags: number;
}

/** Every entry in the paging-structure caches of `cpu`. */
export function cachedTables(cpu: Cpu): CachedTable[] {
  return cpu.mmu.structures.all().flatMap(tablesIn);
}

function tablesIn(tlb: Tlb): CachedTable[] {
  const found: CachedTable[] = [];
  if (tlb.isEmpty) return found;
  for (let slot = 0; slot < tlb.slots; slot++) {
    if (!tlb.isUsed(slot) || tlb.sizeOf(slot) !== SIZE_TABLE) continue;
    const level = structureLevel(tlb.tagOf(slot));
    found.push({
      structure: tlb.name,
      level,
      la: tlb.addressOf(slot),
      sizeBytes: LEVEL_BYTES[level],
      frame: tlb.frameOf(slot),
      pcid: tlb.pcidOf(slot),
      flags: tlb.flagsOf(slot),
    });
  }
  return found;
}

/** Every translation in the TLBs of `cpu`, both levels; entries of paging-structure caches are left out. */
export function cachedTranslations(cpu: Cpu): CachedTranslation[] {
  const { tlbs } = cpu.mmu;
  return [...tlbs.first, ...tlbs.second].flatMap(translationsIn);
}

function translationsIn(tlb: Tlb): CachedTranslation[] {
  const found: CachedTranslation[] = [];
  if (tlb.isEmpty) return found;
  for (let slot = 0; slot < tlb.slots; slot++) {
    const size = tlb.sizeOf(slot);
    if (!tlb.isUsed(slot) || size === SIZE_TABLE) continue;
    const pcid = tlb.pcidOf(slot);
    found.push({
      tlb: tlb.name,
      la: tlb.addressOf(slot),
      sizeBytes: SIZE_BYTES[size],
      frame: tlb.frameOf(slot),
      pcid: pcid === GLOBAL_CONTEXT ? null : pcid,
      flags: tlb.flagsOf(slot),
    });
  }
  return found;
}
