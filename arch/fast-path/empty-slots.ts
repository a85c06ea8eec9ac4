/** What TLBs of the fast path do with slots that are empty, and with the numbers of entries, as `Tlb.insert` does. */

import * as layout from "../tlb/cpu-arrays.ts";

// The module's own constants, which V8 folds into the code (README.md, "Constants").
const { ATTRIBUTE_SIZE_SHIFT, CELL_SHIFT, HELD_COUNT_MASK, HELD_EMPTY_SHIFT, LARGE_TRANSLATIONS_WORD, SET_HELD } =
  layout;

/**
 * Takes the first empty place of a set that is not full.
 * @param row word of the set's row
 * @param first its first place
 * @param filledWays entries of a full set
 */
export function takeEmptySlot(
  cells: Float64Array,
  words: Int32Array,
  row: number,
  first: number,
  filledWays: number,
): number {
  const held = words[(row + SET_HELD) | 0];
  const used = held & HELD_COUNT_MASK;
  let way = held >> HELD_EMPTY_SHIFT;
  // As many entries as there are slots below are those: this one is empty, and need not be looked at, where the host's caches do not have it.
  if (used !== way) while (!isEmpty(cells, first + way)) way++;
  const count = (used + 1) | 0;
  words[(row + SET_HELD) | 0] = count < filledWays ? count | ((way + 1) << HELD_EMPTY_SHIFT) : count;
  return (first + way) | 0;
}

function isEmpty(cells: Float64Array, place: number): boolean {
  return Number.isNaN(cells[place << CELL_SHIFT]);
}

/**
 * Counts an entry with such attributes.
 * @param base the first word of what the CPU has
 * @param sizeAt the word, from there on, of the number of entries of size 0
 */
export function countOne(words: Int32Array, base: number, sizeAt: number, attributes: number): void {
  change(words, base, sizeAt, attributes, 1);
}

/** Counts an entry with attributes `before`, in place of which another goes, as one with `attributes`. */
export function countAs(words: Int32Array, base: number, sizeAt: number, before: number, attributes: number): void {
  change(words, base, sizeAt, before, -1);
  change(words, base, sizeAt, attributes, 1);
}

function change(words: Int32Array, base: number, sizeAt: number, attributes: number, by: number): void {
  const size = (attributes >> ATTRIBUTE_SIZE_SHIFT) & 3;
  words[(base + sizeAt + size) | 0] += by;
  if (size === 1 || size === 2) words[(base + LARGE_TRANSLATIONS_WORD) | 0] += by;
}
