/** What flushes work with on one machine: the policy, calls between CPUs, user mode, the accounts if anybody keeps them. */

import type { Machine } from "../../arch/machine.ts";
import type { KernelCosts } from "../kernel/kernel-costs.ts";
import { Smp } from "../kernel/smp.ts";
import { ConfigError } from "../lib/config-error.ts";
import { FlushAccounts, type FlushAccountsOptions, type FlushRecord } from "./flush-accounts.ts";
import { type FlushContext, type FlushPolicy, IPI_POLICY } from "./flush-policy.ts";
import { UserMode } from "./user-mode.ts";

/** Settings of flushing. */
export interface FlushingConfig {
  /** How flushes reach other CPUs. Default: interrupts. */
  readonly policy?: FlushPolicy | undefined;
  /** CPUs for which the policy `deferred` puts flushes off while they are in user mode. Default: none. */
  readonly isolatedCpus?: readonly number[] | undefined;
  /** Page-table isolation (`pti=on`). Default: off, as on CPUs that Meltdown does not concern. */
  readonly pageTableIsolation?: boolean | undefined;
}

/** Flushing on one machine. */
export class Flushing implements FlushContext {
  readonly machine: Machine;
  readonly smp: Smp;
  readonly userMode: UserMode;
  readonly policy: FlushPolicy;
  /** Whether every `vunmap` flushes at once. */
  readonly isEager: boolean;
  /** Whether kernel pages are not global, and user mode runs on page tables of its own (page-table isolation, KPTI). */
  readonly isolation: boolean;
  /** Called after INVLPG of a kernel page on a CPU; `user-spaces.ts` sets it. */
  afterKernelPage: ((cpu: number, la: number, record: FlushRecord | null) => void) | null = null;
  accounts: FlushAccounts | null = null;

  /** @throws ConfigError for a policy that the machine cannot carry out, or an isolated CPU that it does not have */
  constructor(machine: Machine, costs: KernelCosts, config: FlushingConfig = {}) {
    const { policy = IPI_POLICY, isolatedCpus = [] } = config;
    const { loop } = machine;
    policy.check(machine);
    for (const cpu of isolatedCpus) {
      if (Number.isInteger(cpu) && cpu >= 0 && cpu < loop.cpus) continue;
      throw new ConfigError("isolated CPU", cpu, `a CPU from 0 to ${loop.cpus - 1}`);
    }
    this.machine = machine;
    this.policy = policy;
    this.isEager = policy.eager;
    this.isolation = config.pageTableIsolation ?? false;
    this.smp = new Smp(loop, costs.ipi);
    this.userMode = new UserMode(machine, costs, isolatedCpus);
    this.smp.onKernelEntry = (cpu) => this.userMode.interruptEntry(cpu);
    this.smp.onKernelExit = (cpu) => this.userMode.interruptExit(cpu);
  }

  /** Starts to keep accounts of every flush from now on; those already kept are returned as they are. */
  keepAccounts(options: FlushAccountsOptions = {}): FlushAccounts {
    this.accounts ??= new FlushAccounts(this.machine, options);
    return this.accounts;
  }
}
