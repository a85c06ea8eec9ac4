/**
 * Numbers for people. Those of a column have the same number of decimals, so that their points stand below each other: as many as
 * give the smallest of them three significant digits, and never more than they have.
 */

/** Significant digits of the smallest number of a column. */
const SMALLEST_DIGITS = 3;
/** Digits of the largest that decimals may make it: no more than one of the smallest's is added to that. */
const LARGEST_DIGITS = 9;
/** What is smaller than this part of the largest is what sums of binary fractions leave behind. */
const NOISE = 1e-9;

/** Decimals with which numbers of one kind are printed; 0 when all of them are whole. */
function decimalsOf(numbers: readonly number[]): number {
  const fractions = numbers.filter((value) => Number.isFinite(value) && !Number.isInteger(value));
  if (fractions.length === 0) return 0;
  const sizes = numbers.map(Math.abs).filter((size) => size > 0 && size < Number.POSITIVE_INFINITY);
  const largest = sizes.reduce((most, size) => Math.max(most, size), 0);
  const smallest = sizes.reduce((least, size) => (size < largest * NOISE ? least : Math.min(least, size)), largest);
  const first = -magnitudeOf(smallest);
  const room = Math.max(first, LARGEST_DIGITS - 1 - magnitudeOf(largest));
  const most = Math.min(100, Math.max(1, Math.min(first + SMALLEST_DIGITS - 1, room)));
  for (let decimals = 1; decimals < most; decimals++) {
    if (fractions.every((value) => Math.abs(Number(value.toFixed(decimals)) - value) < largest * NOISE))
      return decimals;
  }
  return most;
}

/** 0 for 1 to 9.99, 2 for hundreds, -1 for tenths. */
function magnitudeOf(size: number): number {
  return Number(size.toExponential().split("e")[1]);
}

/** A number by itself, with its thousands set apart: `1,234,567.5`. */
export function grouped(value: number): string {
  return groupedTo(value, decimalsOf([value]));
}

/** A number with its thousands set apart and `decimals` digits after the point. */
function groupedTo(value: number, decimals: number): string {
  // The library of locales is 7 ms to load.
  if (!Number.isFinite(value)) return String(value);
  const [whole, fraction] = fixed(value, decimals).split(".");
  const thousands = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return fraction === undefined ? thousands : `${thousands}.${fraction}`;
}

/** As `toFixed`, without the sign of a number that is rounded to 0. */
function fixed(value: number, decimals: number): string {
  const text = value.toFixed(decimals);
  return /[1-9]/.test(text) ? text : text.replace("-", "");
}

/** A cell of a column as it is printed among the others. */
type CellText = (cell: string | number | null) => string;

/** How the cells of a column are written: numbers with the same number of decimals, text as it is, `-` where there is no figure. */
export function columnText(cells: readonly (string | number | null)[]): CellText {
  const decimals = decimalsOf(cells.filter((cell) => typeof cell === "number"));
  return (cell) => (typeof cell === "number" ? groupedTo(cell, decimals) : (cell ?? "-"));
}
