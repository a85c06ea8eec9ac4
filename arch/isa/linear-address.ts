/**
 * Linear addresses. A linear address is a JavaScript number holding the low 48 bits, 0 <= la < 2^48: exact, and ordered
 * as the hardware orders it. Bits 63:48 repeat bit 47 (Intel SDM vol. 1, 3.3.7.1 "Canonical Addressing"); they are added
 * where an address is shown and checked where one is read.
 *
 * With five levels of paging (CR4.LA57 = 1) addresses have 57 bits, more than a double holds. Those that are canonical in 48 bits
 * keep their form. For a wide one, which is not, a page and an offset stand: the page is the number `WIDE_PAGES` + its low 57
 * bits, 2^57 and above, exact since its low twelve bits are 0. Programs give and get a wide address as a bigint of 64 bits.
 */

import { MmulabError, TextFormatError } from "./errors.ts";

/** Bytes in a 4 KiB page. */
export const PAGE_SIZE = 4096;
/** log2 of {@link PAGE_SIZE}. */
export const PAGE_SHIFT = 12;
/** Bytes mapped by a page-directory entry with PS = 1. */
export const PMD_SIZE = 0x20_0000;
/** Bytes mapped by a page-directory-pointer entry with PS = 1. */
export const PUD_SIZE = 0x4000_0000;
/** One past the highest linear address of 48 bits. */
export const LINEAR_SPACE_BYTES = 2 ** 48;
/** What the number of a wide page is above its 57 bits; at or above it a number is a wide page. */
export const WIDE_PAGES = 2 ** 57;
/** Width of linear addresses in bits, with four levels of page tables and with five. */
export type LinearAddressBits = 48 | 57;
/**
 * Bytes of linear addresses that one entry of a level leads to: index 1 PTE, 2 PDE, 3 PDPTE, 4 PML4E, 5 PML5E. A PML5E covers
 * 2^48 bytes, but of 48-bit addresses entries 0 and 511 lead to one half each.
 */
export const LEVEL_BYTES = [0, PAGE_SIZE, PMD_SIZE, PUD_SIZE, 2 ** 39, 2 ** 47] as const;

/** First address of the upper half: the kernel's. */
export const UPPER_HALF = 2 ** 47;
const SIGN_EXTENSION = 0xffffn << 48n;
const WIDE_HALF = 2 ** 56;
const WIDE_SPACE_BYTES = 2 ** 57;

/**
 * A 64-bit address whose upper bits are not all equal: from bit 47 on, or from bit 56 on with five levels. A CPU that uses one raises
 * #GP(0) (Intel SDM vol. 1, 3.3.7.1).
 */
export class NonCanonicalAddress extends MmulabError {
  override readonly name = "NonCanonicalAddress";
  /** The 64-bit address. */
  readonly address: bigint;
  constructor(address: bigint, bits: LinearAddressBits = 48) {
    const equal = `bits 63:${bits - 1} must all be equal`;
    super("BAD_VALUE", `0x${address.toString(16)} is not a canonical ${bits}-bit linear address (${equal})`, {
      value: address,
      expected: `an address whose bits 63:${bits - 1} are all equal`,
    });
    this.address = address;
  }
}

/** Whether bits 63:47 of a 64-bit address are all equal; of 57 bits, bits 63:56. */
export function isCanonical(address: bigint, bits: LinearAddressBits = 48): boolean {
  const low = BigInt.asUintN(64, address);
  return BigInt.asUintN(64, BigInt.asIntN(bits, low)) === low;
}

/**
 * The 48-bit form of a full 64-bit address.
 * @throws NonCanonicalAddress when bits 63:47 differ from each other
 */
export function linearAddressFromBigInt(address: bigint): number {
  const bits = BigInt.asUintN(64, address);
  if (!isCanonical(bits)) throw new NonCanonicalAddress(bits);
  return Number(BigInt.asUintN(48, bits));
}

/**
 * The 4 KiB page of a full 64-bit address: its first address in 48 bits, or a wide page.
 * @throws NonCanonicalAddress when the address is not canonical in so many bits
 */
export function linearPageFromBigInt(address: bigint, bits: LinearAddressBits): number {
  const page = BigInt.asUintN(64, address) & ~0xfffn;
  if (isCanonical(page)) return Number(BigInt.asUintN(48, page));
  if (!isCanonical(page, bits)) throw new NonCanonicalAddress(BigInt.asUintN(64, address), bits);
  return WIDE_PAGES + Number(BigInt.asUintN(57, page));
}

/** Whether a number is a wide page: one of 57 bits that is not canonical in 48. */
export function isWidePage(page: number): boolean {
  const low = page - WIDE_PAGES;
  return low >= UPPER_HALF && low < WIDE_SPACE_BYTES - UPPER_HALF && page % PAGE_SIZE === 0;
}

/** Whether an address, or a wide page, is in the upper half of all addresses: bit 63 is 1. */
export function isUpperHalf(la: number): boolean {
  return la < WIDE_PAGES ? la >= UPPER_HALF : la >= WIDE_PAGES + WIDE_HALF;
}

/** The low 57 bits of the first address of a page, as a number: pages in the order of their addresses. */
export function orderOfPage(page: number): number {
  if (page >= WIDE_PAGES) return page - WIDE_PAGES;
  return page < UPPER_HALF ? page : page + (WIDE_SPACE_BYTES - LINEAR_SPACE_BYTES);
}

/** The page of {@link orderOfPage}. */
export function pageOfOrder(order: number): number {
  if (order < UPPER_HALF) return order;
  return order < WIDE_SPACE_BYTES - UPPER_HALF ? WIDE_PAGES + order : order - (WIDE_SPACE_BYTES - LINEAR_SPACE_BYTES);
}

/** The page behind one; behind the last comes the first, and -1 stands for addresses that are not canonical. */
export function pageBehind(page: number, bits: LinearAddressBits): number {
  const next = page + PAGE_SIZE;
  if (bits === 48) return next === UPPER_HALF ? -1 : next % LINEAR_SPACE_BYTES;
  const order = (orderOfPage(page) + PAGE_SIZE) % WIDE_SPACE_BYTES;
  return order === WIDE_HALF ? -1 : pageOfOrder(order);
}

/**
 * The 48-bit form of a hexadecimal address such as `0xffffc90000000000`.
 * @throws NonCanonicalAddress when bits 63:47 differ from each other
 * @throws TextFormatError when the text is not a hexadecimal number of at most 64 bits
 */
export function parseLinearAddress(text: string): number {
  return linearAddressFromBigInt(parseAddress64(text));
}

/**
 * The 64 bits of a hexadecimal address, canonical or not.
 * @throws TextFormatError when the text is not a hexadecimal number of at most 64 bits
 */
export function parseAddress64(text: string): bigint {
  if (!/^0x[0-9a-f]{1,16}$/i.test(text)) {
    throw new TextFormatError(text, `"${text}" is not a 64-bit hexadecimal address`);
  }
  return BigInt(text);
}

/** The 64-bit value of a 48-bit linear address, or of the first address of a wide page. */
export function linearAddressToBigInt(la: number): bigint {
  if (la >= WIDE_PAGES) return BigInt.asUintN(64, BigInt.asIntN(57, BigInt(la - WIDE_PAGES)));
  return la >= UPPER_HALF ? BigInt(la) | SIGN_EXTENSION : BigInt(la);
}

/** `0x` and the 64-bit address in hexadecimal, without leading zeros: `0xffffc90000000000`, `0x0`. A bigint is all 64 bits. */
export function formatLinearAddress(la: number | bigint): string {
  if (typeof la === "bigint") return `0x${BigInt.asUintN(64, la).toString(16)}`;
  if (la >= WIDE_PAGES) return formatLinearAddress(linearAddressToBigInt(la));
  return la >= UPPER_HALF ? `0xffff${la.toString(16)}` : `0x${la.toString(16)}`;
}

/** `0x` and the 64-bit address in 16 hexadecimal digits, as the kernel's `0x%016lx` prints it. */
export function formatLinearAddress16(la: number): string {
  return `0x${formatLinearAddress(la).slice(2).padStart(16, "0")}`;
}
