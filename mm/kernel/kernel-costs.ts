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
/** How interrupts are addressed, by name. */
export type DestinationMode = (typeof DESTINATION_MODES)[number];

/** What an interrupt between CPUs costs, beside the cache lines that move. `ByDistance`: see `arch/time/topology.ts`. */
export interface IpiCosts {
  readonly destinationMode: DestinationMode;
  /** Writing the interrupt command register once. */
  readonly sendCycles: number;
  /** From that to the first instruction of the target's handler, when it can be taken at once: the way and the delivery. */
  readonly latencyCycles: ByDistance;
  /** The handler's entry, from its first instruction on, and leaving it. */
  readonly entryCycles: number;
  readonly exitCycles: number;
  /** What an idle target takes to wake up before that. */
  readonly idleWakeCycles: number;
}

/** What a call that flushes costs beside the invalidations themselves. */
export interface FlushCallCosts {
  /**
   * The CPU that flushes: preemption off and on, `flush_tlb_info` filled in, the tests of masks, counters, tracepoints that are off
   * (`flush_tlb_mm_range`, `flush_tlb_kernel_range`).
   */
  readonly callCycles: number;
  /** Each CPU that invalidates: interrupts off and on, its TLB state compared with what is asked (`flush_tlb_func`). */
  readonly localCycles: number;
  /** For each CPU of the machine, how long a broadcast keeps the next one waiting: all their answers come one way (TLBSYNC). */
  readonly broadcastCpuCycles: number;
}

/** What pages cost in the page allocator, and in user address spaces. */
export interface PageCosts {
  /** Taking a page off a CPU's list or putting it back: statistics and `struct page` included. */
  readonly listCycles: number;
  /** Putting a page back on the CPU's list as one of a batch (`free_unref_folios`). */
  readonly freeBatchCycles: number;
  /** Moving a block between a CPU's list and the buddies of its zone, under the zone's lock, without waiting for `struct page`s. */
  readonly buddyCycles: number;
  /** Calling `clear_page` and coming back, beside the stores (the preset's `costs.zeroPage` and those after it). */
  readonly zeroCallCycles: number;
  /** Allocating or freeing a small object from the CPU's slab; `SlabCosts` has what else may come to it. */
  readonly slabCycles: number;
  /** Going down from the top table to a PTE table. */
  readonly tableWalkCycles: number;
  /** Charging a page, or a block of pages, to a memory cgroup out of the CPU's stock, or giving it back there; only with cgroups. */
  readonly chargeCycles: number;
  /** Uncharging a user page as one of a batch; only with cgroups. */
  readonly unchargeCycles: number;
}

/** What allocating or freeing a small object costs where the CPU's own slab does not do, beside the lines that move (`slab/kmem-cache.ts`). */
export interface SlabCosts {
  /** The slow path of either: a slab's list changed by a locked compare-and-exchange (`___slab_alloc`, `__slab_free`). */
  readonly slowCycles: number;
  /** Interrupts off and on as they were, around the lock of a node's list. */
  readonly irqCycles: number;
  /** Moving a slab to or from a node's list, under its lock. */
  readonly partialCycles: number;
  /** Putting an object on the list of a new slab. */
  readonly objectCycles: number;
}

/** What user address spaces cost, beside entering the kernel, locks, flushes and pages. */
export interface UserCosts {
  /** A page fault's handler for an anonymous page: mapping found, its lock, entry made, reverse mapping, LRU. */
  readonly faultCycles: number;
  /** A page fault's handler for an anonymous page that is only read, which maps the zero page: without reverse mapping, counters and LRU. */
  readonly readFaultCycles: number;
  /** `mprotect`'s fixed part: mapping found, split or merged, accounted. */
  readonly mprotectCycles: number;
  /** `madvise`'s fixed part. */
  readonly madviseCycles: number;
  /** `mmap`'s fixed part: gap found, mapping made or its neighbour made longer, put into the tree. */
  readonly mmapCycles: number;
  /** `munmap`'s fixed part: mapping found, taken out of the tree, freed. */
  readonly munmapCycles: number;
  /** Changing the rights of one entry. */
  readonly protectEntryCycles: number;
  /** Taking out one entry: an atomic exchange, reverse mapping and counters. */
  readonly zapEntryCycles: number;
  /** Taking out one entry of the zero page, which nobody counts. */
  readonly zapZeroPageCycles: number;
  /** Taking a page off its LRU list before it is freed. */
  readonly lruCycles: number;
  /** Fork's fixed part of the address space: `mm_struct` and mappings copied. */
  readonly forkCycles: number;
  /** Copying one entry of the page tables at fork. */
  readonly copyEntryCycles: number;
  /** Copying a page that is written after fork. */
  readonly copyPageCycles: number;
}

/** Costs of kernel primitives, in cycles. */
export interface KernelCosts {
  /** Spinlocks and mutexes. */
  readonly lock: LockCosts;
  /** Interrupts between CPUs. */
  readonly ipi: IpiCosts;
  /** Calls that flush. */
  readonly flush: FlushCallCosts;
  /** Pages. */
  readonly pages: PageCosts;
  /** Small objects. */
  readonly slab: SlabCosts;
  /** User address spaces. */
  readonly user: UserCosts;
  /** A context switch without what it does to translations. */
  readonly contextSwitchCycles: number;
  /** Entering the kernel from user mode and going back: SYSCALL, SYSRET. */
  readonly kernelEntryCycles: number;
  readonly kernelExitCycles: number;
  /** Going one node down or up a tree of areas whose nodes are in the cache. */
  readonly treeStepCycles: number;
  /** Writing one page-table entry. */
  readonly entryWriteCycles: number;
  /** Fixed work of one call of vmalloc, vfree and their like, beyond what is counted step by step. */
  readonly callCycles: number;
}

/** A server core of about 2.5 GHz. */
export const DEFAULT_KERNEL_COSTS: KernelCosts = {
  lock: { uncontendedCycles: 20, handOverTransfers: 2 },
  ipi: {
    destinationMode: "cluster",
    sendCycles: 120,
    latencyCycles: [415, 815, 815, 815, 2000, 3000],
    entryCycles: 350,
    exitCycles: 250,
    idleWakeCycles: 2500,
  },
  flush: { callCycles: 500, localCycles: 195, broadcastCpuCycles: 10 },
  pages: {
    listCycles: 100,
    freeBatchCycles: 50,
    buddyCycles: 40,
    zeroCallCycles: 5,
    slabCycles: 21,
    tableWalkCycles: 50,
    chargeCycles: 77,
    unchargeCycles: 20,
  },
  slab: { slowCycles: 55, irqCycles: 37, partialCycles: 20, objectCycles: 4 },
  user: {
    faultCycles: 700,
    readFaultCycles: 140,
    mprotectCycles: 1200,
    madviseCycles: 500,
    mmapCycles: 1500,
    munmapCycles: 1500,
    protectEntryCycles: 60,
    zapEntryCycles: 70,
    zapZeroPageCycles: 30,
    lruCycles: 60,
    forkCycles: 5000,
    copyEntryCycles: 60,
    copyPageCycles: 600,
  },
  contextSwitchCycles: 1000,
  kernelEntryCycles: 100,
  kernelExitCycles: 100,
  treeStepCycles: 8,
  entryWriteCycles: 3,
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

const ofCycles = (costs: object): FieldCheck => objectOf(eachOf(Object.keys(costs), COST_CYCLES));

const costsProblem = objectOf({
  ...eachOf(Object.keys(DEFAULT_KERNEL_COSTS), COST_CYCLES),
  lock: objectOf(LOCK_CHECKS),
  ipi: objectOf(IPI_CHECKS),
  flush: ofCycles(DEFAULT_KERNEL_COSTS.flush),
  pages: ofCycles(DEFAULT_KERNEL_COSTS.pages),
  slab: ofCycles(DEFAULT_KERNEL_COSTS.slab),
  user: ofCycles(DEFAULT_KERNEL_COSTS.user),
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
