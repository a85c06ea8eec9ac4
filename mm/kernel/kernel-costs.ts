/**
 * What kernel code costs in cycles beside the hardware's own costs, on a server core of about 2.5 GHz. How each figure is
 * known stands in kernel-cost-origins.ts. None is fitted to a result of the emulator.
 */
import { arrayOf, COST_CYCLES, eachOf, type FieldCheck, objectOf, oneOf } from "../../arch/presets/field-checks.ts";
import type { ByDistance } from "../../arch/time/topology.ts";
import { ConfigError } from "../lib/config-error.ts";
import type { LockCosts } from "./lock.ts";

/**
 * How interrupts are addressed: `physical` writes the interrupt command register once a target; `cluster` (x2APIC, Linux's
 * default) once a cluster of 16 CPUs; `shorthand` once for all CPUs but the sender, or once a target for fewer than all.
 */
export const DESTINATION_MODES = ["physical", "cluster", "shorthand"] as const;
export type DestinationMode = (typeof DESTINATION_MODES)[number];

/** What an interrupt between CPUs costs, beside the cache lines that move. `ByDistance`: see `arch/time/topology.ts`. */
export interface IpiCosts {
  readonly destinationMode: DestinationMode;
  /** Writing the interrupt command register once. */
  readonly sendCycles: number;
  /** From that to the target's first instruction, when it can be taken at once. */
  readonly latencyCycles: ByDistance;
  /** Entering and leaving the handler. */
  readonly entryCycles: number;
  readonly exitCycles: number;
  /** What an idle target takes to wake up before that. */
  readonly idleWakeCycles: number;
}

/** Costs of kernel primitives, in cycles. */
export interface KernelCosts {
  /** Spinlocks and mutexes. */
  readonly lock: LockCosts;
  /** Interrupts between CPUs. */
  readonly ipi: IpiCosts;
  /** A context switch without what it does to translations. */
  readonly contextSwitchCycles: number;
  /** Entering the kernel from user mode and going back: SYSCALL, SYSRET. */
  readonly kernelEntryCycles: number;
  readonly kernelExitCycles: number;
  /** Going one node down or up a tree of areas whose nodes are in the cache. */
  readonly treeStepCycles: number;
  /** Writing one page-table entry. */
  readonly entryWriteCycles: number;
  /** Taking or giving back one frame on a per-CPU list. */
  readonly frameCycles: number;
  /** Filling a page with zeros. */
  readonly zeroPageCycles: number;
  /** Fixed work of one call of vmalloc, vfree and their like, beyond what is counted step by step. */
  readonly callCycles: number;
}

/** A server core of about 2.5 GHz. */
export const DEFAULT_KERNEL_COSTS: KernelCosts = {
  lock: { uncontendedCycles: 20, handOverTransfers: 2 },
  ipi: {
    destinationMode: "cluster",
    sendCycles: 120,
    latencyCycles: [800, 800, 1000, 1000, 2000, 3000],
    entryCycles: 350,
    exitCycles: 250,
    idleWakeCycles: 2500,
  },
  contextSwitchCycles: 1000,
  kernelEntryCycles: 100,
  kernelExitCycles: 100,
  treeStepCycles: 8,
  entryWriteCycles: 3,
  frameCycles: 25,
  zeroPageCycles: 128,
  callCycles: 200,
};

const byDistance = arrayOf(COST_CYCLES, 6, 6);

const LOCK_CHECKS: Record<keyof LockCosts, FieldCheck> = {
  uncontendedCycles: COST_CYCLES,
  handOverTransfers: COST_CYCLES,
};

const IPI_CHECKS: Record<keyof IpiCosts, FieldCheck> = {
  destinationMode: oneOf(DESTINATION_MODES),
  sendCycles: COST_CYCLES,
  latencyCycles: byDistance,
  entryCycles: COST_CYCLES,
  exitCycles: COST_CYCLES,
  idleWakeCycles: COST_CYCLES,
};

const costsProblem = objectOf({
  ...eachOf(Object.keys(DEFAULT_KERNEL_COSTS), COST_CYCLES),
  lock: objectOf(LOCK_CHECKS),
  ipi: objectOf(IPI_CHECKS),
});

/**
 * Checks costs that somebody gives a kernel.
 * @throws ConfigError naming the first field that is wrong, its value and what was expected
 */
export function checkKernelCosts(costs: unknown): asserts costs is KernelCosts {
  if (costs === DEFAULT_KERNEL_COSTS) return;
  const problem = costsProblem(costs, "costs");
  if (problem !== null) throw new ConfigError(problem.path, problem.value, problem.expected);
}
