/** Addresses in records of binary traces. */

/** In place of an address that is not canonical. */
export const NO_ADDRESS = -1;

/** The 48-bit linear address of a 64-bit little-endian number at `at`; {@link NO_ADDRESS} when it is not canonical. */
export function linearAddressOf(view: DataView, at: number): number {
  const high = view.getInt32(at + 4, true);
  // Bits 63:47 are equal.
  if (high >> 15 !== high >> 31) return NO_ADDRESS;
  return (high & 0xffff) * 2 ** 32 + view.getUint32(at, true);
}
