/** How large a machine can be. */

/** CPUs of a machine, at the most. */
export const CPUS_MAX = 4096;
/** Bytes of physical memory, at the most (16 TiB): the number of a frame fits 32 bits. */
export const MEMORY_BYTES_MAX = 2 ** 44;
/** Width of physical addresses (MAXPHYADDR) in bits, at the least. */
export const PHYSICAL_BITS_MIN = 36;
/** Width of physical addresses in bits, at the most (Intel SDM vol. 3A, 4.1.4). */
export const PHYSICAL_BITS_MAX = 52;

/** Whether a machine can have so many bytes of memory. */
export function isMemorySize(sizeBytes: number): boolean {
  return Number.isInteger(sizeBytes) && sizeBytes > 0 && sizeBytes % 4096 === 0 && sizeBytes <= MEMORY_BYTES_MAX;
}

/** The sizes of {@link isMemorySize} in words. */
export const MEMORY_SIZES = `a positive multiple of 4096, at most 2^${Math.log2(MEMORY_BYTES_MAX)}`;
