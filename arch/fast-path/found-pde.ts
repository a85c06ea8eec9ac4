/**
 * For the host's short path (small-pages.ts): a page-directory entry that is not cached yet, but whose PDPTE is. It is read
 * without a trace first; what the general path (page-walk.ts) does on its way through it is done once the walk is known to
 * succeed on the short path. Until then it stands in a record of its own, in the form that the cache of PDEs has.
 */

import { LEVEL_BYTES } from "../isa/linear-address.ts";
import type { PagingMode } from "../isa/paging-mode.ts";
import { entryFrame, PTE_ACCESSED, PTE_PAGE_SIZE, PTE_PRESENT } from "../isa/pte.ts";
import { SIZE_TABLE } from "../isa/translation.ts";
import { CHUNK_FRAME_MASK, FRAME_WORDS_SHIFT, type PhysicalMemory } from "../memory/physical-memory.ts";
import {
  ATTRIBUTE_PCID_SHIFT,
  ATTRIBUTE_SIZE_SHIFT,
  CELL_SHIFT,
  type CpuArrays,
  FOUND_PDE_PLACE,
  WORD_ATTRIBUTES,
  WORD_FRAME,
  WORD_SHIFT,
} from "../tlb/cpu-arrays.ts";
import { LEVEL_PDE, LEVEL_PDPTE, type PagingStructureCaches, structureTag } from "../tlb/paging-structure-caches.ts";
import type { Tlb } from "../tlb/tlb.ts";
import type { WalkCaches } from "../tlb/walk-caches.ts";
import { combineRights } from "../walk/page-walk.ts";

const PDPTE_BYTES = LEVEL_BYTES[LEVEL_PDPTE];
const PDE_BYTES = LEVEL_BYTES[LEVEL_PDE];
/** What a PDE has that names a table and needs no bit set. */
const PLAIN = PTE_PRESENT | PTE_ACCESSED;
const PLAIN_MASK = PLAIN | PTE_PAGE_SIZE;
/** Bits of the high word that no frame below 2^28 has. */
const HIGH_FRAME = 0xfff00;

/** The PDE of one CPU's walk. */
export class FoundPde {
  private readonly pde: Tlb | null;
  private readonly pdpte: Tlb | null;
  private readonly cells: Float64Array;
  private readonly words: Int32Array;
  private readonly mode: PagingMode;
  private readonly memory: PhysicalMemory;
  private readonly walkCaches: WalkCaches;
  /** Where its PDPTE is, the line of memory that it lies in, and the rights down to it. */
  private slot = 0;
  private line = 0;
  private rights = 0;

  constructor(
    arrays: CpuArrays,
    structures: PagingStructureCaches,
    mode: PagingMode,
    memory: PhysicalMemory,
    walkCaches: WalkCaches,
  ) {
    this.pde = structures.simplePde();
    this.pdpte = structures.ownCacheOf(LEVEL_PDPTE);
    this.cells = arrays.cells;
    this.words = arrays.words;
    this.mode = mode;
    this.memory = memory;
    this.walkCaches = walkCaches;
  }

  /**
   * Reads the PDE for the page at `la` into the record, where it is plain: present, accessed, naming a table in memory.
   * @param number bits 19:0 of the page's number
   */
  read(la: number, number: number): boolean {
    const { pdpte, mode, words } = this;
    if (this.pde === null || pdpte === null) return false;
    const region = Math.floor(la / PDPTE_BYTES);
    const slot = pdpte.find(region * PDPTE_BYTES + structureTag(LEVEL_PDPTE), region | 0, mode.pcid);
    if (slot < 0) return false;
    const directory = pdpte.frameOf(slot);
    const chunk = this.memory.chunkAt(directory);
    if (chunk === null) return false;
    const index = (number >>> 9) & 511;
    const at = ((directory & CHUNK_FRAME_MASK) << FRAME_WORDS_SHIFT) + (index << 1);
    const low = chunk[at];
    const high = chunk[at + 1];
    if ((low & PLAIN_MASK) !== PLAIN || (high & (mode.reservedHigh | HIGH_FRAME)) !== 0) return false;
    this.slot = slot;
    this.line = directory * 64 + (index >> 3);
    this.rights = combineRights(pdpte.flagsOf(slot), low, high);
    const record = FOUND_PDE_PLACE << WORD_SHIFT;
    this.cells[FOUND_PDE_PLACE << CELL_SHIFT] = la - (number & 511) * 4096 + structureTag(LEVEL_PDE);
    words[record | WORD_FRAME] = entryFrame(low, high);
    words[record | WORD_ATTRIBUTES] =
      this.rights | (mode.pcid << ATTRIBUTE_PCID_SHIFT) | (SIZE_TABLE << ATTRIBUTE_SIZE_SHIFT);
    return true;
  }

  /** Frame of the table that it names. */
  get frame(): number {
    return this.words[(FOUND_PDE_PLACE << WORD_SHIFT) | WORD_FRAME];
  }

  /** Fetches the PDE as a walk does; the cycles that it takes. */
  fetch(): number {
    (this.pdpte as Tlb).touch(this.slot);
    return this.walkCaches.fetch(this.line);
  }

  /** Puts the PDE into the cache; its place there. */
  enter(): number {
    const pde = this.pde as Tlb;
    const tag = this.cells[FOUND_PDE_PLACE << CELL_SHIFT];
    const number = Math.floor(tag / PDE_BYTES) | 0;
    return pde.firstPlace + pde.insert(tag, number, this.mode.pcid, SIZE_TABLE, this.frame, this.rights);
  }
}
