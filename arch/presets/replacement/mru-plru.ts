/**
 * "(MRU+1)%n over PLRU": n groups of ways. The victim is in the group after the one used last, where tree-PLRU chooses. The trees of the
 * groups come first in the state, one after another; the two bits above them are the group used last.
 *
 * Sources: Tatar et al., "TLB;DR" (USENIX Security 2022), table 4, three groups of four: Skylake's second level. Measured on an Emerald
 * Rapids core, three groups of two: the first level for loads (`test/silicon/dtlb-sequences.txt`). Four groups of four is known of no part.
 */

import { type Replacement, type ReplacementPolicy, stateUse } from "./policy.ts";
import { treeBits, treePath, treeVictim } from "./tree-plru.ts";

/** (MRU+1)%3 over PLRU4, of 12 ways. */
export const mru3Plru4 = overGroupsOf("mru3-plru4", 3, 4);

/** (MRU+1)%3 over pairs, of 6 ways: of the pair after the one used last, the way not used last. */
export const mru3Plru2 = overGroupsOf("mru3-plru2", 3, 2);

/** (MRU+1)%4 over PLRU4, of 16 ways. */
export const mru4Plru4 = overGroupsOf("mru4-plru4", 4, 4);

function overGroupsOf<Name extends string>(name: Name, groups: number, groupWays: number): ReplacementPolicy<Name> {
  const all = groups * groupWays;
  return { name, problem: (ways) => (ways === all ? null : `${all} ways`), make: () => tables(groups, groupWays) };
}

function tables(groups: number, groupWays: number): Replacement {
  const ways = groups * groupWays;
  const nodes = groupWays - 1;
  const lastShift = groups * nodes;
  const uses = new Int32Array(ways);
  for (let way = 0; way < ways; way++) {
    const group = Math.floor(way / groupWays);
    const inGroup = way % groupWays;
    const replaced = (treePath(inGroup, groupWays) << (group * nodes)) | (3 << lastShift);
    uses[way] = stateUse(replaced, (treeBits(inGroup, groupWays) << (group * nodes)) | (group << lastShift));
  }
  const victims = new Uint8Array(1 << (lastShift + 2));
  for (let state = 0; state < victims.length; state++) {
    const group = ((state >> lastShift) + 1) % groups;
    const tree = (state >> (group * nodes)) & (2 ** nodes - 1);
    victims[state] = group * groupWays + treeVictim(tree, groupWays);
  }
  return { hitUse: uses, fillUse: uses, victims };
}
