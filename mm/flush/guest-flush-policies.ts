/**
 * Flush policies of guests, for user address spaces: what Linux puts in place of `native_flush_tlb_multi` (`pv_ops.mmu.flush_tlb_multi`) as
 * a guest of KVM (`arch/x86/kernel/kvm.c`) and of Hyper-V (`arch/x86/hyperv/mmu.c`). Kernel addresses go by interrupts as without a
 * hypervisor: `flush_tlb_kernel_range` knows of none.
 */
import type { Machine } from "../../arch/machine.ts";
import { type KernelCode, PAUSE_TURN } from "../../arch/time/event-loop.ts";
import type { FlushAtEntry, ParavirtHost } from "../kernel/paravirt-host.ts";
import { ConfigError } from "../lib/config-error.ts";
import { bookWork } from "./booked-work.ts";
import type { FlushAccounts, FlushRecord } from "./flush-accounts.ts";
import { type FlushContext, type FlushPolicy, IPI_POLICY, type UserFlushRequest } from "./flush-policy.ts";

/** KVM's: vCPUs that do not run are marked, and get no interrupt. */
export const KVM_POLICY: FlushPolicy = {
  ...IPI_POLICY,
  name: "kvm",
  summary:
    "of a guest: interrupts, but vCPUs that do not run are marked to flush at their next entry (kvm_flush_tlb_multi)",
  check: (machine) => requireGuest(machine, "kvm"),
  flushUser: (context, request) => request.nativeFlushTlbMulti((cpus) => kvmFlushTlbMulti(context, request, cpus)),
};

/** Hyper-V's: one hypercall, the hypervisor reaches the vCPUs that run. */
export const HYPERV_POLICY: FlushPolicy = {
  ...IPI_POLICY,
  name: "hyperv",
  summary: "of a guest: hypercalls that flush address spaces or lists of pages on other vCPUs (hyperv_flush_tlb_multi)",
  check: (machine) => requireGuest(machine, "hyperv"),
  flushUser: (context, request) => request.nativeFlushTlbMulti((cpus) => hypervFlushTlbMulti(context, request, cpus)),
};

/** Both. */
export const GUEST_FLUSH_POLICIES: readonly FlushPolicy[] = [KVM_POLICY, HYPERV_POLICY];

function requireGuest({ hostMemory }: Machine, name: string): void {
  if (hostMemory === null) throw new ConfigError("flush policy", name, "a kernel that runs as a guest");
}

/** `kvm_flush_tlb_multi`. */
function* kvmFlushTlbMulti(
  context: FlushContext,
  request: UserFlushRequest,
  cpus: readonly number[],
): KernelCode<void> {
  const { smp, machine } = context;
  const { loop } = machine;
  while (loop.mustYield()) yield PAUSE_TURN;
  const { record } = request;
  const host = hostOf(context);
  const flush = atEntryOf(context, request);
  const now: number[] = [];
  bookWork(loop, record, () => {
    for (const cpu of cpus) {
      // The current vCPU runs, so it is never skipped.
      if (cpu !== loop.currentCpu) loop.lines.read(host.stealTimeLines + cpu);
      if (cpu === loop.currentCpu || !host.isPreempted(cpu)) {
        now.push(cpu);
        continue;
      }
      loop.point("kvm_flush_tlb_multi: preempted is read");
      loop.lines.write(host.stealTimeLines + cpu);
      // The mark is set by a compare-and-exchange: a vCPU that runs again by now gets its interrupt.
      if (!host.isPreempted(cpu)) {
        now.push(cpu);
        continue;
      }
      host.flushAtEntry(cpu, flush);
      if (record !== null) record.deferred++;
    }
  });
  yield* smp.onEachCpuMask(now, request.invalidate, record);
}

/** `hyperv_flush_tlb_multi`. */
function* hypervFlushTlbMulti(
  context: FlushContext,
  request: UserFlushRequest,
  cpus: readonly number[],
): KernelCode<void> {
  const { loop } = context.machine;
  while (loop.mustYield()) yield PAUSE_TURN;
  const { start, end, full, record } = request;
  yield* hostOf(context).hypercallFlush(cpus, { start, end, full }, atEntryOf(context, request), record);
}

function atEntryOf({ accounts }: FlushContext, { record }: UserFlushRequest): FlushAtEntry {
  return flushAtEntryOf(accounts, record);
}

/** A flush at a vCPU's next entry, on account of a record; of none where nobody keeps accounts. */
export function flushAtEntryOf(accounts: FlushAccounts | null, record: FlushRecord | null): FlushAtEntry {
  if (accounts === null || record === null) return { flush: 0, attributed: null, paid: null };
  return {
    flush: record.id,
    attributed: (cpu, invalidate) => accounts.attributed(record, cpu, invalidate),
    paid: (cpu, cycles) => record.paidLater(cpu, cycles),
  };
}

function hostOf({ host }: FlushContext): ParavirtHost {
  if (host === null) throw new Error("the guest has no host");
  return host;
}
