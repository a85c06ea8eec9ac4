/** The stories, in the order of the list. */
import { doubleFree } from "./double-free.ts";
import { flushCeiling } from "./flush-ceiling.ts";
import { interruptsOff } from "./interrupts-off.ts";
import { lazyPurge } from "./lazy-purge.ts";
import { staleEntry } from "./stale-entry.ts";
import type { Story } from "./story.ts";
import { vmapBlocks } from "./vmap-blocks.ts";

export const STORIES: readonly Story[] = [staleEntry, lazyPurge, flushCeiling, interruptsOff, vmapBlocks, doubleFree];
