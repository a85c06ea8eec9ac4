/** Which CPUs threads run on that are bound to none: where Linux's scheduler puts a new thread on a machine that is otherwise idle. */
import type { Topology } from "../../../arch/index.ts";
import { ValueError } from "../../input/errors.ts";
import type { ParameterReader } from "../../input/parameter-reader.ts";
import type { ParameterSpec } from "../../input/parameters.ts";

/** Where workers run: `spread` as the scheduler spreads them, `packed` on the first CPUs. */
const PLACES = ["spread", "packed"] as const;

/** The parameter of experiments with workers that are bound to no CPU. */
export const PLACE_PARAMETER: ParameterSpec = {
  name: "place",
  kind: "word",
  words: PLACES,
  default: "spread",
  summary:
    "where workers run: spread over last-level caches and cores, as Linux's scheduler puts threads that are bound to no CPU, or packed on the first CPUs",
};

/**
 * Refuses numbers of workers of which none has a CPU for each worker, so that nothing would run; some of several may be too many, and are left out.
 * @param name the parameter that lists them
 * @throws ValueError naming the numbers and the CPUs
 */
export function checkRoomForWorkers(parameters: ParameterReader, name: string, cpus: number): void {
  const counts = parameters.list(name);
  if (counts.some((count) => count <= cpus)) return;
  throw new ValueError(`--${name}`, counts.join(","), `1 to ${cpus}, a CPU for each`);
}

/**
 * The CPU of each of `workers` workers, no two on one.
 *
 * `spread` follows `find_idlest_group` of `kernel/sched/fair.c` down the domains, all threads busy for good: of the groups the one with most
 * idle CPUs, of equals the first. Across sockets that is not so for the first few, as many as there are last-level caches in the
 * machine: they stay on one socket (`adjust_numa_imbalance`, `imb_numa_nr` of `kernel/sched/topology.c`, since 5.18). From memory of the
 * source, not traced.
 */
export function placeWorkers(topology: Topology, workers: number, place: string): readonly number[] {
  if (place === "packed") return Array.from({ length: workers }, (_, i) => i);
  const free = Array.from(topology.coreOf, (_, cpu) => cpu);
  const lastLevelCaches = new Set(topology.clusterOf).size;
  const placed: number[] = [];
  while (placed.length < workers) {
    const local = free.filter((cpu) => topology.socketOf[cpu] === 0);
    const isLocal = placed.length < lastLevelCaches && local.length > 0;
    const ofSocket = isLocal ? local : mostIdle(free, topology.socketOf);
    const ofCore = mostIdle(mostIdle(ofSocket, topology.clusterOf), topology.coreOf);
    placed.push(ofCore[0]);
    free.splice(free.indexOf(ofCore[0]), 1);
  }
  return placed;
}

/** Of the idle CPUs those of the group that has most of them, the first of equals. */
function mostIdle(idle: readonly number[], groupOf: Int32Array): readonly number[] {
  const groups = new Map<number, number[]>();
  for (const cpu of idle) {
    const group = groups.get(groupOf[cpu]);
    if (group === undefined) groups.set(groupOf[cpu], [cpu]);
    else group.push(cpu);
  }
  return [...groups.values()].reduce((most, group) => (group.length > most.length ? group : most));
}
