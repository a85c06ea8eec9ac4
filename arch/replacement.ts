/**
 * Replacement policies of set-associative structures, as data. A set's state is one 32-bit word; a hit or a fill of a way
 * replaces some of its bits, `state = (state & keep) | set`, and a table gives the way that is evicted next. Only LRU over
 * more than 8 ways does not fit a word: it counts time stamps instead.
 *
 * Sources: Tatar et al., "TLB;DR: Enhancing TLB-based Attacks with TLB Desynchronized Reverse Engineering" (USENIX Security
 * 2022) for tree-PLRU and "(MRU+1)%3 over PLRU4" in Skylake's TLBs.
 */

/** Names of the policies. */
export const REPLACEMENT_NAMES = ["tree-plru", "lru", "mru3-plru4", "round-robin"] as const;

/** A policy by its name. */
export type ReplacementName = (typeof REPLACEMENT_NAMES)[number];

/** One policy for sets of `ways` ways. */
export interface Replacement {
  readonly ways: number;
  /** Bits of the state that survive a hit, by way. */
  readonly hitKeep: Int32Array;
  /** Bits that a hit sets, by way. */
  readonly hitSet: Int32Array;
  /** Bits of the state that survive a fill, by way. */
  readonly fillKeep: Int32Array;
  /** Bits that a fill sets, by way. */
  readonly fillSet: Int32Array;
  /** The way to evict, by state; null when {@link Replacement.matrixRows} or time stamps tell. */
  readonly victims: Uint8Array | null;
  /** For LRU as a matrix: the bits that say "used later than this way", by way (low half) and their wanted value. */
  readonly matrixRows: Int32Array | null;
  readonly matrixWanted: Int32Array | null;
  /** Whether the policy needs a time stamp an entry. */
  readonly stamps: boolean;
}

const made = new Map<string, Replacement>();

/**
 * The policy's tables for sets of `ways` ways; shared by all structures that use it.
 * @throws RangeError when the policy does not exist for that many ways (tree-PLRU: powers of two up to 16; MRU3-PLRU4: 12)
 */
export function replacementPolicy(name: ReplacementName, ways: number): Replacement {
  const problem = replacementProblem(name, ways);
  if (problem !== null) throw new RangeError(`${name} over ${ways} ways: expected ${problem}`);
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
  if (name === "round-robin" && (ways < 1 || ways > 128)) return "1 to 128 ways";
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
      return ways <= 8 ? lruMatrix(ways) : lruStamps(ways);
  }
}

/** The same change of state on a hit and on a fill. */
function usePolicy(keep: Int32Array, set: Int32Array, victims: Uint8Array | null): Replacement {
  return {
    ways: keep.length,
    hitKeep: keep,
    hitSet: set,
    fillKeep: keep,
    fillSet: set,
    victims,
    matrixRows: null,
    matrixWanted: null,
    stamps: false,
  };
}

/**
 * Tree-PLRU: a binary tree whose node bits point to the half that was used longer ago. Node `n` has children 2n and 2n+1;
 * its bit is bit `n` of the state, 1 when the victim is in the right half.
 */
function treePlru(ways: number): Replacement {
  const keep = new Int32Array(ways);
  const set = new Int32Array(ways);
  for (let way = 0; way < ways; way++) {
    let mask = 0;
    for (let node = ways + way; node > 1; node >>= 1) {
      mask |= 1 << (node >> 1);
      if ((node & 1) === 0) set[way] |= 1 << (node >> 1);
    }
    keep[way] = ~mask;
  }
  const victims = new Uint8Array(2 ** ways);
  for (let state = 0; state < victims.length; state++) victims[state] = treeVictim(state, ways);
  return usePolicy(keep, set, victims);
}

function treeVictim(state: number, ways: number): number {
  let node = 1;
  while (node < ways) node = node * 2 + ((state >> node) & 1);
  return node - ways;
}

/**
 * Skylake's second level: three groups of four ways. The victim is in the group after the one used last, where tree-PLRU
 * over four chooses. Bits 0..3, 4..7, 8..11: the trees; bits 12..13: the group used last.
 */
function mru3Plru4(): Replacement {
  const tree = treePlru(4);
  const keep = new Int32Array(12);
  const set = new Int32Array(12);
  for (let way = 0; way < 12; way++) {
    const group = way >> 2;
    keep[way] = ~(((~tree.hitKeep[way & 3] & 0xf) << (group * 4)) | (3 << 12));
    set[way] = (tree.hitSet[way & 3] << (group * 4)) | (group << 12);
  }
  const victims = new Uint8Array(1 << 14);
  for (let state = 0; state < victims.length; state++) {
    const group = ((state >> 12) + 1) % 3;
    victims[state] = group * 4 + treeVictim((state >> (group * 4)) & 0xf, 4);
  }
  return usePolicy(keep, set, victims);
}

/** The state is the next victim; hits do not change it. */
function roundRobin(ways: number): Replacement {
  const victims = new Uint8Array(ways).map((_, way) => way);
  return {
    ways,
    hitKeep: new Int32Array(ways).fill(-1),
    hitSet: new Int32Array(ways),
    fillKeep: new Int32Array(ways),
    fillSet: new Int32Array(ways).map((_, way) => (way + 1) % ways),
    victims,
    matrixRows: null,
    matrixWanted: null,
    stamps: false,
  };
}

/** LRU of up to 8 ways: bit (i, j), i < j, is 1 when i was used after j. The victim was used before all others. */
function lruMatrix(ways: number): Replacement {
  const keep = new Int32Array(ways).fill(-1);
  const set = new Int32Array(ways);
  const rows = new Int32Array(ways);
  const wanted = new Int32Array(ways);
  let bit = 0;
  for (let i = 0; i < ways; i++) {
    for (let j = i + 1; j < ways; j++, bit++) {
      const mask = 1 << bit;
      keep[i] &= ~mask;
      set[i] |= mask;
      keep[j] &= ~mask;
      rows[i] |= mask;
      rows[j] |= mask;
      wanted[j] |= mask;
    }
  }
  return { ...usePolicy(keep, set, null), matrixRows: rows, matrixWanted: wanted };
}

function lruStamps(ways: number): Replacement {
  const keep = new Int32Array(ways).fill(-1);
  return { ...usePolicy(keep, new Int32Array(ways), null), stamps: true };
}
