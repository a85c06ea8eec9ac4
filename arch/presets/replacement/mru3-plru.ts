/**
 * "(MRU+1)%3 over PLRU": three groups of ways. The victim is in the group after the one used last, where tree-PLRU chooses. The
 * trees of the groups come first in the state, one after another; the two bits above them are the group used last.
 *
 * Sources: Tatar et al., "TLB;DR" (USENIX Security 2022), table 4, groups of four: Skylake's second level. Measured on an Emerald
 * Rapids core, groups of two: the first level for loads (`test/silicon/dtlb-sequences.txt`).
 */

import { type Replacement, type ReplacementPolicy, stateUse } from "./policy.ts";
import { treeBits, treePath, treeVictim } from "./tree-plru.ts";

const GROUPS = 3;

/** (MRU+1)%3 over PLRU4, of 12 ways. */
export const mru3Plru4 = overGroupsOf("mru3-plru4", 4);

/** (MRU+1)%3 over pairs, of 6 ways: of the pair after the one used last, the way not used last. */
export const mru3Plru2 = overGroupsOf("mru3-plru2", 2);

function overGroupsOf<Name extends string>(name: Name, groupWays: number): ReplacementPolicy<Name> {
  const all = GROUPS * groupWays;
  return { name, problem: (ways) => (ways === all ? null : `${all} ways`), make: () => tables(groupWays) };
}

function tables(groupWays: number): Replacement {
  const ways = GROUPS * groupWays;
  const nodes = groupWays - 1;
  const lastShift = GROUPS * nodes;
  const uses = new Int32Array(ways);
  for (let way = 0; way < ways; way++) {
    const group = Math.floor(way / groupWays);
    const inGroup = way % groupWays;
    const replaced = (treePath(inGroup, groupWays) << (group * nodes)) | (3 << lastShift);
    uses[way] = stateUse(replaced, (treeBits(inGroup, groupWays) << (group * nodes)) | (group << lastShift));
  }
  const victims = new Uint8Array(1 << (lastShift + 2));
  for (let state = 0; state < victims.length; state++) {
    const group = ((state >> lastShift) + 1) % GROUPS;
    const tree = (state >> (group * nodes)) & (2 ** nodes - 1);
    victims[state] = group * groupWays + treeVictim(tree, groupWays);
  }
  return { hitUse: uses, fillUse: uses, victims };
}
