/** Round robin: the ways of a set are filled in turn. The state is the next victim; hits do not change it. */

import { type ReplacementPolicy, stateUse } from "./policy.ts";

/** Round robin of any number of ways. */
export const roundRobin: ReplacementPolicy<"round-robin"> = {
  name: "round-robin",
  problem: () => null,
  make: (ways) => ({
    hitUse: new Int32Array(ways).fill(stateUse(0, 0)),
    fillUse: new Int32Array(ways).map((_, way) => stateUse(0xffff, (way + 1) % ways)),
    victims: new Uint8Array(ways).map((_, way) => way),
  }),
};
