/**
 * What flushes work with on one machine: the policy, calls between CPUs, user mode, the ceiling, counters, and the accounts where
 * they are kept. Nothing here knows who mapped what is flushed.
 */

import type { Machine } from "../../arch/machine.ts";
import type { CallProbes } from "../kernel/call-probes.ts";
import type { IdleStateCycles } from "../kernel/idle-states.ts";
import type { FlushCallCosts, KernelCosts } from "../kernel/kernel-costs.ts";
import type { SpinLock } from "../kernel/lock.ts";
import { type MitigationCycles, NO_MITIGATIONS } from "../kernel/mitigations.ts";
import type { ParavirtHost } from "../kernel/paravirt-host.ts";
import { Smp } from "../kernel/smp.ts";
import { newSpinLock } from "../kernel/spinlocks.ts";
import type { FlushEvents } from "../kernel/vmalloc-events.ts";
import { ConfigError } from "../lib/config-error.ts";
import { FlushAccounts, type FlushAccountsOptions, type FlushRecord } from "./flush-accounts.ts";
import { type FlushContext, type FlushPolicy, IPI_POLICY } from "./flush-policy.ts";
import type { Rar } from "./rar.ts";
import type { TlbFlushObserver } from "./tlb-flush-reasons.ts";
import { TlbVmstat } from "./tlb-vmstat.ts";
import type { UnflushedRanges } from "./unflushed-ranges.ts";
import { UserMode } from "./user-mode.ts";

/** Linux's default of `tlb_single_page_flush_ceiling`. */
const DEFAULT_CEILING_PAGES = 33;
/** The pages of the whole address space. */
const CEILING_PAGES_MAX = 2 ** 36;

/** Settings of flushing. */
export interface FlushingConfig {
  /** How flushes reach other CPUs. Default: interrupts. */
  readonly policy?: FlushPolicy | undefined;
  /** CPUs for which the policy `deferred` puts flushes off while they are in user mode. Default: none. */
  readonly isolatedCpus?: readonly number[] | undefined;
  /** Page-table isolation (`pti=on`). Default: off, as on CPUs that Meltdown does not concern. */
  readonly pageTableIsolation?: boolean | undefined;
  /** What mitigations cost where user mode enters the kernel and leaves it. Default: nothing. */
  readonly mitigations?: MitigationCycles | undefined;
  /** States in which idle CPUs wait. Default: one, from which they wake in `ipi.idleWakeCycles`. */
  readonly idleStates?: readonly IdleStateCycles[] | undefined;
  /** Ranges of more pages than this are flushed whole (`tlb_single_page_flush_ceiling`). Default: 33. */
  readonly flushCeilingPages?: number | undefined;
  /**
   * Whether every TLB is flushed whole before a kernel page table is given back, so that no paging-structure cache of any PCID leads to
   * it. Linux up to 7.2 flushes one page there, which leaves those of PCIDs that are not loaded. Default: no.
   */
  readonly flushFreedTables?: boolean | undefined;
}

/** Flushing on one machine. */
export class Flushing implements FlushContext {
  readonly machine: Machine;
  readonly smp: Smp;
  readonly userMode: UserMode;
  readonly policy: FlushPolicy;
  readonly costs: FlushCallCosts;
  /** What mitigations cost, where they are on. */
  readonly mitigations: MitigationCycles;
  readonly vmlistLock: SpinLock;
  readonly broadcastLine: number;
  /** Whether every `vunmap` flushes at once. */
  readonly isEager: boolean;
  /** Whether kernel pages are not global, and user mode runs on page tables of its own (page-table isolation, KPTI). */
  readonly isolation: boolean;
  /** Ranges of more pages than this are flushed whole (`tlb_single_page_flush_ceiling`). */
  readonly ceilingPages: number;
  /** Whether every TLB is flushed whole before a kernel page table is given back. */
  readonly flushFreedTables: boolean;
  /** The TLB lines of `/proc/vmstat`. */
  readonly vmstat = new TlbVmstat();
  /** Flushes of kernel addresses so far: whole TLBs, and page by page. */
  fullFlushes = 0;
  rangeFlushes = 0;
  /** Is told of each flush of kernel addresses; null when nothing observes. */
  events: FlushEvents | null = null;
  /** The hypervisor, where the kernel is a guest (`GuestHost` sets it); else null. */
  host: ParavirtHost | null = null;
  /** Tables of remote actions where the policy uses them (`KernelMm` makes them); else null. */
  rar: Rar | null = null;
  /** Sees flushes and changes of address space begin and end; null when nothing does. */
  probes: CallProbes | null = null;
  /** Sees flushes of user address spaces; null when nothing does. */
  tlbFlushObserver: TlbFlushObserver | null = null;
  /** Called after INVLPG of a kernel page on a CPU; `user-spaces.ts` sets it. */
  afterKernelPage: ((cpu: number, la: number, record: FlushRecord | null) => void) | null = null;
  accounts: FlushAccounts | null = null;
  /** What was unmapped in vmap blocks and not flushed, where the version of the kernel forgets some of it; else null. */
  unflushed: UnflushedRanges | null = null;

  /**
   * @throws ConfigError for a policy that the machine cannot carry out, an isolated CPU that it does not have, or a ceiling that
   *   is no number of pages
   */
  constructor(machine: Machine, costs: KernelCosts, config: FlushingConfig = {}) {
    const { policy = IPI_POLICY, isolatedCpus = [], flushCeilingPages = DEFAULT_CEILING_PAGES } = config;
    const { loop } = machine;
    policy.check(machine);
    for (const cpu of isolatedCpus) {
      if (Number.isInteger(cpu) && cpu >= 0 && cpu < loop.cpus) continue;
      throw new ConfigError("isolated CPU", cpu, `a CPU from 0 to ${loop.cpus - 1}`);
    }
    if (!Number.isInteger(flushCeilingPages) || flushCeilingPages < 0 || flushCeilingPages > CEILING_PAGES_MAX) {
      throw new ConfigError("flushCeilingPages", flushCeilingPages, `a whole number from 0 to ${CEILING_PAGES_MAX}`);
    }
    this.machine = machine;
    this.ceilingPages = flushCeilingPages;
    this.flushFreedTables = config.flushFreedTables ?? false;
    this.policy = policy;
    this.isEager = policy.eager;
    this.isolation = config.pageTableIsolation ?? false;
    this.smp = new Smp(loop, costs.ipi, config.idleStates);
    this.mitigations = config.mitigations ?? NO_MITIGATIONS;
    this.costs = costs.flush;
    this.vmlistLock = newSpinLock("vmlist_lock", loop, costs.lock);
    this.broadcastLine = loop.lines.make(1);
    this.userMode = new UserMode(machine, costs, isolatedCpus, this.mitigations);
    this.smp.onKernelEntry = (cpu) => this.userMode.interruptEntry(cpu);
    this.smp.onKernelExit = (cpu) => this.userMode.interruptExit(cpu);
  }

  /** Starts to keep accounts of every flush from now on; those already kept are returned as they are. */
  keepAccounts(options: FlushAccountsOptions = {}): FlushAccounts {
    this.accounts ??= new FlushAccounts(this.machine, options);
    if (this.rar !== null) this.rar.accounts = this.accounts;
    return this.accounts;
  }
}
