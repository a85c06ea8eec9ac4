/** Makes the arrays of a CPU of a preset. */
import { CpuArrays } from "./cpu-arrays.ts";
import { ownStructures } from "./paging-structure-caches.ts";
import type { Preset } from "./preset.ts";
import { tlbCells, tlbWords } from "./tlb.ts";
import { firstLevelSlots } from "./tlb-hierarchy.ts";

/** Arrays large enough for all TLBs and paging-structure caches of a preset. */
export function arraysFor(preset: Preset): CpuArrays {
  const shapes = [...preset.tlbs, ...ownStructures(preset)];
  const cells = shapes.reduce((sum, shape) => sum + tlbCells(shape), 0);
  const words = shapes.reduce((sum, shape) => sum + tlbWords(shape), 0);
  return new CpuArrays(firstLevelSlots(preset), cells, words);
}
