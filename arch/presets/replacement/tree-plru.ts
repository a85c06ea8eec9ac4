/**
 * Tree-PLRU: a binary tree over the ways of a set, whose node bits point to the half that was used longer ago. Node `n` has
 * children 2n and 2n+1; its bit is bit `n - 1` of the state, 1 when the victim is in the right half.
 *
 * Source: Tatar et al., "TLB;DR: Enhancing TLB-based Attacks with TLB Desynchronized Reverse Engineering" (USENIX Security
 * 2022), which finds it in Skylake's first-level TLBs.
 */

import { type ReplacementPolicy, stateUse } from "./policy.ts";

/** Tree-PLRU of 1, 2, 4, 8 or 16 ways. */
export const treePlru: ReplacementPolicy<"tree-plru"> = {
  name: "tree-plru",
  problem: (ways) => ([1, 2, 4, 8, 16].includes(ways) ? null : "1, 2, 4, 8 or 16 ways"),
  make: (ways) => {
    const uses = new Int32Array(ways);
    for (let way = 0; way < ways; way++) uses[way] = stateUse(treePath(way, ways), treeBits(way, ways));
    const victims = new Uint8Array(2 ** (ways - 1));
    for (let state = 0; state < victims.length; state++) victims[state] = treeVictim(state, ways);
    return { hitUse: uses, fillUse: uses, victims };
  },
};

/** The bits of the nodes above a way. */
export function treePath(way: number, ways: number): number {
  let path = 0;
  for (let node = (ways + way) >> 1; node >= 1; node >>= 1) path |= 1 << (node - 1);
  return path;
}

/** Those of them that point right, away from the way, after a use of it. */
export function treeBits(way: number, ways: number): number {
  let bits = 0;
  for (let node = ways + way; node > 1; node >>= 1) if ((node & 1) === 0) bits |= 1 << ((node >> 1) - 1);
  return bits;
}

/** The way that the node bits point to. */
export function treeVictim(state: number, ways: number): number {
  let node = 1;
  while (node < ways) node = node * 2 + ((state >> (node - 1)) & 1);
  return node - ways;
}
