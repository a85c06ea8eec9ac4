/** What a hit tells the replacement policy of a structure that is no tree: its state in the set's row, or its logs. */

import * as layout from "../tlb/cpu-arrays.ts";
import type { LruLogs } from "../tlb/lru-logs.ts";

// The module's own constants, which V8 folds into the code (README.md, "Constants").
const { WORD_SHIFT, WORD_STATE, WORD_USE } = layout;

/** Records a hit of `place`. @param logs those of the structure; null where the state is in the set's row */
export function recordUse(words: Int32Array, logs: LruLogs | null, place: number): void {
  if (logs !== null) {
    logs.use(place);
    return;
  }
  const use = words[((place << WORD_SHIFT) + WORD_USE) | 0];
  const state = words[((place << WORD_SHIFT) + WORD_STATE) | 0];
  words[state] = (words[state] & (use >>> 16)) | (use & 0xffff);
}
