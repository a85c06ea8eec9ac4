/**
 * Attributes of kernel mappings (`PAGE_KERNEL` and others), as the low and high word of a 4 KiB leaf without its address.
 * Software sets A and D beforehand, as Linux does for kernel pages. Cache modes use the PAT that Linux programs:
 * 0 WB, 1 WC, 2 UC-, 3 UC, 4 WB, 5 WP, 6 UC-, 7 WT (`arch/x86/mm/pat/memtype.c`).
 */
import {
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_GLOBAL,
  PTE_PAT,
  PTE_PCD,
  PTE_PRESENT,
  PTE_PWT,
  PTE_RW,
  PTE_XD_HIGH,
} from "../../arch/isa/pte.ts";

/** Low and high word of a leaf's attributes. */
export interface Protection {
  readonly low: number;
  readonly high: number;
}

const KERNEL_LOW = PTE_PRESENT | PTE_RW | PTE_ACCESSED | PTE_DIRTY | PTE_GLOBAL;

/** Readable and writable kernel memory, not executable: 0x8000000000000163. */
export const PAGE_KERNEL: Protection = { low: KERNEL_LOW, high: PTE_XD_HIGH };
/** Readable, writable and executable kernel memory: 0x163. */
export const PAGE_KERNEL_EXEC: Protection = { low: KERNEL_LOW, high: 0 };
/** Read-only kernel memory. */
export const PAGE_KERNEL_RO: Protection = { low: KERNEL_LOW & ~PTE_RW & ~PTE_DIRTY, high: PTE_XD_HIGH };

/** Attributes without the right to execute (`pgprot_nx`). */
export function notExecutable({ low, high }: Protection): Protection {
  return { low, high: high | PTE_XD_HIGH };
}

/** How a mapping is cached (`enum page_cache_mode`). */
export const CACHE_MODES = ["wb", "wc", "uc-", "uc", "wt", "wp"] as const;
/** How a mapping caches memory, by name. */
export type CacheMode = (typeof CACHE_MODES)[number];

const CACHE_BITS: Readonly<Record<CacheMode, number>> = {
  wb: 0,
  wc: PTE_PWT,
  "uc-": PTE_PCD,
  uc: PTE_PCD | PTE_PWT,
  wp: PTE_PAT | PTE_PWT,
  wt: PTE_PAT | PTE_PCD | PTE_PWT,
};

/** The mode that a leaf's PWT, PCD and PAT bits choose; 4 and 6 of the PAT repeat 0 and 2. */
export function cacheModeOf(pwt: boolean, pcd: boolean, pat: boolean): CacheMode {
  if (!pwt) return pcd ? "uc-" : "wb";
  if (pcd) return pat ? "wt" : "uc";
  return pat ? "wp" : "wc";
}

/** Device memory: kernel attributes with a cache mode; `uc-` gives 0x8000000000000173. */
export function ioProtection(mode: CacheMode): Protection {
  return { low: KERNEL_LOW | CACHE_BITS[mode], high: PTE_XD_HIGH };
}
