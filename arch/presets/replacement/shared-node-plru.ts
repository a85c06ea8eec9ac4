/**
 * Tree-PLRU of 16 ways in which one node has no bit of its own. The tree chooses one of four quads of ways, in the quad one of two pairs,
 * and in the pair a way, by bits as tree-plru.ts has them. But the last quad, ways 12 to 15, always gives up a way of its first pair, 12 and
 * 13; and a use of that pair, which should make its own node point to the other one, makes the node of ways 4 to 7 point to 4 and 5.
 * What ways 14 and 15 hold is therefore never evicted.
 *
 * Source: measured on an Emerald Rapids core, its second level. Pages of one set were visited in random order, 17 of them, with the first
 * level emptied before each visit and each load timed by itself. There is one page that the set does not hold, so that each walk tells
 * what the one before it evicted: of 17,036 evictions in 149 runs of 2,000 visits this rule foretells 17,028, and the other eight are
 * in one run, which something disturbed. Which of the core's ways have which number cannot be seen.
 *
 * The two ways that are never evicted hold none, one or two pages of a program on the core, something else in the others, and that changes
 * a few hundred times a second on a loaded machine; by what was not found. One is what most of `test/silicon` shows, so that here one of
 * them is filled, and the other never. That empty ways are filled first is assumed, as of all policies: on the core it is not so right
 * after a flush, when 16 pages one after the other leave 12 in a set, but a program that goes on comes to the same.
 */

import { type ReplacementPolicy, stateUse } from "./policy.ts";
import { treeBits, treePath, treeVictim } from "./tree-plru.ts";

const WAYS = 16;
/** The bit of the node above ways 4 to 7 that chooses between its pairs. */
const SHARED_NODE = 1 << (5 - 1);
/** Where the bit of the node above ways 12 to 15 would be. */
const MISSING_NODE = 1 << (7 - 1);
/** The first way of the last quad, of its second pair, and the one that is never filled. */
const LAST_QUAD = 12;
const LAST_PAIR = 14;
const UNFILLED = 15;

/** Tree-PLRU of 16 ways, of which 14 are evicted, one is filled once, and one never. */
export const sharedNodePlru: ReplacementPolicy<"shared-node-plru"> = {
  name: "shared-node-plru",
  problem: (ways) => (ways === WAYS ? null : `${WAYS} ways`),
  make: () => {
    const uses = Int32Array.from({ length: WAYS }, (_, way) => {
      const path = treePath(way, WAYS) & ~MISSING_NODE;
      const bits = treeBits(way, WAYS) & ~MISSING_NODE;
      return way >= LAST_QUAD && way < LAST_PAIR ? stateUse(path | SHARED_NODE, bits) : stateUse(path, bits);
    });
    const victims = Uint8Array.from({ length: 2 ** (WAYS - 1) }, (_, state) => treeVictim(state & ~MISSING_NODE, WAYS));
    return { hitUse: uses, fillUse: uses, victims, filledWays: UNFILLED };
  },
};
