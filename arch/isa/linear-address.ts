/**
 * Linear addresses. A linear address is a JavaScript number holding the low 48 bits, 0 <= la < 2^48: exact, and ordered
 * as the hardware orders it. Bits 63:48 repeat bit 47 (Intel SDM vol. 1, 3.3.7.1 "Canonical Addressing"); they are added
 * where an address is shown and checked where one is read.
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
/** One past the highest linear address. */
export const LINEAR_SPACE_BYTES = 2 ** 48;
/**
 * Bytes of linear addresses that one entry of a level leads to: index 1 PTE, 2 PDE, 3 PDPTE, 4 PML4E, 5 PML5E. A PML5E covers
 * 2^48 bytes, but bits 56:48 of the addresses here repeat bit 47, so that only entries 0 and 511 are used, for one half each.
 */
export const LEVEL_BYTES = [0, PAGE_SIZE, PMD_SIZE, PUD_SIZE, 2 ** 39, 2 ** 47] as const;

/** First address of the upper half: the kernel's. */
export const UPPER_HALF = 2 ** 47;
const SIGN_EXTENSION = 0xffffn << 48n;

/** A 64-bit address whose bits 63:47 are not all equal; a CPU that uses one raises #GP(0) (Intel SDM vol. 1, 3.3.7.1). */
export class NonCanonicalAddress extends MmulabError {
  override readonly name = "NonCanonicalAddress";
  /** The 64-bit address. */
  readonly address: bigint;
  constructor(address: bigint) {
    const message = `0x${address.toString(16)} is not a canonical 48-bit linear address (bits 63:47 must all be equal)`;
    super("BAD_VALUE", message, { value: address, expected: "an address whose bits 63:47 are all equal" });
    this.address = address;
  }
}

/** Whether bits 63:47 of a 64-bit address are all equal. */
export function isCanonical(address: bigint): boolean {
  const bits = BigInt.asUintN(64, address);
  return BigInt.asUintN(64, BigInt.asIntN(48, bits)) === bits;
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
 * The 48-bit form of a hexadecimal address such as `0xffffc90000000000`.
 * @throws NonCanonicalAddress when bits 63:47 differ from each other
 * @throws TextFormatError when the text is not a hexadecimal number of at most 64 bits
 */
export function parseLinearAddress(text: string): number {
  if (!/^0x[0-9a-f]{1,16}$/i.test(text)) {
    throw new TextFormatError(text, `"${text}" is not a 64-bit hexadecimal address`);
  }
  return linearAddressFromBigInt(BigInt(text));
}

/** The 64-bit value of a 48-bit linear address. */
export function linearAddressToBigInt(la: number): bigint {
  return la >= UPPER_HALF ? BigInt(la) | SIGN_EXTENSION : BigInt(la);
}

/** `0x` and the 64-bit address in hexadecimal, without leading zeros: `0xffffc90000000000`, `0x0`. */
export function formatLinearAddress(la: number): string {
  return la >= UPPER_HALF ? `0xffff${la.toString(16)}` : `0x${la.toString(16)}`;
}

/** `0x` and the 64-bit address in 16 hexadecimal digits, as the kernel's `0x%016lx` prints it. */
export function formatLinearAddress16(la: number): string {
  return la >= UPPER_HALF ? `0xffff${la.toString(16)}` : `0x${la.toString(16).padStart(16, "0")}`;
}
