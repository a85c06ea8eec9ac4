/**
 * How a flush of kernel addresses reaches every CPU: exchangeable. A policy of one's own implements {@link FlushPolicy} and
 * is given to `bootKernel({ flushPolicy })`. The contract: when `flush` returns, no CPU will ever again use a translation of
 * the range that it cached before `flush` was called, except one that is in user mode and will run `request.invalidate`
 * before it next uses a kernel address (`UserMode.defer`). The caller has cleared the page-table entries already.
 */
import { ACTIVITY_FLUSH, ACTIVITY_IPI_WAIT } from "../arch/cycle-accounts.ts";
import { type KernelCode, PAUSE_TURN } from "../arch/event-loop.ts";
import { INVLPGB_PAGES_MAX } from "../arch/invalidations.ts";
import { PAGE_SIZE } from "../arch/linear-address.ts";
import type { Machine } from "../arch/machine.ts";
import type { FlushAccounts, FlushRecord } from "./flush-accounts.ts";
import { allCpus, type Smp } from "./smp.ts";
import type { UserMode } from "./user-mode.ts";
import { ConfigError } from "./vmalloc-config.ts";

/** What a policy works with. */
export interface FlushContext {
  readonly machine: Machine;
  readonly smp: Smp;
  readonly userMode: UserMode;
  /** Null when nobody keeps accounts. */
  readonly accounts: FlushAccounts | null;
}

/** One flush to be carried out. */
export interface FlushRequest {
  /** [start, end), page-aligned at `start`. */
  readonly start: number;
  readonly end: number;
  /** Whether whole TLBs are to be flushed: the range is above the ceiling, or has no bounds. */
  readonly full: boolean;
  /** Flushes a CPU's own TLB as Linux does on Intel; runs on that CPU. Refills are attributed by it. */
  readonly invalidate: (cpu: number) => void;
  /** The same for the whole TLB. */
  readonly invalidateAll: (cpu: number) => void;
  /** Where the costs are booked; null when nobody keeps accounts. */
  readonly record: FlushRecord | null;
}

/** A way to flush kernel addresses on every CPU. */
export interface FlushPolicy {
  readonly name: string;
  /** One line for lists. */
  readonly summary: string;
  /** Whether every `vunmap` flushes at once and its range is free right after, instead of waiting for a purge. */
  readonly eager: boolean;
  /** @throws ConfigError when the machine cannot do it */
  check(machine: Machine): void;
  /** Carries out one flush, on the current CPU's behalf. */
  flush(context: FlushContext, request: FlushRequest): KernelCode<void>;
}

/** Linux's default: an interrupt to every other CPU, which flushes its own TLB (`on_each_cpu`). */
export const IPI_POLICY: FlushPolicy = {
  name: "ipi",
  summary: "interrupts to all CPUs, freed ranges flushed together by a purge: Linux's default",
  eager: false,
  check: () => {},
  flush: ({ smp }, { invalidate, record }) => smp.onEachCpu(invalidate, record),
};

/** As Linux was before lazy purging (2.6.27): every `vunmap` interrupts every CPU. */
export const EAGER_POLICY: FlushPolicy = {
  ...IPI_POLICY,
  name: "eager",
  summary: "interrupts to all CPUs at every vunmap, as before lazy purging",
  eager: true,
};

/** AMD's broadcast (Linux 6.15, `arch/x86/mm/tlb.c`, `invlpgb_kernel_range_flush`): INVLPGB and TLBSYNC, no interrupts. */
export const INVLPGB_POLICY: FlushPolicy = {
  name: "invlpgb",
  summary: "AMD's broadcast instructions INVLPGB and TLBSYNC, no interrupts (Linux 6.15)",
  eager: false,
  check(machine) {
    if (machine.features.invlpgb) return;
    throw new ConfigError("flush policy", "invlpgb", `a CPU with INVLPGB; ${machine.preset.name} has none`);
  },
  *flush({ machine, accounts }, request) {
    const { loop } = machine;
    while (loop.mustYield()) yield PAUSE_TURN;
    const { record } = request;
    if (record === null || accounts === null) broadcast(machine, request);
    else accounts.attributedEverywhere(record, () => broadcast(machine, request));
  },
};

function broadcast(machine: Machine, { start, end, full, record }: FlushRequest): void {
  const { loop } = machine;
  const { invalidations } = machine.cpus[loop.currentCpu];
  const began = loop.nowCycles();
  const activity = loop.enterActivity(ACTIVITY_FLUSH);
  if (full) {
    invalidations.invlpgb({ includeGlobals: true });
  } else {
    const last = Math.ceil((end - start) / PAGE_SIZE);
    for (let page = 0; page < last; page += INVLPGB_PAGES_MAX) {
      const pages = Math.min(INVLPGB_PAGES_MAX, last - page);
      invalidations.invlpgb({ la: start + page * PAGE_SIZE, pages, includeGlobals: true });
    }
  }
  const issued = loop.nowCycles();
  loop.enterActivity(ACTIVITY_IPI_WAIT);
  invalidations.tlbsync();
  loop.enterActivity(activity);
  if (record === null) return;
  record.workCycles += issued - began;
  record.waitCycles += loop.nowCycles() - issued;
}

/** Isolated CPUs in user mode are left in peace: they flush everything when they next enter the kernel. */
export const DEFERRED_POLICY: FlushPolicy = {
  name: "deferred",
  summary: "interrupts, but isolated CPUs in user mode flush at their next kernel entry",
  eager: false,
  check: () => {},
  *flush({ machine, smp, userMode }, { invalidate, invalidateAll, record }) {
    const { loop } = machine;
    while (loop.mustYield()) yield PAUSE_TURN;
    const now: number[] = [];
    for (const cpu of allCpus(loop.cpus)) {
      if (cpu === loop.currentCpu || !userMode.canDefer(cpu)) {
        now.push(cpu);
        continue;
      }
      if (record !== null) record.deferred++;
      userMode.defer(cpu, (target) => {
        const began = loop.nowCycles();
        invalidateAll(target);
        record?.paidLater(target, loop.nowCycles() - began);
      });
    }
    yield* smp.onEachCpuMask(now, invalidate, record);
  },
};

/** All policies that come with the kernel. */
export const FLUSH_POLICIES: readonly FlushPolicy[] = [IPI_POLICY, INVLPGB_POLICY, DEFERRED_POLICY, EAGER_POLICY];

/** @throws ConfigError for a name that no policy has */
export function flushPolicyByName(name: string): FlushPolicy {
  const found = FLUSH_POLICIES.find((policy) => policy.name === name);
  if (found !== undefined) return found;
  throw new ConfigError("flush policy", name, FLUSH_POLICIES.map((policy) => policy.name).join(", "));
}
