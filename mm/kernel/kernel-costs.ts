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

/** What an interrupt between CPUs costs. `ByDistance`: same CPU, same core, same socket, another socket. */
export interface IpiCosts {
  readonly destinationMode: DestinationMode;
  /** Filling in a target's request and putting it on its queue: its cache line moves to the sender. */
  readonly queueCycles: ByDistance;
  /** Writing the interrupt command register once. */
  readonly sendCycles: number;
  /** From that to the target's first instruction, when it can be taken at once. */
  readonly latencyCycles: ByDistance;
  /** Entering and leaving the handler. */
  readonly entryCycles: number;
  readonly exitCycles: number;
  /** The target's reading of a request: its cache line moves from the sender. */
  readonly requestCycles: ByDistance;
  /** The sender's reading of one acknowledgement: the line moves back. */
  readonly ackCycles: ByDistance;
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

/** A modified cache line moving between CPUs. */
const LINE_TRANSFER: ByDistance = [20, 40, 190, 500];

/** A server core of about 2.5 GHz. */
export const DEFAULT_KERNEL_COSTS: KernelCosts = {
  lock: { uncontendedCycles: 20, transferCycles: LINE_TRANSFER },
  ipi: {
    destinationMode: "cluster",
    queueCycles: LINE_TRANSFER,
    sendCycles: 120,
    latencyCycles: [800, 800, 1000, 2000],
    entryCycles: 350,
    exitCycles: 250,
    requestCycles: LINE_TRANSFER,
    ackCycles: LINE_TRANSFER,
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

const byDistance = arrayOf(COST_CYCLES, 4, 4);

const LOCK_CHECKS: Record<keyof LockCosts, FieldCheck> = { uncontendedCycles: COST_CYCLES, transferCycles: byDistance };

const IPI_CHECKS: Record<keyof IpiCosts, FieldCheck> = {
  destinationMode: oneOf(DESTINATION_MODES),
  queueCycles: byDistance,
  sendCycles: COST_CYCLES,
  latencyCycles: byDistance,
  entryCycles: COST_CYCLES,
  exitCycles: COST_CYCLES,
  requestCycles: byDistance,
  ackCycles: byDistance,
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
