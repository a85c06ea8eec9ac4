/**
 * Which CPUs are near to each other: hardware threads of a core, cores that share a last-level cache, cores of a socket, sockets.
 * CPUs are numbered as Linux numbers them on most servers: the first thread of every core, socket by socket, then the second
 * threads in the same order.
 */
import { MachineUsageError } from "../isa/errors.ts";
import { CPUS_MAX } from "../isa/limits.ts";

/** From a CPU to itself. */
export const DISTANCE_SELF = 0;
/** To another hardware thread of its core. */
export const DISTANCE_CORE = 1;
/** To another core of its cluster: of those that share a last-level cache (AMD: core complex; Intel: the whole socket). */
export const DISTANCE_CLUSTER = 2;
/** To another cluster of its socket. */
export const DISTANCE_SOCKET = 3;
/** To another socket, one hop away. */
export const DISTANCE_REMOTE = 4;
/** To a socket that is two hops away. */
export const DISTANCE_FAR = 5;

/** How far one CPU is from another: one of the `DISTANCE_` values. */
export type Distance =
  | typeof DISTANCE_SELF
  | typeof DISTANCE_CORE
  | typeof DISTANCE_CLUSTER
  | typeof DISTANCE_SOCKET
  | typeof DISTANCE_REMOTE
  | typeof DISTANCE_FAR;

/** A figure for each distance, in their order. */
export type ByDistance = readonly [number, number, number, number, number, number];

/** CPUs of an x2APIC cluster. */
const APIC_CLUSTER_CPUS = 16;
/** Up to so many sockets each has a link to every other. */
const FULLY_LINKED_SOCKETS = 4;

/** Cores of a socket when nothing is said. */
const DEFAULT_CORES_PER_SOCKET = 64;

/** The shape of a machine. */
export interface TopologyConfig {
  /** Number of sockets. */
  readonly sockets: number;
  /** Cores of each socket. */
  readonly coresPerSocket: number;
  /** Hardware threads of a core: 1, or 2 with SMT. */
  readonly threadsPerCore: number;
  /** Cores that share a last-level cache. Absent: what the microarchitecture says, else all of a socket. */
  readonly coresPerCluster?: number | undefined;
}

/** Distances between the CPUs of a machine. */
export class Topology {
  /** The shape. */
  readonly config: TopologyConfig;
  /** Cores that share a last-level cache. */
  readonly coresPerCluster: number;
  /** The core (over all sockets), the cluster (over all sockets) and the socket of each CPU. */
  readonly coreOf: Int32Array;
  /** The cluster of each CPU. */
  readonly clusterOf: Int32Array;
  /** The socket of each CPU. */
  readonly socketOf: Int32Array;

  /** Whether each socket has a link to every other. If not, it has one to those whose number differs in one bit. */
  private readonly isFullyLinked: boolean;

  /**
   * @param cpus how many CPUs the machine has
   * @param config room for `cpus` at least; absent: one thread a core, sockets of 64 cores
   * @param clusterCores cores that share a last-level cache, where the configuration does not say
   * @throws MachineUsageError when there is not
   */
  constructor(cpus: number, config?: TopologyConfig, clusterCores?: number) {
    if (config !== undefined) checkShape(cpus, config);
    this.config = config ?? defaultTopology(cpus);
    const { sockets, coresPerSocket } = this.config;
    this.coresPerCluster = Math.min(this.config.coresPerCluster ?? clusterCores ?? coresPerSocket, coresPerSocket);
    this.coreOf = new Int32Array(cpus);
    this.clusterOf = new Int32Array(cpus);
    this.socketOf = new Int32Array(cpus);
    this.isFullyLinked = sockets <= FULLY_LINKED_SOCKETS;
    const cores = sockets * coresPerSocket;
    const clustersPerSocket = Math.ceil(coresPerSocket / this.coresPerCluster);
    for (let cpu = 0; cpu < cpus; cpu++) {
      const core = cpu % cores;
      const socket = Math.floor(core / coresPerSocket);
      this.coreOf[cpu] = core;
      this.clusterOf[cpu] = socket * clustersPerSocket + Math.floor((core % coresPerSocket) / this.coresPerCluster);
      this.socketOf[cpu] = socket;
    }
  }

  /** @throws MachineUsageError when there is no CPU of this number */
  checkCpu(cpu: number): void {
    if (this.coreOf[cpu] !== undefined) return;
    throw new MachineUsageError("CPU", cpu, `a whole number from 0 to ${this.coreOf.length - 1}`);
  }

  /**
   * The x2APIC cluster of a CPU, within which one interrupt can reach several: 16 successive APIC numbers, which the threads of a
   * socket have core by core (Intel SDM vol. 3A, 11.12.10). No cluster has CPUs of two sockets.
   */
  apicClusterOf(cpu: number): number {
    const { sockets, coresPerSocket, threadsPerCore } = this.config;
    const thread = Math.floor(cpu / (sockets * coresPerSocket));
    const number = (this.coreOf[cpu] % coresPerSocket) * threadsPerCore + thread;
    const clusters = Math.ceil((coresPerSocket * threadsPerCore) / APIC_CLUSTER_CPUS);
    return this.socketOf[cpu] * clusters + Math.floor(number / APIC_CLUSTER_CPUS);
  }

  /** How far CPU `to` is from CPU `from`. */
  distance(from: number, to: number): Distance {
    if (from === to) return DISTANCE_SELF;
    if (this.coreOf[from] === this.coreOf[to]) return DISTANCE_CORE;
    if (this.clusterOf[from] === this.clusterOf[to]) return DISTANCE_CLUSTER;
    const here = this.socketOf[from];
    const there = this.socketOf[to];
    if (here === there) return DISTANCE_SOCKET;
    const bits = here ^ there;
    return this.isFullyLinked || (bits & (bits - 1)) === 0 ? DISTANCE_REMOTE : DISTANCE_FAR;
  }
}

function checkShape(cpus: number, config: TopologyConfig): void {
  const { sockets, coresPerSocket, threadsPerCore, coresPerCluster = 1 } = config;
  const parts = [sockets, coresPerSocket, threadsPerCore, coresPerCluster];
  const whole = parts.every((part) => Number.isInteger(part) && part >= 1);
  if (!whole || coresPerCluster > coresPerSocket || sockets * coresPerSocket * threadsPerCore < cpus) {
    const expected = `sockets x cores x threads with room for ${cpus} CPUs`;
    throw new MachineUsageError("topology", formatTopology(config), expected);
  }
}

/** One thread a core, sockets of up to 64 cores; the last socket may have fewer. */
export function defaultTopology(cpus: number): TopologyConfig {
  return {
    sockets: Math.ceil(cpus / DEFAULT_CORES_PER_SOCKET),
    coresPerSocket: Math.min(cpus, DEFAULT_CORES_PER_SOCKET),
    threadsPerCore: 1,
  };
}

/** `2x64x1`: sockets, cores of a socket, threads of a core; with clusters that were asked for `2x8x8x1`: sockets, clusters, their cores, threads. */
export function formatTopology({ sockets, coresPerSocket, threadsPerCore, coresPerCluster }: TopologyConfig): string {
  if (coresPerCluster === undefined) return `${sockets}x${coresPerSocket}x${threadsPerCore}`;
  return `${sockets}x${coresPerSocket / coresPerCluster}x${coresPerCluster}x${threadsPerCore}`;
}

/** Reads what {@link formatTopology} writes; null for anything else. */
export function parseTopology(text: string): TopologyConfig | null {
  const match = /^(\d{1,4})x(?:(\d{1,4})x)?(\d{1,4})x(\d{1,2})$/.exec(text);
  if (match === null) return null;
  const [sockets, clusters, cores, threadsPerCore] = match.slice(1).map(Number);
  if (match[2] === undefined) return { sockets, coresPerSocket: cores, threadsPerCore };
  return { sockets, coresPerSocket: clusters * cores, threadsPerCore, coresPerCluster: cores };
}

/** @throws MachineUsageError for a number of CPUs that no machine has */
export function checkCpuCount(cpus: number): void {
  if (Number.isInteger(cpus) && cpus >= 1 && cpus <= CPUS_MAX) return;
  throw new MachineUsageError("cpus", cpus, `a whole number from 1 to ${CPUS_MAX}`);
}
