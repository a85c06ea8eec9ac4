/**
 * What kernel code costs in cycles beside the hardware's own costs. [F] found in the named source, [M] remembered: check
 * before quoting.
 */
import type { LockCosts } from "./lock.ts";

/** What an interrupt between CPUs costs. */
export interface IpiCosts {
  /** Writing the interrupt command register, once a target. */
  readonly sendCycles: number;
  /** From sending to the target's first instruction, when it can be taken at once. */
  readonly latencyCycles: number;
  /** Entering and leaving the handler. */
  readonly entryCycles: number;
  readonly exitCycles: number;
  /** From the handler's acknowledgement to the sender's seeing it. */
  readonly ackCycles: number;
}

/** Costs of kernel primitives, in cycles. */
export interface KernelCosts {
  /** Spinlocks: an uncontended atomic on a line at hand [M]; a contended line within a socket, 50 to 100 ns [M]. */
  readonly lock: LockCosts;
  /** Interrupts between CPUs of a socket [M]. */
  readonly ipi: IpiCosts;
  /** Going one node down or up a tree of areas whose nodes are in the cache [M]. */
  readonly treeStepCycles: number;
  /** Writing one page-table entry [M]. */
  readonly entryWriteCycles: number;
  /** Taking or giving back one frame on a per-CPU list [M]. */
  readonly frameCycles: number;
  /** Filling a page with zeros: 4096 bytes at 32 bytes a cycle [M]. */
  readonly zeroPageCycles: number;
  /** Fixed work of one call of vmalloc, vfree and their like, beyond what is counted step by step [M]. */
  readonly callCycles: number;
}

/** A server core of about 2.5 GHz. */
export const DEFAULT_KERNEL_COSTS: KernelCosts = {
  lock: { uncontendedCycles: 20, transferCycles: 180 },
  ipi: { sendCycles: 120, latencyCycles: 1000, entryCycles: 350, exitCycles: 250, ackCycles: 180 },
  treeStepCycles: 8,
  entryWriteCycles: 3,
  frameCycles: 25,
  zeroPageCycles: 128,
  callCycles: 200,
};
