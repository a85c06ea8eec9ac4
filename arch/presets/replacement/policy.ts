/**
 * What a replacement policy is: data for the sets of a structure. A set's state is a number of at most 16 bits. A hit or a fill
 * of a way replaces some bits of it (a "use"), and a table gives the way that is evicted next.
 */

/** A policy for sets of one number of ways. */
export interface Replacement {
  /** What a hit does to the state, by way, in the form of `stateUse`. */
  readonly hitUse: Int32Array;
  /** What a fill does to the state, by way, in that form. */
  readonly fillUse: Int32Array;
  /** The way to evict, by state, of at most 2^16 states; null for LRU, kept as a list of the ways of a set in order of use. */
  readonly victims: Uint8Array | null;
  /** How many ways are ever filled, the first ones of a set; all where it is left out. */
  readonly filledWays?: number;
}

/** A policy for sets of one number of ways, with what follows from its tables. */
export interface ReplacementTables extends Replacement {
  /** The way to evict, by state; from bit 8 on, what its fill makes of the state. Empty for LRU as a list. */
  readonly fills: Int32Array;
}

/** A policy by its name: one file of this folder. */
export interface ReplacementPolicy<Name extends string = string> {
  /** What presets call it. */
  readonly name: Name;
  /** The numbers of ways that it exists for, in words; null when it exists for `ways`, a whole number from 1 to 128. */
  readonly problem: (ways: number) => string | null;
  /** The tables for sets of `ways` ways, for which `problem` is null. */
  readonly make: (ways: number) => Replacement;
}

/** A change of state: the bits of `replaced` (16 bits) become those of `bits`. The bits that stay are in the high half. */
export function stateUse(replaced: number, bits: number): number {
  return ((~replaced & 0xffff) << 16) | bits;
}

/** The state after a use. */
export function afterUse(state: number, use: number): number {
  return (state & (use >>> 16)) | (use & 0xffff);
}

/** With the table of fills. */
export function withFills(policy: Replacement): ReplacementTables {
  const { victims, fillUse } = policy;
  const fills = new Int32Array(victims?.length ?? 0);
  victims?.forEach((way, state) => {
    fills[state] = way | (afterUse(state, fillUse[way]) << 8);
  });
  return { ...policy, fills };
}
