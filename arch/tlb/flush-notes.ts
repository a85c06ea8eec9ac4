/**
 * Which flush was the last to remove a translation that has not come back since: a note at each entry of the unflushed TLBs
 * (flush-attribution.ts) that has the translation. What they do not hold would have gone without flushes too, so that nobody asks
 * which flush took it: a note goes with the entries that it is at.
 */

import * as translation from "../isa/translation.ts";
import type { Tlb } from "./tlb.ts";

// The module's own constants, which V8 folds into the code (arch/fast-path/README.md, "Constants").
const { SIZE_4K, SIZE_BYTES, SIZE_TABLE, TAG_SIZE_STEP, TR_GLOBAL, TR_SIZE_SHIFT } = translation;

/** Accesses to data, and fetches of instructions: a flush makes refills for each. */
export type Side = 0 | 1;
const SIDES: readonly Side[] = [0, 1];
/** Bits of `TR_*` in which a translation differs from one of another page, or of another PCID. */
const SAME_PAGE = TR_GLOBAL | (3 << TR_SIZE_SHIFT);

/** A page of a size (`SIZE_*`) in the page tables, and whose it is (arch/isa/translation.ts). */
interface Page {
  readonly address: number;
  readonly size: number;
  readonly context: number;
}

/** One of the unflushed TLBs. */
interface Holder {
  readonly tlb: Tlb;
  /** Whether accesses of each side use it. */
  readonly sides: readonly [boolean, boolean];
}

/** The notes of one CPU. */
export class FlushNotes {
  /** Numbers of flushes by place in the unflushed TLBs and by side; 0 for none. */
  readonly flushes: Uint32Array;
  /** Both of a place as one number: 0 for none. */
  readonly pairs: Float64Array;
  private readonly holders: readonly Holder[];

  /** @param places one more than the last place of the TLBs */
  constructor(unflushed: readonly Tlb[], places: number) {
    const buffer = new ArrayBuffer(places * Float64Array.BYTES_PER_ELEMENT);
    this.flushes = new Uint32Array(buffer);
    this.pairs = new Float64Array(buffer);
    this.holders = unflushed.map((tlb) => ({ tlb, sides: sidesOf(tlb) }));
    // A new entry has no note of the one whose place it takes.
    for (const tlb of unflushed) tlb.besides = this.pairs;
  }

  /** A flush removes the entry in `slot` of a TLB: notes it at the unflushed entries of the same page. */
  add(removed: Tlb, slot: number, flush: number): void {
    if (removed.sizeOf(slot) === SIZE_TABLE) return;
    const page = pageOf(removed, slot);
    const sides = sidesOf(removed);
    for (const side of SIDES) if (sides[side]) this.set(page, side, flush);
  }

  /** Notes a flush at all entries of a page that accesses of a side use; 0 removes what is noted. */
  set(page: Page, side: Side, flush: number): void {
    const { holders, flushes } = this;
    for (let i = 0; i < holders.length; i++) {
      const { tlb, sides } = holders[i];
      if (!sides[side]) continue;
      const slot = findPage(tlb, page);
      if (slot >= 0) flushes[2 * (tlb.firstPlace + slot) + side] = flush;
      if (tlb.mayHoldPieces && page.size !== SIZE_4K) this.setPieces(tlb, page, side, flush);
    }
  }

  /**
   * The flush noted at an entry of the unflushed TLBs that translates an access of a kind, if it is for a page like that of the translation
   * with `flags`; 0 for none. The note goes, there and at all entries of the page.
   */
  take(kind: number, tlb: Tlb, slot: number, flags: number): number {
    const side = kind >> 1 === 0 ? 0 : 1;
    const flush = this.flushes[2 * (tlb.firstPlace + slot) + side];
    if (flush === 0 || ((tlb.flagsOf(slot) ^ flags) & SAME_PAGE) !== 0) return 0;
    this.set(pageOf(tlb, slot), side, 0);
    return flush;
  }

  /** Has `visit` called with each entry at which a flush is noted, of a side: the number of its TLB in their order, and its slot. */
  forEach(side: Side, visit: (structure: number, slot: number, flush: number) => void): void {
    this.holders.forEach(({ tlb }, structure) => {
      for (let slot = 0; slot < tlb.slots; slot++) {
        const flush = this.flushes[2 * (tlb.firstPlace + slot) + side];
        if (flush !== 0 && tlb.isUsed(slot)) visit(structure, slot, flush);
      }
    });
  }

  /** Notes a flush at one entry, as {@link forEach} tells of it. Returns whether there is one that accesses of the side use. */
  putBack(side: Side, structure: number, slot: number, flush: number): boolean {
    const { tlb, sides } = this.holders[structure];
    if (!sides[side] || slot >= tlb.slots || !tlb.isUsed(slot) || tlb.sizeOf(slot) === SIZE_TABLE) return false;
    this.flushes[2 * (tlb.firstPlace + slot) + side] = flush;
    return true;
  }

  /** Forgets all. */
  clear(): void {
    this.flushes.fill(0);
  }

  private setPieces(tlb: Tlb, { address, size, context }: Page, side: Side, flush: number): void {
    for (let slot = 0; slot < tlb.slots; slot++) {
      if (!tlb.isUsed(slot)) continue;
      const page = pageOf(tlb, slot);
      if (page.address !== address || page.size !== size || page.context !== context) continue;
      this.flushes[2 * (tlb.firstPlace + slot) + side] = flush;
    }
  }
}

function sidesOf({ kinds }: Tlb): [boolean, boolean] {
  return [kinds.includes("load") || kinds.includes("store"), kinds.includes("fetch")];
}

/** The page of which an entry translates all or a piece. */
function pageOf(tlb: Tlb, slot: number): Page {
  const size = (tlb.flagsOf(slot) >> TR_SIZE_SHIFT) & 3;
  return { address: firstOf(tlb.addressOf(slot), size), size, context: tlb.contextOf(slot) };
}

function firstOf(la: number, size: number): number {
  return size === SIZE_4K ? la : la - (la % SIZE_BYTES[size]);
}

/** The slot of the entry for a whole page; -1 where there is none. */
function findPage(tlb: Tlb, { address, size, context }: Page): number {
  if (tlb.words[tlb.sizeAt + size] === 0) return -1;
  return tlb.findOfContext(address + size * TAG_SIZE_STEP, (address / SIZE_BYTES[size]) | 0, context);
}
