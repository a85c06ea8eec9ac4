/**
 * "(MRU+1)%3 over PLRU4": three groups of four ways. The victim is in the group after the one used last, where tree-PLRU over
 * four chooses. Bits 0 to 2, 3 to 5, 6 to 8 of the state are the trees; bits 9 and 10 the group used last.
 *
 * Source: Tatar et al., "TLB;DR" (USENIX Security 2022), table 4: Skylake's second level.
 */

import { type ReplacementPolicy, stateUse } from "./policy.ts";
import { treeBits, treePath, treeVictim } from "./tree-plru.ts";

const GROUPS = 3;
const GROUP_WAYS = 4;
/** Nodes of the tree of a group. */
const TREE_NODES = GROUP_WAYS - 1;
/** Position of the group used last. */
const LAST_SHIFT = GROUPS * TREE_NODES;

/** (MRU+1)%3 over PLRU4, of 12 ways. */
export const mru3Plru4: ReplacementPolicy<"mru3-plru4"> = {
  name: "mru3-plru4",
  problem: (ways) => (ways === GROUPS * GROUP_WAYS ? null : "12 ways"),
  make: (ways) => {
    const uses = new Int32Array(ways);
    for (let way = 0; way < ways; way++) {
      const group = Math.floor(way / GROUP_WAYS);
      const inGroup = way % GROUP_WAYS;
      const replaced = (treePath(inGroup, GROUP_WAYS) << (group * TREE_NODES)) | (3 << LAST_SHIFT);
      uses[way] = stateUse(replaced, (treeBits(inGroup, GROUP_WAYS) << (group * TREE_NODES)) | (group << LAST_SHIFT));
    }
    const victims = new Uint8Array(1 << (LAST_SHIFT + 2));
    for (let state = 0; state < victims.length; state++) {
      const group = ((state >> LAST_SHIFT) + 1) % GROUPS;
      const tree = (state >> (group * TREE_NODES)) & (2 ** TREE_NODES - 1);
      victims[state] = group * GROUP_WAYS + treeVictim(tree, GROUP_WAYS);
    }
    return { hitUse: uses, fillUse: uses, victims };
  },
};
