/**
 * Replacement policies of set-associative structures, as data. A set's state is one 32-bit word of at most 16 bits in use;
 * a hit or a fill of a way replaces some of them, `state = (state & (use >>> 16)) | (use & 0xffff)`, and a table gives the way
 * that is evicted next. Only LRU over more than 5 ways does not fit: it keeps the ways of a set in a list.
 *
 * Sources: Tatar et al., "TLB;DR: Enhancing TLB-based Attacks with TLB Desynchronized Reverse Engineering" (USENIX Security
 * 2022) for tree-PLRU and "(MRU+1)%3 over PLRU4" in Skylake's TLBs.
 */

import { MachineUsageError } from "../isa/errors.ts";

/** Names of the policies. */
export const REPLACEMENT_NAMES = ["tree-plru", "lru", "mru3-plru4", "round-robin"] as const;

/** A policy by its name. */
export type ReplacementName = (typeof REPLACEMENT_NAMES)[number];

/** One policy for sets of a number of ways. */
export interface Replacement {
  /** What a hit does to the state, by way: bits kept in the high half, bits set in the low half. */
  readonly hitUse: Int32Array;
  /** What a fill does to the state, by way. */
  readonly fillUse: Int32Array;
  /** The way to evict, by state; null for LRU kept as a list. */
  readonly victims: Uint8Array | null;
}

const LRU_TABLE_WAYS_MAX = 5;
const made = new Map<string, Replacement>();

/**
 * The policy's tables for sets of `ways` ways; shared by all structures that use it.
 * @throws MachineUsageError when the policy does not exist for that many ways (tree-PLRU: powers of two up to 16; MRU3-PLRU4: 12)
 */
export function replacementPolicy(name: ReplacementName, ways: number): Replacement {
  const problem = replacementProblem(name, ways);
  if (problem !== null) throw new MachineUsageError(`ways of ${name}`, ways, problem);
  const key = `${name}/${ways}`;
  let policy = made.get(key);
  if (policy === undefined) {
    policy = makePolicy(name, ways);
    made.set(key, policy);
  }
  return policy;
}

/** What was expected when the policy does not exist for that many ways, else null. */
export function replacementProblem(name: ReplacementName, ways: number): string | null {
  if (name === "tree-plru" && ![1, 2, 4, 8, 16].includes(ways)) return "1, 2, 4, 8 or 16 ways";
  if (name === "mru3-plru4" && ways !== 12) return "12 ways";
  if (ways < 1 || ways > 128) return "1 to 128 ways";
  return null;
}

function makePolicy(name: ReplacementName, ways: number): Replacement {
  switch (name) {
    case "tree-plru":
      return treePlru(ways);
    case "mru3-plru4":
      return mru3Plru4();
    case "round-robin":
      return roundRobin(ways);
    case "lru":
      return ways <= LRU_TABLE_WAYS_MAX ? lruMatrix(ways) : lruList(ways);
  }
}

/** A change of state: the bits of `replaced` become those of `bits`. */
function use(replaced: number, bits: number): number {
  return ((~replaced & 0xffff) << 16) | bits;
}

/**
 * Tree-PLRU: a binary tree whose node bits point to the half that was used longer ago. Node `n` has children 2n and 2n+1;
 * its bit is bit `n - 1` of the state, 1 when the victim is in the right half.
 */
function treePlru(ways: number): Replacement {
  const uses = new Int32Array(ways);
  for (let way = 0; way < ways; way++) uses[way] = use(treePath(way, ways), treeBits(way, ways));
  const victims = new Uint8Array(2 ** (ways - 1));
  for (let state = 0; state < victims.length; state++) victims[state] = treeVictim(state, ways);
  return { hitUse: uses, fillUse: uses, victims };
}

/** The nodes above a way. */
function treePath(way: number, ways: number): number {
  let path = 0;
  for (let node = (ways + way) >> 1; node >= 1; node >>= 1) path |= 1 << (node - 1);
  return path;
}

/** Those of them that must point right, away from the way. */
function treeBits(way: number, ways: number): number {
  let bits = 0;
  for (let node = ways + way; node > 1; node >>= 1) if ((node & 1) === 0) bits |= 1 << ((node >> 1) - 1);
  return bits;
}

function treeVictim(state: number, ways: number): number {
  let node = 1;
  while (node < ways) node = node * 2 + ((state >> (node - 1)) & 1);
  return node - ways;
}

/**
 * Skylake's second level: three groups of four ways. The victim is in the group after the one used last, where tree-PLRU
 * over four chooses. Bits 0..2, 3..5, 6..8: the trees; bits 9..10: the group used last.
 */
function mru3Plru4(): Replacement {
  const uses = new Int32Array(12);
  for (let way = 0; way < 12; way++) {
    const group = way >> 2;
    const replaced = (treePath(way & 3, 4) << (group * 3)) | (3 << 9);
    uses[way] = use(replaced, (treeBits(way & 3, 4) << (group * 3)) | (group << 9));
  }
  const victims = new Uint8Array(1 << 11);
  for (let state = 0; state < victims.length; state++) {
    const group = ((state >> 9) + 1) % 3;
    victims[state] = group * 4 + treeVictim((state >> (group * 3)) & 7, 4);
  }
  return { hitUse: uses, fillUse: uses, victims };
}

/** The state is the next victim; hits do not change it. */
function roundRobin(ways: number): Replacement {
  return {
    hitUse: new Int32Array(ways).fill(use(0, 0)),
    fillUse: new Int32Array(ways).map((_, way) => use(0xffff, (way + 1) % ways)),
    victims: new Uint8Array(ways).map((_, way) => way),
  };
}

/** LRU of few ways: a bit for each pair i < j, 1 when i was used after j. The victim was used before all others. */
function lruMatrix(ways: number): Replacement {
  const replaced = new Int32Array(ways);
  const bits = new Int32Array(ways);
  let pair = 0;
  for (let i = 0; i < ways; i++) {
    for (let j = i + 1; j < ways; j++, pair++) {
      replaced[i] |= 1 << pair;
      replaced[j] |= 1 << pair;
      bits[i] |= 1 << pair;
    }
  }
  const uses = new Int32Array(ways).map((_, way) => use(replaced[way], bits[way]));
  const victims = new Uint8Array(1 << pair);
  for (let state = 0; state < victims.length; state++) {
    const victim = replaced.findIndex((mask, way) => (state & mask) === (mask & ~bits[way]));
    victims[state] = Math.max(victim, 0);
  }
  return { hitUse: uses, fillUse: uses, victims };
}

function lruList(ways: number): Replacement {
  const uses = new Int32Array(ways).fill(use(0, 0));
  return { hitUse: uses, fillUse: uses, victims: null };
}
