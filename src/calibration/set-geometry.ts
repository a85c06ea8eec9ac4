/** Which set of a TLB a page belongs to, for every geometry that is considered. */
import { type IndexHash, setIndex, setOfPage } from "../../arch/presets/index-hash.ts";

/** How a TLB chooses a set, and how many pages a set holds. */
export interface SetGeometry {
  /** A power of two. */
  readonly sets: number;
  readonly ways: number;
  readonly indexHash: IndexHash;
}

/** The set of page `page`, below 2^31. */
export function setOf({ sets, indexHash }: Omit<SetGeometry, "ways">, page: number): number {
  return setOfPage(setIndex(sets, indexHash), page);
}

/** `16 sets of 6 ways, index: the low 4 bits`. */
export function describeGeometry({ sets, ways, indexHash }: SetGeometry): string {
  const bits = Math.log2(sets);
  if (sets === 1) return `${ways} entries, fully associative`;
  const index = {
    linear: `the low ${bits} bits`,
    xor: `bits ${bits - 1}:0 XOR bits ${2 * bits - 1}:${bits}`,
    bit9: bits === 1 ? "bit 9" : `bits 9 and ${bits - 2}:0`,
  }[indexHash];
  return `${sets * ways} entries, ${sets} sets of ${ways} ways, index: ${index} of the page number`;
}
