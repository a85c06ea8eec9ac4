/**
 * What a TLB keeps of a translation beside its page frame, packed in 16 bits, and the page sizes (Intel SDM vol.
 * 3A, 4.10.2.2 "Caching Translations in TLBs": the access rights and attributes come from all entries of the walk).
 */

/** R/W: 1 in every entry of the walk. */
export const TR_RW = 1 << 0;
/** U/S: 1 in every entry of the walk: a user-mode address. */
export const TR_USER = 1 << 1;
/** XD: 1 in some entry of the walk. */
export const TR_XD = 1 << 2;
/** D of the leaf when it was read. */
export const TR_DIRTY = 1 << 3;
/** G of the leaf, with CR4.PGE = 1. */
export const TR_GLOBAL = 1 << 4;
/** R/W: 1 in every entry above the leaf. */
export const TR_UPPER_RW = 1 << 5;
/** Position of the three-bit PAT index (PAT, PCD, PWT). */
export const TR_PAT_SHIFT = 6;
/** Position of the size of the page in the page tables. */
export const TR_SIZE_SHIFT = 9;
/** Position of the protection key; the bit above it repeats {@link TR_USER}. */
export const TR_KEY_SHIFT = 11;
/** All of them. */
export const TR_MASK = 0xffff;

/**
 * What a combined translation of a guest has beside these (Intel SDM vol. 3C, 29.4.1 "Information That May Be Cached"); all are 0 in any
 * other. First, the position of the size of the page in the guest's tables, which may be larger than what both stages map at once.
 */
export const TR_GUEST_SIZE_SHIFT = 16;
/** The second stage refuses reads. */
export const TR_NO_READ = 1 << 18;
/** The second stage refuses writes, or must set a dirty flag for one. */
export const TR_NO_WRITE = 1 << 19;
/** The second stage refuses instruction fetches. */
export const TR_NO_FETCH = 1 << 20;
/** All of what {@link TR_MASK} has not. */
export const TR_GUEST_MASK = 0x1f_0000;

/** A 4 KiB page. */
export const SIZE_4K = 0;
/** A 2 MiB page. */
export const SIZE_2M = 1;
/** A 1 GiB page. */
export const SIZE_1G = 2;
/** Not a page: an entry of a paging-structure cache. */
export const SIZE_TABLE = 3;

/** Bytes of a page of each size. */
export const SIZE_BYTES = [4096, 0x20_0000, 0x4000_0000] as const;

/** What people call the sizes. */
export const SIZE_NAMES = ["4K", "2M", "1G", "table"] as const;

/**
 * Whose translation an entry is, in one number, its context: the PCID, or {@link GLOBAL_CONTEXT} in its place, and the number of the guest
 * times {@link GUEST_CONTEXTS} (arch/tlb/guest-numbers.ts). Without a guest this is 0, so that the context is the PCID.
 */
export const GUEST_CONTEXTS = 8192;
/** Stands for the PCID of a global translation: no real PCID. */
export const GLOBAL_CONTEXT = 4096;
/** Stands for all PCIDs of a guest, or of the host, where entries are removed. */
export const EVERY_PCID = 8191;
/** What the tag of an entry of a guest adds, so that it never is that of one of the host. */
export const GUEST_TAG = 512;

/** The part of a context that is not the guest's number; what is exported V8 does not fold (arch/fast-path/README.md, "Constants"). */
const PCID_PART = 8191;
const GLOBAL_PCID = 4096;

/** Whether a context is that of a global translation. */
export function isGlobalContext(context: number): boolean {
  return (context & GLOBAL_PCID) !== 0;
}

/** Whether `context` is among those that `wanted`, a context with a PCID or with {@link EVERY_PCID}, stands for; global ones if asked to. */
export function isAmongContexts(context: number, wanted: number, globals: boolean): boolean {
  if (((context ^ wanted) & ~PCID_PART) !== 0) return false;
  if (isGlobalContext(context)) return globals;
  return context === wanted || (wanted & PCID_PART) === PCID_PART;
}

/**
 * What the tag of an entry of a table adds to its address, beside {@link TAG_LEVEL_STEP} for each level. All these are below the
 * size of a page, so that no address of a page is the tag of another entry, and multiples of 32, which doubles near 2^58 are exact to
 * (linear-address.ts, wide pages).
 */
export const TABLE_TAG = 3072;
/** What the tag of an entry of a table adds for each level. */
export const TAG_LEVEL_STEP = 64;
/** What the tag of a page adds to its address for each size. */
export const TAG_SIZE_STEP = 1024;
