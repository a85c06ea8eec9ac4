/**
 * Whether TLBs without flushes (arch/tlb/flush-attribution.ts) hold entries of other sizes than that of a page that one kind of access asks
 * for: one at its address may answer in place of the entry that answers with flushes.
 */

import * as translation from "../isa/translation.ts";
import type { CpuArrays } from "../tlb/cpu-arrays.ts";
import * as layout from "../tlb/cpu-arrays.ts";
import type { Tlb } from "../tlb/tlb.ts";
import type { TlbsOfKind } from "../tlb/tlb-hierarchy.ts";

// The module's own constants, which V8 folds into the code (README.md, "Constants").
const { SIZE_1G, SIZE_2M, SIZE_4K, SIZE_BYTES, TAG_SIZE_STEP } = translation;
const { LARGE_TRANSLATIONS_WORD } = layout;

/** In place of a word with a number of entries, where no TLB holds them or they are not of another size. */
const NO_COUNT = 0;

/** One size of page in one TLB. */
interface HeldSize {
  readonly tlb: Tlb;
  /** `SIZE_*` */
  readonly size: number;
}

/** Entries of other sizes than one. */
export class UnflushedSizes {
  protected readonly isSmall: boolean;
  /** The words of the TLBs without flushes. */
  protected readonly words: Int32Array;
  /** Where entries of other sizes may be, and those of the first level that are asked for before the ones of this size. */
  private readonly others: readonly HeldSize[];
  private readonly smallerInFirst: readonly HeldSize[];
  /** The size of the pages, as pieces of one are no entries of another size, and the TLB that may have pieces of larger ones among them; else null. */
  private readonly size: number;
  private readonly piecesHome: Tlb | null;
  /**
   * Words of the numbers of such entries by size and level, of 2 MiB by whether they are smaller or larger ones. Each is a field of its own,
   * as V8 then has the address of each as a constant: a loop over them made a second-level hit 1.3 times as slow.
   */
  private readonly smallInFirst: number;
  private readonly largeInFirst: number;
  private readonly largerInFirst: number;
  private readonly hugeInFirst: number;
  /** Word of the number of translations of larger pages. */
  private readonly largeAt: number;
  private readonly smallInSecond: number;
  private readonly smallInOther: number;
  private readonly largeInSecond: number;
  private readonly hugeInSecond: number;

  constructor(size: number, { words, firstWord }: CpuArrays, { first, second }: TlbsOfKind) {
    this.isSmall = size === SIZE_4K;
    this.words = words;
    this.largeAt = firstWord + LARGE_TRANSLATIONS_WORD;
    this.smallerInFirst = heldBy(first, SIZE_4K, size);
    const larger = [...heldBy(first, size + 1, SIZE_1G + 1), ...heldBy(second, size + 1, SIZE_1G + 1)];
    const isHome = second.some((tlbs, each) => each > size && tlbs.length === 0);
    this.size = size;
    this.piecesHome = isHome ? (second[size][0] ?? null) : null;
    this.others = [...this.smallerInFirst, ...heldBy(second, SIZE_4K, isHome ? size + 1 : size), ...larger];
    const countOf = (each: number, tlb?: Tlb) => (tlb === undefined || each === size ? NO_COUNT : tlb.sizeAt + each);
    const smallerCountOf = (each: number, tlb?: Tlb) => (each < size ? countOf(each, tlb) : NO_COUNT);
    this.smallInFirst = countOf(SIZE_4K, first[SIZE_4K][0]);
    this.largeInFirst = smallerCountOf(SIZE_2M, first[SIZE_2M][0]);
    this.largerInFirst = size < SIZE_2M ? countOf(SIZE_2M, first[SIZE_2M][0]) : NO_COUNT;
    this.hugeInFirst = countOf(SIZE_1G, first[SIZE_1G][0]);
    this.smallInSecond = countOf(SIZE_4K, second[SIZE_4K][0]);
    this.smallInOther = countOf(SIZE_4K, second[SIZE_4K][1]);
    this.largeInSecond = smallerCountOf(SIZE_2M, second[SIZE_2M][0]);
    this.hugeInSecond = countOf(SIZE_1G, second[SIZE_1G][0]);
  }

  /** Whether a page that no TLB holds with flushes may be held in an entry of another size. */
  mayFindOther(): boolean {
    if (this.piecesHome?.mayHoldPieces === true) return true;
    if (this.isSmall) return this.words[this.largeAt] !== 0;
    return this.areAskedBefore() || this.isHeld(this.hugeInSecond);
  }

  /** Whether there are entries of other sizes that are asked for before those of the second level of this size. */
  protected areAskedBefore(): boolean {
    if (this.areSmallerInFirst() || this.isHeld(this.largerInFirst) || this.isHeld(this.hugeInFirst)) return true;
    return this.isHeld(this.smallInSecond) || this.isHeld(this.smallInOther) || this.isHeld(this.largeInSecond);
  }

  /** Whether there are smaller entries in the first level, where they are asked for before those of this size. */
  protected areSmallerInFirst(): boolean {
    return this.isHeld(this.smallInFirst) || this.isHeld(this.largeInFirst);
  }

  /** Whether an entry of another size is at the address of a page of 4 KiB, of whatever context. */
  protected areOthersAt(page: number): boolean {
    return hold(this.others, page, this.size);
  }

  /** Whether a smaller one of the first level is. */
  protected isSmallerInFirstAt(page: number): boolean {
    return hold(this.smallerInFirst, page, this.size);
  }

  private isHeld(count: number): boolean {
    return count !== NO_COUNT && this.words[count] !== 0;
  }
}

/** The TLBs of a level for pages of the sizes from one on, up to another. */
function heldBy(level: TlbsOfKind["first"], from: number, end: number): HeldSize[] {
  return level.slice(from, end).flatMap((tlbs, i) => tlbs.map((tlb) => ({ tlb, size: from + i })));
}

/** Whether entries that are no pages of a size, nor pieces of one, are at an address. */
function hold(held: readonly HeldSize[], page: number, except: number): boolean {
  for (let i = 0; i < held.length; i++) {
    const { tlb, size } = held[i];
    if (tlb.words[tlb.sizeAt + size] === 0) continue;
    const number = Math.floor(page / SIZE_BYTES[size]);
    if (tlb.holdsTag(number * SIZE_BYTES[size] + size * TAG_SIZE_STEP, number | 0, except)) return true;
  }
  return false;
}
