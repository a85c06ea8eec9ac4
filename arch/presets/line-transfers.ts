/**
 * What it costs to get a cache line that another CPU has, by where that CPU is: what people measure as core-to-core latency, with two
 * threads that hand a line to and fro by compare-and-exchange. In nanoseconds, as the way leads over parts with clocks of their own.
 */
import { allTakenOver, assumed, cores, documented, type Figure, measured, nanoseconds as ns } from "./figure.ts";

/** Distances between CPUs as a microarchitecture has them. */
export interface LineTransfers {
  /** Cores that share a last-level cache; 0 for all of a socket. */
  readonly coresPerCluster: Figure<"cores">;
  /** From another hardware thread of the core. */
  readonly core: Figure<"ns">;
  /** From another core that shares the last-level cache. */
  readonly cluster: Figure<"ns">;
  /** From another last-level cache of the socket. */
  readonly socket: Figure<"ns">;
  /** From another socket, one hop away. */
  readonly remote: Figure<"ns">;
  /** From a socket that is two hops away. */
  readonly far: Figure<"ns">;
}

const WITHIN_CORE = ns(8, assumed("both threads use the same first-level cache: an atomic or two"));
const SECOND_HOP = assumed("one more link costs what the first costs beyond the way within a socket");
const SAME_MESH = assumed("as within the cluster, which is the socket");

/** Tables of a latency for each pair of CPUs, by part; here the median of all pairs at a distance. */
function between(part: string) {
  return measured(`${part}: median of its pairs of CPUs, Viennot's core-to-core-latency (GitHub)`);
}

function mesh(range: string) {
  return assumed(`the middle of the ${range} that core-to-core latency tests show on the mesh; remembered`);
}

function link(range: string) {
  return assumed(`the middle of the ${range} that core-to-core latency tests show over a link; remembered`);
}

const BROADWELL = assumed(
  "as measured on two Xeon E5-2680 v4 (Broadwell, the next generation, two rings as well): median of its pairs of CPUs, Viennot's core-to-core-latency (GitHub)",
);
const DAVID = "David et al., SOSP 2013, on eight Xeon E7-8867L, the generation before, at 2.13 GHz; remembered";

/** Haswell-EP: two rings a socket. */
export const HASWELL_LINES: LineTransfers = {
  coresPerCluster: cores(0, documented("Intel optimization manual: rings with a shared last-level cache a socket")),
  core: ns(8, BROADWELL),
  cluster: ns(45, BROADWELL),
  socket: ns(45, assumed("as within the cluster, which is the socket")),
  remote: ns(127, BROADWELL),
  far: ns(209, SECOND_HOP),
};

/** Ivy Bridge-EX: eight sockets, each with three links, so that two hops reach every other one. */
export const IVY_BRIDGE_LINES: LineTransfers = {
  ...HASWELL_LINES,
  core: WITHIN_CORE,
  cluster: ns(56, assumed(`120 cycles of compare-and-exchange: ${DAVID}`)),
  socket: ns(56, assumed("as within the cluster, which is the socket")),
  remote: ns(152, assumed(`324 cycles: ${DAVID}`)),
  far: ns(202, assumed(`430 cycles: ${DAVID}`)),
};

const CASCADE_LAKE = between("a Xeon Platinum 8275CL (Cascade Lake, the same mesh)");

/** Skylake-SP, a server: one mesh a socket. A client part has a ring, whose lines come sooner. */
export const SKYLAKE_LINES: LineTransfers = {
  coresPerCluster: cores(0, documented("Intel optimization manual: one mesh with a shared last-level cache a socket")),
  core: ns(8, CASCADE_LAKE),
  cluster: ns(47, CASCADE_LAKE),
  socket: ns(47, SAME_MESH),
  remote: ns(134, CASCADE_LAKE),
  far: ns(221, SECOND_HOP),
};

const ICE_LAKE = between("two Xeon Platinum 8375C");

/** Ice Lake-SP. */
export const ICELAKE_LINES: LineTransfers = {
  ...SKYLAKE_LINES,
  core: ns(8, ICE_LAKE),
  cluster: ns(51, ICE_LAKE),
  socket: ns(51, SAME_MESH),
  remote: ns(108, ICE_LAKE),
  far: ns(165, SECOND_HOP),
};

/** Sapphire Rapids: four dies, one mesh. */
export const SAPPHIRE_RAPIDS_LINES: LineTransfers = {
  ...SKYLAKE_LINES,
  core: WITHIN_CORE,
  cluster: ns(65, mesh("55 to 75 ns")),
  socket: ns(65, SAME_MESH),
  remote: ns(145, link("130 to 160 ns")),
  far: ns(225, SECOND_HOP),
};

const ROME = between("two EPYC 7742");

/** Zen 2: core complexes of four cores. */
export const ZEN2_LINES: LineTransfers = {
  coresPerCluster: cores(
    4,
    documented("AMD software optimization guide, family 17h: four cores share a last-level cache"),
  ),
  core: ns(8, ROME),
  cluster: ns(25, ROME),
  socket: ns(132, ROME),
  remote: ns(267, ROME),
  far: ns(402, SECOND_HOP),
};

const MILAN = between("two EPYC 7R13");

/** Zen 3: core complexes of eight cores. Of the two sockets of the machine that was measured the one that behaves as other parts do. */
export const ZEN3_LINES: LineTransfers = {
  coresPerCluster: cores(
    8,
    documented("AMD software optimization guide, family 19h: eight cores share a last-level cache"),
  ),
  core: ns(10, MILAN),
  cluster: ns(23, MILAN),
  socket: ns(108, MILAN),
  remote: ns(197, MILAN),
  far: ns(286, SECOND_HOP),
};

/** Zen 5: core complexes of eight cores too; the rest as in Zen 3. */
export const ZEN5_LINES: LineTransfers = {
  ...allTakenOver(ZEN3_LINES, "Zen 3"),
  coresPerCluster: cores(
    8,
    documented("CPUID leaf 8000001Dh of an EPYC 9005 (InstLatx64): a last-level cache each 8 cores"),
  ),
};
