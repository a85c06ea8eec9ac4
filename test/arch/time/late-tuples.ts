/** CPUs that were put behind, as tests look at them. */
import type { LateCpus } from "../../../arch/time/hold-queue.ts";

/** Each CPU, when it came for the first of its holds that end later, and by how much later the last of them ends. */
export function tuplesOf({ count, cpus, fromCycles, cycles }: LateCpus): [number, number, number][] {
  return [...cpus.subarray(0, count)].map((cpu) => [cpu, fromCycles[cpu], cycles[cpu]]);
}
