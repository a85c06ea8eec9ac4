/** Sets of the first level are the same with flushes and without until a flush removes something, and after a while again. */
import { describe, expect, test } from "vitest";
import { PRESETS } from "../../../arch/index.ts";
import { REPLACEMENT_NAMES, replacementPolicy, replacementProblem } from "../../../arch/presets/replacement/index.ts";
import { afterUse, type Replacement } from "../../../arch/presets/replacement/policy.ts";
import { isToldByOrder } from "../../../arch/tlb/in-step-sets.ts";
import { makeGuest } from "../fast-path/programs.ts";
import { BASE } from "../guest.ts";

const WAYS_MAX = 8;

/** The ways of a full set in the order in which fills would evict them. */
function orderOf({ victims, fillUse }: Replacement, ways: number, state: number): number[] {
  const order: number[] = [];
  for (let at = state; order.length < ways; at = afterUse(at, fillUse[order[order.length - 1]])) {
    order.push((victims as Uint8Array)[at]);
  }
  return order;
}

/** What a use of the entry with a rank in the order makes of the ranks. */
function ranksAfter(policy: Replacement, ways: number, state: number, rank: number, uses: Int32Array): string {
  const before = orderOf(policy, ways, state);
  const after = orderOf(policy, ways, afterUse(state, uses[before[rank]]));
  return before.map((way) => after.indexOf(way)).join(" ");
}

const told = REPLACEMENT_NAMES.flatMap((name) =>
  Array.from({ length: WAYS_MAX }, (_, i) => ({ name, ways: i + 1 })).filter(
    ({ ways }) =>
      replacementProblem(name, ways) === null && isToldByOrder(name, ways) && replacementPolicy(name, ways).victims,
  ),
);

test.each(told)(
  "$name over $ways ways: the order of evictions tells what hits and fills make of it",
  ({ name, ways }) => {
    const policy = replacementPolicy(name, ways);
    const states = new Set([0]);
    for (const state of states) {
      for (const uses of [policy.hitUse, policy.fillUse]) for (const use of uses) states.add(afterUse(state, use));
    }
    const seen = new Set<string>();
    for (const state of states) {
      const order = orderOf(policy, ways, state);
      expect(new Set(order).size).toBe(ways);
      // Uses from the first to the last of it leave the state behind.
      expect(order.reduce((at, way) => afterUse(at, policy.hitUse[way]), 0)).toBe(state);
      seen.add(
        order
          .map((_, rank) => ranksAfter(policy, ways, state, rank, policy.hitUse))
          .concat(ranksAfter(policy, ways, state, 0, policy.fillUse))
          .join(),
      );
    }
    expect(seen.size).toBe(1);
  },
);

describe.each(PRESETS)("$name", ({ name }) => {
  test("the set of a page that was flushed is apart, and in step again once others have taken its place in both", () => {
    const { cpu } = makeGuest(name);
    const attribution = cpu.attributeFlushes();
    const inStep = attribution.setsOf(cpu.mmu.tlbs.tlbsByKind()[0].first[0][0]);
    const loadAll = () => {
      for (let i = 0; i < 1024; i++) cpu.load(BASE + i * 4096, 4);
    };
    // Walks that set A go the general path, after which sets are apart where second-level TLBs hold entries of tables.
    for (let round = 0; round < 3; round++) loadAll();
    expect(inStep.has(0)).toBe(true);
    for (let i = 0; i < 1024; i++) cpu.invlpg(BASE + i * 4096);
    expect(inStep.has(0)).toBe(false);
    for (let round = 0; round < 3; round++) loadAll();
    expect(inStep.has(0)).toBe(true);
  });
});
