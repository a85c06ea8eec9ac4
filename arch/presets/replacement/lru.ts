/**
 * LRU: the way that was used before all others is evicted. Up to 5 ways the state has a bit for each pair i < j of ways, 1 when
 * i was used after j (10 bits for 5 ways); more ways do not fit a state, and the set keeps a list of them in order of use.
 */

import { type Replacement, type ReplacementPolicy, stateUse } from "./policy.ts";

/** Sets of more ways than this keep a list. */
const TABLE_WAYS_MAX = 5;

/** LRU of any number of ways. */
export const lru: ReplacementPolicy<"lru"> = {
  name: "lru",
  problem: () => null,
  make: (ways) => (ways <= TABLE_WAYS_MAX ? lruTable(ways) : lruList(ways)),
};

function lruTable(ways: number): Replacement {
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
  const uses = new Int32Array(ways).map((_, way) => stateUse(replaced[way], bits[way]));
  const victims = new Uint8Array(1 << pair);
  for (let state = 0; state < victims.length; state++) {
    // A state that no uses lead to has no way used before all others.
    const victim = replaced.findIndex((mask, way) => (state & mask) === (mask & ~bits[way]));
    victims[state] = Math.max(victim, 0);
  }
  return { hitUse: uses, fillUse: uses, victims };
}

function lruList(ways: number): Replacement {
  const uses = new Int32Array(ways).fill(stateUse(0, 0));
  return { hitUse: uses, fillUse: uses, victims: null };
}
