/** Paging-structure caches of a part of which nothing is known but that an older part has them. */

import { allTakenOver } from "./figure.ts";
import type { PagingStructureCachePreset, PagingStructureCachesPreset } from "./preset.ts";

/** All of them, with the shapes that `part` has; how those are known there stays said. @param part the older part's name */
export function structuresTakenOver(caches: PagingStructureCachesPreset, part: string): PagingStructureCachesPreset {
  const entries = Object.entries(caches).map(([level, cache]: [string, PagingStructureCachePreset]) => [
    level,
    { ...cache, origins: allTakenOver(cache.origins, part) },
  ]);
  return Object.fromEntries(entries);
}
