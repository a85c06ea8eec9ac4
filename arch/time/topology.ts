/**
 * Which CPUs are near to each other: hardware threads of a core, cores of a socket, sockets. CPUs are numbered as Linux
 * numbers them on most servers: the first thread of every core, socket by socket, then the second threads in the same order.
 */
import { MachineUsageError } from "../isa/errors.ts";
import { CPUS_MAX } from "../isa/limits.ts";

/** From a CPU to itself. */
export const DISTANCE_SELF = 0;
/** To another hardware thread of its core. */
export const DISTANCE_CORE = 1;
/** To another core of its socket. */
export const DISTANCE_SOCKET = 2;
/** To another socket. */
export const DISTANCE_REMOTE = 3;

/** How far one CPU is from another: one of the `DISTANCE_` values. */
export type Distance = typeof DISTANCE_SELF | typeof DISTANCE_CORE | typeof DISTANCE_SOCKET | typeof DISTANCE_REMOTE;

/** A figure for each distance, in their order. */
export type ByDistance = readonly [number, number, number, number];

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
}

/** Distances between the CPUs of a machine. */
export class Topology {
  /** The shape. */
  readonly config: TopologyConfig;
  /** The core (over all sockets) and the socket of each CPU. */
  readonly coreOf: Int32Array;
  /** The socket of each CPU. */
  readonly socketOf: Int32Array;

  /**
   * @param cpus how many CPUs the machine has
   * @param config room for `cpus` at least; absent: one thread a core, sockets of 64 cores
   * @throws MachineUsageError when there is not
   */
  constructor(cpus: number, config?: TopologyConfig) {
    if (config !== undefined) checkShape(cpus, config);
    this.config = config ?? defaultTopology(cpus);
    const { sockets, coresPerSocket } = this.config;
    this.coreOf = new Int32Array(cpus);
    this.socketOf = new Int32Array(cpus);
    const cores = sockets * coresPerSocket;
    for (let cpu = 0; cpu < cpus; cpu++) {
      this.coreOf[cpu] = cpu % cores;
      this.socketOf[cpu] = Math.floor((cpu % cores) / coresPerSocket);
    }
  }

  /** @throws MachineUsageError when there is no CPU of this number */
  checkCpu(cpu: number): void {
    if (this.coreOf[cpu] !== undefined) return;
    throw new MachineUsageError("CPU", cpu, `a whole number from 0 to ${this.coreOf.length - 1}`);
  }

  /** How far CPU `to` is from CPU `from`. */
  distance(from: number, to: number): Distance {
    if (from === to) return DISTANCE_SELF;
    if (this.coreOf[from] === this.coreOf[to]) return DISTANCE_CORE;
    return this.socketOf[from] === this.socketOf[to] ? DISTANCE_SOCKET : DISTANCE_REMOTE;
  }
}

function checkShape(cpus: number, config: TopologyConfig): void {
  const { sockets, coresPerSocket, threadsPerCore } = config;
  const whole = [sockets, coresPerSocket, threadsPerCore].every((part) => Number.isInteger(part) && part >= 1);
  if (!whole || sockets * coresPerSocket * threadsPerCore < cpus) {
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

/** `2x64x1`: sockets, cores of a socket, threads of a core. */
export function formatTopology({ sockets, coresPerSocket, threadsPerCore }: TopologyConfig): string {
  return `${sockets}x${coresPerSocket}x${threadsPerCore}`;
}

/** Reads what {@link formatTopology} writes; null for anything else. */
export function parseTopology(text: string): TopologyConfig | null {
  const match = /^(\d{1,4})x(\d{1,4})x(\d{1,2})$/.exec(text);
  if (match === null) return null;
  const [sockets, coresPerSocket, threadsPerCore] = match.slice(1).map(Number);
  return { sockets, coresPerSocket, threadsPerCore };
}

/** @throws MachineUsageError for a number of CPUs that no machine has */
export function checkCpuCount(cpus: number): void {
  if (Number.isInteger(cpus) && cpus >= 1 && cpus <= CPUS_MAX) return;
  throw new MachineUsageError("cpus", cpus, `a whole number from 1 to ${CPUS_MAX}`);
}
