/**
 * The replacement policies by name. A new one is a file of this folder, and a line in the list below: presets, their checks and
 * the TLBs know it from there.
 */

import { lru } from "./lru.ts";
import { mru3Plru2, mru3Plru4, mru4Plru4 } from "./mru-plru.ts";
import { type ReplacementTables, withFills } from "./policy.ts";
import { quadPairPlru } from "./quad-pair-plru.ts";
import { roundRobin } from "./round-robin.ts";
import { sharedNodePlru } from "./shared-node-plru.ts";
import { treePlru } from "./tree-plru.ts";

/** All policies. */
const POLICIES = [treePlru, lru, mru3Plru4, mru3Plru2, mru4Plru4, roundRobin, sharedNodePlru, quadPairPlru] as const;

/** A policy by its name. */
export type ReplacementName = (typeof POLICIES)[number]["name"];

/** Names of the policies. */
export const REPLACEMENT_NAMES: readonly ReplacementName[] = POLICIES.map(({ name }) => name);

const WAYS_MAX = 128;
const made = new Map<string, ReplacementTables>();

/**
 * The policy's tables for sets of `ways` ways; shared by all structures that use it.
 * @throws RangeError when the policy does not exist for that many ways
 */
export function replacementPolicy(name: ReplacementName, ways: number): ReplacementTables {
  const problem = replacementProblem(name, ways);
  if (problem !== null) throw new RangeError(`${name} over ${ways} ways: expected ${problem}`);
  const key = `${name}/${ways}`;
  let policy = made.get(key);
  if (policy === undefined) {
    policy = withFills(policyByName(name).make(ways));
    made.set(key, policy);
  }
  return policy;
}

/** The numbers of ways that are expected when the policy does not exist for `ways`, else null. */
export function replacementProblem(name: ReplacementName, ways: number): string | null {
  const problem = policyByName(name).problem(ways);
  if (problem !== null) return problem;
  return ways >= 1 && ways <= WAYS_MAX ? null : `1 to ${WAYS_MAX} ways`;
}

/** @throws RangeError for a name that no policy has */
function policyByName(name: ReplacementName): (typeof POLICIES)[number] {
  const policy = POLICIES.find((each) => each.name === name);
  if (policy === undefined) throw new RangeError(`no replacement policy is named ${name}`);
  return policy;
}
