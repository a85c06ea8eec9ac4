/**
 * The hardware page walk (Intel SDM vol. 3A, chapter 4). The steps are numbered here and in `PageWalker.walk`; sections are the
 * manual's. At a first reading, take step 1 as "begin at CR3" and skip step 8.
 *
 *   1  Begin at the deepest cached paging-structure entry for the address, or at CR3 (4.10.3.2).
 *   2  The entry's address: the table's, with nine bits of the linear address as index (4.5.4). Fetch it through the data caches.
 *   3  P = 0: page fault, with P = 0 in its error code (4.7).
 *   4  A reserved bit is set: page fault, with P and RSVD (4.7).
 *   5  PS = 1 in a PDPTE or PDE, or a PTE: the entry maps the page, else it refers to the next table (4.5.4).
 *   6  The entry maps the page: the rights of all entries together decide the access, then the protection key (4.6).
 *      A refusal is a page fault, with P, and with PK for the key. Else A is set, and D for a write (4.8): done.
 *   7  The entry refers to a table: A is set (4.8), whether the access will be allowed or not.
 *   8  The entry is put into its paging-structure cache, with the rights of all entries so far (4.10.3.1). Back to 2.
 */

import type { Access } from "../isa/access.ts";
import * as accesses from "../isa/access.ts";
import * as faults from "../isa/faults.ts";
import type { PagingMode } from "../isa/paging-mode.ts";
import * as pte from "../isa/pte.ts";
import { entryFrame } from "../isa/pte.ts";
import * as translation from "../isa/translation.ts";
import type { PhysicalMemory } from "../memory/physical-memory.ts";
import * as chunks from "../memory/physical-memory.ts";
import type { PagingStructureCaches } from "../tlb/paging-structure-caches.ts";
import type { WalkCaches } from "../tlb/walk-caches.ts";

// The module's own constants, which V8 folds into the code (arch/fast-path/README.md, "Constants").
const { ACCESS_IS_SHADOW_STACK, ACCESS_WRITES } = accesses;
const { PF_PRESENT, PF_RESERVED } = faults;
const { PTE_ACCESSED, PTE_DIRTY, PTE_GLOBAL, PTE_PAGE_SIZE, PTE_PAT_LARGE, PTE_PKEY_SHIFT_HIGH, PTE_PRESENT } = pte;
const { PTE_RW, PTE_USER } = pte;
const { TR_DIRTY, TR_GLOBAL, TR_KEY_SHIFT, TR_PAT_SHIFT, TR_RW, TR_SIZE_SHIFT, TR_UPPER_RW, TR_USER, TR_XD } =
  translation;
const { CHUNK_FRAME_MASK, FRAME_WORDS_SHIFT } = chunks;

const OK = -1;
/** Result of a walk that found a translation and allowed the access. */
export const WALK_OK = OK;

const RIGHTS_AT_CR3 = TR_RW | TR_USER;
/** Rights (`TR_*`) before any entry was seen. */
export const ALL_RIGHTS = RIGHTS_AT_CR3;

/** The page walker of one CPU. */
export class PageWalker {
  /** After a walk: frame of the 4 KiB page walked for. */
  frame = 0;
  /** After a walk: rights and attributes (`TR_*`). */
  flags = 0;
  /** After any walk: cycles that the fetches of entries took. */
  fetchCycles = 0;
  /** After any walk: entries in which A or D were set. */
  bitsSet = 0;

  private readonly memory: PhysicalMemory;
  private readonly mode: PagingMode;
  private readonly structures: PagingStructureCaches;
  private readonly caches: WalkCaches;

  constructor(memory: PhysicalMemory, mode: PagingMode, structures: PagingStructureCaches, caches: WalkCaches) {
    this.memory = memory;
    this.mode = mode;
    this.structures = structures;
    this.caches = caches;
  }

  /** Walks for the page of `la`. Returns `WALK_OK`, or the error code of the page fault (`PF_*`). */
  walk(la: number, access: Access): number {
    const vpn = Math.floor(la / 4096);
    const { mode, memory } = this;
    this.fetchCycles = 0;
    this.bitsSet = 0;
    // Step 1.
    let level = this.structures.lookup(la, mode.pcid, mode.levels);
    let frame = mode.rootFrame;
    let rights = RIGHTS_AT_CR3;
    if (level === 0) {
      level = mode.levels;
    } else {
      frame = this.structures.frame;
      rights = this.structures.flags;
      level--;
    }
    for (;;) {
      // Step 2. There are eight entries to a line of 64 bytes.
      const index = tableIndex(vpn, level);
      this.fetchCycles += this.caches.fetch(frame * 64 + (index >> 3));
      if (!memory.has(frame)) return this.unclaimed(access, level);
      const chunk = memory.chunkForRead(frame);
      const at = ((frame & CHUNK_FRAME_MASK) << FRAME_WORDS_SHIFT) + (index << 1);
      const low = chunk[at];
      const high = chunk[at + 1];
      // Step 3.
      if ((low & PTE_PRESENT) === 0) return mode.errorBits[access];
      // Step 4. PS is reserved where it cannot map a page, so afterwards it says whether the entry does.
      if (this.isReserved(low, high, level)) return mode.errorBits[access] | PF_PRESENT | PF_RESERVED;
      // Step 5.
      if (level === 1 || (low & PTE_PAGE_SIZE) !== 0) {
        // Step 6.
        const flags = leafFlags(rights, low, high, level, mode.globalPages);
        const refusal = mode.refusal(access, flags);
        if (refusal >= 0) return mode.errorBits[access] | PF_PRESENT | refusal;
        let bits = PTE_ACCESSED;
        if (ACCESS_WRITES[access] && !ACCESS_IS_SHADOW_STACK[access]) bits |= PTE_DIRTY;
        if ((low & bits) !== bits) {
          chunk[at] = low | bits;
          this.bitsSet++;
        }
        this.flags = (bits & PTE_DIRTY) !== 0 ? flags | TR_DIRTY : flags;
        this.frame = leafFrame(low, high, level, vpn);
        return OK;
      }
      // Step 7.
      if ((low & PTE_ACCESSED) === 0) {
        chunk[at] = low | PTE_ACCESSED;
        this.bitsSet++;
      }
      // Step 8.
      rights = combineRights(rights, low, high);
      frame = entryFrame(low, high);
      this.structures.insert(la, level, mode.pcid, frame, rights);
      level--;
    }
  }

  /** Whether an entry has a reserved bit set. */
  private isReserved(low: number, high: number, level: number): boolean {
    const { mode } = this;
    return (high & mode.reservedHigh) !== 0 || (low & mode.reservedLowOf(low, level)) !== 0;
  }

  /** Steps 4 to 6 where no memory answers for the table: the entry reads as all ones. */
  private unclaimed(access: Access, level: number): number {
    const { mode } = this;
    if (this.isReserved(-1, -1, level)) return mode.errorBits[access] | PF_PRESENT | PF_RESERVED;
    const refusal = mode.refusal(access, leafFlags(RIGHTS_AT_CR3, -1, -1, level, mode.globalPages));
    if (refusal >= 0) return mode.errorBits[access] | PF_PRESENT | refusal;
    this.flags = leafFlags(RIGHTS_AT_CR3, -1, -1, level, mode.globalPages);
    this.frame = 2 ** 40 - 1;
    return OK;
  }
}

/**
 * Index of the entry of `level` (1 PTE to 5 PML5E) for page `vpn` (linear-address.ts); for 48-bit addresses the fifth level sees
 * bit 47 repeated.
 */
export function tableIndex(vpn: number, level: number): number {
  if (level < 4) return ((vpn | 0) >>> (9 * (level - 1))) & 511;
  if (level === 4) return Math.floor(vpn / 0x800_0000) & 511;
  if (vpn >= 2 ** 36) return Math.floor(vpn / 2 ** 36) & 511;
  return vpn >= 2 ** 35 ? 511 : 0;
}

/** The rights that `rights` and a non-leaf entry combine to. */
export function combineRights(rights: number, low: number, high: number): number {
  return (rights & ((low & (PTE_RW | PTE_USER)) >> 1)) | ((rights | (high >>> 29)) & TR_XD);
}

/** Rights and attributes of a translation: those above combined with the leaf's. */
export function leafFlags(rights: number, low: number, high: number, level: number, globalPages: boolean): number {
  const combined = combineRights(rights, low, high);
  const upper = (rights & TR_RW) !== 0 ? TR_UPPER_RW : 0;
  const dirty = (low & PTE_DIRTY) !== 0 ? TR_DIRTY : 0;
  const global = globalPages && (low & PTE_GLOBAL) !== 0 ? TR_GLOBAL : 0;
  const patBit = level === 1 ? low & PTE_PAGE_SIZE : (low & PTE_PAT_LARGE) >> 5;
  const pat = ((low >> 3) & 3) | (patBit >> 5);
  const key = ((high >>> PTE_PKEY_SHIFT_HIGH) & 15) | ((combined & TR_USER) << 3);
  return (
    combined | upper | dirty | global | (pat << TR_PAT_SHIFT) | ((level - 1) << TR_SIZE_SHIFT) | (key << TR_KEY_SHIFT)
  );
}

/** Frame of the 4 KiB page `vpn` inside the page that a leaf of `level` maps. */
export function leafFrame(low: number, high: number, level: number, vpn: number): number {
  if (level === 1) return entryFrame(low, high);
  const mask = level === 2 ? 0x1ff : 0x3_ffff;
  return entryFrame(low & ~0x1fff, high) + ((vpn | 0) & mask);
}
