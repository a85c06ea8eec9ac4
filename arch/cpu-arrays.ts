/**
 * Where the numbers of a machine's CPUs lie. All cells (clocks, counters, tags, frames) are one array, with the clocks first,
 * so that the fast path of an access, which needs several of them, works on one array; the 32-bit words are one array a CPU.
 */
import { ownStructures } from "./paging-structure-caches.ts";
import { COUNTERS } from "./perf-counters.ts";
import { predictionCells, predictionWords } from "./predicted-hits.ts";
import type { Preset } from "./preset.ts";
import { TlbArrays, tlbCells, tlbWords } from "./tlb.ts";
import { firstLevelSlots } from "./tlb-hierarchy.ts";

/** Cells of one CPU beside its clock. */
function cpuCells(preset: Preset): number {
  const shapes = [...preset.tlbs, ...ownStructures(preset)];
  return COUNTERS + predictionCells(firstLevelSlots(preset)) + shapes.reduce((sum, shape) => sum + tlbCells(shape), 0);
}

function cpuWords(preset: Preset): number {
  const shapes = [...preset.tlbs, ...ownStructures(preset)];
  return predictionWords(firstLevelSlots(preset)) + shapes.reduce((sum, shape) => sum + tlbWords(shape), 0);
}

/** The cells of a machine of `cpus` CPUs: their clocks, then each CPU's. */
export function machineCells(preset: Preset, cpus: number): Float64Array {
  return new Float64Array(cpus * (1 + cpuCells(preset)));
}

/** The arrays of CPU `id` of `cpus` in a machine's cells. */
export function cpuArrays(preset: Preset, cells: Float64Array, id: number, cpus: number): TlbArrays {
  return new TlbArrays(cells, cpus + id * cpuCells(preset), new Int32Array(cpuWords(preset)));
}

/** Arrays for a set of TLBs outside any CPU. */
export function privateArrays(preset: Preset): TlbArrays {
  return new TlbArrays(new Float64Array(cpuCells(preset)), 0, new Int32Array(cpuWords(preset)));
}
