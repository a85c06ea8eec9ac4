/** Makes the arrays of a CPU of a preset. */

import type { Preset } from "../presets/preset.ts";
import { type CommonArrays, CpuArrays, KNOWN_TABLE_WORDS, KNOWN_TABLES } from "./cpu-arrays.ts";
import { ownStructures } from "./paging-structure-caches.ts";
import { tlbWords } from "./tlb.ts";

/** Arrays large enough for all TLBs and paging-structure caches of a preset, and for the page tables that walks remember. @param common as `CpuArrays` takes it */
export function allocateArrays(preset: Preset, common?: CommonArrays): CpuArrays {
  const shapes = [...preset.tlbs, ...ownStructures(preset)];
  const places = shapes.reduce((sum, { sets, ways }) => sum + sets * ways, 0);
  const words = shapes.reduce((sum, shape) => sum + tlbWords(shape), KNOWN_TABLE_WORDS * KNOWN_TABLES);
  return new CpuArrays(shapes.length, places, words, common);
}
