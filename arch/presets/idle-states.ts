/**
 * States in which a CPU waits for work, and what it takes to wake up from them, as Linux reckons: the tables of `drivers/idle/intel_idle.c`, or
 * what the firmware tells (ACPI `_CST`). Latencies are the longest that the vendor promises.
 */
import { assumed, documented, type Figure, nanoseconds as ns, type Origin } from "./figure.ts";

/** One state. */
export interface IdleState {
  /** `C1`, `C1E`, `C6`. */
  readonly name: string;
  /** From an interrupt to the first instruction. */
  readonly exitLatency: Figure<"ns">;
  /** Idle times from which on it pays to enter it. */
  readonly targetResidency: Figure<"ns">;
}

function state(name: string, exitUsec: number, residencyUsec: number, origin: Origin): IdleState {
  return { name, exitLatency: ns(1000 * exitUsec, origin), targetResidency: ns(1000 * residencyUsec, origin) };
}

function intel(table: string, rows: readonly (readonly [string, number, number])[]): readonly IdleState[] {
  const origin = documented(`Linux drivers/idle/intel_idle.c, ${table}`);
  return rows.map(([name, exitUsec, residencyUsec]) => state(name, exitUsec, residencyUsec, origin));
}

/** Skylake (server). */
export const SKYLAKE_IDLE = intel("skx_cstates", [
  ["C1", 2, 2],
  ["C1E", 10, 20],
  ["C6", 133, 600],
]);

/** Haswell. */
export const HASWELL_IDLE = intel("hsw_cstates", [
  ["C1", 2, 2],
  ["C1E", 10, 20],
  ["C3", 33, 100],
  ["C6", 133, 400],
]);

/** Ivy Bridge, eight sockets. */
export const IVY_BRIDGE_IDLE = intel("ivt_cstates_8s", [
  ["C1", 1, 1],
  ["C1E", 10, 500],
  ["C3", 59, 600],
  ["C6", 88, 700],
]);

/** Ice Lake (server). */
export const ICELAKE_IDLE = intel("icx_cstates", [
  ["C1", 1, 1],
  ["C1E", 4, 4],
  ["C6", 170, 600],
]);

/** Sapphire and Emerald Rapids. */
export const SAPPHIRE_RAPIDS_IDLE = intel("spr_cstates", [
  ["C1", 1, 1],
  ["C1E", 2, 4],
  ["C6", 290, 800],
]);

const GNR = assumed("Linux drivers/idle/intel_idle.c, gnr_cstates; remembered");

/** Granite Rapids. */
export const GRANITE_RAPIDS_IDLE: readonly IdleState[] = [
  state("C1", 1, 1, GNR),
  state("C1E", 4, 4, GNR),
  state("C6", 170, 650, GNR),
];

const CST = assumed("what cpupower shows of ACPI's _CST on EPYC servers: C1 by MWAIT, C2 by I/O port; remembered");

/** Zen 2 and Zen 3 (server). */
export const ZEN2_IDLE: readonly IdleState[] = [state("C1", 1, 2, CST), state("C2", 800, 1600, CST)];
/** Zen 4 and Zen 5 (server). */
export const ZEN4_IDLE: readonly IdleState[] = [state("C1", 1, 2, CST), state("C2", 100, 200, CST)];
