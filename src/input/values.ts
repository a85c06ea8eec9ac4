/** Values written by a person, read strictly: a wrong one is refused with what was expected. */
import { ValueError } from "./errors.ts";

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
};

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
 * A parser of sizes such as `4GiB`, `512M` or `65536` (bytes), from `low` to `high` bytes and a multiple of 4096. Units are
 * powers of 1024.
 * @throws ValueError (from the parser) for anything else
 */
export function memorySize(low: number, high: number): (text: string) => number {
  return (text) => {
    const match = /^(\d+(?:\.\d+)?) ?([a-z]*)$/i.exec(text);
    const unit = match === null ? undefined : UNIT_BYTES[match[2].toLowerCase()];
    const bytes = match === null || unit === undefined ? Number.NaN : Number(match[1]) * unit;
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
