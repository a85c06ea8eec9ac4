/**
 * The working set: how many different pages a program touches in each window of so many references. A bit for each page of a region of
 * 2 MiB says whether the window has touched it, and another whether anything has.
 */

import type { ReferenceBatch } from "./reference-batch.ts";

/** A region: what one page table maps. */
const REGION_SHIFT = 21;
const REGION_MASK = 2 ** REGION_SHIFT - 1;
const PER_REGION = 2 ** -REGION_SHIFT;
/** Numbers of regions in 48-bit addresses: those of another address space begin here. */
const REGIONS_OF_SPACE = 2 ** (48 - REGION_SHIFT);
/** Words of a region's bits for the window, and behind them as many for the whole trace. */
const REGION_WORDS = 16;
const WORDS_SHIFT = 5;
const PAGE_SHIFT = 12;
/** A word has the bits of 32 pages. */
const WORD_SHIFT = PAGE_SHIFT + 5;
const NO_REGION = -1;
const NO_WINDOW = -1;
/** log2 of the regions that there is room for at the beginning, and of the slots of the table that finds them. */
const FIRST_SHIFT = 6;
/** How many regions are remembered in front of the table; a power of two. */
const RECENT = 2048;

/** Counts different pages, over everything and by window. Memory grows with the regions, and by 4 bytes a window. */
export class PageWindows {
  /** References in a window. */
  readonly windowReferences: number;
  /** Different pages so far. */
  pages = 0;
  private counts = new Uint32Array(64);
  private closed = 0;
  private inWindow = 0;
  private left: number;
  private window = 0;
  private regions = 0;
  /** By region, in the order in which they appear: number, bits, and the window that the bits are of. */
  private numbers = new Float64Array(1 << FIRST_SHIFT);
  private bits = new Int32Array(1 << (FIRST_SHIFT + WORDS_SHIFT));
  private windowOf = new Int32Array(1 << FIRST_SHIFT);
  /** Regions by a hash of their numbers: index + 1, or 0. Twice as many slots as there is room for regions. */
  private table = new Int32Array(2 << FIRST_SHIFT);
  /** Numbers of regions used in this window, by their low bits, and where their bits begin. */
  private readonly recent = new Float64Array(RECENT).fill(NO_REGION);
  private readonly recentAt = new Int32Array(RECENT);

  constructor(windowReferences: number) {
    this.windowReferences = windowReferences;
    this.left = windowReferences;
  }

  /**
   * References to `addresses[from]` to `addresses[to - 1]`.
   * @param space number of the address space: pages of different ones are different
   */
  touch(addresses: Float64Array, from: number, to: number, space: number): void {
    let at = from;
    while (at < to) {
      const end = Math.min(to, at + this.left);
      this.touchInWindow(addresses, at, end, space * REGIONS_OF_SPACE);
      this.left -= end - at;
      if (this.left === 0) this.close();
      at = end;
    }
  }

  /** All references of a batch, by its run heads where they are of one window. */
  touchBatch({ addresses, length, headAddresses, runHeads }: ReferenceBatch, space: number): void {
    if (length > this.left) {
      this.touch(addresses, 0, length, space);
      return;
    }
    this.touchInWindow(headAddresses, 0, runHeads, space * REGIONS_OF_SPACE);
    this.left -= length;
    if (this.left === 0) this.close();
  }

  private touchInWindow(addresses: Float64Array, from: number, to: number, firstRegion: number): void {
    const { recent, recentAt } = this;
    let { bits } = this;
    for (let i = from; i < to; i++) {
      const la = addresses[i];
      const low = la | 0;
      const region = (la - (low & REGION_MASK)) * PER_REGION + firstRegion;
      const slot = low >>> REGION_SHIFT;
      if (recent[slot] !== region) {
        recentAt[slot] = this.begin(region) << WORDS_SHIFT;
        recent[slot] = region;
        bits = this.bits;
      }
      const word = recentAt[slot] + ((low >>> WORD_SHIFT) & (REGION_WORDS - 1));
      const bit = 1 << (low >>> PAGE_SHIFT);
      if ((bits[word] & bit) === 0) this.note(word, bit);
    }
  }

  /** Different pages of each window; the last may be shorter than the others. */
  windows(): number[] {
    const all = [...this.counts.subarray(0, this.closed)];
    if (this.left < this.windowReferences) all.push(this.inWindow);
    return all;
  }

  private note(word: number, bit: number): void {
    const { bits } = this;
    bits[word] |= bit;
    this.inWindow++;
    if ((bits[word + REGION_WORDS] & bit) !== 0) return;
    bits[word + REGION_WORDS] |= bit;
    this.pages++;
  }

  /** The index of a region, whose bits are of this window from now on. */
  private begin(region: number): number {
    const index = this.find(region);
    if (this.windowOf[index] !== this.window) {
      this.windowOf[index] = this.window;
      const first = index << WORDS_SHIFT;
      this.bits.fill(0, first, first + REGION_WORDS);
    }
    return index;
  }

  private find(region: number): number {
    const { table, numbers } = this;
    let at = slotOf(region, table.length - 1);
    for (; table[at] !== 0; at = (at + 1) & (table.length - 1))
      if (numbers[table[at] - 1] === region) return table[at] - 1;
    if (this.regions === numbers.length) {
      this.grow();
      return this.find(region);
    }
    const index = this.regions++;
    numbers[index] = region;
    this.windowOf[index] = NO_WINDOW;
    table[at] = index + 1;
    return index;
  }

  private close(): void {
    if (this.closed === this.counts.length) {
      const grown = new Uint32Array(this.closed * 2);
      grown.set(this.counts);
      this.counts = grown;
    }
    this.counts[this.closed++] = this.inWindow;
    this.inWindow = 0;
    this.left = this.windowReferences;
    this.window++;
    this.recent.fill(NO_REGION);
  }

  private grow(): void {
    const { numbers, bits, windowOf, regions } = this;
    this.numbers = new Float64Array(2 * regions);
    this.numbers.set(numbers);
    this.bits = new Int32Array(2 * bits.length);
    this.bits.set(bits);
    this.windowOf = new Int32Array(2 * regions);
    this.windowOf.set(windowOf);
    const table = new Int32Array(4 * regions);
    for (let index = 0; index < regions; index++) {
      let at = slotOf(numbers[index], table.length - 1);
      while (table[at] !== 0) at = (at + 1) & (table.length - 1);
      table[at] = index + 1;
    }
    this.table = table;
  }
}

/** Where a region is looked for first: Fibonacci hashing of its low 32 bits, with those above mixed in. */
function slotOf(region: number, mask: number): number {
  const mixed = (region | 0) ^ Math.floor(region / 2 ** 32);
  return (Math.imul(mixed, 0x9e3779b1) >>> 7) & mask;
}
