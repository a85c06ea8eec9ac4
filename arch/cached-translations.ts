/** What a CPU has cached of the page tables, listed without side effects: for checkers and views. */
import type { Cpu } from "./cpu.ts";
import { PAGE_SIZE } from "./linear-address.ts";
import type { Tlb } from "./tlb.ts";
import { CONTEXT_PCID_MASK, CONTEXT_SIZE_SHIFT, GLOBAL_CONTEXT, SIZE_FRAMES, SIZE_TABLE } from "./translation.ts";

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
  for (let slot = 0; slot < tlb.tag.length; slot++) {
    const size = tlb.context[slot] >> CONTEXT_SIZE_SHIFT;
    if (tlb.tag[slot] === -1 || size === SIZE_TABLE) continue;
    const sizeBytes = SIZE_FRAMES[size] * PAGE_SIZE;
    const pcid = tlb.context[slot] & CONTEXT_PCID_MASK;
    found.push({
      tlb: tlb.name,
      la: tlb.tag[slot] * sizeBytes,
      sizeBytes,
      frame: tlb.frame[slot],
      pcid: pcid === GLOBAL_CONTEXT ? null : pcid,
      flags: tlb.flags[slot],
    });
  }
  return found;
}
