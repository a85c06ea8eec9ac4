/** The stories, in the order of the list. */
import { doubleFree } from "./double-free.ts";
import { flushCeiling } from "./flush-ceiling.ts";
import { guestWalk } from "./guest-walk.ts";
import { hugeSplit } from "./huge-split.ts";
import { interruptsOff } from "./interrupts-off.ts";
import { lazyPurge } from "./lazy-purge.ts";
import { pcids } from "./pcids.ts";
import { race } from "./race.ts";
import { staleEntry } from "./stale-entry.ts";
import type { Story } from "./story.ts";
import { vmapBlocks } from "./vmap-blocks.ts";
import { vreadFlags } from "./vread-flags.ts";

export const STORIES: readonly Story[] = [
  staleEntry,
  lazyPurge,
  flushCeiling,
  interruptsOff,
  pcids,
  hugeSplit,
  vmapBlocks,
  vreadFlags,
  doubleFree,
  race,
  guestWalk,
];
