/**
 * How a flush reaches the CPUs: exchangeable. A policy of one's own implements {@link FlushPolicy} and is given to
 * `bootKernel({ flushPolicy })`.
 *
 * The contract of `flush` (kernel addresses): when it returns, no CPU will ever again use a translation of the range that it
 * cached before `flush` was called, except one that is in user mode and will run `request.invalidate` before it next uses a
 * kernel address (`UserMode.defer`). The contract of `flushUser` is the same for one address space, without the exception:
 * a CPU in user mode uses just these translations. The caller has changed the page-table entries already.
 */

import type { Machine } from "../../arch/machine.ts";
import { type KernelCode, PAUSE_TURN } from "../../arch/time/event-loop.ts";
import type { FlushCallCosts } from "../kernel/kernel-costs.ts";
import type { SpinLock } from "../kernel/lock.ts";
import type { ParavirtHost } from "../kernel/paravirt-host.ts";
import { allCpus, type Smp } from "../kernel/smp.ts";
import { ConfigError } from "../lib/config-error.ts";
import { bookWork } from "./booked-work.ts";
import { type Broadcast, broadcastFlush } from "./broadcast-flush.ts";
import type { FlushAccounts, FlushRecord } from "./flush-accounts.ts";
import type { Rar } from "./rar.ts";
import type { UserMode } from "./user-mode.ts";

/** What a policy works with. */
export interface FlushContext {
  readonly machine: Machine;
  readonly smp: Smp;
  readonly userMode: UserMode;
  readonly costs: FlushCallCosts;
  /** Held while `eager` flushes, as all of vmalloc was in one lock. */
  readonly vmlistLock: SpinLock;
  /** The line that stands for the way which all broadcasts take. */
  readonly broadcastLine: number;
  /** The hypervisor, where the kernel is a guest; else null. */
  readonly host: ParavirtHost | null;
  /** Tables of remote actions; null unless the policy {@link FlushPolicy.usesRar}. */
  readonly rar: Rar | null;
  /** Whether user mode runs on page tables of its own (page-table isolation). */
  readonly isolation: boolean;
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
  /** Flushes a CPU's whole TLB, global entries included; runs on that CPU. Refills are attributed by it. */
  readonly invalidateAll: (cpu: number) => void;
  /** Where the costs are booked; null when nobody keeps accounts. */
  readonly record: FlushRecord | null;
}

/** One flush of a user address space to be carried out (`flush_tlb_mm_range`). */
export interface UserFlushRequest {
  /** [start, end), page-aligned; all of the user half when `full`. */
  readonly start: number;
  readonly end: number;
  /** Whether the whole address space is to be flushed: the range is above the ceiling, or has no bounds. */
  readonly full: boolean;
  /** CPUs that must be told, ascending, the current one perhaps among them. Others catch up when they next switch to it. */
  readonly cpus: readonly number[];
  /** All CPUs that may have translations of it, ascending, lazy ones too (`mm_cpumask`). */
  readonly cpumask: readonly number[];
  /** Brings a CPU's own TLB up to date with the address space (`flush_tlb_func`); runs on that CPU. Refills are attributed. */
  readonly invalidate: (cpu: number) => void;
  /** Where the costs are booked; null when nobody keeps accounts. */
  readonly record: FlushRecord | null;
  /** PCIDs that stand for the address space on every CPU; none as long as it has no global ASID. */
  globalPcids(): readonly number[];
  /**
   * Does what Linux does without broadcasts: interrupts all `cpus` but the current one, and flushes that one's own TLB.
   * @param multi reaches these CPUs, some other than the current one among them, in another way (`pv_ops.mmu.flush_tlb_multi`)
   */
  nativeFlushTlbMulti(multi?: (cpus: readonly number[]) => KernelCode<void>): KernelCode<void>;
  /** Interrupts the CPUs that have not gone over to the global ASID yet, if there are any (`finish_asid_transition`). */
  finishAsidTransition(): KernelCode<void>;
  /** Gives the address space a global ASID if it is active on enough CPUs (`consider_global_asid`). */
  considerGlobalAsid(): void;
}

/** A way to flush on every CPU. */
export interface FlushPolicy {
  readonly name: string;
  /** One line for lists. */
  readonly summary: string;
  /** Whether every `vunmap` flushes at once and its range is free right after, instead of waiting for a purge. */
  readonly eager: boolean;
  /**
   * Whether translations under a global ASID are kept up to date only on the CPUs of `mm_cpumask`, which then keeps CPUs that have
   * gone on to another address space; any other CPU flushes when it switches to it. Default: they are on all CPUs.
   */
  readonly globalAsidsFollowCpumask?: boolean;
  /** Whether it uses INVLPGB, which in a guest reaches the vCPUs of one ASID. Default: no. */
  readonly usesInvlpgb?: boolean;
  /** Whether it needs the tables of remote actions. Default: no. */
  readonly usesRar?: boolean;
  /** @throws ConfigError when the machine cannot do it */
  check(machine: Machine): void;
  /** Carries out one flush of kernel addresses, on the current CPU's behalf. */
  flush(context: FlushContext, request: FlushRequest): KernelCode<void>;
  /** Carries out one flush of a user address space; absent: `request.nativeFlushTlbMulti()`, as Linux does. */
  flushUser?(context: FlushContext, request: UserFlushRequest): KernelCode<void>;
}

/** Linux's default: an interrupt to every other CPU, which flushes its own TLB (`on_each_cpu`). */
export const IPI_POLICY: FlushPolicy = {
  name: "ipi",
  summary: "interrupts to all CPUs, freed ranges flushed together by a purge: Linux's default",
  eager: false,
  check: () => {},
  flush: ({ smp }, { invalidate, record }) => smp.onEachCpu(invalidate, record),
};

/**
 * As Linux was before lazy purging (2.6.27): every `vunmap` interrupts every CPU, with `vmlist_lock` held. User addresses are always flushed before
 * `munmap` returns, under any policy.
 */
export const EAGER_POLICY: FlushPolicy = {
  ...IPI_POLICY,
  name: "eager",
  summary: "interrupts to all CPUs at every vunmap, in one lock, as before lazy purging",
  eager: true,
  *flush({ smp, vmlistLock }, { invalidate, record }) {
    if (!vmlistLock.tryTake()) yield* vmlistLock.take();
    yield* smp.onEachCpu(invalidate, record);
    vmlistLock.release();
  },
};

/**
 * AMD's broadcast (Linux 6.15, `arch/x86/mm/tlb.c`): INVLPGB and TLBSYNC, no interrupts. Kernel addresses go to all PCIDs
 * (`invlpgb_kernel_range_flush`). A user address space is flushed by interrupts until it has been found active on more than
 * three CPUs; from then on it has a global ASID and is flushed by broadcasts to its PCID (`broadcast_tlb_flush`).
 */
export const INVLPGB_POLICY: FlushPolicy = {
  name: "invlpgb",
  summary: "AMD's broadcast instructions INVLPGB and TLBSYNC, no interrupts (Linux 6.15)",
  eager: false,
  usesInvlpgb: true,
  check(machine) {
    if (machine.features.invlpgb) return;
    throw new ConfigError("flush policy", "invlpgb", `a CPU with INVLPGB; ${machine.preset.name} has none`);
  },
  *flush(context, { start, end, full, record }) {
    const { machine } = context;
    while (machine.loop.mustYield()) yield PAUSE_TURN;
    broadcastFlush(context, record, [{ start, end, full, includeGlobals: true }]);
  },
  *flushUser(context, request) {
    const { machine } = context;
    while (machine.loop.mustYield()) yield PAUSE_TURN;
    const pcids = request.globalPcids();
    if (pcids.length === 0) {
      yield* request.nativeFlushTlbMulti();
      request.considerGlobalAsid();
      return;
    }
    const { start, end, full, record } = request;
    const broadcasts = pcids.map((pcid): Broadcast => ({ start, end, full, pcid, includeGlobals: false }));
    broadcastFlush(context, record, broadcasts);
    yield* request.finishAsidTransition();
  },
};

/**
 * Isolated CPUs in user mode are left in peace: they flush everything when they next enter the kernel. User addresses go by
 * interrupts all the same: a CPU in user mode uses them.
 */
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

/**
 * Intel's Remote Action Request, as a series on LKML has it that Linux has not taken ("Intel RAR TLB invalidation", 2025; `rar.ts`). Targets flush in microcode.
 * Kernel addresses: the others flush everything, since remote actions of single pages leave global translations; the CPU that asks
 * flushes the pages (`rar_kernel_range_flush`). A user address space is flushed by interrupts until it has a global ASID, as under
 * `invlpgb`; then the CPUs of `mm_cpumask` flush its PCID (`rar_tlb_flush`).
 */
export const RAR_POLICY: FlushPolicy = {
  name: "rar",
  summary: "Intel's remote actions: targets flush in microcode, no interrupts (LKML, 2025)",
  eager: false,
  globalAsidsFollowCpumask: true,
  usesRar: true,
  check(machine) {
    const { rar, invpcid } = machine.features;
    if (rar && invpcid) return;
    throw new ConfigError("flush policy", "rar", `a CPU with RAR and INVPCID; ${machine.preset.name} has not both`);
  },
  *flush(context, { start, end, full, invalidate, invalidateAll, record }) {
    const { rar, machine, isolation } = context;
    const { loop } = machine;
    yield* rarOf(rar).smpCallRarMany(allCpus(loop.cpus), { pcid: 0, start, end, full, record });
    // With isolation kernel pages are in every PCID, and of these there are too many to name (`do_kernel_range_flush`).
    bookWork(loop, record, () => (isolation ? invalidateAll : invalidate)(loop.currentCpu));
  },
  *flushUser(context, request) {
    const { loop } = context.machine;
    while (loop.mustYield()) yield PAUSE_TURN;
    const { start, end, full, record } = request;
    const pcids = request.globalPcids();
    if (pcids.length === 0) {
      yield* request.nativeFlushTlbMulti();
      request.considerGlobalAsid();
      return;
    }
    const mask = request.cpumask;
    for (const pcid of pcids) yield* rarOf(context.rar).smpCallRarMany(mask, { pcid, start, end, full, record });
    const self = loop.currentCpu;
    if (mask.includes(self)) bookWork(loop, record, () => request.invalidate(self));
    yield* request.finishAsidTransition();
  },
};

function rarOf(rar: Rar | null): Rar {
  if (rar === null) throw new Error("there are no tables of remote actions");
  return rar;
}
