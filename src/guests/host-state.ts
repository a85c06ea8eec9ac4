/** The host of a guest as plain data, for saved states: what the hypervisor gave, which vCPU runs, and what each owes or has cost. */
import { checkState } from "../../arch/isa/state-error.ts";
import { type FlushAccounts, flushAtEntryOf } from "../../mm/index.ts";
import type { GuestHost, VcpuCounts } from "./guest-host.ts";
import type { HostSchedulerState } from "./host-scheduler.ts";
import type { HostUnmapState } from "./host-unmap.ts";
import type { HypervisorState } from "./hypervisor.ts";

/** The host of one guest. Typed arrays and plain objects only. */
export interface HostState {
  /** Guest-physical memory that is mapped; the tables are in the machine's memory. */
  readonly hypervisor: HypervisorState;
  readonly scheduler: HostSchedulerState;
  /** By vCPU, as {@link VcpuCounts} has them. */
  readonly counts: Readonly<Record<keyof VcpuCounts, Float64Array>>;
  /** Flushes that vCPUs owe before they run again (`KVM_VCPU_FLUSH_TLB`, requests of the hypervisor): a row each. */
  readonly owedFlushes: {
    readonly vcpu: Uint16Array;
    /** The flush in the accounts, as `FlushAccountsState` numbers it; 0 where nobody keeps them. */
    readonly flush: Uint32Array;
    /** 1 if what it costs the vCPU is booked on that flush. */
    readonly isPaid: Uint8Array;
  };
  /** Memory that the host has taken away, and which vCPUs have yet to invalidate it. */
  readonly unmapping: HostUnmapState;
}

const COUNTS = ["faults", "icrWrites", "resumptions", "exitCycles"] as const satisfies (keyof VcpuCounts)[];

/** Copies the state of a host whose guest has nothing under way. @throws StateError when something is */
export function captureHost({ hypervisor, scheduler, counts, paravirt, unmapping }: GuestHost): HostState {
  if (paravirt === null || unmapping === null) throw new Error("the guest does not run yet");
  const owed = paravirt.owedFlushes.flatMap((flush, vcpu) => (flush === null ? [] : [{ vcpu, ...flush }]));
  return {
    hypervisor: hypervisor.capture(),
    scheduler: scheduler.capture(),
    counts: Object.fromEntries(
      COUNTS.map((name) => [name, Float64Array.from(counts, (of) => of[name])]),
    ) as HostState["counts"],
    owedFlushes: {
      vcpu: Uint16Array.from(owed, ({ vcpu }) => vcpu),
      flush: Uint32Array.from(owed, ({ flush }) => flush),
      isPaid: Uint8Array.from(owed, ({ paid }) => (paid === null ? 0 : 1)),
    },
    unmapping: unmapping.capture(),
  };
}

/**
 * Brings the host of a kernel that was just booted with the same configuration into a captured state, but for {@link restoreOwed}.
 * @throws StateError when the state is that of another host
 */
export function restoreHost({ hypervisor, scheduler, counts, unmapping }: GuestHost, state: HostState): void {
  hypervisor.restore(state.hypervisor);
  scheduler.restore(state.scheduler);
  for (const name of COUNTS) {
    checkState("host", state.counts[name].length === counts.length, `has counts of other vCPUs (${name})`);
    counts.forEach((of, vcpu) => {
      of[name] = state.counts[name][vcpu];
    });
  }
  unmapping?.restore(state.unmapping);
}

/**
 * Has vCPUs owe the flushes that they owed, and sends the host's next scan to the vCPU that it was on its way to.
 * @param accounts those of the guest's kernel, which are there again
 */
export function restoreOwed(
  { paravirt, vcpus, scheduler, unmapping }: GuestHost,
  { owedFlushes, unmapping: taken }: HostState,
  accounts: FlushAccounts | null,
): void {
  owedFlushes.vcpu.forEach((vcpu, row) => {
    const id = owedFlushes.flush[row];
    const record = id === 0 ? null : (accounts?.records[id - 1] ?? null);
    checkState("host", vcpu < vcpus.length && (id === 0) === (record === null), `has a flush ${id} that is not`);
    const flush = flushAtEntryOf(accounts, record);
    paravirt?.flushAtEntry(vcpu, owedFlushes.isPaid[row] === 1 ? flush : { ...flush, paid: null });
  });
  taken.owed.forEach((owes, vcpu) => {
    if (owes !== 0) scheduler.skip(vcpu);
  });
  if (taken.nextScan) unmapping?.sendScan(taken.nextScan);
}
