/**
 * Which cached translations one kind of access may use in the CPU's present context: its control registers, CPL, protection-key
 * rights and PCID. The answer for the last translation is kept, as most translations of a loop have the same attributes.
 */

import * as translation from "../isa/translation.ts";
import type { PhysicalMemory } from "../memory/physical-memory.ts";
import type { CpuArrays } from "../tlb/cpu-arrays.ts";
import * as layout from "../tlb/cpu-arrays.ts";
import type { KnownChunks } from "./known-chunks.ts";
import * as results from "./results.ts";

// The module's own constants, which V8 folds into the code (README.md, "Constants").
const { TR_GLOBAL, TR_KEY_SHIFT, TR_MASK, TR_SIZE_SHIFT } = translation;
const { ATTRIBUTE_MEMORY, ATTRIBUTE_PCID_MASK, ATTRIBUTE_PCID_SHIFT, ATTRIBUTE_SIZE_SHIFT } = layout;
const { ATTRIBUTE_STORES, RULES_WORD, WORD_ATTRIBUTES, WORD_FRAME, WORD_SHIFT } = layout;
const { NO_ATTRIBUTES } = results;

/** PCID of a context of which the general path has not translated anything yet. */
const NO_PCID = -1;
/** The attributes of size: that of the entry, and that of the page in the page tables. A 4 KiB page has none, a piece of a larger one has. */
const SIZES = (3 << ATTRIBUTE_SIZE_SHIFT) | (3 << TR_SIZE_SHIFT);
/** In place of the low twelve bits of a PTE that is known to allow the access, where none is: no PTE has them all set. */
const NO_PTE = -1;

/** What one kind of access (load 0, store 1, fetch 2) may use. */
export class Permissions {
  /**
   * The PCID whose translations may be used beside global ones. It is -1, no PCID, until the general path has translated
   * something in the present context: a second-level TLB with a limited number of PCIDs must learn of the PCID first.
   */
  pcid = NO_PCID;
  /** Attributes (`WORD_ATTRIBUTES`) of the translation that was found allowed last; -1, which none has, when there is none. */
  allowedAttributes = NO_ATTRIBUTES;
  /** Bits 11:0 of the PTE that was found allowed last, and its high word but for the bits of the frame. */
  allowedPteLow = NO_PTE;
  /** The high word of that PTE but for the bits of the frame. */
  allowedPteHigh = 0;
  /** Attributes of the cached PDE above that PTE. */
  allowedPde = 0;
  /** What the two come to: the attributes of the translation. */
  pteAttributes = 0;

  private readonly words: Int32Array;
  private readonly further: Int32Array;
  private readonly memory: PhysicalMemory;
  /** Word of the rules of this kind of access (paging-mode.ts). */
  private readonly rulesWord: number;

  constructor(kind: number, arrays: CpuArrays, memory: PhysicalMemory) {
    this.words = arrays.words;
    this.further = arrays.further;
    this.memory = memory;
    this.rulesWord = arrays.firstWord + RULES_WORD + 4 * kind;
  }

  /** Begins another context: nothing is known to be allowed, and only global translations may be, until `pcid` is set. */
  forget(): void {
    this.pcid = NO_PCID;
    this.allowedAttributes = NO_ATTRIBUTES;
    this.allowedPteLow = NO_PTE;
  }

  /**
   * Whether the translation of a 4 KiB page at `place` may be used and leads to memory below frame 2^31. If so, its attributes
   * are those allowed from now on, and it is marked with `ATTRIBUTE_MEMORY`.
   */
  allows(place: number): boolean {
    const { words } = this;
    const attributes = words[(place << WORD_SHIFT) | WORD_ATTRIBUTES] & ~ATTRIBUTE_STORES;
    const pcid = (attributes >> ATTRIBUTE_PCID_SHIFT) & ATTRIBUTE_PCID_MASK;
    // What is no whole number, and so no address, can look like the tag of an entry of another size.
    if ((attributes & SIZES) !== 0) return false;
    if ((attributes & TR_GLOBAL) === 0 && pcid !== this.pcid) return false;
    if (!this.rulesAllow(attributes & TR_MASK)) return false;
    if ((attributes & ATTRIBUTE_MEMORY) === 0) {
      const frame = words[(place << WORD_SHIFT) | WORD_FRAME];
      if (this.further[place] !== 0 || frame < 0 || this.memory.wholeChunkAt(frame) === null) return false;
      words[(place << WORD_SHIFT) | WORD_ATTRIBUTES] = attributes | ATTRIBUTE_MEMORY;
    }
    this.allowedAttributes = attributes | ATTRIBUTE_MEMORY;
    return true;
  }

  /**
   * The attributes of the entry at `place`, a larger page or a piece of one, if it may be used and leads to memory below frame 2^31: it is
   * marked with `ATTRIBUTE_MEMORY` then. Else `NO_ATTRIBUTES`.
   * @param sizes its attributes of size
   * @param chunks the chunks of memory, one of which the entry has to be in; null for one that lies in many
   */
  largeAttributes(place: number, sizes: number, chunks: KnownChunks | null): number {
    const { words } = this;
    const at = (place << WORD_SHIFT) | WORD_ATTRIBUTES;
    const attributes = words[at] & ~ATTRIBUTE_STORES;
    if ((attributes & SIZES) !== sizes) return NO_ATTRIBUTES;
    const pcid = (attributes >> ATTRIBUTE_PCID_SHIFT) & ATTRIBUTE_PCID_MASK;
    if ((attributes & TR_GLOBAL) === 0 && pcid !== this.pcid) return NO_ATTRIBUTES;
    if (!this.rulesAllow(attributes & TR_MASK)) return NO_ATTRIBUTES;
    if ((attributes & ATTRIBUTE_MEMORY) === 0) {
      const frame = words[(place << WORD_SHIFT) | WORD_FRAME];
      if (this.further[place] !== 0 || frame < 0) return NO_ATTRIBUTES;
      if (chunks !== null && !chunks.have(frame)) return NO_ATTRIBUTES;
      words[at] |= ATTRIBUTE_MEMORY;
    }
    return attributes | ATTRIBUTE_MEMORY;
  }

  /** Whether a translation with these flags (`TR_*`) allows the access and needs no D bit set: `PagingMode.usable`. */
  rulesAllow(flags: number): boolean {
    const { words, rulesWord } = this;
    const needed = words[rulesWord];
    const deciding = words[rulesWord + 1];
    const deniedKeys = words[rulesWord + 3];
    return ((flags ^ needed) & deciding) === 0 && ((deniedKeys >>> (flags >> TR_KEY_SHIFT)) & 1) === 0;
  }
}
