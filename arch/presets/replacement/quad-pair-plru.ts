/**
 * Tree-PLRU of twelve ways, which no power of two are: two halves of six, each of them a quad of ways and a pair. A node's bit points to
 * the side that was used longer ago, as in tree-plru.ts; so each way of a pair is evicted twice as often as one of a quad.
 *
 * Source: measured on an EPYC of model 17 (Zen 4), its second level for loads. 13 pages of one set were visited in random order, with the
 * first level and the directory entries emptied before each visit and each load timed by itself. There is one page that the set does not
 * hold, so that each walk tells what the one before it evicted: 150 of 320 runs of 2,000 visits are foretold by this rule without
 * a mistake, about 154 evictions each; in the others something came in between (`test/silicon/zen4/l2-evictions.txt` has 14). Which of the
 * core's ways have which number cannot be seen.
 */

import { type ReplacementPolicy, stateUse } from "./policy.ts";

const WAYS = 12;
const HALF_WAYS = 6;
const QUAD_WAYS = 4;
/** Bits of a state: the root's, and in each half those of five nodes. */
const ROOT = 1;
const HALF_NODES = 5;
/** Nodes of a half: which of quad and pair, which pair of the quad, and which way of each of three pairs. */
const SPLIT = 0;
const QUAD = 1;
const PAIRS = 2;

/** The bit of a node of a half. */
const bitOf = (half: number, node: number): number => 1 << (1 + half * HALF_NODES + node);

/** Two halves of a quad and a pair. */
export const quadPairPlru: ReplacementPolicy<"quad-pair-plru"> = {
  name: "quad-pair-plru",
  problem: (ways) => (ways === WAYS ? null : `${WAYS} ways`),
  make: () => {
    const uses = Int32Array.from({ length: WAYS }, (_, way) => useOf(way));
    const victims = Uint8Array.from({ length: 2 ** (1 + 2 * HALF_NODES) }, (_, state) => victimOf(state));
    return { hitUse: uses, fillUse: uses, victims };
  },
};

/** All nodes above a way point away from it. A bit that is set points to the second half, the pair, the quad's second pair, or the second way. */
function useOf(way: number): number {
  const [half, inHalf] = [Math.floor(way / HALF_WAYS), way % HALF_WAYS];
  const pair = inHalf >> 1;
  const isInQuad = inHalf < QUAD_WAYS;
  const split = bitOf(half, SPLIT);
  const quad = isInQuad ? bitOf(half, QUAD) : 0;
  const ofPair = bitOf(half, PAIRS + pair);
  const towards =
    (half === 0 ? ROOT : 0) | (isInQuad ? split : 0) | (pair === 0 ? quad : 0) | (inHalf & 1 ? 0 : ofPair);
  return stateUse(ROOT | split | quad | ofPair, towards);
}

function victimOf(state: number): number {
  const half = state & ROOT;
  const points = (node: number): number => ((state & bitOf(half, node)) === 0 ? 0 : 1);
  const pair = points(SPLIT) === 1 ? QUAD_WAYS / 2 : points(QUAD);
  return half * HALF_WAYS + 2 * pair + points(PAIRS + pair);
}
