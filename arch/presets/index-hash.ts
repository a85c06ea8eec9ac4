/** How the set of an entry follows from its page number: one rule for TLBs, their fast path and what measures them. */

/**
 * How an index is made of a page number:
 *
 *   linear   its low bits
 *   xor      these XOR the equally many bits above
 *   bit9     its low bits but for the topmost, in place of which stands bit 9: the lowest of the number of a page of 2 MiB
 */
export const INDEX_HASHES = ["linear", "xor", "bit9"] as const;
/** A way to make an index. */
export type IndexHash = (typeof INDEX_HASHES)[number];

/** The bit that `bit9` takes as the topmost of the index. */
const HIGH_BIT = 9;

/** The set of page number `n` is `(n & lowMask) ^ ((n >>> hashShift) & hashMask)`. */
export interface SetIndex {
  readonly lowMask: number;
  readonly hashShift: number;
  readonly hashMask: number;
}

/** What makes the index of a structure of `sets` sets, a power of two for which {@link indexHashProblem} is null. */
export function setIndex(sets: number, indexHash: IndexHash): SetIndex {
  const bits = 31 - Math.clz32(sets);
  if (indexHash === "bit9") return { lowMask: sets / 2 - 1, hashShift: HIGH_BIT - (bits - 1), hashMask: sets / 2 };
  return { lowMask: sets - 1, hashShift: bits, hashMask: indexHash === "xor" ? sets - 1 : 0 };
}

/** The set of page `page`, modulo 2^32. */
export function setOfPage({ lowMask, hashShift, hashMask }: SetIndex, page: number): number {
  return (page & lowMask) ^ ((page >>> hashShift) & hashMask);
}

/** The numbers of sets that are expected when an index hash does not exist for `sets`, else null. */
export function indexHashProblem(sets: number, indexHash: IndexHash): string | null {
  const most = 2 ** (HIGH_BIT + 1);
  return indexHash !== "bit9" || (sets >= 2 && sets <= most) ? null : `2 to ${most} sets for ${indexHash}`;
}
