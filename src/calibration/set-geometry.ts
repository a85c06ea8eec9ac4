/** Which set of a TLB a page belongs to, for every geometry that is considered. */
import type { IndexHash } from "../../arch/presets/preset.ts";

/** How a TLB chooses a set, and how many pages a set holds. */
export interface SetGeometry {
  /** A power of two. */
  readonly sets: number;
  readonly ways: number;
  readonly indexHash: IndexHash;
}

/** The set of page `page`, below 2^31: its low bits, for `xor` together with as many bits above them, as `Tlb` in arch/tlb/tlb.ts has it. */
export function setOf({ sets, indexHash }: Omit<SetGeometry, "ways">, page: number): number {
  return (indexHash === "xor" ? page ^ (page >>> (31 - Math.clz32(sets))) : page) & (sets - 1);
}

/** `16 sets of 6 ways, index: the low 4 bits`. */
export function describeGeometry({ sets, ways, indexHash }: SetGeometry): string {
  const bits = Math.log2(sets);
  if (sets === 1) return `${ways} entries, fully associative`;
  const index = indexHash === "xor" ? `bits ${bits - 1}:0 XOR bits ${2 * bits - 1}:${bits}` : `the low ${bits} bits`;
  return `${sets * ways} entries, ${sets} sets of ${ways} ways, index: ${index} of the page number`;
}
