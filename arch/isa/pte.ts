/**
 * Paging-structure entries. An entry is 64 bits in physical memory, handled here as two 32-bit words: `low` (bits 31:0)
 * and `high` (bits 63:32). Bit positions: Intel SDM vol. 3A, tables 4-15 to 4-20 (4-level and 5-level paging).
 */

/** P: the entry is present. */
export const PTE_PRESENT = 1 << 0;
/** R/W: writes are allowed. */
export const PTE_RW = 1 << 1;
/** U/S: user-mode accesses are allowed. */
export const PTE_USER = 1 << 2;
/** PWT: page-level write-through, bit 0 of the PAT index. */
export const PTE_PWT = 1 << 3;
/** PCD: page-level cache disable, bit 1 of the PAT index. */
export const PTE_PCD = 1 << 4;
/** A: the entry has been used by a walk. */
export const PTE_ACCESSED = 1 << 5;
/** D (leaf): the page has been written. */
export const PTE_DIRTY = 1 << 6;
/** PS (PDE, PDPTE): the entry maps a large page. */
export const PTE_PAGE_SIZE = 1 << 7;
/** PAT (4 KiB leaf): bit 2 of the PAT index. */
export const PTE_PAT = 1 << 7;
/** G (leaf): the translation is global. */
export const PTE_GLOBAL = 1 << 8;
/** PAT (2 MiB and 1 GiB leaf): bit 2 of the PAT index. */
export const PTE_PAT_LARGE = 1 << 12;

/** XD: bit 63, here bit 31 of the high word; instruction fetches are refused. */
export const PTE_XD_HIGH = 0x8000_0000 | 0;
/** Address bits 51:32 in the high word. */
export const PTE_ADDRESS_HIGH = 0x000f_ffff;
/** Position of the protection key (bits 62:59) in the high word. */
export const PTE_PKEY_SHIFT_HIGH = 27;

/** Entries in one paging structure. */
export const ENTRIES_PER_TABLE = 512;

/** The frame number (physical address / 4096) in bits 51:12 of an entry; up to 2^40 - 1. */
export function entryFrame(low: number, high: number): number {
  return (high & PTE_ADDRESS_HIGH) * 0x10_0000 + (low >>> 12);
}

/** The low word of an entry for `frame` with the attribute bits 11:0 in `attributes`. */
export function entryLow(frame: number, attributes: number): number {
  return (frame << 12) | (attributes & 0xfff);
}

/** The high word of an entry for `frame` with the attribute bits 63:52 in `attributesHigh` (as a high word). */
export function entryHigh(frame: number, attributesHigh: number): number {
  return ((frame / 0x10_0000) & PTE_ADDRESS_HIGH) | (attributesHigh & ~PTE_ADDRESS_HIGH);
}
