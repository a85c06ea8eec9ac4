/** Values written by a person, read strictly: a wrong one is refused with what was expected. */
import { ValueError } from "./errors.ts";
import { suggestion } from "./suggestion.ts";

const UNIT_BYTES: Readonly<Record<string, number>> = {
  "": 1,
  b: 1,
  k: 2 ** 10,
  kib: 2 ** 10,
  m: 2 ** 20,
  mib: 2 ** 20,
  g: 2 ** 30,
  gib: 2 ** 30,
  t: 2 ** 40,
  tib: 2 ** 40,
  page: 4096,
  pages: 4096,
};

/**
 * The bytes that a size stands for: `4GiB`, `512M`, `1.5g`, `16 pages`, or bytes alone, decimal or hexadecimal (`0x200000`). Units are
 * powers of 1024, and pages are of 4 KiB. NaN for other text.
 */
export function sizeBytes(text: string): number {
  if (/^0x[0-9a-f]{1,13}$/i.test(text)) return Number(text);
  const match = /^(\d+(?:\.\d+)?) ?([a-z]*)$/i.exec(text);
  const unit = match?.[2].toLowerCase() ?? "";
  return match !== null && Object.hasOwn(UNIT_BYTES, unit) ? Number(match[1]) * UNIT_BYTES[unit] : Number.NaN;
}

/**
 * How many of `unitBytes` a text stands for: a number of them as it is, or a size with its unit (`2M` is 512 pages). NaN for other text.
 */
export function sizeIn(unitBytes: number, text: string): number {
  if (/^(\d+|0x[0-9a-f]{1,13})$/i.test(text)) return Number(text);
  return sizeBytes(text) / unitBytes;
}

/**
 * A parser of numbers of pages from `low` to `high`: `512`, or a size with its unit, such as `2MiB`.
 * @throws ValueError (from the parser) for anything else
 */
export function pageCount(low: number, high: number): (text: string) => number {
  return (text) => {
    const pages = sizeIn(UNIT_BYTES.page, text);
    if (Number.isInteger(pages) && pages >= low && pages <= high) return pages;
    throw new ValueError("", text, `a number of pages from ${low} to ${high}, or a size such as 2MiB`);
  };
}

/**
 * The one of `words` that a text is.
 * @throws ValueError for another text, with what may have been meant
 */
export function oneOf<T extends string>(words: readonly T[], text: string): T {
  const found = words.find((word) => word === text);
  if (found !== undefined) return found;
  throw new ValueError("", text, `one of ${words.join(", ")}${suggestion(text, words)}`);
}

/**
 * A parser of whole decimal numbers from `low` to `high`.
 * @throws ValueError (from the parser) for anything else
 */
export function wholeNumber(low: number, high: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN;
    if (value >= low && value <= high) return value;
    throw new ValueError("", text, `a whole number from ${low} to ${high}`);
  };
}

/**
 * A parser of sizes (`sizeBytes`) from `low` to `high` bytes that are a multiple of 4096.
 * @throws ValueError (from the parser) for anything else
 */
export function memorySize(low: number, high: number): (text: string) => number {
  return (text) => {
    const bytes = sizeBytes(text);
    if (bytes >= low && bytes <= high && bytes % 4096 === 0) return bytes;
    const range = `from ${formatBinarySize(low)} to ${formatBinarySize(high)}`;
    throw new ValueError("", text, `a size such as 4GiB or 512MiB, a multiple of 4KiB ${range}`);
  };
}

/**
 * The 64 bits of an address in hexadecimal (`0xffffc90000000000`) or decimal, as tracepoints print some.
 * @throws ValueError for anything else
 */
export function address64(text: string): bigint {
  const isNumber = /^(0x[0-9a-f]{1,16}|\d{1,20})$/i.test(text);
  const value = isNumber ? BigInt(text) : -1n;
  if (value >= 0n && value < 1n << 64n) return value;
  throw new ValueError("", text, "an address such as 0xffffc90000000000, or the same in decimal");
}

/** `16MiB`, `4GiB`: a size in the largest unit that divides it. */
function formatBinarySize(bytes: number): string {
  for (const unit of ["TiB", "GiB", "MiB", "KiB"]) {
    const size = UNIT_BYTES[unit.toLowerCase()];
    if (bytes % size === 0) return `${bytes / size}${unit}`;
  }
  return `${bytes}B`;
}
