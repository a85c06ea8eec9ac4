/**
 * Bugs of concurrency that are planted in copies of the code, one at a time, to see whether the explorer's tests find them: none is
 * in the registry of former bugs. Most are of four kinds: an unlock that moved, a check that was dropped, a flush one line later, a
 * mask or a count that is read too early.
 */
import { PLANTED_FLUSH_RACES } from "./planted-flush-races.ts";
import { PLANTED_GUEST_RACES } from "./planted-guest-races.ts";
import { PLANTED_MEMORY_RACES } from "./planted-memory-races.ts";
import type { PlantedRace } from "./planted-race.ts";
import { PLANTED_SLAB_RACES } from "./planted-slab-races.ts";
import { PLANTED_USER_RACES } from "./planted-user-races.ts";
import { PLANTED_VERSION_RACES } from "./planted-version-races.ts";
import { PLANTED_VMALLOC_RACES } from "./planted-vmalloc-races.ts";

/** All of them. */
export const PLANTED_RACES: readonly PlantedRace[] = [
  ...PLANTED_VMALLOC_RACES,
  ...PLANTED_FLUSH_RACES,
  ...PLANTED_GUEST_RACES,
  ...PLANTED_VERSION_RACES,
  ...PLANTED_USER_RACES,
  ...PLANTED_SLAB_RACES,
  ...PLANTED_MEMORY_RACES,
];
