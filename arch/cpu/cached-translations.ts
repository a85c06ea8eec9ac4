/** What a CPU has cached of the page tables, listed without side effects: for checkers and views. */

import { GLOBAL_CONTEXT, SIZE_BYTES, SIZE_TABLE } from "../isa/translation.ts";
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
